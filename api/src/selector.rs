//! Label and field selectors: parsing of query parameters and of `LabelSelector` objects, matching.

use std::fmt;

use serde_json::Value;

use crate::labels::Labels;

/// Why a selector cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unable to parse requirement: {0}")]
pub struct SelectorError(pub String);

/// A conjunction of requirements on labels; the empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

impl LabelSelector {
    /// Reads the query form: `app=web,tier!=db,env in (a,b),!legacy,track`.
    ///
    /// # Errors
    /// [`SelectorError`] naming the part that cannot be read.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        split_outside_parentheses(text)
            .into_iter()
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(Requirement::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Reads a `metav1.LabelSelector`: `matchLabels` and `matchExpressions`.
    ///
    /// # Errors
    /// [`SelectorError`] for an unknown operator or a value that is not text.
    pub fn from_json(selector: &Value) -> Result<Self, SelectorError> {
        let labels = selector["matchLabels"].as_object().into_iter().flatten();
        let equals = labels.map(|(key, value)| {
            let value = value
                .as_str()
                .ok_or_else(|| SelectorError(format!("{key}: not text")))?;
            Ok(Requirement {
                key: key.clone(),
                operator: Operator::In(vec![value.to_owned()]),
            })
        });
        let expressions = selector["matchExpressions"]
            .as_array()
            .into_iter()
            .flatten();
        equals
            .chain(expressions.map(Requirement::from_json))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether it selects these labels.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| requirement.matches(labels))
    }

    /// Whether it has no requirement and so matches everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Requirement {
    fn parse(part: &str) -> Result<Self, SelectorError> {
        let invalid = || SelectorError(format!("{part:?}"));
        if let Some((key, values)) = set_form(part, " notin ") {
            return Self::checked(key, Operator::NotIn(values)).ok_or_else(invalid);
        }
        if let Some((key, values)) = set_form(part, " in ") {
            return Self::checked(key, Operator::In(values)).ok_or_else(invalid);
        }
        let one = |value: &str| vec![value.trim().to_owned()];
        let requirement = if let Some((key, value)) = part.split_once("!=") {
            Self::checked(key, Operator::NotIn(one(value)))
        } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
            Self::checked(key, Operator::In(one(value)))
        } else if let Some(key) = part.strip_prefix('!') {
            Self::checked(key, Operator::Absent)
        } else {
            Self::checked(part, Operator::Exists)
        };
        requirement.ok_or_else(invalid)
    }

    fn checked(key: &str, operator: Operator) -> Option<Self> {
        let key = key.trim();
        let plain = |text: &str| {
            text.bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'))
        };
        let values_plain = match &operator {
            Operator::In(values) | Operator::NotIn(values) => values.iter().all(|v| plain(v)),
            Operator::Exists | Operator::Absent => true,
        };
        (!key.is_empty() && plain(key) && values_plain).then(|| Self {
            key: key.to_owned(),
            operator,
        })
    }

    fn from_json(expression: &Value) -> Result<Self, SelectorError> {
        let key = expression["key"].as_str().unwrap_or("").to_owned();
        let values = expression["values"].as_array().into_iter().flatten();
        let values = values
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let operator = match expression["operator"].as_str().unwrap_or("") {
            "In" => Operator::In(values),
            "NotIn" => Operator::NotIn(values),
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::Absent,
            other => {
                return Err(SelectorError(format!(
                    "{other:?} is not a valid label selector operator"
                )));
            }
        };
        Ok(Self { key, operator })
    }

    fn matches(&self, labels: &Labels) -> bool {
        let found = labels.get(&self.key);
        let listed = |values: &[String]| found.is_some_and(|v| values.iter().any(|w| w == v));
        match &self.operator {
            Operator::In(values) => listed(values),
            Operator::NotIn(values) => !listed(values),
            Operator::Exists => found.is_some(),
            Operator::Absent => found.is_none(),
        }
    }
}

/// The query form that [`LabelSelector::parse`] reads.
impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Requirement { key, operator }) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match operator {
                Operator::In(values) if values.len() == 1 => {
                    write!(f, "{comma}{key}={}", values.concat())?;
                }
                Operator::In(values) => write!(f, "{comma}{key} in ({})", values.join(","))?,
                Operator::NotIn(values) => write!(f, "{comma}{key} notin ({})", values.join(","))?,
                Operator::Exists => write!(f, "{comma}{key}")?,
                Operator::Absent => write!(f, "{comma}!{key}")?,
            }
        }
        Ok(())
    }
}

fn set_form<'a>(part: &'a str, word: &str) -> Option<(&'a str, Vec<String>)> {
    let (key, list) = part.split_once(word)?;
    let list = list.trim().strip_prefix('(')?.strip_suffix(')')?;
    Some((
        key,
        list.split(',')
            .map(|value| value.trim().to_owned())
            .collect(),
    ))
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut depth = 0i32;
    text.split(|c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth <= 0
    })
    .collect()
}

/// A conjunction of `path=value` and `path!=value` on the fields of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<FieldRequirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct FieldRequirement {
    path: String,
    value: String,
    equal: bool,
}

impl FieldSelector {
    /// Reads the query form; `\,`, `\=` and `\\` stand for themselves.
    ///
    /// # Errors
    /// [`SelectorError`] naming the part that cannot be read.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        split_unescaped(text)
            .into_iter()
            .filter(|part| !part.is_empty())
            .map(|part| {
                let (path, value, equal) = if let Some((path, value)) = part.split_once("!=") {
                    (path, value, false)
                } else if let Some((path, value)) =
                    part.split_once("==").or_else(|| part.split_once('='))
                {
                    (path, value, true)
                } else {
                    let what = format!("invalid selector: {part:?}; can't understand it");
                    return Err(SelectorError(what));
                };
                Ok(FieldRequirement {
                    path: path.to_owned(),
                    value: unescape(value),
                    equal,
                })
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The value that a path must equal, if the selector says so.
    #[must_use]
    pub fn exact(&self, path: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|r| r.equal && r.path == path)
            .map(|r| r.value.as_str())
    }

    /// The paths that it asks for.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|requirement| requirement.path.as_str())
    }

    /// Whether it matches, given how to look up a path; an absent field is the empty text.
    pub fn matches(&self, mut field: impl FnMut(&str) -> String) -> bool {
        self.0
            .iter()
            .all(|r| (field(&r.path) == r.value) == r.equal)
    }

    /// Whether it matches everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn split_unescaped(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        if c == ',' && !escaped {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(c);
        }
        escaped = c == '\\' && !escaped;
    }
    parts
}

fn unescape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' {
            chars.next().unwrap_or('\\')
        } else {
            c
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn label_selectors_match_as_kubernetes_says() {
        let labels: Labels = [("app", "web"), ("tier", "front")].into_iter().collect();
        let cases = [
            ("", true),
            ("app=web", true),
            ("app==web,tier!=back", true),
            ("app in (api, web)", true),
            ("app notin (api,web)", false),
            ("missing notin (x)", true),
            ("tier", true),
            ("!tier", false),
            ("!missing", true),
            ("missing", false),
        ];
        for (text, expected) in cases {
            let selector = LabelSelector::parse(text).unwrap();
            assert_eq!(selector.matches(&labels), expected, "{text}");
            assert_eq!(
                LabelSelector::parse(&selector.to_string()),
                Ok(selector),
                "{text}"
            );
        }
        for wrong in ["=web", "app=a b", "app in web", "a=b=c"] {
            assert!(LabelSelector::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn selector_objects_are_read() {
        let labels: Labels = [("app", "web")].into_iter().collect();
        let selector = json!({"matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "old", "operator": "DoesNotExist"}]});
        assert!(
            LabelSelector::from_json(&selector)
                .unwrap()
                .matches(&labels)
        );
        let unknown = json!({"matchExpressions": [{"key": "a", "operator": "Near"}]});
        assert!(LabelSelector::from_json(&unknown).is_err());
    }

    #[test]
    fn field_selectors_are_read_and_matched() {
        let selector = FieldSelector::parse(r"metadata.name=a\,b,status.phase!=Failed").unwrap();
        assert_eq!(selector.exact("metadata.name"), Some("a,b"));
        let field = |path: &str| {
            if path == "metadata.name" {
                "a,b".into()
            } else {
                String::new()
            }
        };
        assert!(selector.matches(field));
        assert!(FieldSelector::parse("phase").is_err());
    }
}
