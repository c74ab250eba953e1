//! The forms of the durations in IDLE and JCPU.

use std::time::Duration;

use super::resolution::Resolution;

/// A duration as `w` prints it, and its precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed {
    /// The printed value: the real one is this or up to one step more.
    pub duration: Duration,
    /// The step.
    pub resolution: Resolution,
}

impl Elapsed {
    pub(super) fn seconds(seconds: u64, resolution: Resolution) -> Elapsed {
        Elapsed { duration: Duration::from_secs(seconds), resolution }
    }

    pub(super) fn days(days: u64) -> Option<Elapsed> {
        Some(Elapsed::seconds(days.checked_mul(24 * 60 * 60)?, Resolution::Day))
    }

    /// Reads seconds and hundredths: `1.73`, as in uutils' JCPU.
    pub fn decimal(text: &[u8]) -> Option<Elapsed> {
        let dot = text.iter().position(|&byte| byte == b'.')?;
        let (whole, hundredths) = text.split_at_checked(dot)?;
        let hundredths = two_digits(hundredths.get(1..)?)?;
        Some(Elapsed {
            duration: Duration::from_secs(number(whole)?) + Duration::from_millis(hundredths * 10),
            resolution: Resolution::Second,
        })
    }
}

/// Reads one to ten digits. `w` never prints more.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 10 {
        return None;
    }
    text.iter().try_fold(0u64, |sum, &byte| {
        byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0'))
    })
}

/// Reads exactly two digits.
pub(crate) fn two_digits(text: &[u8]) -> Option<u64> {
    (text.len() == 2).then(|| number(text)).flatten()
}

/// Reads `12:05`: up to ten digits, then two digits under 60.
pub(crate) fn pair(text: &[u8], separator: u8) -> Option<(u64, u64)> {
    let at = text.iter().position(|&byte| byte == separator)?;
    let (left, right) = text.split_at_checked(at)?;
    let right = two_digits(right.get(1..)?).filter(|&right| right < 60)?;
    Some((number(left)?, right))
}
