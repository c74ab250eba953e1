//! The forms of the durations in IDLE and JCPU.

use std::time::Duration;

use super::resolution::Resolution;

/// A duration as `w` prints it, and its precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The printed value: the real one is this or up to one step more.
    pub duration: Duration,
    /// The step.
    pub resolution: Resolution,
}

impl Interval {
    fn seconds(seconds: u64, resolution: Resolution) -> Interval {
        Interval { duration: Duration::from_secs(seconds), resolution }
    }

    fn days(days: u64) -> Option<Interval> {
        Some(Interval::seconds(days.checked_mul(24 * 60 * 60)?, Resolution::Day))
    }

    /// Reads procps' forms (`print_time_ival7` in `w.c`): `1.73s`, `1:05` (m:ss), `1:05m` (h:mm),
    /// `2days`.
    pub fn procps(text: &[u8]) -> Option<Interval> {
        if let Some(days) = text.strip_suffix(b"days") {
            return Interval::days(number(days)?);
        }
        if let Some(hours_minutes) = text.strip_suffix(b"m") {
            let (hours, minutes) = pair(hours_minutes, b':')?;
            return Some(Interval::seconds(hours * 3600 + minutes * 60, Resolution::Minute));
        }
        if let Some(decimal) = text.strip_suffix(b"s") {
            return Interval::decimal(decimal);
        }
        let (minutes, seconds) = pair(text, b':')?;
        Some(Interval::seconds(minutes * 60 + seconds, Resolution::Second))
    }

    /// Reads seconds and hundredths: `1.73`, as in uutils' JCPU.
    pub fn decimal(text: &[u8]) -> Option<Interval> {
        let dot = text.iter().position(|&byte| byte == b'.')?;
        let (whole, hundredths) = text.split_at_checked(dot)?;
        let hundredths = two_digits(hundredths.get(1..)?)?;
        Some(Interval {
            duration: Duration::from_secs(number(whole)?) + Duration::from_millis(hundredths * 10),
            resolution: Resolution::Second,
        })
    }

    /// Reads the BSDs' forms (`pr_idle` in `pr_time.c`): `-` (active), `12` (minutes), `1:23`
    /// (h:mm), `1day`, `2days`.
    pub fn bsd(text: &[u8]) -> Option<Interval> {
        if text == b"-" {
            return Some(Interval::seconds(0, Resolution::Minute));
        }
        if let Some(days) = text.strip_suffix(b"days").or_else(|| text.strip_suffix(b"day")) {
            return Interval::days(number(days)?);
        }
        let minutes = match pair(text, b':') {
            Some((hours, minutes)) => hours * 60 + minutes,
            None => number(text)?,
        };
        Some(Interval::seconds(minutes.checked_mul(60)?, Resolution::Minute))
    }

    /// Reads BusyBox's form (`idle_string` in `who.c`): `01:23` (hh:mm), under a day.
    pub fn busybox(text: &[u8]) -> Option<Interval> {
        let (hours, minutes) = pair(text, b':')?;
        (text.len() == 5 && hours < 24)
            .then(|| Interval::seconds(hours * 3600 + minutes * 60, Resolution::Minute))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(form: fn(&[u8]) -> Option<Interval>, text: &str) -> Option<(f64, Resolution)> {
        form(text.as_bytes()).map(|interval| (interval.duration.as_secs_f64(), interval.resolution))
    }

    #[test]
    fn procps_forms_are_distinguished_by_their_endings() {
        let read = |text| read(Interval::procps, text);
        assert_eq!(read("1.73s"), Some((1.73, Resolution::Second)));
        assert_eq!(read("60.00s"), Some((60.0, Resolution::Second)));
        assert_eq!(read("1:01"), Some((61.0, Resolution::Second)));
        assert_eq!(read("1:01m"), Some((3660.0, Resolution::Minute)));
        assert_eq!(read("47:59m"), Some((172_740.0, Resolution::Minute)));
        assert_eq!(read("2days"), Some((172_800.0, Resolution::Day)));
        assert_eq!(read("1000days"), Some((86_400_000.0, Resolution::Day)));
        assert_eq!(read("9999999999days"), Some((863_999_999_913_600.0, Resolution::Day)));
    }

    #[test]
    fn other_texts_are_no_procps_interval() {
        for text in [
            "",
            "-",
            "?",
            "1",
            "1.7s",
            "1.733s",
            "1:60",
            "1:1",
            ":01",
            "days",
            "1:00h",
            "10000000000days",
            "0.00",
        ] {
            assert_eq!(read(Interval::procps, text), None, "{text}");
        }
    }

    #[test]
    fn bsd_forms_count_minutes_and_a_dash_is_active() {
        let read = |text| read(Interval::bsd, text);
        assert_eq!(read("-"), Some((0.0, Resolution::Minute)));
        assert_eq!(read("0"), Some((0.0, Resolution::Minute)));
        assert_eq!(read("59"), Some((3540.0, Resolution::Minute)));
        assert_eq!(read("35:59"), Some((129_540.0, Resolution::Minute)));
        assert_eq!(read("1day"), Some((86_400.0, Resolution::Day)));
        assert_eq!(read("100days"), Some((8_640_000.0, Resolution::Day)));
        assert_eq!(read("?"), None);
    }

    #[test]
    fn busybox_shows_hours_and_minutes_of_less_than_a_day() {
        let read = |text| read(Interval::busybox, text);
        assert_eq!(read("23:59"), Some((86_340.0, Resolution::Minute)));
        assert_eq!(read("24:00"), None);
        assert_eq!(read("old"), None);
    }
}
