//! Owns how a container's bytes become a line that is safe to show (PURE).
//! Never lets a program move the cursor, retitle the window or rewrite what stands above its line.
//!
//! Colours (`ESC [ … m`) may stay, where the reader has a terminal; every other escape sequence is dropped, and any
//! other control character is shown as people write it: `^G`.

use std::fmt::Write as _;

/// What ends a colour that a line left open.
const RESET: &str = "\x1b[0m";

/// One line of output, without its line end, as it is shown. With `colours`, colour sequences are kept.
pub fn safe(line: &[u8], colours: bool) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.strip_suffix('\r').unwrap_or(&text);
    let mut shown = String::with_capacity(text.len());
    let mut coloured = false;
    let mut rest = text;
    while let Some(at) = rest.find(is_unsafe) {
        shown.push_str(&rest[..at]);
        rest = &rest[at..];
        let (length, colour) = escape_sequence(rest);
        if length == 0 {
            let character = rest.chars().next().expect("`find` stopped at a character");
            visible(character, &mut shown);
            rest = &rest[character.len_utf8()..];
            continue;
        }
        if colour && colours {
            shown.push_str(&rest[..length]);
            coloured = true;
        }
        rest = &rest[length..];
    }
    shown.push_str(rest);
    if coloured {
        shown.push_str(RESET);
    }
    shown
}

/// Control characters, and those that reorder what is read.
fn is_unsafe(character: char) -> bool {
    (character.is_control() && character != '\t')
        || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How long the escape sequence at the start of `text` is (0 where there is none), and whether it sets a colour.
fn escape_sequence(text: &str) -> (usize, bool) {
    let Some(after) = text.strip_prefix('\x1b') else { return (0, false) };
    if let Some(body) = after.strip_prefix('[') {
        // CSI: parameters and intermediates, then one final byte.
        let end = body.find(|character: char| !matches!(character, ' '..='?'));
        return match end.and_then(|end| Some((end, body[end..].chars().next()?))) {
            Some((end, last @ '@'..='~')) => (2 + end + 1, last == 'm'),
            _ => (0, false),
        };
    }
    if let Some(body) = after.strip_prefix(']') {
        // OSC: until BEL or ST.
        let bell = body.find('\x07').map(|at| at + 1);
        let terminator = body.find("\x1b\\").map(|at| at + 2);
        return match [bell, terminator].into_iter().flatten().min() {
            Some(end) => (2 + end, false),
            None => (0, false),
        };
    }
    (0, false)
}

/// Caret notation for ASCII controls, the code point for the rest.
fn visible(character: char, shown: &mut String) {
    match u8::try_from(character) {
        Ok(byte @ 0..=0x1f) => {
            shown.push('^');
            shown.push(char::from(byte + b'@'));
        }
        Ok(0x7f) => shown.push_str("^?"),
        Ok(_) | Err(_) => write!(shown, "<U+{:04X}>", u32::from(character)).expect("a string takes what is written"),
    }
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
