//! Owns when a cron schedule is due next. Never reads a clock and never knows which zone is the machine's: both come in.
//!
//! Parity: `SpecSchedule.Next` of robfig/cron v3, which upstream uses, daylight saving included: a time that the clock
//! skips is not run, one that it shows twice is run twice. How a schedule is written is `parse`'s matter.

mod parse;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

pub use self::parse::time_zone;

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

impl Schedule {
    /// Reads a schedule: five fields or a macro, after `TZ=Zone ` where an old object still has it. It is due by `zone`
    /// otherwise. The error is what the parser that upstream uses says is wrong with it.
    pub fn parse(text: &str, zone: &TimeZone) -> Result<Self, String> {
        parse::schedule(text, zone)
    }

    /// The first instant after `after` at which it is due; none if there is none within five years.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(length) => whole_second(after).checked_add(*length).ok(),
            Self::Fields(fields) => fields.next(after),
        }
    }
}

fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_millisecond().div_euclid(1000)).unwrap_or(at)
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
