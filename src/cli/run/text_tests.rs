//! What `safe` does to each sort of byte.

use super::safe;

#[track_caller]
fn check(line: &[u8], with_colours: &str, without: &str) {
    assert_eq!(safe(line, true), with_colours);
    assert_eq!(safe(line, false), without);
}

#[test]
fn plain_text_and_tabs_pass() {
    check("a\tb é 漢".as_bytes(), "a\tb é 漢", "a\tb é 漢");
}

#[test]
fn a_carriage_return_before_the_line_end_is_dropped() {
    check(b"done\r", "done", "done");
}

#[test]
fn a_carriage_return_inside_cannot_overwrite_the_prefix() {
    check(b"10%\r20%", "10%^M20%", "10%^M20%");
}

#[test]
fn colours_stay_on_a_terminal_and_end_with_their_line() {
    check(b"\x1b[1;31mred", "\x1b[1;31mred\x1b[0m", "red");
}

#[test]
fn cursor_movement_and_erasure_are_dropped() {
    check(b"a\x1b[2K\x1b[1A\x1b[?25lb", "ab", "ab");
}

#[test]
fn a_window_title_is_dropped() {
    check(b"\x1b]0;owned\x07x\x1b]2;y\x1b\\z", "xz", "xz");
}

#[test]
fn an_unfinished_sequence_is_shown() {
    check(b"\x1b[31", "^[[31", "^[[31");
    check(b"\x1b]0;never ends", "^[]0;never ends", "^[]0;never ends");
}

#[test]
fn other_controls_are_shown_in_caret_notation() {
    check(b"\x07\x00\x7f", "^G^@^?", "^G^@^?");
}

#[test]
fn c1_controls_and_direction_overrides_are_named() {
    check("\u{9b}31m\u{202e}abc".as_bytes(), "<U+009B>31m<U+202E>abc", "<U+009B>31m<U+202E>abc");
}

#[test]
fn bytes_that_are_not_utf8_are_replaced() {
    check(b"\xff\xfeok", "\u{fffd}\u{fffd}ok", "\u{fffd}\u{fffd}ok");
}
