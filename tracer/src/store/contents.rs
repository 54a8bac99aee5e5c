//! What a trace holds, without going through it packet by packet.

use std::{fs, path::Path};

use super::{Event, Head, Reader, TraceError};

/// Rows of a trace, and what they span.
#[derive(Clone, Debug)]
pub struct Contents {
    /// What it is about.
    pub head: Head,
    /// Bytes of the file.
    pub bytes: u64,
    /// Packets at observation points, by node.
    pub hops: Vec<u64>,
    /// Packets that kernels freed, by node.
    pub drops: Vec<u64>,
    /// Batches of all agents.
    pub batches: u64,
    /// The first hop or drop and the last, Unix time, ns.
    pub span: Option<(i64, i64)>,
    /// From when on all points were observed, Unix time, ns.
    pub armed: Option<i64>,
    /// When the recording ended, Unix time, ns; `None` if it goes on in
    /// another file, or was cut off.
    pub ended: Option<i64>,
    /// Whether the file ends in the middle.
    pub cut: bool,
}

impl Contents {
    /// Reads all of a file.
    ///
    /// # Errors
    /// If it is no trace, or damaged.
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
        // With the points and owners that came later.
        contents.head.clone_from(reader.head());
        contents.cut = reader.cut();
        // A pipe has no length but what came out of it.
        contents.bytes = match fs::metadata(path) {
            Ok(file) if file.is_file() => file.len(),
            _ => reader.position(),
        };
        Ok(contents)
    }
}
