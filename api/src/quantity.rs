//! Resource quantities, `500m` or `64Mi`, as exact integers (Kubernetes' `resource.Quantity`).

use std::fmt;

/// Why a text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "quantities must match the regular expression \
     '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)]
pub struct InvalidQuantity;

/// A CPU quantity in thousandths of a core, rounded up.
///
/// # Errors
/// [`InvalidQuantity`] if the text is not a quantity, or not one that fits.
pub fn millicores(text: &str) -> Result<i64, InvalidQuantity> {
    scaled(text, 1000)
}

/// A memory, storage or count quantity in whole units (bytes), rounded up.
///
/// # Errors
/// [`InvalidQuantity`] if the text is not a quantity, or not one that fits.
pub fn units(text: &str) -> Result<i64, InvalidQuantity> {
    scaled(text, 1)
}

/// Millicores as people write them: `250m`, `2`.
#[must_use]
pub fn format_millicores(millicores: i64) -> String {
    if millicores % 1000 == 0 {
        (millicores / 1000).to_string()
    } else {
        format!("{millicores}m")
    }
}

/// Bytes with the largest binary suffix that leaves them whole: `64Mi`, `100`.
#[must_use]
pub fn format_bytes(bytes: i64) -> String {
    const SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let mut value = bytes;
    let mut suffix = "";
    for next in SUFFIXES.iter().skip(1) {
        if value == 0 || value % 1024 != 0 {
            break;
        }
        value /= 1024;
        suffix = next;
    }
    Bytes(value, suffix).to_string()
}

struct Bytes(i64, &'static str);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0, self.1)
    }
}

/// `text` × `scale`, rounded up to an integer.
fn scaled(text: &str, scale: i128) -> Result<i64, InvalidQuantity> {
    let (number, suffix) = split(text)?;
    let (mantissa, decimals) = parse_decimal(number)?;
    let factor = Factor::parse(suffix)?;
    let numerator = mantissa
        .checked_mul(scale)
        .and_then(|n| n.checked_mul(factor.numerator))
        .ok_or(InvalidQuantity)?;
    let denominator = power_of_ten(decimals)?
        .checked_mul(factor.denominator)
        .ok_or(InvalidQuantity)?;
    let quotient = numerator.div_euclid(denominator);
    let rounded = quotient + i128::from(numerator.rem_euclid(denominator) != 0);
    i64::try_from(rounded).map_err(|_| InvalidQuantity)
}

fn split(text: &str) -> Result<(&str, &str), InvalidQuantity> {
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')))
        .unwrap_or(text.len());
    text.split_at_checked(end).ok_or(InvalidQuantity)
}

/// A decimal number as an integer and the count of its decimals.
fn parse_decimal(text: &str) -> Result<(i128, u32), InvalidQuantity> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{fraction}");
    let unsigned = digits.trim_start_matches(['+', '-']);
    if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return Err(InvalidQuantity);
    }
    let mantissa = digits.parse().map_err(|_| InvalidQuantity)?;
    let decimals = u32::try_from(fraction.len()).map_err(|_| InvalidQuantity)?;
    Ok((mantissa, decimals))
}

fn power_of_ten(exponent: u32) -> Result<i128, InvalidQuantity> {
    10i128.checked_pow(exponent).ok_or(InvalidQuantity)
}

struct Factor {
    numerator: i128,
    denominator: i128,
}

impl Factor {
    fn parse(suffix: &str) -> Result<Self, InvalidQuantity> {
        let whole = |numerator| {
            Ok(Self {
                numerator,
                denominator: 1,
            })
        };
        let part = |denominator| {
            Ok(Self {
                numerator: 1,
                denominator,
            })
        };
        match suffix {
            "" => whole(1),
            "n" => part(1_000_000_000),
            "u" => part(1_000_000),
            "m" => part(1000),
            "k" => whole(1000),
            "M" => whole(1_000_000),
            "G" => whole(1_000_000_000),
            "T" => whole(1_000_000_000_000),
            "P" => whole(1_000_000_000_000_000),
            "E" => whole(1_000_000_000_000_000_000),
            "Ki" => whole(1 << 10),
            "Mi" => whole(1 << 20),
            "Gi" => whole(1 << 30),
            "Ti" => whole(1 << 40),
            "Pi" => whole(1 << 50),
            "Ei" => whole(1 << 60),
            exponent => {
                let digits = exponent.strip_prefix(['e', 'E']).ok_or(InvalidQuantity)?;
                let power: i32 = digits.parse().map_err(|_| InvalidQuantity)?;
                let ten = power_of_ten(power.unsigned_abs())?;
                if power < 0 { part(ten) } else { whole(ten) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_exact() {
        let cases = [
            ("whole cores", millicores("2"), Ok(2000)),
            ("milli", millicores("250m"), Ok(250)),
            ("decimal", millicores("0.1"), Ok(100)),
            ("finer than milli rounds up", millicores("100n"), Ok(1)),
            ("binary suffix", units("64Mi"), Ok(64 << 20)),
            ("decimal suffix", units("1.5G"), Ok(1_500_000_000)),
            ("exponent", units("12e3"), Ok(12_000)),
            ("negative exponent rounds up", units("1e-3"), Ok(1)),
            ("milli bytes round up", units("1500m"), Ok(2)),
            ("negative", units("-1"), Ok(-1)),
            ("empty", units(""), Err(InvalidQuantity)),
            ("words", units("lots"), Err(InvalidQuantity)),
            ("two points", units("1.2.3"), Err(InvalidQuantity)),
            ("too large", units("99999999999Ei"), Err(InvalidQuantity)),
            ("huge exponent", units("1e999999"), Err(InvalidQuantity)),
        ];
        for (name, found, expected) in cases {
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn what_is_formatted_reads_back() {
        for value in [0, 1, 1000, 1024, 1500, 64 << 20, (5 << 30) + 1] {
            assert_eq!(units(&format_bytes(value)), Ok(value));
            assert_eq!(millicores(&format_millicores(value)), Ok(value));
        }
    }
}
