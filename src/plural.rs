//! Singular and plural in what people read.

/// `1 user`, `2 users`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
