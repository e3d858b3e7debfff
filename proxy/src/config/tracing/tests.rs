use super::*;

#[test]
fn percentages_are_cut_off_as_envoy_cuts_them() {
    let numerator = |value, denominator| share(Some(&Percent { value }), denominator).numerator;
    // 0.006 % of ten thousand is less than one.
    for (percent, expected) in [
        (0.0, 0),
        (0.006, 0),
        (0.01, 1),
        (0.02, 2),
        (1.0, 100),
        (50.0, 5000),
        (100.0, 10_000),
    ] {
        assert_eq!(numerator(percent, 10_000), expected, "{percent}");
    }
    assert_eq!(numerator(99.9, 100), 99);
    assert_eq!(share(None, 100), Fraction::ALL);
}
