//! PURE. Owns what resource quantities of a pod mean in numbers: `500m`, `1.5Gi`, `2e3`.
//! Never writes a quantity back as text and never judges whether one is allowed: validation did that.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Billionths: the finest unit that a quantity can have.
const NANO: i128 = 1_000_000_000;

/// Exponents beyond this are no quantity that upstream accepts either.
const MAX_EXPONENT: u32 = 18;

/// A quantity in billionths of its unit, rounded up as upstream rounds; none where it is malformed.
pub fn nanos(text: &str) -> Option<i128> {
    let text = text.trim();
    let digits_end =
        text.char_indices().find(|(at, c)| !(c.is_ascii_digit() || *c == '.' || (*at == 0 && "+-".contains(*c))));
    let (number, suffix) = text.split_at(digits_end.map_or(text.len(), |(at, _)| at));
    let (up, down) = scale(suffix)?;
    let negative = number.starts_with('-');
    let number = number.trim_start_matches(['+', '-']);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let divisor = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?.checked_mul(down)?;
    let scaled = mantissa.checked_mul(up)?.checked_mul(NANO)?;
    let value = ceil_div(scaled, divisor);
    Some(if negative { -value } else { value })
}

/// Multiplier and divisor of a suffix.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    let pow = |base: i128, exponent: u32| base.pow(exponent);
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, NANO),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "k" => (pow(10, 3), 1),
        "M" => (pow(10, 6), 1),
        "G" => (pow(10, 9), 1),
        "T" => (pow(10, 12), 1),
        "P" => (pow(10, 15), 1),
        "E" => (pow(10, 18), 1),
        "Ki" => (pow(2, 10), 1),
        "Mi" => (pow(2, 20), 1),
        "Gi" => (pow(2, 30), 1),
        "Ti" => (pow(2, 40), 1),
        "Pi" => (pow(2, 50), 1),
        "Ei" => (pow(2, 60), 1),
        exponent => {
            let digits = exponent.strip_prefix(['e', 'E'])?;
            let value: i32 = digits.parse().ok()?;
            let power = value.unsigned_abs();
            if power > MAX_EXPONENT {
                return None;
            }
            if value < 0 { (1, pow(10, power)) } else { (pow(10, power), 1) }
        }
    })
}

fn ceil_div(value: i128, by: i128) -> i128 {
    (value + by - 1) / by
}

/// One resource of a list in billionths; none where it is not there.
pub fn find(list: Option<&BTreeMap<String, Quantity>>, resource: &str) -> Option<i128> {
    list?.get(resource).and_then(|quantity| nanos(&quantity.0))
}

/// Billionths as whole units, rounded up.
pub fn units(nanos: i128) -> i128 {
    ceil_div(nanos, NANO)
}

/// How often `divisor` goes into `value`, both in billionths, rounded up: what `resourceFieldRef` shows.
pub fn divided(value: i128, divisor: i128) -> i128 {
    ceil_div(value, divisor.max(1))
}

#[cfg(test)]
mod tests {
    use super::{nanos, units};

    #[test]
    fn quantities_mean_what_upstream_means() {
        for (text, expected) in [
            ("1", Some(1)),
            ("500m", Some(1)),
            ("1.5Gi", Some(1_610_612_736)),
            ("2e3", Some(2000)),
            ("2E3", Some(2000)),
            ("1E", Some(1_000_000_000_000_000_000)),
            ("1k", Some(1000)),
            ("1Ki", Some(1024)),
            (".5k", Some(500)),
            ("0", Some(0)),
            ("1e-3", Some(1)),
            ("", None),
            ("Gi", None),
            ("1x", None),
            ("1e99", None),
        ] {
            assert_eq!(nanos(text).map(units), expected, "{text}");
        }
        assert_eq!(nanos("250m"), Some(250_000_000));
        assert_eq!(nanos("100n"), Some(100));
    }
}
