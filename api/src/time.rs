//! Points in time, in the two forms that Kubernetes writes.

use std::fmt;
use std::time::Duration;

/// A point in time: milliseconds since the Unix epoch, of the clock of whoever stamped it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub i64);

impl Millis {
    /// The time that has passed since `earlier`; zero if that is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This time, `duration` later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// Whole seconds, `2026-11-23T01:46:49Z`: the form of `metav1.Time`.
    #[must_use]
    pub fn rfc3339(self) -> String {
        let seconds = self.0.div_euclid(1000);
        jiff::Timestamp::from_second(seconds)
            .unwrap_or(jiff::Timestamp::MIN)
            .to_string()
    }

    /// Microseconds, `2026-11-23T01:46:49.123000Z`: the form of `metav1.MicroTime`.
    #[must_use]
    pub fn rfc3339_micro(self) -> String {
        let at = jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::MIN);
        format!("{at:.6}")
    }

    /// Reads either form, with any offset.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>()
            .ok()
            .map(|at| Self(at.as_millisecond()))
    }
}

impl From<jiff::Timestamp> for Millis {
    fn from(at: jiff::Timestamp) -> Self {
        Self(at.as_millisecond())
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_written_and_read() {
        let at = Millis(1_795_398_409_123);
        assert_eq!(at.rfc3339(), "2026-11-23T01:46:49Z");
        assert_eq!(at.rfc3339_micro(), "2026-11-23T01:46:49.123000Z");
        assert_eq!(Millis::parse(&at.rfc3339_micro()), Some(at));
        assert_eq!(
            Millis::parse("2026-11-23T02:46:49+01:00"),
            Some(Millis(1_795_398_409_000))
        );
        assert_eq!(Millis::parse("yesterday"), None);
    }
}
