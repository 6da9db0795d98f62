//! Lengths of time as kubectl prints them: `45s`, `3m12s`, `5h`, `12d`.

use std::time::Duration;

use jiff::Timestamp;
use skiff_api::Millis;

/// Now, by this machine's clock.
pub(crate) fn now() -> Millis {
    Millis::from(Timestamp::now())
}

/// The time since a timestamp of the API, or `<unknown>`.
pub(crate) fn since(timestamp: &str, now: Millis) -> String {
    match Millis::parse(timestamp) {
        Some(then) => human(now.since(then)),
        None => "<unknown>".to_owned(),
    }
}

/// A length of time with two or three digits that matter.
pub(crate) fn human(length: Duration) -> String {
    let seconds = length.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |big: u64, unit: char, small: u64, small_unit: char| {
        if small == 0 {
            format!("{big}{unit}")
        } else {
            format!("{big}{unit}{small}{small_unit}")
        }
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, 'm', seconds % 60, 's'),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, 'h', minutes % 60, 'm'),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, 'd', hours % 24, 'h'),
        _ if days < 2 * 365 => format!("{days}d"),
        _ if days < 8 * 365 => two(days / 365, 'y', days % 365, 'd'),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_read_as_in_kubectl() {
        let (minute, hour, day) = (60, 3600, 86_400);
        let cases = [
            (0, "0s"),
            (119, "119s"),
            (2 * minute, "2m"),
            (3 * minute + 12, "3m12s"),
            (10 * minute + 12, "10m"),
            (179 * minute, "179m"),
            (3 * hour, "3h"),
            (5 * hour + 10 * minute, "5h10m"),
            (8 * hour + 10 * minute, "8h"),
            (47 * hour, "47h"),
            (2 * day, "2d"),
            (3 * day + 4 * hour, "3d4h"),
            (8 * day + hour, "8d"),
            (400 * day, "400d"),
            (3 * 365 * day + day, "3y1d"),
            (9 * 365 * day + day, "9y"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(human(Duration::from_secs(seconds)), expected, "{seconds} s");
        }
    }

    #[test]
    fn a_clock_that_lags_shows_no_time() {
        let now = Millis::parse("2026-11-23T01:00:00Z").unwrap();
        assert_eq!(since("2026-11-23T00:59:30Z", now), "30s");
        assert_eq!(since("2026-11-23T01:00:05Z", now), "0s");
        assert_eq!(since("", now), "<unknown>");
    }
}
