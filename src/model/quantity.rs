//! Owns resource quantities: `500m`, `1Gi`, `1e3`. Reads, compares and writes them as apimachinery's `Quantity` does.
//! Never knows what is measured.
//!
//! A quantity remembers the family of its suffix (binary, decimal, exponent) and, where upstream would, its very text:
//! `1025Ki` and `+1` are written back as they came, `1024Ki` becomes `1Mi`.
//!
//! Parity: `k8s.io/apimachinery/pkg/api/resource`. Differs: more than 36 significant digits are refused, since nothing
//! that this machine has needs them.

use std::cmp::Ordering;

/// What a text is told that is no quantity.
pub const WRONG_FORMAT: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
/// What a text is told whose suffix is none of the known ones.
pub const WRONG_SUFFIX: &str = "unable to parse quantity's suffix";
/// What a text is told whose number is none.
pub const WRONG_NUMBER: &str = "unable to parse numeric part of quantity";

/// Digits that fit the fast path of upstream, on which it keeps the text (`maxInt64Factors`).
const FAST_DIGITS: i64 = 18;
/// Significant digits that are accepted.
const MOST_DIGITS: usize = 36;
/// The smallest unit: 10^-9.
const NANO: i32 = -9;
/// The largest binary quantity.
const MAX_BINARY: i128 = i64::MAX as i128;

/// Which family of suffixes a quantity is written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Binary,
    Decimal,
    Exponent,
}

/// A number with a unit: `digits * 10^exponent`, exactly.
#[derive(Clone, Debug)]
pub struct Quantity {
    digits: i128,
    exponent: i32,
    format: Format,
    /// The text as it came, where upstream writes it back unchanged.
    text: Option<String>,
    /// Upstream keeps it in 64 bits, not as a decimal of any size.
    small: bool,
}

/// The parts of a quantity's text.
struct Parts<'a> {
    negative: bool,
    /// Before the point, leading zeros stripped; never empty.
    whole: &'a str,
    /// After the point.
    fraction: &'a str,
    suffix: &'a str,
}

impl Quantity {
    /// Reads a quantity; the error is upstream's text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let parts = split(text)?;
        let (base, power, format) = suffix(parts.suffix).ok_or(WRONG_SUFFIX)?;
        if parts.whole.len() + parts.fraction.len() > MOST_DIGITS {
            return Err(WRONG_NUMBER);
        }
        let shifted = format!("{}{}", parts.whole, parts.fraction);
        let magnitude: i128 = shifted.parse().map_err(|_| WRONG_NUMBER)?;
        let places = i32::try_from(parts.fraction.len()).map_err(|_| WRONG_NUMBER)?;
        if let Some(fast) = Self::fast(text, &parts, &shifted, magnitude, (power, format)) {
            return Ok(fast);
        }
        let mut quantity = if base == 2 {
            let digits = magnitude.checked_shl(power.unsigned_abs()).filter(|shifted| shifted >> power == magnitude);
            // More than 128 bits is more than the cap below.
            Self { digits: digits.unwrap_or(i128::MAX >> 1), exponent: -places, format, text: None, small: false }
        } else {
            Self { digits: magnitude, exponent: power.saturating_sub(places), format, text: None, small: false }
        };
        quantity.round_up(NANO);
        if format == Format::Binary {
            quantity.limit_binary();
        }
        if parts.negative {
            quantity.digits = -quantity.digits;
        }
        Ok(quantity)
    }

    /// Upstream's path for numbers of ordinary size, on which some texts are kept as they are.
    fn fast(text: &str, parts: &Parts<'_>, shifted: &str, magnitude: i128, unit: (i32, Format)) -> Option<Self> {
        let (power, format) = unit;
        let count = i64::try_from(shifted.len()).ok()?;
        let (scale, factor, precision) = match format {
            Format::Decimal | Format::Exponent => {
                (power.checked_sub(i32::try_from(parts.fraction.len()).ok()?)?, 1, FAST_DIGITS - count)
            }
            Format::Binary if parts.fraction.is_empty() => {
                (0, 1i128 << power, 15 - count - i64::from(power) * 3 / 10 - 1)
            }
            Format::Binary => return None,
        };
        if precision < 0 || scale < NANO {
            return None;
        }
        let size = magnitude.checked_mul(factor).filter(|size| *size <= i128::from(i64::MAX))?;
        let keeps_text = text != "0"
            && match format {
                Format::Binary => power % 10 == 0 && magnitude & 7 != 0,
                Format::Decimal | Format::Exponent => {
                    scale % 3 == 0 && !shifted.ends_with("000") && !shifted.starts_with('0')
                }
            };
        let digits = if parts.negative { -size } else { size };
        Some(Self { digits, exponent: scale, format, text: keeps_text.then(|| text.to_owned()), small: true })
    }

    /// A whole number of units in the decimal family: `from_units(2)` is `2`.
    pub fn from_units(units: i64) -> Self {
        Self { digits: units.into(), exponent: 0, format: Format::Decimal, text: None, small: false }
    }

    /// Thousandths, in the decimal family: `from_milli(1500)` is `1500m`.
    pub fn from_milli(milli: i64) -> Self {
        Self { digits: milli.into(), exponent: -3, format: Format::Decimal, text: None, small: false }
    }

    /// Bytes, in the binary family: `from_bytes(1 << 30)` is `1Gi`.
    pub fn from_bytes(bytes: i64) -> Self {
        Self { digits: bytes.into(), exponent: 0, format: Format::Binary, text: None, small: false }
    }

    /// Whole units, rounded away from zero, capped at 64 bits: bytes of a memory quantity.
    pub fn units(&self) -> i64 {
        self.scaled(0)
    }

    /// Thousandths, rounded away from zero, capped at 64 bits: millicores of a CPU quantity.
    pub fn milli(&self) -> i64 {
        self.scaled(-3)
    }

    /// Whether upstream takes it for a whole number of units: by its thousandths in 64 bits, where too large a number
    /// counts as none if it is kept in 64 bits itself, and wraps around otherwise. So `10P` is whole and `1Ei` is not.
    pub fn counts_as_whole(&self) -> bool {
        const TEN: i64 = 10;
        let steps = self.exponent.saturating_add(3);
        let milli = match (u32::try_from(steps), self.small) {
            (Err(_), _) => rounded(self.digits, -steps).0 as i64,
            (Ok(steps), true) => i64::try_from(self.digits)
                .ok()
                .and_then(|digits| digits.checked_mul(TEN.checked_pow(steps)?))
                .unwrap_or(0),
            (Ok(steps), false) => (self.digits as i64).wrapping_mul(TEN.checked_pow(steps).unwrap_or(i64::MIN)),
        };
        milli % 1000 == 0
    }

    /// Whether it is zero.
    pub fn is_zero(&self) -> bool {
        self.digits == 0
    }

    /// Whether it is below zero.
    pub fn is_negative(&self) -> bool {
        self.digits < 0
    }

    /// Rounds away from zero to multiples of 10^`exponent`; forgets the text where that changes something.
    pub fn round_up(&mut self, exponent: i32) {
        if self.exponent >= exponent {
            return;
        }
        self.text = None;
        let (digits, _) = rounded(self.digits, exponent - self.exponent);
        (self.digits, self.exponent) = (digits, exponent);
    }

    /// This and that together, in the family of this (of that, where this is zero). Too large a sum is capped.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        let exponent = self.exponent.min(other.exponent);
        let digits = at_exponent(self, exponent).saturating_add(at_exponent(other, exponent));
        Self { digits, exponent, format, text: None, small: false }
    }

    /// This without that; nothing where that is more.
    #[must_use]
    pub fn less(&self, other: &Self) -> Self {
        let exponent = self.exponent.min(other.exponent);
        let digits = at_exponent(self, exponent).saturating_sub(at_exponent(other, exponent)).max(0);
        Self { digits, exponent, format: self.format, text: None, small: false }
    }

    fn scaled(&self, exponent: i32) -> i64 {
        let digits = if self.exponent < exponent {
            rounded(self.digits, exponent - self.exponent).0
        } else {
            at_exponent(self, exponent)
        };
        i64::try_from(digits).unwrap_or(if digits < 0 { i64::MIN } else { i64::MAX })
    }

    fn limit_binary(&mut self) {
        let max = Self { digits: MAX_BINARY, exponent: 0, format: Format::Binary, text: None, small: false };
        let one = Self::from_units(1);
        if self.compare(&max) == Ordering::Greater {
            (self.digits, self.exponent) = (MAX_BINARY, 0);
        }
        if self.digits > 0 && self.compare(&one) == Ordering::Less {
            self.format = Format::Decimal;
        }
    }

    /// Order by value: `1000m` equals `1`.
    pub fn compare(&self, other: &Self) -> Ordering {
        let signs = self.digits.signum().cmp(&other.digits.signum());
        if signs != Ordering::Equal || self.digits == 0 {
            return signs;
        }
        let sizes = size_of(self).cmp(&size_of(other));
        let order = sizes.then_with(|| {
            // Of the same size, so that the digits compare as texts once the shorter one is filled up.
            let (one, two) = (self.digits.unsigned_abs().to_string(), other.digits.unsigned_abs().to_string());
            let width = one.len().max(two.len());
            format!("{one:0<width$}").cmp(&format!("{two:0<width$}"))
        });
        if self.digits < 0 { order.reverse() } else { order }
    }

    /// The canonical text: `1` of `1000m`, `1536Mi` of `1.5Gi`.
    pub fn canonical(&self) -> String {
        if let Some(text) = &self.text {
            return text.clone();
        }
        if self.digits == 0 {
            return "0".to_owned();
        }
        match self.format {
            Format::Binary => self.binary().unwrap_or_else(|| self.decimal(Format::Decimal)),
            format => self.decimal(format),
        }
    }

    /// With a binary suffix; none where that would lose precision, or below 1024.
    fn binary(&self) -> Option<String> {
        let (mut digits, exact) = match self.exponent {
            exponent if exponent < 0 => rounded(self.digits, -exponent),
            exponent => (self.digits.checked_mul(10i128.checked_pow(exponent.unsigned_abs())?)?, true),
        };
        if !exact || digits.abs() < 1024 {
            return None;
        }
        let mut steps = 0;
        while digits % 1024 == 0 {
            digits /= 1024;
            steps += 1;
        }
        let suffix = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].get(steps).copied().unwrap_or("");
        Some(format!("{digits}{suffix}"))
    }

    fn decimal(&self, format: Format) -> String {
        let (mut digits, mut exponent) = (self.digits, self.exponent);
        while digits % 10 == 0 {
            digits /= 10;
            exponent += 1;
        }
        while exponent % 3 != 0 {
            digits = digits.saturating_mul(10);
            exponent -= 1;
        }
        let suffix = match (format, exponent) {
            (_, 0) => String::new(),
            (Format::Exponent, exponent) => format!("e{exponent}"),
            (Format::Decimal | Format::Binary, exponent) => {
                // Parity: upstream has no suffix beyond E and writes none.
                DECIMAL.iter().find(|(_, power)| *power == exponent).map_or("", |(suffix, _)| suffix).to_owned()
            }
        };
        format!("{digits}{suffix}")
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.compare(other) == Ordering::Equal
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.compare(other)
    }
}

/// The canonical form of a quantity's text, or upstream's error.
pub fn canonical(text: &str) -> Result<String, &'static str> {
    Quantity::parse(text).map(|quantity| quantity.canonical())
}

/// Decimal digits before the point, with which two quantities' sizes compare first.
fn size_of(quantity: &Quantity) -> i64 {
    let digits = quantity.digits.unsigned_abs().to_string().len();
    i64::try_from(digits).unwrap_or(i64::MAX) + i64::from(quantity.exponent)
}

/// The digits at a lower exponent, capped.
fn at_exponent(quantity: &Quantity, exponent: i32) -> i128 {
    let steps = u32::try_from(quantity.exponent.saturating_sub(exponent)).unwrap_or(0);
    match 10i128.checked_pow(steps) {
        Some(factor) => quantity.digits.saturating_mul(factor),
        None if quantity.digits == 0 => 0,
        None => quantity.digits.signum().saturating_mul(i128::MAX),
    }
}

/// `digits / 10^places`, away from zero, and whether that is exact.
fn rounded(digits: i128, places: i32) -> (i128, bool) {
    match u32::try_from(places).ok().and_then(|places| 10i128.checked_pow(places)) {
        Some(divisor) if digits % divisor == 0 => (digits / divisor, true),
        Some(divisor) => (digits / divisor + digits.signum(), false),
        None => (digits.signum(), digits == 0),
    }
}

const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [(&str, i32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

/// Base, power and family of a suffix.
fn suffix(text: &str) -> Option<(i32, i32, Format)> {
    let power = |table: &[(&str, i32)]| table.iter().find(|(suffix, _)| *suffix == text).map(|(_, power)| *power);
    if let Some(power) = power(&DECIMAL) {
        return Some((10, power, Format::Decimal));
    }
    if let Some(power) = power(&BINARY) {
        return Some((2, power, Format::Binary));
    }
    let digits = text.strip_prefix(['e', 'E'])?;
    // Beyond these bounds every number is the smallest or too large alike.
    let power: i64 = digits.parse().ok()?;
    Some((10, i32::try_from(power.clamp(-1_000_000, 1_000_000)).ok()?, Format::Exponent))
}

/// Takes a text apart as upstream's scanner does, which is laxer than the expression that its error shows.
fn split(text: &str) -> Result<Parts<'_>, &'static str> {
    if text.is_empty() {
        return Err(WRONG_FORMAT);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let negative = text.starts_with('-');
    let number = unsigned.trim_start_matches('0');
    if number.is_empty() {
        return Ok(Parts { negative, whole: "0", fraction: "", suffix: "" });
    }
    let (whole, rest) = digits(number);
    let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), digits);
    let letters = suffix.trim_start_matches(|character: char| "eEinumkKMGTP".contains(character));
    let exponent = letters.strip_prefix(['-', '+']).unwrap_or(letters);
    if !exponent.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(WRONG_FORMAT);
    }
    Ok(Parts { negative, whole: if whole.is_empty() { "0" } else { whole }, fraction, suffix })
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

#[cfg(test)]
#[path = "quantity_tests.rs"]
mod tests;
