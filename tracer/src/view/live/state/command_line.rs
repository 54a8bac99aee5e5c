//! The command line that shows what the screen shows.

use super::{Screen, State};

impl State {
    /// A command line that shows the same.
    pub(super) fn command_line(&self) -> String {
        let query = match (&self.open, self.screen) {
            (Some(entry), Screen::Journey) => Some(format!("id:{}", entry.journey.id)),
            _ => self.list.wanted(),
        };
        let mut words = self.source.command.clone();
        if let Some(query) = query {
            words.extend(["--where".to_owned(), query]);
        }
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        words.join(" ")
    }
}

/// A word, quoted for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
