//! Walks along one row, column by column.

use super::elapsed::Interval;

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

    /// A duration in procps' seven bytes, the first of them blank. `Some(None)` if it is blank, `?`
    /// or `?xdm?`.
    ///
    /// From 100 days on it is longer than seven bytes and shifts what follows. Its first figure is
    /// padded to two places, so it fits at one place only.
    pub(super) fn procps_interval(&mut self) -> Option<Option<Interval>> {
        if matches!(self.0.get(..7)?, b"       " | b" ?xdm? " | b"   ?   ") {
            self.take(7)?;
            return Some(None);
        }
        let lead = self.leading_blanks();
        let word = self.padded_word(7usize.checked_sub(lead)?)?;
        let figures = word.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let padded = matches!((lead, figures), (2, 1) | (1, 2..));
        let fits = lead + word.len() <= 7 || word.ends_with(b"days");
        (padded && fits).then_some(())?;
        Interval::procps(word).map(Some)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figure_of_a_duration_stands_at_its_place_only() {
        let length = |text: &str| {
            let mut cursor = Cursor(text.as_bytes());
            cursor.procps_interval().map(|_| text.len() - cursor.0.len())
        };
        for text in ["  0.05s", " 59.99s", "  1:05 ", " 47:59m", "  2days", " 10days", "   ?   "] {
            assert_eq!(length(&format!("{text} vim")), Some(7), "{text}");
        }
        assert_eq!(length(" 1000days vim"), Some(9));
        for text in [
            "0.05s  ",
            " 0.05s ",
            "   0.05s",
            "  59.99s",
            "59.99s ",
            " 1000.00s",
            " 100:00m",
            "  100days",
            " 0.05s",
            "  1:05",
        ] {
            assert_eq!(length(text), None, "{text}");
        }
    }
}
