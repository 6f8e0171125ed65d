//! Owns how ages are written for people: `5m30s`, `3h`, `2d4h`. PURE.
//!
//! Parity: apimachinery's `duration.HumanDuration`.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24;
const YEAR: i64 = 365 * DAY;

/// A span in seconds, in at most two units.
pub fn human(seconds: i64) -> String {
    let minutes = seconds / MINUTE;
    let hours = seconds / HOUR;
    match () {
        // Clocks of two machines may differ a little; more than that is a mistake.
        () if seconds < -1 => "<invalid>".to_owned(),
        () if seconds < 0 => "0s".to_owned(),
        () if seconds < 2 * MINUTE => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, "m", seconds % MINUTE, "s"),
        () if minutes < 3 * 60 => format!("{minutes}m"),
        () if hours < 8 => two(hours, "h", minutes % 60, "m"),
        () if hours < 2 * DAY => format!("{hours}h"),
        () if hours < 8 * DAY => two(hours / DAY, "d", hours % DAY, "h"),
        () if hours < 2 * YEAR => format!("{}d", hours / DAY),
        () if hours < 8 * YEAR => two(hours / YEAR, "y", hours / DAY % 365, "d"),
        () => format!("{}y", hours / YEAR),
    }
}

fn two(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    match small {
        0 => format!("{large}{large_unit}"),
        small => format!("{large}{large_unit}{small}{small_unit}"),
    }
}

/// The time since an instant; `<unknown>` where there is none.
pub fn since(at: Option<&Time>, now: Timestamp) -> String {
    at.map_or_else(|| "<unknown>".to_owned(), |at| human(now.duration_since(at.0).as_secs()))
}
