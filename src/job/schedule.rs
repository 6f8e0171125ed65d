//! Owns when a cron schedule is due next. Never reads a clock and never knows which zone is the machine's: both come in.
//!
//! Parity: the standard parser and `SpecSchedule.Next` of robfig/cron v3, which upstream uses, daylight saving included:
//! a time that the clock skips is not run, one that it shows twice is run twice.
//! General cron crates read some fields otherwise (7 as Sunday, `L`, `#`), so the schedule is read here.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// Years ahead in which a schedule must be due, or never is. Upstream's limit.
const YEARS_AHEAD: i16 = 5;
/// Set beside the values of a field that was written as `*` or `?`.
const STAR: u64 = 1 << 63;

/// A schedule, ready to be asked.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// By the fields of the clock and the calendar.
    Fields(Fields),
    /// `@every 1h30m`: after so long, in whole seconds, at least one.
    Every(SignedDuration),
}

/// Which values of each field are due, as bits.
#[derive(Clone, Debug)]
pub struct Fields {
    minute: u64,
    hour: u64,
    day: u64,
    month: u64,
    weekday: u64,
    zone: TimeZone,
}

/// Smallest and largest value of a field, and the names of its values from the smallest on.
struct Bounds(u32, u32, &'static [&'static str]);

const MINUTES: Bounds = Bounds(0, 59, &[]);
const HOURS: Bounds = Bounds(0, 23, &[]);
const DAYS: Bounds = Bounds(1, 31, &[]);
const MONTHS: Bounds =
    Bounds(1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]);
const WEEKDAYS: Bounds = Bounds(0, 6, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]);

impl Schedule {
    /// Reads a schedule: five fields or a macro, after `TZ=Zone ` where an old object still has it. It is due by `zone`
    /// otherwise. The error says what is wrong with it.
    pub fn parse(text: &str, zone: &TimeZone) -> Result<Self, String> {
        let zoned = text.strip_prefix("TZ=").or_else(|| text.strip_prefix("CRON_TZ="));
        let (text, zone) = match zoned.and_then(|rest| rest.split_once(' ')) {
            Some((name, rest)) => (rest.trim(), named_zone(name)?),
            None => (text.trim(), zone.clone()),
        };
        if let Some(length) = text.strip_prefix("@every ") {
            return every(length).ok_or_else(|| format!("failed to parse duration {text}"));
        }
        let fields = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            macro_name if macro_name.starts_with('@') => return Err(format!("unrecognized descriptor: {macro_name}")),
            fields => fields,
        };
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
        };
        Ok(Self::Fields(Fields {
            minute: field(minute, &MINUTES)?,
            hour: field(hour, &HOURS)?,
            day: field(day, &DAYS)?,
            month: field(month, &MONTHS)?,
            weekday: field(weekday, &WEEKDAYS)?,
            zone,
        }))
    }

    /// The first instant after `after` at which it is due; none if there is none within five years.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(length) => whole_second(after).checked_add(*length).ok(),
            Self::Fields(fields) => fields.next(after),
        }
    }
}

/// The zone of this name.
pub fn named_zone(name: &str) -> Result<TimeZone, String> {
    match name {
        "" | "UTC" => Ok(TimeZone::UTC),
        name => TimeZone::get(name).map_err(|_| format!("unknown time zone {name}")),
    }
}

fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_millisecond().div_euclid(1000)).unwrap_or(at)
}

fn field(text: &str, bounds: &Bounds) -> Result<u64, String> {
    let mut bits = 0;
    for part in text.split(',').filter(|part| !part.is_empty()) {
        bits |= range(part, bounds)?;
    }
    Ok(bits)
}

/// `*`, `5`, `1-5`, each with `/step`; a single value with a step runs to the end of the field.
fn range(part: &str, bounds: &Bounds) -> Result<u64, String> {
    let Bounds(low, high, names) = *bounds;
    let (ends, step) = match part.split_once('/') {
        Some((ends, step)) => (ends, Some(number(step)?)),
        None => (part, None),
    };
    let (first, last) = match ends.split_once('-') {
        Some((first, last)) => (first, Some(last)),
        None => (ends, None),
    };
    let is_star = first == "*" || first == "?";
    let (start, end) = if is_star {
        (low, high)
    } else {
        let start = value(first, low, names)?;
        match (last, step) {
            (Some(last), _) => (start, value(last, low, names)?),
            (None, Some(_)) => (start, high),
            (None, None) => (start, start),
        }
    };
    if start < low || end > high || start > end {
        return Err(format!("range {start}-{end} is not within {low}-{high}: {part}"));
    }
    let stride = step.unwrap_or(1);
    if stride == 0 {
        return Err(format!("step of range should be a positive number: {part}"));
    }
    let star = if is_star && stride == 1 { STAR } else { 0 };
    let values = (start..=end).step_by(usize::try_from(stride).unwrap_or(usize::MAX));
    Ok(values.fold(star, |bits, value| bits | 1 << value))
}

fn value(text: &str, low: u32, names: &[&str]) -> Result<u32, String> {
    let named = names.iter().position(|name| name.eq_ignore_ascii_case(text));
    named.and_then(|at| u32::try_from(at).ok()).map_or_else(|| number(text), |at| Ok(low + at))
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("failed to parse int from {text}"))
}

/// A length of time as Go writes it, cut to whole seconds, at least one.
fn every(text: &str) -> Option<Schedule> {
    let mut rest = text.trim();
    let mut nanos: i128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (amount, tail) = rest.split_at(digits);
        let unit_ends = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_ends);
        let scale: f64 = match unit {
            "h" => 3600e9,
            "m" => 60e9,
            "s" => 1e9,
            "ms" => 1e6,
            "us" | "µs" => 1e3,
            "ns" => 1.0,
            _ => return None,
        };
        // A length that a float does not hold exactly is cut to seconds all the same.
        #[allow(clippy::cast_possible_truncation)]
        let length = (amount.parse::<f64>().ok()? * scale).round() as i128;
        nanos = nanos.checked_add(length)?;
        rest = tail;
    }
    let seconds = i64::try_from(nanos / 1_000_000_000).ok()?.max(1);
    (!text.trim().is_empty()).then_some(Schedule::Every(SignedDuration::from_secs(seconds)))
}

impl Fields {
    /// Looks for the month, then the day, the hour, the minute; whenever a field runs over its end, the fields above are
    /// looked at again.
    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let mut at = whole_second(after).checked_add(1.second()).ok()?;
        let last_year = self.local(at).year() + YEARS_AHEAD;
        // Whether a field was moved, so that those below it start from their beginning.
        let mut moved = false;
        'again: while self.local(at).year() <= last_year {
            while !has(self.month, self.local(at).month()) {
                let from = if moved { self.local(at) } else { midnight(self.local(at).date().first_of_month()) };
                moved = true;
                at = self.instant(from.checked_add(1.month()).ok()?)?;
                if self.local(at).month() == 1 {
                    continue 'again;
                }
            }
            while !self.is_day(self.local(at).date()) {
                let from = if moved { self.local(at) } else { midnight(self.local(at).date()) };
                moved = true;
                at = self.to_midnight(self.instant(from.checked_add(1.day()).ok()?)?)?;
                if self.local(at).day() == 1 {
                    continue 'again;
                }
            }
            while !has(self.hour, self.local(at).hour()) {
                let local = self.local(at);
                let from = if moved { at } else { self.instant(local.date().at(local.hour(), 0, 0, 0))? };
                moved = true;
                at = from.checked_add(1.hour()).ok()?;
                if self.local(at).hour() == 0 {
                    continue 'again;
                }
            }
            while !has(self.minute, self.local(at).minute()) {
                let from = if moved { at } else { floor(at, 60) };
                moved = true;
                at = from.checked_add(1.minute()).ok()?;
                if self.local(at).minute() == 0 {
                    continue 'again;
                }
            }
            if self.local(at).second() == 0 {
                return Some(at);
            }
            // The start of the next minute is looked at from the top.
            at = floor(at, 60).checked_add(1.minute()).ok()?;
            moved = true;
        }
        None
    }

    fn local(&self, at: Timestamp) -> DateTime {
        self.zone.to_datetime(at)
    }

    /// Days of the month and days of the week: both must fit where one of them is unrestricted, else either.
    fn is_day(&self, date: Date) -> bool {
        let day = has(self.day, date.day());
        let weekday = has(self.weekday, date.weekday().to_sunday_zero_offset());
        if (self.day | self.weekday) & STAR != 0 { day && weekday } else { day || weekday }
    }

    /// The instant at which the clock shows this time. Where it never does, the one that Go's `time.Date` gives.
    fn instant(&self, local: DateTime) -> Option<Timestamp> {
        let as_utc = local.to_zoned(TimeZone::UTC).ok()?.timestamp();
        let guess = self.zone.to_offset(as_utc);
        let at = guess.to_timestamp(local).ok()?;
        let actual = self.zone.to_offset(at);
        if actual == guess { Some(at) } else { actual.to_timestamp(local).ok() }
    }

    /// Where midnight is skipped, a day's step ends an hour off it: this goes back to the day's first hour.
    fn to_midnight(&self, at: Timestamp) -> Option<Timestamp> {
        match i64::from(self.local(at).hour()) {
            0 => Some(at),
            late if late > 12 => at.checked_add((24 - late).hours()).ok(),
            early => at.checked_sub(early.hours()).ok(),
        }
    }
}

fn has(bits: u64, value: i8) -> bool {
    bits & 1 << u32::from(value.unsigned_abs()) != 0
}

fn midnight(date: Date) -> DateTime {
    date.at(0, 0, 0, 0)
}

fn floor(at: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_second(at.as_second().div_euclid(seconds) * seconds).unwrap_or(at)
}
