//! The part of kubectl's JSONPath that people use: fields, `[0]`, `[*]`, `.*`, `['a.b']`,
//! `[?(@.type=="Ready")]`, `{range …}{end}` and texts. The rest is refused by name.

mod parse;

use serde_json::Value;

use crate::error::CliError;

/// A template: texts, and paths in braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Path(Path),
    Range(Path, Vec<Part>),
}

/// Steps from a value to others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    Where {
        path: Path,
        equal: bool,
        value: Value,
    },
    Has(Path),
}

impl Template {
    /// Reads a template. As in kubectl, the braces around a single path may be left out.
    pub(crate) fn parse(text: &str) -> Result<Self, CliError> {
        parse::template(text).map(Self)
    }

    /// Fills it in. A field that does not exist is an error in no list, and nothing in one.
    pub(crate) fn render(&self, value: &Value) -> Result<String, CliError> {
        let mut out = String::new();
        render(&self.0, value, &mut out)?;
        Ok(out)
    }
}

impl Path {
    /// Reads one path: `{.status.phase}` or `.status.phase`.
    pub(crate) fn parse(text: &str) -> Result<Self, CliError> {
        match parse::template(text)?.as_slice() {
            [Part::Path(path)] => Ok(path.clone()),
            _ => Err(CliError::Usage(format!("{text:?} is not one path"))),
        }
    }

    /// The values that it leads to.
    pub(crate) fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![value];
        for step in &self.0 {
            found = found
                .into_iter()
                .flat_map(|value| step.take(value))
                .collect();
        }
        found
    }
}

impl Step {
    fn take<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match self {
            Self::Field(name) => value.get(name).into_iter().collect(),
            Self::Index(index) => {
                let items = value.as_array().map_or(&[][..], Vec::as_slice);
                let at = match usize::try_from(*index) {
                    Ok(at) => Some(at),
                    Err(_) => usize::try_from(index.unsigned_abs())
                        .ok()
                        .and_then(|back| items.len().checked_sub(back)),
                };
                at.and_then(|at| items.get(at)).into_iter().collect()
            }
            Self::All => children(value),
            Self::Where {
                path,
                equal,
                value: wanted,
            } => children(value)
                .into_iter()
                .filter(|item| path.find(item).iter().any(|found| same(found, wanted)) == *equal)
                .collect(),
            Self::Has(path) => children(value)
                .into_iter()
                .filter(|item| !path.find(item).is_empty())
                .collect(),
        }
    }
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(map) => map.values().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// A number equals its text: people write `@.port=="80"` as well as `@.port==80`.
fn same(found: &Value, wanted: &Value) -> bool {
    found == wanted || shown(found) == shown(wanted)
}

fn render(parts: &[Part], value: &Value, out: &mut String) -> Result<(), CliError> {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Path(path) => {
                let found: Vec<String> = path.find(value).into_iter().map(shown).collect();
                out.push_str(&found.join(" "));
            }
            Part::Range(path, inner) => {
                for item in path.find(value) {
                    render(inner, item, out)?;
                }
            }
        }
    }
    Ok(())
}

/// Texts bare, all else as JSON.
pub(crate) fn shown(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None if value.is_null() => String::new(),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rendered(template: &str) -> String {
        let value = json!({
            "metadata": {"name": "web", "labels": {"a.b/c": "x"}},
            "items": [{"n": 1, "t": ["p", "q"]}, {"n": 2, "t": []}],
            "status": {"conditions": [{"type": "Ready", "status": "True"},
                {"type": "Old", "status": "False"}]},
        });
        Template::parse(template)
            .and_then(|template| template.render(&value))
            .unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn templates_are_filled_in() {
        let cases = [
            ("{.metadata.name}", "web"),
            (".metadata.name", "web"),
            ("{$.metadata.name}", "web"),
            ("name: {.metadata.name}!", "name: web!"),
            ("{.items[*].n}", "1 2"),
            ("{.items[0].n} {.items[-1].n}", "1 2"),
            ("{.items[7].n}{.no.such}", ""),
            ("{.items[0]}", r#"{"n":1,"t":["p","q"]}"#),
            ("{.items[*].t[*]}", "p q"),
            ("{.metadata.labels.a\\.b/c}", "x"),
            ("{.metadata.labels['a.b/c']}", "x"),
            ("{range .items[*]}{.n}{\"\\n\"}{end}", "1\n2\n"),
            ("{.status.conditions[?(@.type==\"Ready\")].status}", "True"),
            ("{.status.conditions[?(@.type!='Ready')].status}", "False"),
            ("{.items[?(@.n==2)].n}", "2"),
            ("{.status.conditions[*]['type']}", "Ready Old"),
        ];
        for (template, expected) in cases {
            assert_eq!(rendered(template), expected, "{template}");
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        let cases = [
            (
                "{..name}",
                "jsonpath \"{..name}\": recursive descent (..) is not supported",
            ),
            (
                "{.items[0:2]}",
                "jsonpath \"{.items[0:2]}\": [0:2] is not supported",
            ),
            (
                "{.items[0,1]}",
                "jsonpath \"{.items[0,1]}\": [0,1] is not supported",
            ),
            (
                "{.items[?(@.n>1)]}",
                "jsonpath \"{.items[?(@.n>1)]}\": filters know only == and !=",
            ),
            ("{.a", "jsonpath \"{.a\": a brace is not closed"),
            (
                "{range .items[*]}",
                "jsonpath \"{range .items[*]}\": {range} without {end}",
            ),
            ("{end}", "jsonpath \"{end}\": {end} without {range}"),
        ];
        for (template, expected) in cases {
            assert_eq!(rendered(template), expected);
        }
    }
}
