//! Owns the form of index lists in Jobs, `0-2,5`: increasing, below the number of completions.
//! Never counts or changes indexes for the controller.
//!
//! Parity: `validateIndexesFormat` and `validateFailedIndexesNotOverlapCompleted` of batch's validation.

use crate::model::field::quote;

/// How many indexes the list names, or what is wrong with it.
pub fn count(list: &str, completions: i32) -> Result<i32, String> {
    if list.is_empty() {
        return Ok(0);
    }
    let mut last: Option<i32> = None;
    let mut total = 0;
    for text in list.split(',') {
        let (first, end) = interval(text, completions)?;
        if let Some(last) = last.filter(|last| *last >= first) {
            return Err(format!("non-increasing order, previous: {last}, current: {first}"));
        }
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}

fn interval(text: &str, completions: i32) -> Result<(i32, i32), String> {
    let mut parts = text.split('-');
    let (first, end) = (parts.next().unwrap_or_default(), parts.next());
    if parts.next().is_some() {
        let words = "violates the requirement that an index interval can have at most two parts separated by '-'";
        return Err(format!("the fragment {} {words}", quote(text)));
    }
    let first = index(first, completions)?;
    let Some(end) = end else { return Ok((first, first)) };
    let end = index(end, completions)?;
    if first >= end {
        return Err(format!("non-increasing order, previous: {first}, current: {end}"));
    }
    Ok((first, end))
}

fn index(text: &str, completions: i32) -> Result<i32, String> {
    let value: i64 =
        text.parse().map_err(|_| format!("cannot convert string to integer for index: {}", quote(text)))?;
    match i32::try_from(value) {
        Ok(index) if index < completions => Ok(index),
        _ => Err(format!("too large index: {}", quote(text))),
    }
}

/// The first index that both lists name. Intervals that break the form are passed over: they are reported elsewhere.
pub fn overlap(completed: &str, failed: &str, completions: i32) -> Option<i32> {
    let read = |list: &str| -> Vec<(i32, i32)> {
        list.split(',').filter_map(|text| interval(text, completions).ok()).collect()
    };
    let (completed, failed) = (read(completed), read(failed));
    let (mut done, mut lost) = (completed.iter().peekable(), failed.iter().peekable());
    while let (Some(&&(c_first, c_end)), Some(&&(f_first, f_end))) = (done.peek(), lost.peek()) {
        if c_first <= f_end && f_first <= c_end {
            return Some(c_first.max(f_first));
        }
        if c_first <= f_first {
            done.next();
        } else {
            lost.next();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_counted_or_refused() {
        assert_eq!(count("0-2,5", 6), Ok(4));
        assert_eq!(count("", 6), Ok(0));
        assert_eq!(count("5,3", 6), Err("non-increasing order, previous: 5, current: 3".to_owned()));
        assert_eq!(count("6", 6), Err("too large index: \"6\"".to_owned()));
        assert_eq!(count("0,,1", 6), Err("cannot convert string to integer for index: \"\"".to_owned()));
        assert_eq!(count("2-2", 6), Err("non-increasing order, previous: 2, current: 2".to_owned()));
    }

    #[test]
    fn overlaps_are_found() {
        assert_eq!(overlap("0-2,5", "3,5", 9), Some(5));
        assert_eq!(overlap("0-2", "3-4", 9), None);
        assert_eq!(overlap("x,4", "1,4", 9), Some(4));
    }
}
