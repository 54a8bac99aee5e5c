//! Text that is safe for a terminal.
//!
//! Interfaces, programs, pods and files have names that strangers chose. A control character in a
//! name can move the cursor, recolour the screen or type into the shell. A bidirectional character
//! makes a name look like another one. So all text for people, on stdout and stderr, goes through
//! [`clean`]. JSON escapes the same characters.

use std::{
    env,
    io::{self, IsTerminal as _, Write},
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::tz::TimeZone;
use unicode_width::UnicodeWidthChar as _;

/// Whether a character would move the cursor or turn the direction of writing.
pub(crate) fn is_steering(c: char) -> bool {
    matches!(
        c,
        '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{61c}'
    ) || c.is_control()
}

/// The text with every steering character replaced.
pub(crate) fn clean(text: &str) -> String {
    let harmless = |c| if is_steering(c) { '\u{fffd}' } else { c };
    text.chars().map(harmless).collect()
}

/// How many columns a text takes once it is [`clean`].
///
/// The result is the sum of the characters' columns. Some terminals draw a sequence as one character,
/// such as an emoji with a skin tone. For these, the result is too large, so no line wraps.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// How many columns a character takes: one that combines with another takes none.
pub(crate) fn columns_of(c: char) -> usize {
    match c {
        // The replacement.
        c if is_steering(c) => 1,
        // A variation selector may widen what is before it.
        '\u{fe00}'..='\u{fe0f}' => 1,
        c => c.width().unwrap_or(1),
    }
}

/// Takes lines that must not be written on the screen while it is somebody's.
type Holder = Box<dyn Fn(&str) + Send + Sync>;

/// Who takes lines for people, and those lines that are to be written once the screen is
/// free.
static HELD: Mutex<Option<(Holder, Vec<String>)>> = Mutex::new(None);

/// How many lines wait until the screen is free; the oldest go first.
const WAITING: usize = 1000;

fn held() -> MutexGuard<'static, Option<(Holder, Vec<String>)>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has `holder` take what is told, until [`release`].
pub(crate) fn hold(holder: impl Fn(&str) + Send + Sync + 'static) {
    *held() = Some((Box::new(holder), Vec::new()));
}

/// Writes what was told since [`hold`].
pub(crate) fn release() {
    let waiting = held().take().map(|(_, lines)| lines);
    for line in waiting.into_iter().flatten() {
        let _: io::Result<()> = io::stderr().write_all(line.as_bytes());
    }
}

/// Whether somebody has taken a line, which is `whole` as it is to be written later.
fn taken(line: &str, whole: &str) -> bool {
    let mut held = held();
    let Some((holder, waiting)) = held.as_mut() else {
        return false;
    };
    holder(line);
    // What goes into a file does not have to wait.
    if !io::stderr().is_terminal() {
        return false;
    }
    if waiting.len() == WAITING {
        waiting.remove(0);
    }
    waiting.push(whole.to_owned());
    true
}

/// Says something that is not data, in one line on stderr.
pub(crate) fn tell(line: &str) {
    if taken(line, &told(line)) {
        return;
    }
    // Nobody who has closed stderr wants to be told; `eprintln!` would panic.
    let _: io::Result<()> = io::stderr().write_all(told(line).as_bytes());
}

fn told(line: &str) -> String {
    format!("tracer: {}\n", clean(line))
}

/// The zone of times for people: UTC, or that of this machine's clocks or `TZ`.
pub(crate) fn zone(utc: bool) -> TimeZone {
    if utc {
        TimeZone::UTC
    } else {
        TimeZone::try_system().unwrap_or(TimeZone::UTC)
    }
}

/// Whether the live view can have the terminal: somebody types on it and reads it, and it
/// can do more than print.
pub(crate) fn is_screen() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal() && !is_dumb()
}

/// Whether the terminal can only print, as far as `TERM` says.
pub(crate) fn is_dumb() -> bool {
    env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty())
}

/// A writer of whole lines, as logs are, that cleans each.
#[derive(Debug)]
pub(crate) struct Lines<W>(pub(crate) W);

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        for line in text.split_inclusive('\n') {
            let (line, end) = match line.strip_suffix('\n') {
                Some(line) => (line, "\n"),
                None => (line, ""),
            };
            let whole = clean(line) + end;
            if !taken(line, &whole) {
                self.0.write_all(whole.as_bytes())?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::{Lines, columns, told};

    #[test]
    fn columns_are_not_characters() {
        assert_eq!(columns("eth0"), 4);
        assert_eq!(columns("東京"), 4);
        assert_eq!(columns("e\u{301}"), 1, "an accent of its own");
        assert_eq!(columns("a\u{200b}b\u{7}"), 4, "two are replaced");
        assert_eq!(columns("🚀"), 2);
    }

    #[test]
    fn what_is_told_cannot_steer_the_terminal() {
        assert_eq!(
            told("foreign program \u{1b}]0;x\u{7}evil\n\u{9b}2J\u{202e} on eth0"),
            "tracer: foreign program \u{fffd}]0;x\u{fffd}evil\u{fffd}\u{fffd}2J\u{fffd} on eth0\n"
        );
    }

    #[test]
    fn logs_keep_their_lines_and_nothing_else() {
        let mut lines = Lines(Vec::new());
        lines
            .write_all("looked at \u{1b}[2Jeth0\nand\r at é\n".as_bytes())
            .expect("memory takes all");
        assert_eq!(
            String::from_utf8(lines.0).expect("text"),
            "looked at \u{fffd}[2Jeth0\nand\u{fffd} at é\n"
        );
    }
}
