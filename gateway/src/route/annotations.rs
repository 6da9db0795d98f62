//! What annotations say about an Ingress: `gateway.skiff.io/…`. A value that can't be understood
//! changes nothing and is told; so is a name that nobody knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::networking::v1::Ingress;
use skiff_network::ServiceKey;

use super::{Backend, Canary, IngressRef, Note, PortRef, Rate, Settings};

/// What all of them begin with.
const PREFIX: &str = "gateway.skiff.io/";

/// The longest wait that can be asked for.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// More tries than this help nobody.
const RETRIES_MAX: u8 = 10;

/// More at once than this is no limit any more.
const BURST_MAX: u32 = 1_000_000;

/// What was read of one Ingress.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) settings: Arc<Settings>,
    /// By the stable backend.
    canaries: BTreeMap<Backend, Canary>,
    pub(super) notes: Vec<Note>,
}

impl Read {
    pub(super) fn canary_of(&self, backend: &Backend) -> Option<Canary> {
        self.canaries.get(backend).cloned()
    }
}

/// Reads an Ingress whose paths lead to these services.
pub(super) fn read(ingress: &Ingress, whose: &IngressRef, stable: &BTreeSet<Backend>) -> Read {
    let mut settings = Settings::default();
    let mut parts = CanaryParts::default();
    let mut notes = Vec::new();
    for (name, value) in ingress.metadata.annotations.iter().flatten() {
        let Some(short) = name.strip_prefix(PREFIX) else {
            continue;
        };
        if let Err(why) = set(&mut settings, &mut parts, short, value.trim()) {
            notes.push(format!("{name}: {value:?}: {why}"));
        }
    }
    let canaries = parts
        .finish(&whose.namespace, stable)
        .unwrap_or_else(|why| {
            notes.push(format!("{PREFIX}canary-service: {why}"));
            BTreeMap::new()
        });
    let notes = notes.into_iter().map(|message| Note {
        ingress: whose.clone(),
        reason: "BadAnnotation",
        message,
    });
    Read {
        settings: Arc::new(settings),
        canaries,
        notes: notes.collect(),
    }
}

#[derive(Default)]
struct CanaryParts {
    service: Option<String>,
    weight_percent: u8,
    header: Option<http::HeaderName>,
    header_value: Option<String>,
}

fn set(
    settings: &mut Settings,
    canary: &mut CanaryParts,
    name: &str,
    value: &str,
) -> Result<(), String> {
    match name {
        "connect-timeout" => settings.connect_timeout = duration(value)?,
        "response-timeout" => settings.response_timeout = duration(value)?,
        "idle-timeout" => settings.idle_timeout = duration(value)?,
        "slow-start" => settings.slow_start = duration_or_zero(value)?,
        "body-limit" => settings.body_max = bytes(value)?,
        "retries" => settings.retries = number(value, RETRIES_MAX)?,
        "rate-limit" => settings.rate = Some(rate(value)?),
        "rate-limit-burst" => {
            // The rate itself comes first in the order of names.
            let rate = settings
                .rate
                .as_mut()
                .ok_or("there is no valid rate-limit")?;
            rate.burst = number(value, BURST_MAX)?.max(1);
        }
        "redirect-https" => settings.redirect_https = yes(value)?,
        "canary-service" => canary.service = Some(value.to_owned()),
        "canary-weight" => canary.weight_percent = number(value, 100)?,
        "canary-header" => {
            let name = value.parse().map_err(|_| "is not a header's name")?;
            canary.header = Some(name);
        }
        "canary-header-value" => canary.header_value = Some(value.to_owned()),
        "canary-auto" if value == "false" => {}
        name if name.starts_with("canary-auto") => {
            return Err("a canary does not judge itself; change canary-weight".to_owned());
        }
        _ => return Err("this gateway has no such annotation".to_owned()),
    }
    Ok(())
}

impl CanaryParts {
    /// `NAME[:PORT]` where the Ingress leads to one service, else `STABLE=NAME[:PORT],…`.
    fn finish(
        self,
        namespace: &str,
        stable: &BTreeSet<Backend>,
    ) -> Result<BTreeMap<Backend, Canary>, String> {
        let Some(text) = &self.service else {
            return Ok(BTreeMap::new());
        };
        let names: BTreeSet<_> = stable
            .iter()
            .map(|backend| &*backend.service.name)
            .collect();
        let mut found = BTreeMap::new();
        for part in text.split(',') {
            let (of, canary) = match part.split_once('=') {
                Some((of, canary)) => (of.trim(), canary.trim()),
                None => match (names.len(), names.first()) {
                    (1, Some(only)) => (*only, part.trim()),
                    _ => {
                        return Err(format!(
                            "the Ingress leads to {} services: write STABLE=CANARY",
                            names.len()
                        ));
                    }
                },
            };
            let mut some = false;
            for backend in stable.iter().filter(|backend| &*backend.service.name == of) {
                some = true;
                let canary = self.canary(namespace, canary, &backend.port)?;
                found.insert(backend.clone(), canary);
            }
            if !some {
                return Err(format!("no path of the Ingress leads to service {of:?}"));
            }
        }
        Ok(found)
    }

    fn canary(&self, namespace: &str, text: &str, port: &PortRef) -> Result<Canary, String> {
        let (name, port) = match text.split_once(':') {
            None => (text, port.clone()),
            Some((name, port)) => match port.parse::<u16>() {
                Ok(number) => (name, PortRef::Number(number)),
                Err(_) => (name, PortRef::Name(port.into())),
            },
        };
        if name.is_empty() {
            return Err(format!("{text:?} names no service"));
        }
        let value = || Arc::from(self.header_value.as_deref().unwrap_or("always"));
        Ok(Canary {
            backend: Backend {
                service: ServiceKey::new(namespace, name),
                port,
            },
            weight_percent: self.weight_percent,
            header: self.header.clone().map(|name| (name, value())),
        })
    }
}

fn yes(value: &str) -> Result<bool, String> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("must be \"true\" or \"false\"".to_owned()),
    }
}

fn number<T>(value: &str, max: T) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display + Copy,
{
    let wrong = format!("must be a number from 0 to {max}");
    match value.parse::<T>() {
        Ok(number) if number <= max => Ok(number),
        Ok(_) | Err(_) => Err(wrong),
    }
}

fn duration_or_zero(value: &str) -> Result<Duration, String> {
    if value == "0" {
        return Ok(Duration::ZERO);
    }
    duration(value)
}

fn duration(value: &str) -> Result<Duration, String> {
    let wrong = || "must be a time like 500ms, 30s, 5m or 1h, at most 24h".to_owned();
    let digits = value
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(value.len());
    let (count, unit) = value.split_at(digits);
    let count: u64 = count.parse().map_err(|_| wrong())?;
    let millis = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    let found = Duration::from_millis(count.checked_mul(millis).ok_or_else(wrong)?);
    if found.is_zero() || found > TIMEOUT_MAX {
        return Err(wrong());
    }
    Ok(found)
}

/// A size like `512Ki`, `10Mi` or `1Gi`, or plain bytes; `0` for any size.
fn bytes(value: &str) -> Result<Option<u64>, String> {
    let wrong = || "must be a size like 512Ki, 10Mi or 1Gi, or 0 for any".to_owned();
    let digits = value
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(value.len());
    let (count, unit) = value.split_at(digits);
    let count: u64 = count.parse().map_err(|_| wrong())?;
    let size: u64 = match unit {
        "" => 1,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return Err(wrong()),
    };
    let count = count.checked_mul(size).ok_or_else(wrong)?;
    Ok((count > 0).then_some(count))
}

/// `10/s` or `600/m`; as many may come at once as in a second, unless a burst is named.
fn rate(value: &str) -> Result<Rate, String> {
    let wrong = || "must be a rate like 10/s or 600/m".to_owned();
    let (count, unit) = value.split_once('/').ok_or_else(wrong)?;
    let count: u32 = count
        .parse()
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(wrong)?;
    let unit = match unit {
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" => Duration::from_secs(3600),
        _ => return Err(wrong()),
    };
    let interval = unit / count;
    let a_second = Duration::from_secs(1).as_nanos() / interval.as_nanos().max(1);
    let burst = u32::try_from(a_second)
        .unwrap_or(BURST_MAX)
        .clamp(1, BURST_MAX);
    Ok(Rate { interval, burst })
}
