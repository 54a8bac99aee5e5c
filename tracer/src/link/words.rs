//! What a remote agent, or whatever a command leads to, says on its standard error.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, Read},
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use super::lock;
use crate::terminal::tell;

/// Bytes of a line; what is longer is more lines.
const LONGEST_LINE: u64 = 4096;

/// Lines that are kept of what was said last.
const LAST_WORDS: usize = 3;

/// How long the rest of what is said is waited for after a stream's end.
const PATIENCE: Duration = Duration::from_secs(2);

/// What an agent says on its standard error: kept until it has begun, then told at once.
#[derive(Clone, Default)]
pub(super) struct Words(Arc<Mutex<Said>>, Arc<Condvar>);

#[derive(Default)]
struct Said {
    last: VecDeque<String>,
    aloud: bool,
    /// Whether nothing more will be said.
    ended: bool,
}

impl Words {
    pub(super) fn listen(&self, node: &str, errors: impl Read) {
        let mut errors = BufReader::new(errors);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = errors
                .by_ref()
                .take(LONGEST_LINE)
                .read_until(b'\n', &mut line);
            if !matches!(read, Ok(1..)) {
                break;
            }
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end();
            let line = line.strip_prefix("tracer: ").unwrap_or(line).to_owned();
            let mut said = lock(&self.0);
            if said.aloud {
                tell(&format!("{node}: {line}"));
            }
            if said.last.len() == LAST_WORDS {
                said.last.pop_front();
            }
            said.last.push_back(line);
        }
        lock(&self.0).ended = true;
        self.1.notify_all();
    }

    /// Waits for what was said last, which comes by another way than a stream's end.
    pub(super) fn wait(&self) {
        let said = lock(&self.0);
        let waited = self
            .1
            .wait_timeout_while(said, PATIENCE, |said| !said.ended);
        drop(waited);
    }

    /// Tells from now on what is said, and what was said before.
    pub(super) fn aloud(&self, node: &str) {
        let mut said = lock(&self.0);
        said.aloud = true;
        for line in &said.last {
            tell(&format!("{node}: {line}"));
        }
    }

    /// The last that was said, or `other` if nothing was, after a colon.
    pub(super) fn said(&self, other: &str) -> String {
        let said = lock(&self.0);
        let lines: Vec<&str> = match &said.last {
            last if last.is_empty() => other.trim().lines().rev().take(LAST_WORDS).collect(),
            last => last.iter().map(String::as_str).collect(),
        };
        match lines.as_slice() {
            [] => String::new(),
            lines => format!(": {}", lines.join("; ")),
        }
    }
}
