//! The command line that shows what is on the screen.

use super::{Screen, State};

impl State {
    /// What shows the same.
    pub(super) fn command_line(&self) -> String {
        let query = match (&self.open, self.screen) {
            (Some(entry), Screen::Journey) => Some(format!("id:{}", entry.journey.id)),
            _ => {
                let problems = self
                    .list
                    .problems
                    .then(|| "-verdict:delivered,left".to_owned());
                let query = self.list.query.as_ref().map(ToString::to_string);
                let parts: Vec<String> = query.into_iter().chain(problems).collect();
                (!parts.is_empty()).then(|| parts.join(" "))
            }
        };
        let mut words = self.source.command.clone();
        if let Some(query) = query {
            words.extend(["--where".to_owned(), query]);
        }
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        words.join(" ")
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
