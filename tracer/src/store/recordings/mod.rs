//! Several files as one: the pieces of a rotated recording, one after the
//! other, and recordings of several nodes side by side.
//!
//! Recordings made apart keep step by their agents' clocks, so that none runs
//! ahead of the others; within each, the order is that in which it came. One
//! alone is gone through exactly as it was recorded.

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

/// All that was recorded, in files.
pub struct Recordings {
    chains: Vec<Chain>,
    /// By recording, the numbers of its agents among all.
    numbers: Vec<Vec<usize>>,
    /// By recording, what comes next and when that was.
    next: Vec<Option<(i64, Record)>>,
    head: Arc<Head>,
    /// What comes before all else.
    first: VecDeque<Record>,
    /// Whether the head has what owners change until the end.
    owners_known: bool,
    /// Whether payload hashes of one are of no meaning to another.
    keys_differ: bool,
    /// By how much clocks of different recordings may differ, ns.
    skew: i64,
    /// Why the next event cannot be read.
    failed: Option<JoinError>,
    over: bool,
}

impl Recordings {
    /// Opens files, in any order.
    ///
    /// # Errors
    /// If one is no trace, or they do not belong together.
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

    /// Says what has to be known of recordings side by side before the first
    /// row of any.
    fn begin(&mut self, groups: Vec<VecDeque<PathBuf>>) {
        let mut armed = i64::MIN;
        let chains = self.chains.iter().zip(&self.numbers);
        for ((chain, numbers), pieces) in chains.zip(groups) {
            self.first.push_back(Record::Begun {
                agents: numbers[0]..numbers[0] + numbers.len(),
                time: chain.begun(),
            });
            // Without that of all, nothing that was not seen tells anything.
            armed = armed.max(armed_at(chain, pieces).unwrap_or(i64::MAX));
        }
        self.first.push_back(Record::Armed(armed));
    }

    const fn are_several(&self) -> bool {
        self.chains.len() > 1
    }

    /// What they are about, all together.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// What a collector that is to go through them has to know. Clocks that
    /// differ make hops come later than others say: so they are waited for.
    pub(crate) fn beginning(&self) -> Beginning {
        let mut beginning = self.head.beginning();
        beginning.limits.hold += self.skew;
        beginning.skew = beginning.skew.max(self.skew);
        beginning.warnings.extend(self.warnings());
        beginning
    }

    /// What limits what can be said of them, one sentence each.
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

    /// That a recording had ended when another began, if so, in a sentence;
    /// known after the last event.
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
        // What was read before is given, whatever comes.
        self.failed = self.advance(chain).err();
        match &mut recorded {
            Record::Batch { batch, .. } if self.keys_differ => forget_hashes(batch),
            _ => {}
        }
        Ok(Some(recorded))
    }

    /// The recording whose turn it is.
    fn turn(&self) -> Option<usize> {
        let times = self.next.iter().enumerate();
        let times = times.filter_map(|(chain, next)| Some((next.as_ref()?.0, chain)));
        times.min().map(|(_, chain)| chain)
    }

    /// Leaves out what need not be said, until what comes next is to be given.
    fn settle(&mut self) {
        let several = self.are_several();
        while self.first.is_empty() && self.failed.is_none() {
            let Some(chain) = self.turn() else { return };
            let is_left_out = match &self.next[chain] {
                // What was said before of all.
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

    /// When what comes next was, Unix time, ns; of what has no time of its own, as early as
    /// can be. `None` after the last event.
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

    /// Since when what happened is in them, Unix time, ns; before anything is read.
    pub(crate) fn from(&self) -> i64 {
        let froms = self.chains.iter().map(Chain::from);
        froms.min().unwrap_or(i64::MIN)
    }

    /// When they ended, Unix time, ns; after the last event.
    pub(crate) fn ended(&self) -> i64 {
        let ends = self.chains.iter().map(Chain::ended);
        ends.max().unwrap_or(i64::MIN)
    }

    /// Others that go on from the same place; `None` where that cannot be read again.
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

    /// Makes sure that the files are still there that are to be read again.
    ///
    /// # Errors
    /// If one is not.
    pub(crate) fn check(&mut self) -> Result<(), JoinError> {
        self.chains.iter_mut().try_for_each(Chain::check)
    }

    /// How many events and records were read and not taken yet.
    pub(crate) fn waiting(&self) -> usize {
        self.chains.iter().map(Chain::waiting).sum()
    }

    /// Makes the agents of a recording's record those of all recordings.
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

    /// The files that ended in the middle; known after the last event.
    pub fn cut(&self) -> impl Iterator<Item = &Path> {
        self.chains.iter().flat_map(Chain::cut)
    }
}

/// The events. An error is the last item: a file cannot be read on.
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

/// The files of each recording, in order, and recordings by when they began.
/// All files are looked at, none is kept open: there may be more than a
/// process may open.
fn grouped(paths: &[PathBuf]) -> Result<Vec<VecDeque<PathBuf>>, JoinError> {
    if let [alone] = paths {
        return Ok(vec![VecDeque::from([alone.clone()])]);
    }
    let mut pieces = Vec::new();
    for path in paths {
        // What can be read once only cannot be looked at before.
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

/// From when on all points of a recording are observed, which is said soon
/// after its begin; `None` if it is not.
fn armed_at(chain: &Chain, pieces: VecDeque<PathBuf>) -> Option<i64> {
    let mut again = Chain::open(pieces).ok()?;
    again.shift(chain.shifted());
    // What cannot be read is told when its turn comes.
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
