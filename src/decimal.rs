//! Decimal fractions in the fields of a request. Reading them as floating-point numbers would take
//! 20 KB of the program.

use std::time::Duration;

/// Reads digits that can have a point and more digits after them, such as `10`, `2.5` or `0.`, as
/// seconds. Digits after the ninth decimal are dropped. `None` if it is something else, or more
/// than 2^64.
pub(crate) fn decimal(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let mut nanoseconds = 0;
    for place in 0..9 {
        let digit = fraction.as_bytes().get(place).map_or(0, |digit| digit - b'0');
        nanoseconds = nanoseconds * 10 + u32::from(digit);
    }
    Some(Duration::new(whole.parse().ok()?, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_to_the_ninth_place() {
        for (text, seconds, nanoseconds) in [
            ("0", 0, 0),
            ("0.", 0, 0),
            ("10", 10, 0),
            ("2.5", 2, 500_000_000),
            ("0.05", 0, 50_000_000),
            ("1.0000000019", 1, 1),
            ("18446744073709551615.999999999", u64::MAX, 999_999_999),
        ] {
            assert_eq!(decimal(text), Some(Duration::new(seconds, nanoseconds)), "{text}");
        }
        for other in
            ["", ".", ".5", "-1", "+1", " 1", "1e3", "1.2.3", "NaN", "inf", "18446744073709551616"]
        {
            assert_eq!(decimal(other), None, "{other}");
        }
    }
}
