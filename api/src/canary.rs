//! A canary that judges itself, in words: what an Ingress asks for, how far it is, and what
//! gateways count of it. Gateways read and count, the engine judges, and both by these words.

mod counts;
mod observed;
mod settings;
mod status;

pub use counts::{BUCKETS, Counts, bounds_micros, bucket};
pub use observed::Observed;
pub use settings::Settings;
pub use status::{Phase, Status};

use serde::{Deserialize, Serialize};

/// What the names of all the gateway's annotations begin with.
pub const PREFIX: &str = "gateway.skiff.io/";
/// The annotation that asks for it: `true` or `false`.
pub const AUTO: &str = "gateway.skiff.io/canary-auto";
/// The annotation that names the canary's service.
pub const SERVICE: &str = "gateway.skiff.io/canary-service";
/// The annotation with the canary's share of a hundred requests.
pub const WEIGHT: &str = "gateway.skiff.io/canary-weight";
/// The annotation in which the servers say how far it is.
pub const STATUS: &str = "gateway.skiff.io/canary-status";

/// Which canary, at which weight: only what was counted of the same step can be added up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// As `canary-service` has it, without blanks.
    pub service: String,
    /// The canary's share of a hundred requests.
    pub weight_percent: u8,
}

/// What an Ingress says of a canary that judges itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auto {
    /// The step that it is at.
    pub step: Step,
    /// How it is judged.
    pub settings: Settings,
    /// How far it is. A status that is about another canary is none.
    pub status: Option<Status>,
}

impl Auto {
    /// Reads annotations, which `get` finds by their whole names; `None` if no canary of theirs is
    /// to judge itself. A setting that cannot be understood is as if it were not there.
    pub fn read<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        if get(AUTO)?.trim() != "true" {
            return None;
        }
        let service: String = get(SERVICE)?.split_whitespace().collect();
        if service.is_empty() {
            return None;
        }
        let status = get(STATUS).and_then(Status::parse);
        let is_another = status.as_ref().is_some_and(|of| of.service != service);
        let weight = get(WEIGHT).and_then(|text| text.trim().parse::<u8>().ok());
        Some(Self {
            step: Step {
                // The weight that the last canary came to is not this one's.
                weight_percent: weight
                    .filter(|percent| *percent <= 100 && !is_another)
                    .unwrap_or(0),
                service,
            },
            settings: Settings::read(get),
            status: status.filter(|_| !is_another),
        })
    }

    /// The verdict on this canary, if there is one: it is judged no more.
    #[must_use]
    pub fn verdict(&self) -> Option<Phase> {
        let phase = self.status.as_ref()?.phase;
        (phase != Phase::Progressing).then_some(phase)
    }

    /// The names of the services that are canaries: `web-2` and `cart-2` of
    /// `web=web-2:80,cart=cart-2`.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.step.service.split(',').map(|part| {
            let canary = part.split_once('=').map_or(part, |(_, canary)| canary);
            canary.split_once(':').map_or(canary, |(name, _)| name)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(annotations: &[(&str, &str)]) -> Option<Auto> {
        let find = |name: &str| annotations.iter().find(|(known, _)| *known == name);
        Auto::read(|name| find(name).map(|(_, value)| *value))
    }

    #[test]
    fn a_canary_judges_itself_if_asked_and_its_weight_is_its_own() {
        let status = |text| (STATUS, text);
        let cases = [
            ("not asked", vec![(SERVICE, "b")], None),
            ("switched off", vec![(AUTO, "false"), (SERVICE, "b")], None),
            ("of no service", vec![(AUTO, "true")], None),
            ("new", vec![(AUTO, "true"), (SERVICE, "b")], Some((0, None))),
            (
                "begun by hand",
                vec![(AUTO, "true"), (SERVICE, "b"), (WEIGHT, "5")],
                Some((5, None)),
            ),
            (
                "under way",
                vec![
                    (AUTO, "true"),
                    (SERVICE, " b "),
                    (WEIGHT, "20"),
                    status("progressing: b since 2026-01-01T00:00:00Z"),
                ],
                Some((20, None)),
            ),
            (
                "promoted",
                vec![
                    (AUTO, "true"),
                    (SERVICE, "b"),
                    (WEIGHT, "100"),
                    status("promoted: b at 2026-01-01T00:00:00Z"),
                ],
                Some((100, Some(Phase::Promoted))),
            ),
            (
                "the next one",
                vec![
                    (AUTO, "true"),
                    (SERVICE, "c"),
                    (WEIGHT, "100"),
                    status("promoted: b at 2026-01-01T00:00:00Z"),
                ],
                Some((0, None)),
            ),
        ];
        for (name, annotations, expected) in cases {
            let found = read(&annotations).map(|auto| (auto.step.weight_percent, auto.verdict()));
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn the_services_of_a_canary_are_found() {
        let auto = read(&[(AUTO, "true"), (SERVICE, "web = web-2:http, cart=cart-2")]).unwrap();
        let services: Vec<_> = auto.services().collect();
        assert_eq!(services, ["web-2", "cart-2"]);
        let auto = read(&[(AUTO, "true"), (SERVICE, "web-2:8080")]).unwrap();
        assert_eq!(auto.services().collect::<Vec<_>>(), ["web-2"]);
    }
}
