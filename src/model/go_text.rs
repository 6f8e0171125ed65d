//! Owns how Go writes values into messages and JSON: quoted strings, floats, times, durations.
//! Never decides anything: pure formatting and parsing, with Go's error texts.

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// `strconv.Quote`, and `%q` of a string.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        escape(character, '"', &mut out);
    }
    out.push('"');
    out
}

/// A duration as Go prints it: `9m55s`, `1h0m0s`, `1.5s`, `0s`.
pub fn duration(duration: SignedDuration) -> String {
    let sign = if duration.is_negative() { "-" } else { "" };
    let duration = duration.abs();
    let (total, nanos) = (duration.as_secs(), duration.subsec_nanos());
    if total == 0 && nanos > 0 {
        let (unit, scale) = if nanos < 1_000 {
            ("ns", 1.0)
        } else if nanos < 1_000_000 {
            ("µs", 1e3)
        } else {
            ("ms", 1e6)
        };
        return format!("{sign}{}{unit}", f64::from(nanos) / scale);
    }
    let (hours, minutes, seconds) = (total / 3600, total / 60 % 60, total % 60);
    let fraction = format!("{:09}", nanos);
    let fraction = match fraction.trim_end_matches('0') {
        "" => String::new(),
        digits => format!(".{digits}"),
    };
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}{fraction}s"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}{fraction}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}{fraction}s"),
    }
}

/// One byte of broken JSON as Go's syntax errors show it: `'x'`.
pub fn quote_byte(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => r#"'"'"#.to_owned(),
        byte => {
            let mut out = String::from("'");
            escape(char::from(byte), '"', &mut out);
            out.push('\'');
            out
        }
    }
}

fn escape(character: char, quote: char, out: &mut String) {
    match character {
        '\\' => out.push_str("\\\\"),
        character if character == quote => {
            out.push('\\');
            out.push(quote);
        }
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        character if printable(character) => out.push(character),
        character if (character as u32) < 0x80 => out.push_str(&format!("\\x{:02x}", character as u32)),
        character if (character as u32) < 0x1_0000 => out.push_str(&format!("\\u{:04x}", character as u32)),
        character => out.push_str(&format!("\\U{:08x}", character as u32)),
    }
}

/// Near enough to `strconv.IsPrint`: no controls, no format characters, of the spaces only U+0020.
pub fn printable(character: char) -> bool {
    let code = character as u32;
    !(character.is_control()
        || (character.is_whitespace() && character != ' ')
        || matches!(code, 0xad | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0xfeff | 0xe000..=0xf8ff | 0xfff0..=0xfffb))
}

/// `%+v` of decoded JSON: `map[spec:map[parallelism:two]]`.
pub fn plus_v(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => json_float(float),
            _ => number.to_string(),
        },
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(plus_v).collect::<Vec<_>>().join(" ")),
        Value::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{name}:{}", plus_v(value))).collect();
            format!("map[{}]", members.join(" "))
        }
    }
}

/// A float as `encoding/json` writes it: plain digits between 1e-6 and 1e21, else with a short exponent.
pub fn json_float(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        return with_exponent(&format!("{value:e}"), 1);
    }
    format!("{value}")
}

/// `strconv.FormatFloat(value, 'g', -1, 32)`: how a float that is a YAML key becomes a JSON key.
pub fn key_float(value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "upstream formats keys with 32 bits")]
    let short = value as f32;
    if short.is_nan() {
        return ".nan".to_owned();
    }
    if short.is_infinite() {
        return if short > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let text = format!("{short:e}");
    let exponent: i32 = text.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    if (-4..6).contains(&exponent) { format!("{short}") } else { with_exponent(&text, 2) }
}

/// `1.5e-7` of Rust as Go writes it, with a sign and at least `digits` digits in the exponent.
fn with_exponent(text: &str, digits: usize) -> String {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(("+", exponent), |rest| ("-", rest));
    format!("{mantissa}e{sign}{exponent:0>digits$}")
}

/// The layout of `metav1.Time`.
const RFC3339: &str = "2006-01-02T15:04:05Z07:00";
/// The layout of `metav1.MicroTime`.
const RFC3339_MICRO: &str = "2006-01-02T15:04:05.000000Z07:00";

/// Reads a `metav1.Time` as `time.Parse(time.RFC3339, …)` does, or gives its error text.
pub fn parse_time(text: &str) -> Result<Timestamp, String> {
    Clock { layout: RFC3339, value: text, rest: text }.parse(false)
}

/// Reads a `metav1.MicroTime`, which must have six decimals.
pub fn parse_micro_time(text: &str) -> Result<Timestamp, String> {
    Clock { layout: RFC3339_MICRO, value: text, rest: text }.parse(true)
}

/// Progress through a time's text, with Go's error texts for where it stops.
struct Clock<'a> {
    layout: &'static str,
    value: &'a str,
    rest: &'a str,
}

impl Clock<'_> {
    fn parse(mut self, micro: bool) -> Result<Timestamp, String> {
        let year = self.digits("2006", 4, 4)?;
        self.literal("-")?;
        let month = self.digits("01", 2, 2)?;
        self.in_range(month, 1, 12, "month")?;
        self.literal("-")?;
        let day = self.digits("02", 2, 2)?;
        self.literal("T")?;
        let hour = self.digits("15", 1, 2)?;
        self.in_range(hour, 0, 23, "hour")?;
        self.literal(":")?;
        let minute = self.digits("04", 2, 2)?;
        self.in_range(minute, 0, 59, "minute")?;
        self.literal(":")?;
        let second = self.digits("05", 2, 2)?;
        self.in_range(second, 0, 59, "second")?;
        let nanos = self.fraction(micro)?;
        let offset = self.zone()?;
        if !self.rest.is_empty() {
            return Err(format!("parsing time {}: extra text: {}", quote(self.value), quote(self.rest)));
        }
        let small = |number: i64| i8::try_from(number).unwrap_or(0);
        let civil = i16::try_from(year)
            .ok()
            .and_then(|year| {
                DateTime::new(year, small(month), small(day), small(hour), small(minute), small(second), nanos).ok()
            })
            .ok_or_else(|| self.out_of_range("day"))?;
        offset.to_timestamp(civil).map_err(|_| self.out_of_range("year"))
    }

    fn digits(&mut self, element: &str, least: usize, most: usize) -> Result<i64, String> {
        let count = self.rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
        if count < least {
            return Err(self.cannot_parse(element));
        }
        let (number, rest) = self.rest.split_at(count);
        let number = number.parse().map_err(|_| self.cannot_parse(element))?;
        self.rest = rest;
        Ok(number)
    }

    fn literal(&mut self, element: &str) -> Result<(), String> {
        self.rest = self.rest.strip_prefix(element).ok_or_else(|| self.cannot_parse(element))?;
        Ok(())
    }

    fn in_range(&self, number: i64, least: i64, most: i64, what: &str) -> Result<(), String> {
        if (least..=most).contains(&number) { Ok(()) } else { Err(self.out_of_range(what)) }
    }

    /// Nanoseconds. Go takes a fraction that the layout does not name, and insists on one that it does.
    fn fraction(&mut self, micro: bool) -> Result<i32, String> {
        let digits =
            self.rest.strip_prefix(['.', ',']).map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
        let wanted = if micro { 6 } else { digits };
        if micro && digits < wanted {
            return Err(self.cannot_parse(".000000"));
        }
        if wanted == 0 {
            return Ok(0);
        }
        let (fraction, rest) = self.rest[1..].split_at(wanted);
        self.rest = rest;
        let nine: String = fraction.chars().chain("000000000".chars()).take(9).collect();
        Ok(nine.parse().unwrap_or(0))
    }

    fn zone(&mut self) -> Result<Offset, String> {
        if let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return Ok(Offset::UTC);
        }
        let bytes = self.rest.as_bytes();
        let well_formed = bytes.len() >= 6
            && matches!(bytes[0], b'+' | b'-')
            && bytes[3] == b':'
            && [1, 2, 4, 5].iter().all(|&index| bytes[index].is_ascii_digit());
        if !well_formed {
            return Err(self.cannot_parse("Z07:00"));
        }
        let two = |index: usize| i32::from(bytes[index] - b'0') * 10 + i32::from(bytes[index + 1] - b'0');
        let (hours, minutes) = (two(1), two(4));
        let seconds = (hours * 60 + minutes) * 60 * if bytes[0] == b'-' { -1 } else { 1 };
        self.rest = &self.rest[6..];
        if hours > 24 {
            return Err(self.out_of_range("time zone offset hour"));
        }
        if minutes > 60 {
            return Err(self.out_of_range("time zone offset minute"));
        }
        Offset::from_seconds(seconds).map_err(|_| self.out_of_range("time zone offset hour"))
    }

    fn cannot_parse(&self, element: &str) -> String {
        let (value, layout) = (quote(self.value), quote(self.layout));
        format!("parsing time {value} as {layout}: cannot parse {} as {}", quote(self.rest), quote(element))
    }

    fn out_of_range(&self, what: &str) -> String {
        format!("parsing time {}: {what} out of range", quote(self.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn fails(text: &str, message: &str) {
        assert_eq!(parse_time(text).expect_err("the time is wrong"), message);
    }

    #[test]
    fn floats_are_written_as_go_writes_them() {
        let cases = [(0.5, "0.5"), (1.0, "1"), (1e20, "100000000000000000000"), (1e21, "1e+21"), (1.5e-7, "1.5e-7")];
        for (value, text) in cases {
            assert_eq!(json_float(value), text);
        }
    }

    #[test]
    fn strings_are_quoted_as_go_quotes_them() {
        assert_eq!(quote("a\"b\n\u{1}é\u{feff}"), r#""a\"b\n\x01é\ufeff""#);
        assert_eq!(quote_byte(b'/'), "'/'");
        assert_eq!(quote_byte(b'\''), r"'\''");
    }

    #[test]
    fn times_are_read_with_zone_and_fraction() {
        let at = |text: &str| parse_time(text).expect("the time is right").to_string();
        assert_eq!(at("2020-02-02T02:02:02Z"), "2020-02-02T02:02:02Z");
        assert_eq!(at("2020-02-02T02:02:02.5+02:00"), "2020-02-02T00:02:02.5Z");
    }

    #[test]
    fn a_wrong_time_says_where_go_stops() {
        let layout = "\"2006-01-02T15:04:05Z07:00\"";
        fails("x", &format!("parsing time \"x\" as {layout}: cannot parse \"x\" as \"2006\""));
        fails("2020-01-01", &format!("parsing time \"2020-01-01\" as {layout}: cannot parse \"\" as \"T\""));
        fails("2020-13-01T00:00:00Z", "parsing time \"2020-13-01T00:00:00Z\": month out of range");
        fails("2020-02-30T00:00:00Z", "parsing time \"2020-02-30T00:00:00Z\": day out of range");
        fails("2020-02-20T00:00:00Zx", "parsing time \"2020-02-20T00:00:00Zx\": extra text: \"x\"");
    }
}
