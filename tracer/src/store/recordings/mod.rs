//! Reads several files as one: the pieces of a rotated recording in sequence, and recordings of
//! several nodes in parallel.
//!
//! Agents' clocks keep the recordings in step, so that none runs ahead of the others. Within
//! each recording, the order is unchanged. A single recording is read exactly as it was
//! recorded.

mod chain;
mod join;
mod owners;

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use tracer_core::{
    collect::Beginning,
    input::{Batch, Record},
    model::Hello,
};

use self::chain::Chain;
use super::{error::JoinError, head::Head, reader::Reader};
use crate::stdio;

/// Reads recordings from files.
pub struct Recordings {
    chains: Vec<Chain>,
    /// By recording: indexes of its agents among all agents.
    numbers: Vec<Vec<usize>>,
    /// By recording: the next record with its Unix time, ns.
    next: Vec<Option<(i64, Record)>>,
    head: Arc<Head>,
    /// Records that come before all others.
    first: VecDeque<Record>,
    /// Whether the head has all owners until the end.
    owners_known: bool,
    /// Whether payload hashes of different recordings cannot be compared.
    keys_differ: bool,
    /// How far clocks of different recordings may differ, ns.
    skew: i64,
    /// Why the next event cannot be read.
    failed: Option<JoinError>,
    over: bool,
}

impl Recordings {
    /// Opens files, in any order.
    ///
    /// # Errors
    /// If a file is no trace, or the files do not belong together.
    pub fn open(paths: &[PathBuf]) -> Result<Self, JoinError> {
        let groups = grouped(paths)?;
        let chains = groups.iter().map(|pieces| Chain::open(pieces.clone()));
        let mut chains = chains.collect::<Result<Vec<Chain>, _>>()?;
        let mut agents = 0;
        let numbers = chains.iter().map(|chain| {
            let first = agents;
            agents += chain.head().nodes.len();
            (first..agents).collect()
        });
        let numbers: Vec<Vec<usize>> = numbers.collect();
        let (head, owners_known) = join::joined(&mut chains, &groups)?;
        let keys = chains.iter().map(|chain| chain.head().key);
        let keys_differ = keys.clone().any(|key| key != head.key);
        let skew = if chains.len() > 1 && join::clocks_differ(&head) {
            head.hold
        } else {
            0
        };
        let mut recordings = Self {
            next: chains.iter().map(|_| None).collect(),
            numbers,
            chains,
            head: Arc::new(head),
            first: VecDeque::new(),
            owners_known,
            keys_differ,
            skew,
            failed: None,
            over: false,
        };
        if recordings.are_several() {
            recordings.begin(groups);
        }
        for chain in 0..recordings.chains.len() {
            let failed = recordings.advance(chain).err();
            recordings.failed = recordings.failed.or(failed);
        }
        Ok(recordings)
    }

    /// Adds the records that joined recordings need before the first row of any.
    fn begin(&mut self, groups: Vec<VecDeque<PathBuf>>) {
        let mut armed = i64::MIN;
        let chains = self.chains.iter().zip(&self.numbers);
        for ((chain, numbers), pieces) in chains.zip(groups) {
            self.first.push_back(Record::Begun {
                agents: numbers[0]..numbers[0] + numbers.len(),
                time: chain.begun(),
            });
            // Unless all recordings have this time, an unseen packet proves nothing.
            armed = armed.max(armed_at(chain, pieces).unwrap_or(i64::MAX));
        }
        self.first.push_back(Record::Armed(armed));
    }

    const fn are_several(&self) -> bool {
        self.chains.len() > 1
    }

    /// The joined head of all recordings.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The beginning for a collector that replays the recordings. If clocks differ, hops may
    /// seem late, so the collector waits longer.
    pub(crate) fn beginning(&self) -> Beginning {
        let mut beginning = self.head.beginning();
        beginning.limits.hold += self.skew;
        beginning.skew = beginning.skew.max(self.skew);
        beginning.warnings.extend(self.warnings());
        beginning
    }

    /// Limits of the verdicts on these recordings, one sentence each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.keys_differ {
            warnings.push(
                "recorded with different keys, so that packets of two nodes are joined without \
                 their payload's hash: record with the same --key to have it"
                    .to_owned(),
            );
        }
        warnings
    }

    /// A sentence, if a recording had ended before another began; known after the last event.
    #[must_use]
    pub fn apart(&self) -> Option<String> {
        let first = self.chains.iter().min_by_key(|chain| chain.ended())?;
        let last = self.chains.iter().max_by_key(|chain| chain.begun())?;
        (self.are_several() && first.ended() < last.begun()).then(|| {
            format!(
                "{} had ended when {} began: no packet is in both, so none could be joined; were \
                 their nodes' clocks right?",
                first.path().display(),
                last.path().display()
            )
        })
    }

    fn read(&mut self) -> Result<Option<Record>, JoinError> {
        self.settle();
        if let Some(first) = self.first.pop_front() {
            return Ok(Some(first));
        }
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let Some((chain, (_, mut recorded))) = self
            .turn()
            .and_then(|chain| Some((chain, self.next[chain].take()?)))
        else {
            return Ok(None);
        };
        self.number(chain, &mut recorded)?;
        // Records from before the error are still given.
        self.failed = self.advance(chain).err();
        match &mut recorded {
            Record::Batch { batch, .. } if self.keys_differ => forget_hashes(batch),
            _ => {}
        }
        Ok(Some(recorded))
    }

    /// The recording with the earliest next record.
    fn turn(&self) -> Option<usize> {
        let times = self.next.iter().enumerate();
        let times = times.filter_map(|(chain, next)| Some((next.as_ref()?.0, chain)));
        times.min().map(|(_, chain)| chain)
    }

    /// Skips records that are not needed, up to the next one that is.
    fn settle(&mut self) {
        let several = self.are_several();
        while self.first.is_empty() && self.failed.is_none() {
            let Some(chain) = self.turn() else { return };
            let is_left_out = match &self.next[chain] {
                // The joined time was given before all records.
                Some((_, Record::Armed(_))) => several,
                Some((_, Record::Owners(_))) => self.owners_known,
                Some((_, Record::Ended { .. })) => !several,
                _ => false,
            };
            if !is_left_out {
                return;
            }
            self.failed = self.advance(chain).err();
        }
    }

    /// Time of the next record, Unix time, ns; `i64::MIN` for a record without a time of its
    /// own. `None` after the last event.
    pub(crate) fn next_time(&mut self) -> Option<i64> {
        if self.over {
            return None;
        }
        self.settle();
        if !self.first.is_empty() || self.failed.is_some() {
            return Some(i64::MIN);
        }
        self.turn()
            .and_then(|chain| Some(self.next[chain].as_ref()?.0))
    }

    /// Time from which events are in the recordings, Unix time, ns; before the first read.
    pub(crate) fn from(&self) -> i64 {
        let froms = self.chains.iter().map(Chain::from);
        froms.min().unwrap_or(i64::MIN)
    }

    /// Time when the last recording ended, Unix time, ns; after the last event.
    pub(crate) fn ended(&self) -> i64 {
        let ends = self.chains.iter().map(Chain::ended);
        ends.max().unwrap_or(i64::MIN)
    }

    /// A copy that continues from the same place; `None` if the input cannot be read again.
    pub(crate) fn again(&self) -> Option<Self> {
        let can_be_read = self.failed.is_none() && self.chains.iter().all(Chain::can_be_read_again);
        can_be_read.then(|| Self {
            chains: self.chains.clone(),
            numbers: self.numbers.clone(),
            next: self.next.clone(),
            head: Arc::clone(&self.head),
            first: self.first.clone(),
            owners_known: self.owners_known,
            keys_differ: self.keys_differ,
            skew: self.skew,
            failed: None,
            over: self.over,
        })
    }

    /// Checks that the files of a copy still exist.
    ///
    /// # Errors
    /// If a file is gone.
    pub(crate) fn check(&mut self) -> Result<(), JoinError> {
        self.chains.iter_mut().try_for_each(Chain::check)
    }

    /// Number of events and records that were read and not taken yet.
    pub(crate) fn waiting(&self) -> usize {
        self.chains.iter().map(Chain::waiting).sum()
    }

    /// Replaces a recording's agent indexes in a record by those among all recordings.
    fn number(&mut self, chain: usize, record: &mut Record) -> Result<(), JoinError> {
        let numbers = &mut self.numbers[chain];
        match record {
            Record::Batch { agent, .. }
            | Record::State { agent, .. }
            | Record::Known { agent, .. }
            | Record::Gap { agent, .. }
            | Record::Gone { agent, .. } => *agent = numbers[*agent],
            Record::Ended { agents, .. } => agents.clone_from(numbers),
            Record::Joined { hello, .. } => {
                numbers.push(self.head.nodes.len());
                let path = self.chains[chain].path();
                let head = Arc::make_mut(&mut self.head);
                join::add_node(head, Hello::clone(hello), path)?;
            }
            Record::Armed(_) | Record::Owners(_) | Record::Begun { .. } | Record::Later(_) => {}
        }
        Ok(())
    }

    fn advance(&mut self, chain: usize) -> Result<(), JoinError> {
        self.next[chain] = self.chains[chain].read()?;
        Ok(())
    }

    /// Files that end in the middle; known after the last event.
    pub fn cut(&self) -> impl Iterator<Item = &Path> {
        self.chains.iter().flat_map(Chain::cut)
    }
}

/// The records. An error is the last item, because its file cannot be read any further.
impl Iterator for Recordings {
    type Item = Result<Record, JoinError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let next = self.read().transpose();
        self.over = !matches!(next, Some(Ok(_)));
        next
    }
}

/// Groups files by recording: pieces in order, and recordings by the time of their begin. All
/// files are opened, but none stays open, because there may be more files than a process may
/// open.
fn grouped(paths: &[PathBuf]) -> Result<Vec<VecDeque<PathBuf>>, JoinError> {
    if let [alone] = paths {
        return Ok(vec![VecDeque::from([alone.clone()])]);
    }
    let mut pieces = Vec::new();
    for path in paths {
        // Input that can be read only once cannot be examined first.
        if stdio::is_dash(path) || fs::metadata(path).is_ok_and(|file| !file.is_file()) {
            return Err(JoinError::Once { path: path.clone() });
        }
        let reader = Reader::open(path)?;
        let head = reader.head();
        pieces.push(((head.time, head.recording), head.piece, path));
    }
    pieces.sort();
    let mut groups: Vec<VecDeque<PathBuf>> = Vec::new();
    let mut last = None;
    for (recording, piece, path) in pieces {
        let before = last.replace((recording, piece, path));
        match (groups.last_mut(), before) {
            (Some(group), Some((of, number, other))) if of == recording => {
                let (path, other) = (path.clone(), other.clone());
                match piece.checked_sub(number) {
                    Some(1) => group.push_back(path),
                    Some(0) | None => return Err(JoinError::Twice { path, other }),
                    Some(_) => return Err(JoinError::Missing { path, other }),
                }
            }
            _ => groups.push(VecDeque::from([path.clone()])),
        }
    }
    Ok(groups)
}

/// Time from which all points of a recording are observed, Unix time, ns, which a row near its
/// begin has. `None` without such a row.
fn armed_at(chain: &Chain, pieces: VecDeque<PathBuf>) -> Option<i64> {
    let mut again = Chain::open(pieces).ok()?;
    again.shift(chain.shifted());
    // An unreadable file is reported when it is read in its turn.
    while let Ok(Some((_, recorded))) = again.read() {
        if let Record::Armed(time) = recorded {
            return Some(time);
        }
    }
    None
}

fn forget_hashes(batch: &mut Batch) {
    for hop in &mut batch.hops {
        hop.packet.payload_hash = None;
    }
    for packet in batch
        .freed
        .iter_mut()
        .filter_map(|freed| freed.packet.as_mut())
    {
        packet.payload_hash = None;
    }
}
