//! Several files as one: the pieces of a rotated recording, one after the
//! other, and recordings of several nodes side by side.
//!
//! Recordings made apart are joined by their agents' watermarks, so that none
//! runs ahead of the others; within each, the order is that in which it came.
//! One alone is gone through exactly as it was recorded.

use std::{
    collections::VecDeque,
    net::IpAddr,
    path::{Path, PathBuf},
};

use super::{
    error::JoinError,
    head::Head,
    reader::{Event, Reader},
};
use crate::link::Batch;

/// All that was recorded, in files.
pub struct Recordings {
    chains: Vec<Chain>,
    head: Head,
    /// Whether payload hashes of one are of no meaning to another.
    keys_differ: bool,
}

/// A recording: its pieces.
struct Chain {
    /// Index of its first node among all.
    first: usize,
    reader: Reader,
    /// The pieces after the one that is being read.
    rest: VecDeque<PathBuf>,
    /// What comes next, and when that was, Unix time, ns.
    next: Option<(i64, Event)>,
    /// Whether what a piece repeats of the one before was read.
    continued: bool,
    /// Until when what happened is in a piece that is not there.
    begins: i64,
    /// The piece that ended in the middle.
    cut: Option<PathBuf>,
}

impl Recordings {
    /// Opens files, in any order.
    ///
    /// # Errors
    /// If one is no trace, or they do not belong together.
    pub fn open(paths: &[PathBuf]) -> Result<Self, JoinError> {
        let mut pieces = Vec::new();
        for path in paths {
            pieces.push((Reader::open(path)?, path.clone()));
        }
        pieces.sort_by_key(|(reader, _)| {
            let head = reader.head();
            (head.time, head.recording, head.piece)
        });
        let mut chains: Vec<Chain> = Vec::new();
        let mut last: Option<(Head, PathBuf)> = None;
        let mut first = 0;
        for (reader, path) in pieces {
            let head = reader.head().clone();
            let before = last.replace((head.clone(), path.clone()));
            if let (Some(chain), Some((before, other))) = (chains.last_mut(), before)
                && before.recording == head.recording
            {
                match head.piece.checked_sub(before.piece) {
                    Some(1) => chain.rest.push_back(path),
                    Some(0) | None => return Err(JoinError::Twice { path, other }),
                    Some(_) => return Err(JoinError::Missing { path, other }),
                }
            } else {
                let nodes = head.nodes.len();
                chains.push(Chain::new(first, reader));
                first += nodes;
            }
        }
        let head = joined(&chains)?;
        let keys = chains.iter().map(|chain| chain.reader.head().key);
        let keys_differ = keys.clone().any(|key| key != chains[0].reader.head().key);
        let mut recordings = Self {
            chains,
            head,
            keys_differ,
        };
        for chain in &mut recordings.chains {
            chain.advance()?;
        }
        Ok(recordings)
    }

    /// What they are about, all together.
    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// How many recordings there are.
    #[must_use]
    pub const fn recordings(&self) -> usize {
        self.chains.len()
    }

    /// What limits what can be said of them, one sentence each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        if !self.keys_differ {
            return Vec::new();
        }
        vec![
            "recorded with different keys, so that packets of two nodes are joined without \
             their payload's hash: record with the same --key to have it"
                .to_owned(),
        ]
    }

    fn read(&mut self) -> Result<Option<Event>, JoinError> {
        let time = |chain: &Chain| chain.next.as_ref().map(|(time, _)| *time);
        let Some(chain) = self
            .chains
            .iter_mut()
            .filter(|chain| chain.next.is_some())
            .min_by_key(|chain| time(chain))
        else {
            return Ok(None);
        };
        let Some((_, mut event)) = chain.next.take() else {
            return Ok(None);
        };
        chain.advance()?;
        if let Event::Batch { batch, .. } = &mut event
            && self.keys_differ
        {
            forget_hashes(batch);
        }
        Ok(Some(event))
    }

    /// The files that ended in the middle; known after the last event.
    pub fn cut(&self) -> impl Iterator<Item = &Path> {
        self.chains.iter().filter_map(|chain| chain.cut.as_deref())
    }
}

/// The events; agents count over all recordings. An error is the last item: a
/// file cannot be read on.
impl Iterator for Recordings {
    type Item = Result<Event, JoinError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.read().transpose();
        if matches!(next, Some(Err(_))) {
            self.chains.clear();
        }
        next
    }
}

fn forget_hashes(batch: &mut Batch) {
    for hop in &mut batch.hops {
        hop.packet.payload_hash = 0;
    }
    for packet in batch
        .freed
        .iter_mut()
        .filter_map(|freed| freed.packet.as_mut())
    {
        packet.payload_hash = 0;
    }
}

impl Chain {
    fn new(first: usize, reader: Reader) -> Self {
        Self {
            first,
            reader,
            rest: VecDeque::new(),
            next: None,
            continued: false,
            begins: i64::MIN,
            cut: None,
        }
    }

    /// Reads what comes next.
    fn advance(&mut self) -> Result<(), JoinError> {
        loop {
            let Some(event) = self.reader.next().transpose()? else {
                if self.reader.cut() {
                    self.cut = Some(self.reader.path().to_owned());
                }
                let Some(path) = self.rest.pop_front() else {
                    return Ok(());
                };
                self.reader = Reader::open(&path)?;
                self.continued = true;
                continue;
            };
            let nodes = &self.reader.head().nodes;
            let unix = |agent: usize, time: u64| {
                let offset = nodes[agent].realtime_offset;
                i64::try_from(time).map_or(i64::MAX, |time| time.saturating_add(offset))
            };
            let next = match event {
                // The piece before has all of that.
                Event::State { .. } | Event::Armed(_) if self.continued => continue,
                Event::State {
                    agent,
                    stream,
                    watermark,
                    report,
                } => {
                    let time = unix(agent, watermark);
                    self.begins = self.begins.max(time);
                    let agent = agent + self.first;
                    let state = Event::State {
                        agent,
                        stream,
                        watermark,
                        report,
                    };
                    (i64::MIN, state)
                }
                Event::Armed(time) => (i64::MIN, Event::Armed(time.max(self.begins))),
                Event::Batch { agent, batch } => {
                    let time = unix(agent, batch.watermark);
                    let agent = agent + self.first;
                    (time, Event::Batch { agent, batch })
                }
                Event::End(time) => (time, Event::End(time)),
            };
            self.next = Some(next);
            return Ok(());
        }
    }
}

/// The heads of several recordings as one.
fn joined(chains: &[Chain]) -> Result<Head, JoinError> {
    let mut chains = chains.iter().map(|chain| &chain.reader);
    let first = chains.next().expect("at least one file was given");
    let mut head = first.head().clone();
    let mut paths = vec![first.path()];
    for reader in chains {
        let other = reader.head();
        let path = || reader.path().to_owned();
        if !other.pairs.iter().any(|pair| head.pairs.contains(pair)) {
            return Err(JoinError::Unrelated {
                path: path(),
                follow: other.follow.clone(),
                other: paths[0].to_owned(),
                other_follow: head.follow.clone(),
            });
        }
        for hello in &other.nodes {
            if head.nodes.iter().any(|known| known.node == hello.node) {
                return Err(JoinError::SameNode {
                    path: path(),
                    node: hello.node.clone(),
                });
            }
        }
        head.nodes.extend(other.nodes.iter().cloned());
        for (address, owner) in &other.owners {
            let known = head.owners.entry(*address).or_insert_with(|| owner.clone());
            if known.name != owner.name {
                return Err(conflict(path(), *address, &known.name, &owner.name));
            }
        }
        for network in &other.sources {
            if !head.sources.contains(network) {
                head.sources.push(*network);
            }
        }
        head.warnings.extend(other.warnings.iter().cloned());
        head.hold = head.hold.max(other.hold);
        head.time = head.time.max(other.time);
        head.count = None;
        paths.push(reader.path());
    }
    Ok(head)
}

fn conflict(path: PathBuf, address: IpAddr, known: &str, owner: &str) -> JoinError {
    JoinError::Clusters {
        path,
        address,
        owner: owner.to_owned(),
        known: known.to_owned(),
    }
}
