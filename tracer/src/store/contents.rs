//! A summary of a trace's contents.

use std::{fs, path::Path};

use super::{Event, Head, Reader, TraceError};

/// Number of rows in a trace, and the time that they span.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The trace's head.
    pub head: Head,
    /// Length of the file, bytes.
    pub bytes: u64,
    /// Number of hops, by node.
    pub hops: Vec<u64>,
    /// Number of freed packets, by node.
    pub drops: Vec<u64>,
    /// Number of batches of all agents.
    pub batches: u64,
    /// Times of the first and the last hop or drop, Unix time, ns; `None` without both.
    pub span: Option<(i64, i64)>,
    /// Time from which all points were observed, Unix time, ns; `None` if they never were.
    pub armed: Option<i64>,
    /// Time when the recording ended, Unix time, ns; `None` if it continues in another file, or
    /// was cut off.
    pub ended: Option<i64>,
    /// Whether the file ends in the middle.
    pub cut: bool,
}

impl Contents {
    /// Reads a whole file.
    ///
    /// # Errors
    /// If the file is no trace, or is damaged.
    pub fn of(path: &Path) -> Result<Self, TraceError> {
        let mut reader = Reader::open(path)?;
        let head = reader.head().clone();
        let nodes = head.nodes.len();
        let mut contents = Self {
            bytes: 0,
            hops: vec![0; nodes],
            drops: vec![0; nodes],
            batches: 0,
            span: None,
            armed: head.armed,
            ended: None,
            cut: false,
            head,
        };
        for event in reader.by_ref() {
            match event? {
                Event::Batch { agent, batch } => {
                    contents.batches += 1;
                    contents.hops[agent] += batch.hops.len() as u64;
                    contents.drops[agent] += batch.freed.len() as u64;
                    let offset = contents.head.nodes[agent].realtime_offset;
                    let hops = batch.hops.iter().map(|hop| hop.time);
                    for time in hops.chain(batch.freed.iter().map(|freed| freed.time)) {
                        let time = i64::try_from(time).unwrap_or(i64::MAX);
                        let time = time.saturating_add(offset);
                        let (first, last) = contents.span.unwrap_or((time, time));
                        contents.span = Some((first.min(time), last.max(time)));
                    }
                }
                Event::Joined { hello, .. } => {
                    contents.head.nodes.push(*hello);
                    contents.hops.push(0);
                    contents.drops.push(0);
                }
                Event::State { .. }
                | Event::Gone { .. }
                | Event::Clock { .. }
                | Event::Owners(_) => {}
                Event::Armed(time) => contents.armed = Some(time),
                Event::End(time) => contents.ended = Some(time),
            }
        }
        // The head has the points and owners that came later, too.
        contents.head.clone_from(reader.head());
        contents.cut = reader.cut();
        // The length of a pipe is the number of bytes that came through it.
        contents.bytes = match fs::metadata(path) {
            Ok(file) if file.is_file() => file.len(),
            _ => reader.position(),
        };
        Ok(contents)
    }
}
