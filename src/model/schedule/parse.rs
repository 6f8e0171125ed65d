//! Owns how a cron schedule and a time zone's name are written. Never works out when a schedule is due.
//!
//! Parity: the standard parser of robfig/cron v3 (five fields, names, descriptors, `@every`) with its texts, and
//! Go's `time.LoadLocation` and `time.ParseDuration`. General cron crates read some fields otherwise (7 as Sunday, `L`,
//! `#`) and say other things of what is wrong.

use jiff::SignedDuration;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::{Fields, STAR, Schedule};
use crate::model::field::quote;

/// One of the five fields: its smallest and largest value, and names of the values from the smallest on.
struct Field {
    low: i64,
    high: i64,
    names: &'static [&'static str],
}

const MINUTES: Field = Field { low: 0, high: 59, names: &[] };
const HOURS: Field = Field { low: 0, high: 23, names: &[] };
const DAYS: Field = Field { low: 1, high: 31, names: &[] };
const MONTHS: Field = Field {
    low: 1,
    high: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const WEEKDAYS: Field = Field { low: 0, high: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

/// Units of a length of time, in nanoseconds.
const UNITS: &[(&str, i128)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Digits behind the point that can matter: an hour has 13 digits of nanoseconds.
const FRACTION_DIGITS: usize = 15;

/// Reads a schedule that is due by `machine` where it names no zone itself.
pub fn schedule(text: &str, machine: &TimeZone) -> Result<Schedule, String> {
    if text.is_empty() {
        return Err("empty spec string".to_owned());
    }
    let (zone, text) = match text.starts_with("TZ=") || text.starts_with("CRON_TZ=") {
        true => {
            let (zone, fields) = text.split_once(' ').unwrap_or((text, ""));
            let name = zone.split_once('=').map_or("", |(_, name)| name);
            let zone = if name == "Local" { Ok(machine.clone()) } else { time_zone(name) };
            (zone.map_err(|problem| format!("provided bad location {name}: {problem}"))?, fields.trim())
        }
        false => (machine.clone(), text),
    };
    let fields = if text.starts_with('@') { descriptor(text)? } else { Descriptor::Fields(text) };
    match fields {
        Descriptor::Every(length) => Ok(Schedule::Every(length)),
        Descriptor::Fields(text) => fields_of(text, zone).map(Schedule::Fields),
    }
}

fn fields_of(text: &str, zone: TimeZone) -> Result<Fields, String> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields[..] else {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    };
    Ok(Fields {
        minute: field(minute, &MINUTES)?,
        hour: field(hour, &HOURS)?,
        day: field(day, &DAYS)?,
        month: field(month, &MONTHS)?,
        weekday: field(weekday, &WEEKDAYS)?,
        zone,
    })
}

/// What a macro stands for.
enum Descriptor<'a> {
    Fields(&'a str),
    Every(SignedDuration),
}

fn descriptor(text: &str) -> Result<Descriptor<'_>, String> {
    let fields = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        other => {
            let length = other.strip_prefix("@every ").ok_or_else(|| format!("unrecognized descriptor: {other}"))?;
            let nanos = duration(length).map_err(|problem| format!("failed to parse duration {text}: {problem}"))?;
            return Ok(Descriptor::Every(SignedDuration::from_secs((nanos / 1_000_000_000).max(1))));
        }
    };
    Ok(Descriptor::Fields(fields))
}

fn field(text: &str, field: &Field) -> Result<u64, String> {
    let mut bits = 0;
    for part in text.split(',').filter(|part| !part.is_empty()) {
        bits |= range(part, field)?;
    }
    Ok(bits)
}

/// `*`, `5`, `1-5`, each with `/step`; a single value with a step runs to the end of the field.
fn range(part: &str, field: &Field) -> Result<u64, String> {
    let (low, high) = (field.low, field.high);
    let mut steps = part.split('/');
    let ends: Vec<&str> = steps.next().unwrap_or_default().split('-').collect();
    let is_star = matches!(ends[0], "*" | "?");
    let (start, mut end) = match ends.as_slice() {
        _ if is_star => (low, high),
        [one] => {
            let one = value(one, field)?;
            (one, one)
        }
        [start, end] => (value(start, field)?, value(end, field)?),
        _ => {
            value(ends[0], field)?;
            return Err(format!("too many hyphens: {part}"));
        }
    };
    let step = match (steps.next(), steps.next()) {
        (None, _) => 1,
        (Some(step), None) => {
            let step = number(step)?;
            if ends.len() == 1 {
                end = high;
            }
            step
        }
        (Some(_), Some(_)) => return Err(format!("too many slashes: {part}")),
    };
    if start < low {
        return Err(format!("beginning of range ({start}) below minimum ({low}): {part}"));
    }
    if end > high {
        return Err(format!("end of range ({end}) above maximum ({high}): {part}"));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {part}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {part}"));
    }
    let star = if is_star && step == 1 { STAR } else { 0 };
    let values = (start..=end).step_by(usize::try_from(step).unwrap_or(usize::MAX));
    Ok(values.fold(star, |bits, value| bits | 1 << value))
}

fn value(text: &str, field: &Field) -> Result<i64, String> {
    match field.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
        Some(place) => Ok(field.low + i64::try_from(place).expect("a field has a dozen names at most")),
        None => number(text),
    }
}

fn number(text: &str) -> Result<i64, String> {
    match text.parse::<i64>() {
        Ok(number) if number < 0 => Err(format!("negative number ({number}) not allowed: {text}")),
        Ok(number) => Ok(number),
        Err(_) => {
            let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
            let all_digits = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
            let problem = if all_digits { "value out of range" } else { "invalid syntax" };
            Err(format!("failed to parse int from {text}: strconv.Atoi: parsing {}: {problem}", quote(text)))
        }
    }
}

/// A length of time as Go writes it, `1h30m`, in nanoseconds.
fn duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut nanos: i128 = 0;
    while !rest.is_empty() {
        let unit_at = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(rest.len());
        let (amount, tail) = rest.split_at(unit_at);
        if !amount.bytes().any(|digit| digit.is_ascii_digit()) || amount.matches('.').count() > 1 {
            return Err(invalid());
        }
        let next = tail.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(next);
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {}", quote(text)));
        }
        let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(format!("time: unknown unit {} in duration {}", quote(unit), quote(text)));
        };
        nanos = scaled(amount, *scale).and_then(|length| nanos.checked_add(length)).ok_or_else(invalid)?;
        rest = tail;
    }
    let nanos = if text.starts_with('-') { -nanos } else { nanos };
    i64::try_from(nanos).map_err(|_| invalid())
}

/// `1.5` times so many nanoseconds.
fn scaled(amount: &str, scale: i128) -> Option<i128> {
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let (mut digits, mut power) = (0, 1);
    for digit in fraction.bytes().take(FRACTION_DIGITS) {
        digits = digits * 10 + i128::from(digit - b'0');
        power *= 10;
    }
    whole.checked_mul(scale)?.checked_add(digits * scale / power)
}

/// The time zone of this name, case included. The names are those of the database that is built in.
pub fn time_zone(name: &str) -> Result<TimeZone, String> {
    if matches!(name, "" | "UTC" | "Local") {
        return Ok(TimeZone::UTC);
    }
    if name.split('/').any(|part| part == "..") || name.starts_with(['/', '\\']) {
        return Err("time: invalid location name".to_owned());
    }
    let unknown = || format!("unknown time zone {name}");
    let known = TimeZoneDatabase::bundled().available().any(|zone| zone.as_str() == name);
    if known { TimeZone::get(name).map_err(|_| unknown()) } else { Err(unknown()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(schedule: &str, words: &str) {
        assert_eq!(super::schedule(schedule, &TimeZone::UTC).err(), Some(words.to_owned()), "{schedule}");
    }

    #[test]
    fn good_schedules_pass() {
        for schedule in [
            "*/5 * * * *",
            "0 0 1,15 jan-MAR Sun",
            "5/15 ? * * ?",
            "@hourly",
            "@every 1h30m",
            "@every 1.5s",
            "0-59/2 * * * 1-5",
            "TZ=Europe/Berlin 0 0 * * *",
            "CRON_TZ=UTC @daily",
            "  1 2 3 4 5 ",
        ] {
            assert!(super::schedule(schedule, &TimeZone::UTC).is_ok(), "{schedule}");
        }
    }

    #[test]
    fn bad_schedules_are_refused_in_the_parsers_words() {
        refused("* * * *", "expected exactly 5 fields, found 4: [* * * *]");
        refused("@reboot", "unrecognized descriptor: @reboot");
        refused("60 * * * *", "end of range (60) above maximum (59): 60");
        refused("* * 0 * *", "beginning of range (0) below minimum (1): 0");
        refused("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1");
        refused("*/0 * * * *", "step of range should be a positive number: */0");
        refused("1-2-3 * * * *", "too many hyphens: 1-2-3");
        refused("1/2/3 * * * *", "too many slashes: 1/2/3");
        refused("a * * * *", "failed to parse int from a: strconv.Atoi: parsing \"a\": invalid syntax");
        refused("-1 * * * *", "failed to parse int from : strconv.Atoi: parsing \"\": invalid syntax");
        refused("*/-1 * * * *", "negative number (-1) not allowed: -1");
        refused("* * * foo *", "failed to parse int from foo: strconv.Atoi: parsing \"foo\": invalid syntax");
        refused("@every x", "failed to parse duration @every x: time: invalid duration \"x\"");
        refused("@every 5", "failed to parse duration @every 5: time: missing unit in duration \"5\"");
        refused("@every 1d", "failed to parse duration @every 1d: time: unknown unit \"d\" in duration \"1d\"");
        refused("TZ=No/Where * * * * *", "provided bad location No/Where: unknown time zone No/Where");
    }

    #[test]
    fn zones_are_known_by_their_exact_names() {
        for name in ["Europe/Berlin", "UTC", "Etc/GMT+5", "US/Eastern", "America/Argentina/Buenos_Aires", "EST5EDT"] {
            assert!(time_zone(name).is_ok(), "{name}");
        }
        for name in ["europe/berlin", "Mars/Base"] {
            assert_eq!(time_zone(name), Err(format!("unknown time zone {name}")));
        }
        assert_eq!(time_zone("../etc"), Err("time: invalid location name".to_owned()));
    }
}
