//! Standard error of a remote agent, or of another program that a command runs.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, Read},
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use super::lock;
use crate::terminal::tell;

/// Limit of a line, bytes; a longer line is split.
const LONGEST_LINE: u64 = 4096;

/// Number of last lines that are kept.
const LAST_WORDS: usize = 3;

/// How long to wait for the rest of standard error after a stream's end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Lines of an agent's standard error. They are kept until the agent has begun, and shown at
/// once afterwards.
#[derive(Clone, Default)]
pub(super) struct Words(Arc<Mutex<Said>>, Arc<Condvar>);

#[derive(Default)]
struct Said {
    last: VecDeque<String>,
    aloud: bool,
    /// Whether standard error has ended.
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

    /// Waits for the last lines, which may come later than the end of the other stream.
    pub(super) fn wait(&self) {
        let said = lock(&self.0);
        let waited = self
            .1
            .wait_timeout_while(said, PATIENCE, |said| !said.ended);
        drop(waited);
    }

    /// Shows the kept lines, and each new line from now on.
    pub(super) fn aloud(&self, node: &str) {
        let mut said = lock(&self.0);
        said.aloud = true;
        for line in &said.last {
            tell(&format!("{node}: {line}"));
        }
    }

    /// The last lines, or `other` if there are none, after a colon.
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
