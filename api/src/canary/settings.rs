//! How a canary is judged: `gateway.skiff.io/canary-auto-…`.

use std::time::Duration;

use super::PREFIX;
use crate::duration;

/// The settings, and in `Default` what holds where an Ingress says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `canary-auto-step`: how many of a hundred requests more the canary gets at each step.
    pub step_percent: u8,
    /// `canary-auto-interval`: how long a step takes at least.
    pub interval: Duration,
    /// `canary-auto-requests`: a step with fewer requests to the canary is not judged.
    pub requests: u64,
    /// `canary-auto-errors`, in hundredths of a percentage point: how much larger the canary's share
    /// of failed requests may be.
    pub errors_basis_points: u32,
    /// `canary-auto-latency`: how many percent higher the canary's p99 may be.
    pub latency_percent: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // Step, interval and share of errors are Flagger's customary ones.
            step_percent: 10,
            interval: Duration::from_secs(60),
            requests: 50,
            errors_basis_points: 100,
            latency_percent: 50,
        }
    }
}

/// More requests than this in one step are no least number any more.
const REQUESTS_MAX: u64 = 1_000_000;
/// A canary a hundred times slower than the stable version: whoever writes this wants no limit.
const LATENCY_MAX: u64 = 10_000;

impl Settings {
    /// All settings of some annotations, which `get` finds by their whole names.
    pub(super) fn read<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Self {
        let mut settings = Self::default();
        for name in ["step", "interval", "requests", "errors", "latency"] {
            if let Some(value) = get(&format!("{PREFIX}canary-auto-{name}")) {
                let mut changed = settings.clone();
                if changed.set(name, value.trim()).is_ok() {
                    settings = changed;
                }
            }
        }
        settings
    }

    /// Changes one setting, named as in `canary-auto-NAME`.
    ///
    /// # Errors
    /// A sentence that says what the value must be.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "step" => self.step_percent = narrow(whole(value, 1, 100)?),
            "interval" => self.interval = duration::parse(value)?,
            "requests" => self.requests = whole(value, 1, REQUESTS_MAX)?,
            "errors" => self.errors_basis_points = basis_points(value)?,
            "latency" => self.latency_percent = narrow(whole(value, 0, LATENCY_MAX)?),
            _ => return Err("this gateway has no such annotation".to_owned()),
        }
        Ok(())
    }
}

fn whole(value: &str, min: u64, max: u64) -> Result<u64, String> {
    let number = value.parse::<u64>().ok();
    let number = number.filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| format!("must be a number from {min} to {max}"))
}

/// A number that was checked to be within a bound that fits.
fn narrow<T: TryFrom<u64> + Default>(number: u64) -> T {
    T::try_from(number).unwrap_or_default()
}

/// Percentage points with at most two decimals: `1`, `0.5`, `0.25`.
fn basis_points(value: &str) -> Result<u32, String> {
    let wrong = || "must be percentage points from 0 to 100, like 1 or 0.25".to_owned();
    let (whole, decimals) = value.split_once('.').unwrap_or((value, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(decimals) || decimals.len() > 2 {
        return Err(wrong());
    }
    let points: u32 = format!("{whole}{decimals:0<2}")
        .parse()
        .map_err(|_| wrong())?;
    (points <= 10_000).then_some(points).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_or_refused() {
        let cases = [
            ("step", "25", ""),
            ("step", "0", "must be a number from 1 to 100"),
            ("step", "10%", "must be a number"),
            ("interval", "2s", ""),
            ("interval", "0", "must be a time"),
            ("requests", "500", ""),
            ("requests", "0", "must be a number from 1"),
            ("errors", "0", ""),
            ("errors", "1", ""),
            ("errors", "0.25", ""),
            ("errors", "0.125", "must be percentage points"),
            ("errors", "101", "must be percentage points"),
            ("errors", "1.", "must be percentage points"),
            ("errors", "+1", "must be percentage points"),
            ("errors", "", "must be percentage points"),
            ("latency", "0", ""),
            ("latency", "x", "must be a number from 0 to 10000"),
            ("treshold", "1", "no such annotation"),
        ];
        for (name, value, expected) in cases {
            let said = Settings::default().set(name, value).err();
            let said = said.unwrap_or_default();
            assert_eq!(
                said.is_empty(),
                expected.is_empty(),
                "{name} {value}: {said}"
            );
            assert!(said.contains(expected), "{name} {value}: {said}");
        }
    }

    #[test]
    fn what_is_wrong_leaves_the_default() {
        let get = |name: &str| match name {
            "gateway.skiff.io/canary-auto-errors" => Some("0.5"),
            "gateway.skiff.io/canary-auto-step" => Some("many"),
            "gateway.skiff.io/canary-auto-interval" => Some(" 2m "),
            _ => None,
        };
        let expected = Settings {
            errors_basis_points: 50,
            interval: Duration::from_secs(120),
            ..Settings::default()
        };
        assert_eq!(Settings::read(get), expected);
    }
}
