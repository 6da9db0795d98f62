//! Times as annotations write them: `500ms`, `30s`, `5m`, `1h`; a number alone is seconds.

use std::time::Duration;

/// The longest time that can be asked for.
const MAX: Duration = Duration::from_secs(24 * 3600);

/// Reads a time that is longer than nothing.
///
/// # Errors
/// A sentence that says what it must be.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || "must be a time like 500ms, 30s, 5m or 1h, at most 24h".to_owned();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (count, unit) = text.split_at(digits);
    let count: u64 = count.parse().map_err(|_| wrong())?;
    let millis = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    let found = Duration::from_millis(count.checked_mul(millis).ok_or_else(wrong)?);
    if found.is_zero() || found > MAX {
        return Err(wrong());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_or_refused() {
        let cases = [
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            ("30", Some(30_000)),
            ("5m", Some(300_000)),
            ("24h", Some(86_400_000)),
            ("25h", None),
            ("0s", None),
            ("5 m", None),
            ("-1s", None),
            ("", None),
            ("99999999999999999h", None),
        ];
        for (text, expected) in cases {
            let found = parse(text).ok();
            assert_eq!(found, expected.map(Duration::from_millis), "{text:?}");
        }
    }
}
