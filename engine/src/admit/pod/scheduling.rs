//! Where a pod may run: node selector, node affinity, tolerations; and the rules of label selectors.

use crate::admit::field::{At, Errors};
use crate::admit::{metadata, names};

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

pub(super) fn validate(spec: &At<'_, '_>, errors: &mut Errors) {
    metadata::labels(&spec.field("nodeSelector"), errors);
    let node = spec.field("nodeName");
    if !node.text().is_empty() {
        errors.problems(&node, node.text(), &names::dns_subdomain(node.text()));
    }
    for toleration in spec.field("tolerations").each() {
        tolerate(&toleration, errors);
    }
    node_affinity(&spec.field("affinity").field("nodeAffinity"), errors);
    for gate in spec.field("schedulingGates").each() {
        let name = gate.field("name");
        errors.problems(&name, name.text(), &names::qualified(name.text()));
    }
}

/// Checks required and preferred node affinity.
fn node_affinity(affinity: &At<'_, '_>, errors: &mut Errors) {
    let required = affinity.field("requiredDuringSchedulingIgnoredDuringExecution");
    if required.exists() {
        let terms = required.field("nodeSelectorTerms");
        if terms.len() == 0 {
            errors.required(&terms, "must have at least one node selector term");
        }
        for one in terms.each() {
            term(&one, errors);
        }
    }
    for preferred in affinity
        .field("preferredDuringSchedulingIgnoredDuringExecution")
        .each()
    {
        let weight = preferred.field("weight");
        if !weight
            .int()
            .is_some_and(|weight| (1..=100).contains(&weight))
        {
            errors.invalid(&weight, "must be in the range 1-100");
        }
        term(&preferred.field("preference"), errors);
    }
}

fn term(term: &At<'_, '_>, errors: &mut Errors) {
    for expression in term.field("matchExpressions").each() {
        let key = expression.field("key");
        errors.problems(&key, key.text(), &names::qualified(key.text()));
        requirement(&expression, errors);
    }
    for field in term.field("matchFields").each() {
        let key = field.field("key");
        if key.text() != "metadata.name" {
            errors.invalid(&key, "not a valid field selector key");
        }
        requirement(&field, errors);
    }
}

fn requirement(expression: &At<'_, '_>, errors: &mut Errors) {
    let (operator, values) = (expression.field("operator"), expression.field("values"));
    match operator.text() {
        "In" | "NotIn" if values.len() == 0 => {
            errors.required(
                &values,
                "must be specified when `operator` is 'In' or 'NotIn'",
            );
        }
        "Exists" | "DoesNotExist" if values.len() > 0 => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.forbidden(&values, detail);
        }
        "Gt" | "Lt" if values.len() != 1 => {
            let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
            errors.required(&values, detail);
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        _ => errors.invalid(&operator, "not a valid selector operator"),
    }
}

fn tolerate(toleration: &At<'_, '_>, errors: &mut Errors) {
    let (key, operator) = (toleration.field("key"), toleration.field("operator"));
    let (value, effect) = (toleration.field("value"), toleration.field("effect"));
    if key.text().is_empty() {
        if operator.text() != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all \
                          values and all keys\"";
            errors.invalid(&operator, detail);
        }
    } else {
        errors.problems(&key, key.text(), &names::qualified(key.text()));
    }
    match operator.text() {
        "" | "Equal" => errors.problems(&value, value.text(), &names::label_value(value.text())),
        "Exists" if !value.text().is_empty() => {
            let detail = "value must be empty when `operator` is 'Exists'";
            errors.invalid_as(&operator, toleration.value(), detail);
        }
        "Exists" => {}
        _ => errors.not_supported(&operator, &["Equal", "Exists"]),
    }
    if toleration.field("tolerationSeconds").exists() && effect.text() != "NoExecute" {
        errors.invalid(
            &effect,
            "effect must be 'NoExecute' when `tolerationSeconds` is set",
        );
    }
    if !effect.text().is_empty() && !EFFECTS.contains(&effect.text()) {
        errors.not_supported(&effect, &EFFECTS);
    }
}

/// Checks a `metav1.LabelSelector`.
pub(in crate::admit) fn selector_problems(selector: &At<'_, '_>, errors: &mut Errors) {
    const OPERATORS: [&str; 4] = ["DoesNotExist", "Exists", "In", "NotIn"];
    metadata::labels(&selector.field("matchLabels"), errors);
    for expression in selector.field("matchExpressions").each() {
        let (key, operator) = (expression.field("key"), expression.field("operator"));
        let values = expression.field("values");
        errors.problems(&key, key.text(), &names::qualified(key.text()));
        match operator.text() {
            "In" | "NotIn" if values.len() == 0 => {
                let detail = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.required(&values, detail);
            }
            "Exists" | "DoesNotExist" if values.len() > 0 => {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.forbidden(&values, detail);
            }
            known if OPERATORS.contains(&known) => {}
            _ => errors.invalid(&operator, "not a valid selector operator"),
        }
        for value in values.each() {
            errors.problems(&value, value.text(), &names::label_value(value.text()));
        }
    }
}
