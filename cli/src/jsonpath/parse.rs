//! Reading templates and paths.

use serde_json::Value;

use super::{Part, Path, Step};
use crate::error::CliError;

pub(super) fn template(text: &str) -> Result<Vec<Part>, CliError> {
    let refuse = |why: &str| CliError::Usage(format!("jsonpath {text:?}: {why}"));
    // The innermost open list of parts is the last; each but the first belongs to a range.
    let mut open: Vec<(Path, Vec<Part>)> = vec![(Path::default(), Vec::new())];
    let bare = !text.contains('{');
    let mut rest = text;
    while !rest.is_empty() {
        let begin = if bare {
            0
        } else {
            rest.find('{').unwrap_or(rest.len())
        };
        if begin > 0 {
            push(
                &mut open,
                Part::Text(rest.get(..begin).unwrap_or_default().to_owned()),
            );
            rest = rest.get(begin..).unwrap_or_default();
            continue;
        }
        let inner = if bare {
            std::mem::take(&mut rest)
        } else {
            let end = closing(rest).ok_or_else(|| refuse("a brace is not closed"))?;
            let inner = rest.get(1..end).unwrap_or_default();
            rest = rest.get(end + 1..).unwrap_or_default();
            inner
        };
        let inner = inner.trim();
        if inner == "end" {
            let (path, parts) = open
                .pop()
                .filter(|_| !open.is_empty())
                .ok_or_else(|| refuse("{end} without {range}"))?;
            push(&mut open, Part::Range(path, parts));
        } else if let Some(path) = inner.strip_prefix("range ") {
            open.push((
                self::path(path.trim()).map_err(|why| refuse(&why))?,
                Vec::new(),
            ));
        } else if inner.starts_with(['"', '\'']) {
            push(
                &mut open,
                Part::Text(literal(inner).map_err(|why| refuse(&why))?),
            );
        } else {
            push(
                &mut open,
                Part::Path(path(inner).map_err(|why| refuse(&why))?),
            );
        }
    }
    match open.pop() {
        Some((_, parts)) if open.is_empty() => Ok(parts),
        _ => Err(refuse("{range} without {end}")),
    }
}

fn push(open: &mut [(Path, Vec<Part>)], part: Part) {
    if let Some((_, parts)) = open.last_mut() {
        parts.push(part);
    }
}

/// Where the brace that opens a text is closed; braces in quotes do not count.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match quote {
            _ if escaped => escaped = false,
            _ if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c == '}' => return Some(at),
            None => {}
        }
    }
    None
}

/// `"\n"` or `'text'`.
fn literal(text: &str) -> Result<String, String> {
    let wrong = || format!("{text} is not a text in quotes");
    let inner = text
        .strip_prefix('"')
        .and_then(|t| t.strip_suffix('"'))
        .or_else(|| text.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')))
        .ok_or_else(wrong)?;
    let mut out = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        out.push(match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('n')) => '\n',
            ('\\', Some('t')) => '\t',
            ('\\', Some('r')) => '\r',
            ('\\', Some(other)) => other,
            (c, _) => c,
        });
    }
    Ok(out)
}

/// `.a.b[0]['c']`, perhaps behind `$` or `@`.
fn path(text: &str) -> Result<Path, String> {
    let mut steps = Vec::new();
    let mut rest = text.strip_prefix(['$', '@']).unwrap_or(text);
    if !rest.is_empty() && !rest.starts_with(['.', '[']) {
        return Err(format!("{text:?} is not a path; it begins with a dot"));
    }
    while !rest.is_empty() {
        if rest.starts_with("..") {
            return Err("recursive descent (..) is not supported".to_owned());
        }
        if let Some(after) = rest.strip_prefix('[') {
            let end = bracket(after).ok_or("a bracket is not closed")?;
            let inner = after.get(..end).unwrap_or_default();
            steps.push(bracketed(inner.trim())?);
            rest = after.get(end + 1..).unwrap_or_default();
            continue;
        }
        let after = rest
            .strip_prefix('.')
            .ok_or_else(|| format!("{rest:?} is not understood"))?;
        let (name, next) = field(after);
        match name.as_str() {
            "" if next.is_empty() && steps.is_empty() => {}
            "" if next.starts_with('[') => {}
            "" => return Err("a field has no name".to_owned()),
            "*" => steps.push(Step::All),
            _ => steps.push(Step::Field(name)),
        }
        rest = next;
    }
    Ok(Path(steps))
}

/// A field's name, where `\.` is a dot in it, and what follows.
fn field(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => {
                escaped = false;
                name.push(c);
            }
            '\\' => escaped = true,
            '.' | '[' => return (name, text.get(at..).unwrap_or_default()),
            c => name.push(c),
        }
    }
    (name, "")
}

/// Where a bracket is closed; those in quotes or in a filter do not count.
fn bracket(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c == '[' => depth += 1,
            None if c == ']' && depth == 0 => return Some(at),
            None if c == ']' => depth -= 1,
            None => {}
        }
    }
    None
}

fn bracketed(inner: &str) -> Result<Step, String> {
    if inner == "*" {
        return Ok(Step::All);
    }
    if let Ok(index) = inner.parse() {
        return Ok(Step::Index(index));
    }
    if let Some(condition) = inner
        .strip_prefix("?(")
        .and_then(|rest| rest.strip_suffix(')'))
    {
        return filter(condition.trim());
    }
    let quoted = inner.len() > 1 && inner.starts_with(['"', '\'']) && !inner.contains(',');
    if quoted {
        return literal(inner).map(Step::Field);
    }
    Err(format!("[{inner}] is not supported"))
}

/// `@.type=="Ready"`, or `@.type`: that it is there.
fn filter(condition: &str) -> Result<Step, String> {
    let (at, equal) = match (condition.find("=="), condition.find("!=")) {
        (Some(at), None) => (at, true),
        (None, Some(at)) => (at, false),
        (None, None) if !condition.contains(['<', '>', '&', '|', '=', '(']) => {
            return path(condition).map(Step::Has);
        }
        _ => return Err("filters know only == and !=".to_owned()),
    };
    let left = condition.get(..at).unwrap_or_default().trim();
    let right = condition.get(at + 2..).unwrap_or_default().trim();
    let value = if right.starts_with(['"', '\'']) {
        Value::String(literal(right)?)
    } else {
        serde_json::from_str(right).map_err(|_| format!("{right:?} is not a value"))?
    };
    Ok(Step::Where {
        path: path(left)?,
        equal,
        value,
    })
}
