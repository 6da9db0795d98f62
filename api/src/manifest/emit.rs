//! Values → YAML in the form that kubectl prints: block style, lists level with their key.
//! Quotes every text that some YAML reader, of version 1.1 or 1.2, would take for something else.

use serde_json::{Map, Value};

/// Words that YAML 1.1 or 1.2 reads as a boolean or null, in any case.
const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// Where a value goes: on lines of its own, or behind its key or dash.
enum Shape<'a> {
    Map(&'a Map<String, Value>),
    List(&'a [Value]),
    Inline(&'a Value),
}

impl<'a> Shape<'a> {
    fn of(value: &'a Value) -> Self {
        match (value.as_object(), value.as_array()) {
            (Some(map), _) if !map.is_empty() => Self::Map(map),
            (_, Some(items)) if !items.is_empty() => Self::List(items),
            _ => Self::Inline(value),
        }
    }
}

/// Writes a value as a YAML document, ending in a line end.
#[must_use]
pub fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    match Shape::of(value) {
        Shape::Map(map) => write_map(map, 0, &mut out),
        Shape::List(items) => write_list(items, 0, &mut out),
        Shape::Inline(value) => {
            // Indented, since a line of a text may look like a mark between documents.
            write_scalar(value, 2, &mut out);
            out.push('\n');
        }
    }
    out
}

fn write_map(map: &Map<String, Value>, indent: usize, out: &mut String) {
    for (index, (key, value)) in map.iter().enumerate() {
        if index > 0 {
            pad(indent, out);
        }
        write_text(key, out);
        out.push(':');
        match Shape::of(value) {
            Shape::Map(inner) => {
                out.push('\n');
                pad(indent + 2, out);
                write_map(inner, indent + 2, out);
            }
            Shape::List(items) => {
                out.push('\n');
                pad(indent, out);
                write_list(items, indent, out);
            }
            Shape::Inline(value) => {
                out.push(' ');
                write_scalar(value, indent + 2, out);
                out.push('\n');
            }
        }
    }
}

fn write_list(items: &[Value], indent: usize, out: &mut String) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            pad(indent, out);
        }
        out.push_str("- ");
        match Shape::of(item) {
            Shape::Map(inner) => write_map(inner, indent + 2, out),
            Shape::List(inner) => write_list(inner, indent + 2, out),
            Shape::Inline(value) => {
                write_scalar(value, indent + 2, out);
                out.push('\n');
            }
        }
    }
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// Writes what fits behind a key or a dash; `indent` is that of the lines of a block text.
fn write_scalar(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::String(text) if is_block(text) => write_block(text, indent, out),
        Value::String(text) => write_text(text, out),
        Value::Object(_) => out.push_str("{}"),
        Value::Array(_) => out.push_str("[]"),
        Value::Null | Value::Bool(_) | Value::Number(_) => out.push_str(&value.to_string()),
    }
}

/// Whether a text is best shown as lines: it has line ends, and nothing that needs an escape.
fn is_block(text: &str) -> bool {
    let printable = |c: char| c == '\n' || !(c.is_control() || is_odd_space(c));
    text.contains('\n') && text.chars().all(printable) && !text.starts_with([' ', '\n'])
}

/// Line ends and marks to some reader, if not to us.
fn is_odd_space(c: char) -> bool {
    matches!(
        c,
        '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
    )
}

fn write_block(text: &str, indent: usize, out: &mut String) {
    let content = text.trim_end_matches('\n');
    let ends = text.len() - content.len();
    out.push_str(match ends {
        0 => "|-",
        1 => "|",
        _ => "|+",
    });
    for line in content.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            pad(indent, out);
            out.push_str(line);
        }
    }
    out.extend(std::iter::repeat_n('\n', ends.saturating_sub(1)));
}

fn write_text(text: &str, out: &mut String) {
    if is_plain(text) {
        out.push_str(text);
    } else {
        out.push_str(&quoted(text));
    }
}

/// A JSON text is a YAML text in double quotes, but for a few characters that YAML wants escaped.
fn quoted(text: &str) -> String {
    let json = Value::String(text.to_owned()).to_string();
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_odd_space(c) || (c.is_control() && c != '\n') {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// Whether every YAML reader takes the bare text for itself.
fn is_plain(text: &str) -> bool {
    let mut chars = text.chars();
    let Some(first) = chars.next() else {
        return false;
    };
    let second = chars.next();
    let begins_well = match first {
        '-' | '?' | ':' => second.is_some_and(|c| !c.is_whitespace()) && !text.starts_with("---"),
        c => !c.is_whitespace() && !",[]{}#&*!|>'\"%@`=<".contains(c),
    };
    begins_well
        && !text.ends_with([':', ' '])
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.starts_with("...")
        && text
            .chars()
            .all(|c| c == ' ' || !(c.is_control() || c.is_whitespace() || is_odd_space(c)))
        && !WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
        && text != "~"
        && !is_number_like(text)
}

/// Numbers, and what YAML 1.1 takes for one: hex, octal, `1_000`, `12:30:45`, dates.
fn is_number_like(text: &str) -> bool {
    let unsigned = text.trim_start_matches(['+', '-']);
    let digits = unsigned.replace('_', "");
    let first = digits.chars().next();
    if !first.is_some_and(|c| c.is_ascii_digit() || c == '.') {
        return false;
    }
    let word = digits.trim_start_matches('.').to_ascii_lowercase();
    let based = ["0x", "0o", "0b"]
        .iter()
        .any(|prefix| word.starts_with(prefix));
    let sexagesimal = digits.contains(':')
        && digits
            .chars()
            .all(|c| c.is_ascii_digit() || ":.".contains(c));
    let date = digits.split('-').next().is_some_and(|year| {
        year.len() == 4
            && year.bytes().all(|b| b.is_ascii_digit())
            && digits.len() > 5
            && digits.contains('-')
    });
    based || sexagesimal || date || word == "inf" || word == "nan" || digits.parse::<f64>().is_ok()
}
