//! Node selectors: `nodeSelector`, required and preferred node affinity.

use serde_json::Value;
use skiff_api::Labels;

/// What a pod asks of its node's labels and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Affinity {
    /// `nodeSelector`: every pair must be there.
    selector: Vec<(Box<str>, Box<str>)>,
    /// Required terms, one of which must match; `None` if nothing is required.
    required: Option<Vec<Term>>,
    preferred: Vec<(i64, Term)>,
}

/// Requirements that must all hold. A term without any matches nothing, as in Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Term(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Requirement {
    on: On,
    operator: Operator,
    values: Vec<Box<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum On {
    Label(Box<str>),
    Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    Greater,
    Less,
    /// None that is known: nothing matches it.
    Unknown,
}

impl Affinity {
    /// Reads a pod's spec.
    pub(super) fn read(spec: &Value) -> Self {
        let pairs = spec["nodeSelector"].as_object().into_iter().flatten();
        let node = &spec["affinity"]["nodeAffinity"];
        let required = &node["requiredDuringSchedulingIgnoredDuringExecution"];
        let preferred = items(&node["preferredDuringSchedulingIgnoredDuringExecution"]);
        Self {
            selector: pairs
                .map(|(key, value)| (key.as_str().into(), text(value)))
                .collect(),
            required: required.is_object().then(|| {
                items(&required["nodeSelectorTerms"])
                    .map(Term::read)
                    .collect()
            }),
            preferred: preferred
                .map(|entry| {
                    (
                        entry["weight"].as_i64().unwrap_or(0),
                        Term::read(&entry["preference"]),
                    )
                })
                .collect(),
        }
    }

    /// Whether a node may take the pod.
    pub(super) fn admits(&self, name: &str, labels: &Labels) -> bool {
        let selected = |(key, value): &(Box<str>, Box<str>)| labels.get(key) == Some(value);
        self.selector.iter().all(selected)
            && self
                .required
                .as_ref()
                .is_none_or(|terms| terms.iter().any(|term| term.matches(name, labels)))
    }

    /// The sum of the weights of the preferred terms that a node meets.
    pub(super) fn preference(&self, name: &str, labels: &Labels) -> i64 {
        let met = self
            .preferred
            .iter()
            .filter(|(_, term)| term.matches(name, labels));
        met.map(|(weight, _)| weight).sum()
    }
}

impl Term {
    fn read(term: &Value) -> Self {
        let labels = items(&term["matchExpressions"])
            .map(|entry| Requirement::read(entry, On::Label(text(&entry["key"]))));
        // `metadata.name` is the only field that Kubernetes knows here.
        let fields = items(&term["matchFields"]).map(|entry| Requirement::read(entry, On::Name));
        Self(labels.chain(fields).collect())
    }

    fn matches(&self, name: &str, labels: &Labels) -> bool {
        !self.0.is_empty()
            && self
                .0
                .iter()
                .all(|requirement| requirement.holds(name, labels))
    }
}

impl Requirement {
    fn read(entry: &Value, on: On) -> Self {
        let operator = match entry["operator"].as_str().unwrap_or("") {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            "Gt" => Operator::Greater,
            "Lt" => Operator::Less,
            _ => Operator::Unknown,
        };
        Self {
            on,
            operator,
            values: items(&entry["values"]).map(text).collect(),
        }
    }

    fn holds(&self, name: &str, labels: &Labels) -> bool {
        let found = match &self.on {
            On::Label(key) => labels.get(key),
            On::Name => Some(name),
        };
        let listed = || found.is_some_and(|found| self.values.iter().any(|v| **v == *found));
        match self.operator {
            Operator::In => listed(),
            Operator::NotIn => !listed(),
            Operator::Exists => found.is_some(),
            Operator::DoesNotExist => found.is_none(),
            Operator::Greater => self
                .compare(found)
                .is_some_and(|(found, bound)| found > bound),
            Operator::Less => self
                .compare(found)
                .is_some_and(|(found, bound)| found < bound),
            Operator::Unknown => false,
        }
    }

    fn compare(&self, found: Option<&str>) -> Option<(i64, i64)> {
        Some((found?.parse().ok()?, self.values.first()?.parse().ok()?))
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> Box<str> {
    value.as_str().unwrap_or("").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nodes_are_admitted_by_label_and_name() {
        let labels: Labels = [("zone", "a"), ("cores", "8")].into_iter().collect();
        let term = |key: &str, operator: &str, values: Value| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        let name = |name: &str| json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]});
        let cases = [
            (
                "one of the values",
                vec![term("zone", "In", json!(["a", "b"]))],
                true,
            ),
            (
                "none of the values",
                vec![term("zone", "In", json!(["b"]))],
                false,
            ),
            (
                "one of the terms",
                vec![
                    term("zone", "In", json!(["b"])),
                    term("cores", "Exists", json!([])),
                ],
                true,
            ),
            (
                "not the value",
                vec![term("zone", "NotIn", json!(["a"]))],
                false,
            ),
            (
                "an absent label is not in",
                vec![term("disk", "NotIn", json!(["ssd"]))],
                true,
            ),
            (
                "an absent label",
                vec![term("disk", "DoesNotExist", json!([]))],
                true,
            ),
            ("more than", vec![term("cores", "Gt", json!(["4"]))], true),
            ("less than", vec![term("cores", "Lt", json!(["8"]))], false),
            ("no number", vec![term("zone", "Gt", json!(["4"]))], false),
            ("the name", vec![name("n1")], true),
            ("another name", vec![name("n2")], false),
            ("an empty term", vec![json!({})], false),
            (
                "an unknown operator",
                vec![term("zone", "Like", json!(["a"]))],
                false,
            ),
        ];
        for (what, terms, expected) in cases {
            let spec = json!({"affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}});
            assert_eq!(
                Affinity::read(&spec).admits("n1", &labels),
                expected,
                "{what}"
            );
        }
        let plain = Affinity::read(&json!({"nodeSelector": {"zone": "b"}}));
        assert!(!plain.admits("n1", &labels));
    }
}
