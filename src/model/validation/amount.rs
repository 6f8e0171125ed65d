//! Owns what a quantity is worth, as far as rules compare quantities.
//! Never changes or prints one: a quantity's text is already canonical.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Parts of one unit: the finest that a quantity can say is a billionth.
const NANO: i128 = 1_000_000_000;

/// A quantity's worth in billionths. A text that is no quantity counts as 0: the decoder refuses those.
/// Numbers beyond what fits are cut to the largest that does.
pub fn nanos(quantity: &Quantity) -> i128 {
    parse(&quantity.0).unwrap_or(0)
}

/// The worth in whole units, rounded up.
pub fn units(quantity: &Quantity) -> i128 {
    let nanos = nanos(quantity);
    nanos.div_euclid(NANO) + i128::from(nanos.rem_euclid(NANO) > 0)
}

/// Whether it is a whole number of units, looked at in thousandths as upstream does.
pub fn is_whole(quantity: &Quantity) -> bool {
    let milli = NANO / 1000;
    let nanos = nanos(quantity);
    (nanos.div_euclid(milli) + i128::from(nanos.rem_euclid(milli) > 0)) % 1000 == 0
}

fn parse(text: &str) -> Option<i128> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut digits: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        digits = digits.saturating_mul(10).saturating_add(i128::from(digit.checked_sub(b'0')?));
    }
    let places = i32::try_from(fraction.len()).ok()?;
    let worth = match suffix {
        "Ki" | "Mi" | "Gi" | "Ti" | "Pi" | "Ei" => {
            let power = "KMGTPE".find(&suffix[..1])? + 1;
            scale(digits.saturating_mul(1_i128 << (10 * power)), 9 - places)
        }
        _ => scale(digits, decimal(suffix)? + 9 - places),
    };
    Some(if negative { -worth } else { worth })
}

fn decimal(suffix: &str) -> Option<i32> {
    Some(match suffix {
        "n" => -9,
        "u" => -6,
        "m" => -3,
        "" => 0,
        "k" => 3,
        "M" => 6,
        "G" => 9,
        "T" => 12,
        "P" => 15,
        "E" => 18,
        exponent => exponent.strip_prefix(['e', 'E'])?.parse().ok()?,
    })
}

/// `digits * 10^power`, rounded up.
fn scale(digits: i128, power: i32) -> i128 {
    // Beyond 38 places an i128 holds nothing (or everything).
    let factor = 10_i128.checked_pow(power.unsigned_abs()).unwrap_or(i128::MAX);
    if power >= 0 { digits.saturating_mul(factor) } else { digits / factor + i128::from(digits % factor > 0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Quantity {
        Quantity(text.to_owned())
    }

    #[test]
    fn quantities_are_worth_what_they_say() {
        for (one, other) in [("1", "1000m"), ("1Ki", "1024"), ("1.5Gi", "1536Mi"), ("1e3", "1k"), ("0.1", "100m")] {
            assert_eq!(nanos(&of(one)), nanos(&of(other)), "{one} {other}");
        }
        assert!(nanos(&of("-1")) < 0);
        assert_eq!(units(&of("1500m")), 2);
        assert!(is_whole(&of("2")) && !is_whole(&of("1500m")) && is_whole(&of("1.5Ki")));
        assert!(nanos(&of("1e100")) > nanos(&of("9E")));
    }
}
