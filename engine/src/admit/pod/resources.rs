//! A container's requests and limits.

use skiff_api::quantity::{self, InvalidQuantity};

use crate::admit::field::{At, Errors};
use crate::admit::names;

const STANDARD: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

pub(super) fn validate(resources: &At<'_, '_>, errors: &mut Errors) {
    let (limits, requests) = (resources.field("limits"), resources.field("requests"));
    for list in [&limits, &requests] {
        for (name, _) in list.entries() {
            let at = list.key(name);
            check_name(&at, name, errors);
            amount(name, &at, errors);
        }
    }
    for (name, _) in requests.entries() {
        let (request, limit) = (requests.field(name), limits.field(name));
        let (Ok(asked), Ok(allowed)) = (parse(name, request.text()), parse(name, limit.text()))
        else {
            continue;
        };
        if asked > allowed {
            let detail = format!(
                "must be less than or equal to {name} limit of {}",
                limit.text()
            );
            errors.invalid_as(&requests, request.text(), &detail);
        }
    }
}

fn check_name(at: &At<'_, '_>, name: &str, errors: &mut Errors) {
    if STANDARD.contains(&name) || name.starts_with("hugepages-") {
        return;
    }
    errors.problems(at, name, &names::qualified(name));
    if !name.contains('/') {
        errors.invalid_as(
            at,
            name,
            "must be a standard resource type or fully qualified",
        );
        errors.invalid_as(at, name, "must be a standard resource for containers");
    }
}

/// A quantity of a resource, which is not negative.
pub(super) fn amount(name: &str, at: &At<'_, '_>, errors: &mut Errors) {
    match parse(name, at.text()) {
        Ok(amount) if amount < 0 => errors.invalid(at, "must be greater than or equal to 0"),
        Ok(_) => {}
        Err(err) => errors.invalid(at, &err.to_string()),
    }
}

/// In thousandths of a core for CPU, in whole units for all else.
pub(super) fn parse(name: &str, text: &str) -> Result<i64, InvalidQuantity> {
    if name == "cpu" {
        quantity::millicores(text)
    } else {
        quantity::units(text)
    }
}
