//! Cases and properties of quantities.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn reads(text: &str, expected: &str) {
    assert_eq!(canonical(text).as_deref(), Ok(expected), "{text}");
}

#[test]
fn quantities_are_written_canonically() {
    let cases = [
        ("1000m", "1"),
        ("1024Mi", "1Gi"),
        ("0.5", "500m"),
        ("1.50", "1500m"),
        ("1.5Gi", "1536Mi"),
        ("0.1Gi", "107374182400m"),
        ("2147483648", "2147483648"),
        ("1000", "1k"),
        ("1500", "1500"),
        ("0", "0"),
        ("0Mi", "0"),
        ("00", "0"),
        ("-0", "0"),
        ("0.0", "0"),
        ("1e3", "1e3"),
        ("1E3", "1E3"),
        ("1000e3", "1e6"),
        ("12e1", "120"),
        ("1048576Ki", "1Gi"),
        ("8Ki", "8Ki"),
        ("512", "512"),
        ("0.0000000001", "1n"),
        ("1n", "1n"),
        ("-1000m", "-1"),
        (".5", "500m"),
        ("9223372036854775807Ki", "9223372036854775807"),
        ("500Ei", "9223372036854775807"),
    ];
    for (text, expected) in cases {
        reads(text, expected);
    }
}

#[test]
fn a_text_that_upstream_keeps_is_kept() {
    for text in ["1025Ki", "+1", "010Mi", "1.500", "500m", "1Gi", "64Mi", "1k", "1500e0", "1.G"] {
        reads(text, text);
    }
}

#[test]
fn what_is_no_quantity_is_told_why() {
    for text in ["", "64MB", "1 Gi", "12KI", "abc", "1.2.3", "1,5", "0x10"] {
        assert_eq!(canonical(text), Err(WRONG_FORMAT), "{text}");
    }
    for text in ["1ki", "1mm", "1e", "5Kin", "e", "1e-"] {
        assert_eq!(canonical(text), Err(WRONG_SUFFIX), "{text}");
    }
}

#[test]
fn values_round_away_from_zero() {
    let quantity = |text: &str| Quantity::parse(text).expect("the quantity is right");
    assert_eq!(quantity("1.5").units(), 2);
    assert_eq!(quantity("100u").milli(), 1);
    assert_eq!(quantity("1.5Gi").units(), 1_610_612_736);
    assert_eq!(quantity("250m").milli(), 250);
    assert_eq!(quantity("-1500m").units(), -2);
    assert_eq!(quantity("1e30").units(), i64::MAX);
    assert_eq!(quantity("1Gi").plus(&quantity("1Gi")).canonical(), "2Gi");
    assert_eq!(quantity("0").plus(&quantity("512Mi")).canonical(), "512Mi");
    assert_eq!(Quantity::from_milli(1500).canonical(), "1500m");
    assert_eq!(Quantity::from_bytes(1 << 30).canonical(), "1Gi");
}

#[test]
fn rounding_to_milli_is_what_resource_lists_get() {
    let mut tiny = Quantity::parse("1u").expect("the quantity is right");
    tiny.round_up(-3);
    assert_eq!(tiny.canonical(), "1m");
    let mut kept = Quantity::parse("+1").expect("the quantity is right");
    kept.round_up(-3);
    assert_eq!(kept.canonical(), "+1");
}

fn texts() -> impl Strategy<Value = String> {
    "[+-]?[0-9]{1,12}(\\.[0-9]{0,6})?(n|u|m||k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|e[+-]?[0-9]{1,2})"
}

#[test]
fn whole_is_what_upstreams_64_bits_take_for_whole() {
    let cases = [
        ("1", true),
        ("1500m", false),
        ("0.5Gi", true),
        ("9P", true),
        ("10P", true),
        ("1E", true),
        ("1Ei", false),
        ("16Pi", false),
        ("8Ei", true),
        ("9223372036854775808", true),
        ("0.1Ti", false),
    ];
    for (text, whole) in cases {
        assert_eq!(Quantity::parse(text).expect("a quantity").counts_as_whole(), whole, "{text}");
    }
}

proptest! {
    #[test]
    fn canonical_is_stable(text in texts()) {
        let once = canonical(&text).expect("the expression makes quantities");
        let twice = canonical(&once).expect("a canonical text is a quantity");
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn canonical_keeps_the_value(text in "[+-]?[0-9]{1,9}(\\.[0-9]{0,3})?(m||k|M|G|Ki|Mi|Gi)") {
        let first = Quantity::parse(&text).expect("the expression makes quantities");
        let second = Quantity::parse(&first.canonical()).expect("a canonical text is a quantity");
        prop_assert_eq!(first.compare(&second), Ordering::Equal);
    }

    #[test]
    fn comparing_is_a_total_order(one in texts(), two in texts(), three in texts()) {
        let parse = |text: &str| Quantity::parse(text).expect("the expression makes quantities");
        let (one, two, three) = (parse(&one), parse(&two), parse(&three));
        prop_assert_eq!(one.compare(&two), two.compare(&one).reverse());
        if one <= two && two <= three {
            prop_assert!(one <= three);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,20}") {
        let _ = Quantity::parse(&text);
    }
}
