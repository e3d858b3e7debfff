//! Numbers as C++ writes them.

/// The significant digits of C's `%g`.
const G_DIGITS: i32 = 6;
/// From this exponent on (and to its negative, -4) `%g` and `std::format` change to an exponent.
const SMALLEST_FIXED: i32 = -4;

/// C's `%g`: `1.8e+06`.
pub(super) fn general(value: f64) -> String {
    let rounded: f64 = format!("{value:.*e}", (G_DIGITS - 1) as usize).parse().unwrap_or(value);
    let scientific = format!("{rounded:e}");
    let exponent = exponent_of(&scientific);
    if value == 0.0 || (SMALLEST_FIXED..G_DIGITS).contains(&exponent) {
        rounded.to_string()
    } else {
        c_exponent(&scientific, exponent)
    }
}

/// `std::to_chars`: the fewest characters that read back as the same number; fixed where both forms are as long.
pub(super) fn shortest(value: f64) -> String {
    let fixed = value.to_string();
    let scientific = format!("{value:e}");
    let scientific = c_exponent(&scientific, exponent_of(&scientific));
    if scientific.len() < fixed.len() {
        scientific
    } else {
        fixed
    }
}

fn exponent_of(scientific: &str) -> i32 {
    scientific
        .split_once('e')
        .and_then(|(_, exponent)| exponent.parse().ok())
        .unwrap_or_default()
}

/// C writes a sign and at least two digits.
fn c_exponent(scientific: &str, exponent: i32) -> String {
    let mantissa = scientific.split_once('e').map_or(scientific, |(mantissa, _)| mantissa);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_envoy_prints_its_default_bounds() {
        let as_general = [
            (0.5, "0.5"),
            (10000.0, "10000"),
            (600000.0, "600000"),
            (1800000.0, "1.8e+06"),
            (0.0, "0"),
        ];
        let as_shortest = [
            (10000.0, "10000"),
            (300000.0, "3e+05"),
            (1800000.0, "1800000"),
            (1.05, "1.05"),
            (0.0, "0"),
        ];
        as_general
            .into_iter()
            .for_each(|(value, text)| assert_eq!(general(value), text));
        as_shortest
            .into_iter()
            .for_each(|(value, text)| assert_eq!(shortest(value), text));
    }
}
