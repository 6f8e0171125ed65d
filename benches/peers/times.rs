//! Owns how measured times are summed up and printed. Never measures.

use std::time::Duration;

/// The one in the middle.
pub fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// One peer's times beside those of the peer that counts as 1.
pub fn line(name: &str, times: &[Duration], unit: &[Duration], rate: &str) {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    let low = times.iter().min().copied().unwrap_or_default();
    let high = times.iter().max().copied().unwrap_or_default();
    println!(
        "    {name:<16} {:>9.2} ms  [{:.2} .. {:.2}]  {rate:>9}  {:>6.2} x",
        milliseconds(median(times)),
        milliseconds(low),
        milliseconds(high),
        median(times).as_secs_f64() / median(unit).as_secs_f64(),
    );
}
