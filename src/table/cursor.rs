//! Walks along one row, column by column.

/// What is left of a row.
pub(super) struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    /// The next bytes, that many and no fewer.
    pub(super) fn take(&mut self, width: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(width)?;
        self.0 = rest;
        Some(taken)
    }

    /// A column of that many bytes, without the blanks at its end. Takes the blank that separates
    /// it from the next one, too.
    pub(super) fn column(&mut self, width: usize) -> Option<&'a [u8]> {
        let text = self.take(width)?;
        self.blanks(1)?;
        Some(trim_end(text))
    }

    /// A column that is padded to that many bytes but never cut: what is longer ends at its first
    /// blank.
    pub(super) fn shifting_column(&mut self, width: usize) -> Option<&'a [u8]> {
        let over = self.0.get(width..)?.iter().position(|&byte| byte == b' ')?;
        self.column(width + over)
    }

    /// A word, and the blanks that pad it to that many bytes.
    pub(super) fn padded_word(&mut self, width: usize) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|&byte| byte == b' ').unwrap_or(self.0.len());
        let word = self.take(end)?;
        self.blanks(width.saturating_sub(end))?;
        Some(word)
    }

    /// That many blanks.
    pub(super) fn blanks(&mut self, count: usize) -> Option<()> {
        self.take(count)?.iter().all(|&byte| byte == b' ').then_some(())
    }

    /// How many blanks come next, and past them.
    pub(super) fn leading_blanks(&mut self) -> usize {
        let count = self.0.iter().take_while(|&&byte| byte == b' ').count();
        self.0 = &self.0[count..];
        count
    }
}

/// Without the blanks that pad a column on its right.
pub(super) fn trim_end(mut text: &[u8]) -> &[u8] {
    // FROM is 256 bytes, nearly all of them blanks: in steps of eight as long as it goes.
    while let Some((rest, b"        ")) = text.split_last_chunk::<8>() {
        text = rest;
    }
    while let Some((b' ', rest)) = text.split_last() {
        text = rest;
    }
    text
}
