//! Owns the form of a cron schedule and of a time zone's name.
//! Never works out when a schedule is due.
//!
//! Parity: the standard parser of robfig/cron v3 (five fields, names, descriptors, `@every`) with its texts, and
//! Go's `time.LoadLocation`.

use std::ops::RangeInclusive;

use jiff::tz::TimeZoneDatabase;

use crate::model::field::quote;

/// One of the five fields.
struct Field {
    range: RangeInclusive<i64>,
    /// Names of the values, the first standing for the lowest.
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { range: 0..=59, names: &[] },
    Field { range: 0..=23, names: &[] },
    Field { range: 1..=31, names: &[] },
    Field {
        range: 1..=12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Field { range: 0..=6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];

const DESCRIPTORS: &[&str] = &["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

/// What is wrong with a schedule.
pub fn check(schedule: &str) -> Result<(), String> {
    if schedule.is_empty() {
        return Err("empty spec string".to_owned());
    }
    let mut rest = schedule;
    if schedule.starts_with("TZ=") || schedule.starts_with("CRON_TZ=") {
        let (zone, fields) = schedule.split_once(' ').unwrap_or((schedule, ""));
        let zone = zone.split_once('=').map_or("", |(_, zone)| zone);
        location(zone).map_err(|problem| format!("provided bad location {zone}: {problem}"))?;
        rest = fields.trim();
    }
    if rest.starts_with('@') {
        return descriptor(rest);
    }
    let fields: Vec<&str> = rest.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        let (wanted, found) = (FIELDS.len(), fields.len());
        return Err(format!("expected exactly {wanted} fields, found {found}: [{}]", fields.join(" ")));
    }
    for (text, field) in fields.iter().zip(&FIELDS) {
        for part in text.split(',').filter(|part| !part.is_empty()) {
            range(part, field)?;
        }
    }
    Ok(())
}

fn descriptor(text: &str) -> Result<(), String> {
    if DESCRIPTORS.contains(&text) {
        return Ok(());
    }
    match text.strip_prefix("@every ") {
        Some(length) => duration(length).map_err(|problem| format!("failed to parse duration {text}: {problem}")),
        None => Err(format!("unrecognized descriptor: {text}")),
    }
}

fn range(part: &str, field: &Field) -> Result<(), String> {
    let mut steps = part.split('/');
    let ends: Vec<&str> = steps.next().unwrap_or_default().split('-').collect();
    let (low, high) = (*field.range.start(), *field.range.end());
    let (start, mut end) = match ends.as_slice() {
        ["*" | "?", ..] => (low, high),
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
    Ok(())
}

fn value(text: &str, field: &Field) -> Result<i64, String> {
    match field.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
        Some(place) => Ok(field.range.start() + i64::try_from(place).expect("a field has a dozen names at most")),
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

/// What is wrong with a length of time as Go writes it: `1h30m`.
fn duration(text: &str) -> Result<(), String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return Ok(());
    }
    if rest.is_empty() {
        return Err(invalid());
    }
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
        if !["ns", "us", "µs", "μs", "ms", "s", "m", "h"].contains(&unit) {
            return Err(format!("time: unknown unit {} in duration {}", quote(unit), quote(text)));
        }
        rest = tail;
    }
    Ok(())
}

/// What is wrong with a time zone's name. The names are those of the database that is built in; case matters.
pub fn location(name: &str) -> Result<(), String> {
    if matches!(name, "" | "UTC" | "Local") {
        return Ok(());
    }
    if name.split('/').any(|part| part == "..") || name.starts_with(['/', '\\']) {
        return Err("time: invalid location name".to_owned());
    }
    if TimeZoneDatabase::bundled().available().any(|zone| zone.as_str() == name) {
        return Ok(());
    }
    Err(format!("unknown time zone {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(schedule: &str, words: &str) {
        assert_eq!(check(schedule), Err(words.to_owned()), "{schedule}");
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
            assert_eq!(check(schedule), Ok(()), "{schedule}");
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
            assert_eq!(location(name), Ok(()), "{name}");
        }
        for name in ["europe/berlin", "Mars/Base"] {
            assert_eq!(location(name), Err(format!("unknown time zone {name}")));
        }
        assert_eq!(location("../etc"), Err("time: invalid location name".to_owned()));
    }
}
