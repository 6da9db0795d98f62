//! What annotations say about an Ingress: `gateway.skiff.io/…`. A value that can't be understood
//! changes nothing and is told; so is a name that nobody knows.

mod canary;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::networking::v1::Ingress;
use skiff_api::canary::{Auto, PREFIX};
use skiff_api::duration::parse as duration;

use self::canary::Parts;
use super::{Backend, Canary, IngressRef, Note, Rate, Settings};

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
    let mut parts = Parts::default();
    let mut notes = Vec::new();
    let annotations = ingress.metadata.annotations.as_ref();
    for (name, value) in annotations.into_iter().flatten() {
        let Some(short) = name.strip_prefix(PREFIX) else {
            continue;
        };
        if let Err(why) = set(&mut settings, &mut parts, short, value.trim()) {
            notes.push(format!("{name}: {value:?}: {why}"));
        }
    }
    let auto = Auto::read(|name| annotations?.get(name).map(String::as_str));
    let canaries = parts
        .finish(&whose.namespace, stable, auto)
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

fn set(settings: &mut Settings, canary: &mut Parts, name: &str, value: &str) -> Result<(), String> {
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
        _ => match name.strip_prefix("canary-") {
            Some(name) => canary.set(name, value)?,
            None => return Err("this gateway has no such annotation".to_owned()),
        },
    }
    Ok(())
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
