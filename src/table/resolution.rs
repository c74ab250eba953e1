//! How precise a printed time is.

/// The smallest step that a printed time or duration can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// `1.73s`, `1:05`, `00:15:27`.
    Second,
    /// `1:05m`, `21:16`.
    Minute,
    /// `Sun00`.
    Hour,
    /// `2days`, `15Oct26`.
    Day,
}
