//! Reading the cluster's objects, with a word for who waits for it.

use std::{
    io::{self, IsTerminal as _, Write},
    path::Path,
    time::{Duration, Instant},
};

use super::error::SettingsError;
use crate::{
    inventory::{Inventory, Progress},
    stdio,
    terminal::clean,
};

/// How long nothing is said, and how often then.
const PATIENCE: Duration = Duration::from_millis(500);
const EVERY: Duration = Duration::from_millis(100);

/// Reads the file, if one was named.
pub(super) fn inventory(path: Option<&Path>) -> Result<Option<Inventory>, SettingsError> {
    let Some(path) = path else {
        return Ok(None);
    };
    if !io::stderr().is_terminal() {
        return Ok(Some(Inventory::load(path, |_| {})?));
    }
    let mut waiting = Waiting::new(io::stderr(), &stdio::input(path), Instant::now());
    let loaded = Inventory::load(path, |progress| waiting.hear(progress, Instant::now()));
    waiting.end();
    Ok(Some(loaded?))
}

/// Says on one line of a terminal how far it is.
struct Waiting<W: Write> {
    out: W,
    name: String,
    next: Instant,
    said: bool,
}

impl<W: Write> Waiting<W> {
    fn new(out: W, name: &str, now: Instant) -> Self {
        Self {
            out,
            name: clean(name),
            next: now + PATIENCE,
            said: false,
        }
    }

    fn hear(&mut self, Progress { bytes, of }: Progress, now: Instant) {
        if now < self.next {
            return;
        }
        self.next = now + EVERY;
        self.said = true;
        let (name, read) = (&self.name, bytes >> 20);
        let of = of.map_or_else(String::new, |of| format!(" of {}", of >> 20));
        // Nobody who has closed stderr wants to know.
        let _: io::Result<()> = write!(self.out, "\rtracer: reading {name}: {read}{of} MiB");
        let _: io::Result<()> = self.out.flush();
    }

    /// Leaves the line as it was.
    fn end(&mut self) {
        if self.said {
            let _: io::Result<()> = write!(self.out, "\r\u{1b}[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Instant, Progress, Waiting};

    #[test]
    fn who_waits_is_told_and_who_does_not_is_not() {
        let begin = Instant::now();
        let mut waiting = Waiting::new(Vec::new(), "a\u{1b}.yaml", begin);
        let mut at = |ms, bytes, of| {
            waiting.hear(Progress { bytes, of }, begin + Duration::from_millis(ms));
        };
        at(0, 1 << 20, Some(300 << 20));
        at(499, 2 << 20, Some(300 << 20));
        at(500, 30 << 20, Some(300 << 20));
        at(550, 31 << 20, Some(300 << 20));
        at(600, 32 << 20, None);
        waiting.end();
        assert_eq!(
            String::from_utf8(waiting.out).expect("text"),
            "\rtracer: reading a\u{fffd}.yaml: 30 of 300 MiB\
             \rtracer: reading a\u{fffd}.yaml: 32 MiB\
             \r\u{1b}[K"
        );
        let mut quick = Waiting::new(Vec::new(), "a.yaml", begin);
        quick.hear(Progress { bytes: 9, of: None }, begin);
        quick.end();
        assert_eq!(quick.out, b"");
    }
}
