//! Words and cells on lines that never exceed the width.
//!
//! A line that the terminal wraps destroys the columns. IPv6 addresses, long names and many
//! segments rarely come together in one line, so nobody would notice in a test. So all text goes
//! through this module, which knows the column. It breaks lines between words, shortens longer
//! words, and removes control characters from foreign names.

use std::fmt::Write as _;

use anstyle::Style;

use crate::terminal::{clean, columns, columns_of};

/// Text that is being laid out.
pub(in crate::view) struct Flow {
    text: String,
    /// Columns of a line.
    width: usize,
    /// Taken columns of the current line, without style sequences.
    column: usize,
    /// Spaces before the next piece. They are never written at the end of a line.
    gap: usize,
    /// The column where a broken line continues.
    indent: usize,
}

impl Flow {
    pub(in crate::view) const fn new(width: usize) -> Self {
        Self {
            text: String::new(),
            width,
            column: 0,
            gap: 0,
            indent: 0,
        }
    }

    /// Sets the column where broken lines continue.
    pub(in crate::view) const fn indent(&mut self, column: usize) {
        self.indent = column;
    }

    /// Leaves this number of columns more before the next piece.
    pub(super) const fn space(&mut self, columns: usize) {
        self.gap += columns;
    }

    /// Moves to a column. If that column is taken already, leaves one space.
    pub(in crate::view) fn tab(&mut self, column: usize) {
        self.gap = column
            .saturating_sub(self.column)
            .max(usize::from(self.column > 0));
    }

    /// Writes a piece of text that must not be broken. The piece goes to the next line if this one
    /// has no room, and is shortened if no line has.
    pub(in crate::view) fn put(&mut self, style: Style, piece: &str) {
        if piece.is_empty() {
            return;
        }
        let piece = clean(piece);
        self.make_room(columns(&piece));
        let gap = self.gap.min(self.width - 1 - self.column);
        let piece = shorten(&piece, self.width - self.column - gap);
        self.text.extend(std::iter::repeat_n(' ', gap));
        write!(self.text, "{style}{piece}{style:#}").expect("a string takes everything");
        self.column += gap + columns(&piece);
        self.gap = 1;
    }

    /// Writes a cell of `width` columns, with its text at the left.
    pub(in crate::view) fn left(&mut self, style: Style, width: usize, cell: &str) {
        let end = self.column + self.gap + width;
        self.put(style, cell);
        self.tab(end + 1);
    }

    /// Writes a cell of `width` columns, with its text at the right.
    pub(in crate::view) fn right(&mut self, style: Style, width: usize, cell: &str) {
        let end = self.column + self.gap + width;
        self.gap += width.saturating_sub(columns(cell));
        self.put(style, cell);
        self.tab(end + 1);
    }

    /// Writes words. Lines may break between any two of them.
    pub(in crate::view) fn words(&mut self, style: Style, words: &str) {
        for word in words.split_whitespace() {
            self.put(style, word);
        }
    }

    /// Writes pieces on one line, if necessary on the next one. Lines break between the pieces only
    /// if all of them are too long for one line.
    pub(super) fn phrase(&mut self, style: Style, pieces: &[&str]) {
        let len = pieces.iter().map(|piece| columns(piece) + 1).sum::<usize>();
        self.make_room(len.saturating_sub(1));
        for piece in pieces {
            self.put(style, piece);
        }
    }

    /// Ends the line.
    pub(in crate::view) fn line(&mut self) {
        self.text.push('\n');
        self.column = 0;
        self.gap = 0;
    }

    /// Moves to the next line, if `len` columns do not fit here and the next line has more room.
    fn make_room(&mut self, len: usize) {
        let start = self.column + self.gap;
        if start + len > self.width && self.column > 0 && self.indent < start {
            self.line();
            self.gap = self.indent;
        }
    }

    /// Number of lines that have ended.
    pub(super) fn height(&self) -> usize {
        self.text.matches('\n').count()
    }

    pub(in crate::view) fn finish(self) -> String {
        self.text
    }
}

/// Text of at most `width` columns. The middle is left out: cloud names differ at their beginning,
/// and names that controllers generate at their end.
pub(in crate::view) fn shorten(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let tail = kept / 3;
    let begin = fitting(text.chars(), kept - tail);
    let end = fitting(text.chars().rev(), tail);
    // A combining character whose base is left out must not combine with the ellipsis.
    let end = end.rev().skip_while(|c| columns_of(*c) == 0);
    begin.chain(std::iter::once('…')).chain(end).collect()
}

/// The first characters that fit into `width` columns.
fn fitting(
    characters: impl DoubleEndedIterator<Item = char> + Clone,
    width: usize,
) -> impl DoubleEndedIterator<Item = char> {
    let mut taken = 0;
    let count = characters
        .clone()
        .take_while(|c| {
            taken += columns_of(*c);
            taken <= width
        })
        .count();
    let kept: Vec<char> = characters.take(count).collect();
    kept.into_iter()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};
    use unicode_width::UnicodeWidthStr as _;

    use super::{Flow, shorten};
    use crate::{terminal::columns, view::look::Palette};

    #[test]
    fn the_middle_of_a_long_name_goes() {
        assert_eq!(shorten("short", 5), "short");
        assert_eq!(
            shorten("ip-10-0-12-34.eu-west-1.internal", 18),
            "ip-10-0-12-3…ernal"
        );
        assert_eq!(shorten("東京のノード", 12), "東京のノード");
        assert_eq!(shorten("東京のノード", 11), "東京の…ド");
        assert_eq!(shorten("abcde\u{301}f", 5), "abc…f");
        assert_eq!(shorten("abcdefe\u{301}", 5), "abc…e\u{301}");
    }

    #[test]
    fn foreign_names_cannot_steer_the_terminal() {
        let mut flow = Flow::new(80);
        flow.put(Palette::PLAIN.plain, "eth\u{1b}[2J\u{202e}0\u{9b}\r\n");
        assert_eq!(
            flow.finish(),
            "eth\u{fffd}[2J\u{fffd}0\u{fffd}\u{fffd}\u{fffd}"
        );
    }

    proptest! {
        /// Whatever is written in whatever order, no line is too long, and none ends with a space.
        #[test]
        fn lines_stay_within_the_terminal(
            width in 80_usize..200,
            pieces in prop::collection::vec((any::<u8>(), "\\PC{1,120}", 0_usize..100), 0..40),
        ) {
            let style = Palette::PLAIN.plain;
            let mut flow = Flow::new(width);
            for (action, piece, number) in &pieces {
                let visible = piece.replace(char::is_whitespace, "x");
                match action % 7 {
                    0 => flow.put(style, &visible),
                    1 => flow.left(style, *number, &visible),
                    2 => flow.right(style, *number, &visible),
                    3 => flow.words(style, piece),
                    4 => flow.phrase(style, &[&visible, &visible]),
                    5 => flow.indent(number % 30),
                    _ => flow.line(),
                }
            }
            for line in flow.finish().lines() {
                assert!(columns(line) <= width, "{line}");
                assert!(line.width() <= width, "{line}");
                assert!(!line.ends_with(' '), "{line:?}");
            }
        }
    }
}
