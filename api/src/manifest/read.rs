//! Texts → documents: cutting at `---`, parsing, flattening of lists, places.

use std::sync::Arc;

use serde_json::Value;

use super::strict::Strict;
use super::{Document, ManifestError, Place};

/// Reads all objects of a manifest, in order; those in a `List` one by one. `file` is for messages,
/// and its ending `.json` says that the text is JSON.
///
/// # Errors
/// [`ManifestError`] for the first thing that is wrong, with its place.
///
/// ```
/// let text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";
/// let documents = skiff_api::manifest::parse("shop.yaml", text).unwrap();
/// assert_eq!(documents[0].name(), Some("shop"));
/// ```
pub fn parse(file: &str, text: &str) -> Result<Vec<Document>, ManifestError> {
    let file: Arc<str> = file.into();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = Vec::new();
    for (line, value) in values(&file, text)? {
        let place = Place {
            file: file.clone(),
            line,
            column: None,
        };
        flatten(&place, value, &mut documents)?;
    }
    Ok(documents)
}

/// The values in a text, each with the line where it begins.
fn values(file: &Arc<str>, text: &str) -> Result<Vec<(usize, Value)>, ManifestError> {
    if file.ends_with(".json") {
        return json_values(file, text);
    }
    // JSON by another name; YAML would read most of it, but not tabs.
    if text.trim_start().starts_with('{')
        && let Ok(values) = json_values(file, text)
    {
        return Ok(values);
    }
    let mut values = Vec::new();
    for part in Parts::new(text) {
        let value = yaml_value(file, &part)?;
        if !value.is_null() {
            values.push((part.first_line(), value));
        }
    }
    Ok(values)
}

fn json_values(file: &Arc<str>, text: &str) -> Result<Vec<(usize, Value)>, ManifestError> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Strict>();
    let mut values = Vec::new();
    loop {
        let rest = text.get(stream.byte_offset()..).unwrap_or_default();
        let begin = text.len() - rest.trim_start().len();
        let line = 1 + text.get(..begin).unwrap_or_default().matches('\n').count();
        match stream.next() {
            None => return Ok(values),
            Some(Ok(Strict(value))) => values.push((line, value)),
            Some(Err(error)) => {
                let (line, column) = (error.line(), Some(error.column()));
                let place = Place {
                    file: file.clone(),
                    line,
                    column,
                };
                let suffix = format!(" at line {} column {}", error.line(), error.column());
                let message = error.to_string().replace(&suffix, "");
                return Err(ManifestError::Syntax { place, message });
            }
        }
    }
}

fn yaml_value(file: &Arc<str>, part: &Part) -> Result<Value, ManifestError> {
    serde_yaml::from_str::<Strict>(&part.text)
        .map(|Strict(value)| value)
        .map_err(|error| {
            let mut message = error.to_string();
            let mut place = Place {
                file: file.clone(),
                line: part.first_line(),
                column: None,
            };
            if let Some(location) = error.location() {
                let suffix = format!(" at line {} column {}", location.line(), location.column());
                message = message.replace(&suffix, "");
                place.line = part.skipped + location.line();
                place.column = Some(location.column());
            }
            message = shift_lines(&message, part.skipped);
            ManifestError::Syntax { place, message }
        })
}

/// Turns the line numbers of a document within a message into those of the whole text.
fn shift_lines(message: &str, skipped: usize) -> String {
    const WORD: &str = " at line ";
    let mut pieces = message.split(WORD);
    let mut shifted = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(piece.len());
        let (number, rest) = piece.split_at(end);
        shifted.push_str(WORD);
        match number.parse::<usize>() {
            Ok(line) => shifted.push_str(&(line + skipped).to_string()),
            Err(_) => shifted.push_str(number),
        }
        shifted.push_str(rest);
    }
    shifted
}

/// One YAML document of a text.
struct Part {
    text: String,
    /// Lines of the whole text before it.
    skipped: usize,
}

impl Part {
    /// The line of the whole text where its content begins.
    fn first_line(&self) -> usize {
        let blank = |line: &&str| line.trim().is_empty() || line.trim_start().starts_with('#');
        self.skipped + 1 + self.text.lines().take_while(blank).count()
    }
}

/// Cuts a text into its YAML documents. A marker at the start of a line is one wherever it stands,
/// even in a block scalar, so that no parser is needed.
struct Parts<'a> {
    lines: std::iter::Peekable<std::iter::Enumerate<std::str::Lines<'a>>>,
}

impl<'a> Parts<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            lines: text.lines().enumerate().peekable(),
        }
    }
}

impl Iterator for Parts<'_> {
    type Item = Part;

    fn next(&mut self) -> Option<Part> {
        let (skipped, first) = self.lines.next()?;
        let mut text = String::new();
        match marker(first) {
            // The marker is blanked out, not cut off: columns stay what they are.
            Some(rest) => text.push_str(&format!("   {rest}")),
            None => text.push_str(first),
        }
        text.push('\n');
        while let Some((_, line)) = self.lines.next_if(|(_, line)| marker(line).is_none()) {
            text.push_str(line);
            text.push('\n');
        }
        Some(Part { text, skipped })
    }
}

/// What follows a document marker in its line.
fn marker(line: &str) -> Option<&str> {
    let rest = line
        .strip_prefix("---")
        .or_else(|| line.strip_prefix("..."))?;
    (rest.is_empty() || rest.starts_with([' ', '\t'])).then_some(rest)
}

fn flatten(place: &Place, value: Value, out: &mut Vec<Document>) -> Result<(), ManifestError> {
    let no_object = |what| ManifestError::NoObject {
        place: place.clone(),
        what,
    };
    let Value::Object(mut fields) = value else {
        return Err(no_object("this document is not a mapping"));
    };
    let text = |name: &str| {
        fields
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned()
    };
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if api_version.is_empty() {
        return Err(no_object("apiVersion is missing"));
    }
    if kind.is_empty() {
        return Err(no_object("kind is missing"));
    }
    if !kind.ends_with("List") || !matches!(fields.get("items"), Some(Value::Array(_))) {
        let value = Value::Object(fields);
        out.push(Document {
            place: place.clone(),
            api_version,
            kind,
            value,
        });
        return Ok(());
    }
    let items = fields
        .get_mut("items")
        .and_then(Value::as_array_mut)
        .map(std::mem::take);
    items
        .into_iter()
        .flatten()
        .try_for_each(|item| flatten(place, item, out))
}
