//! The journal: the latest journeys, judged, and where to look for them.
//!
//! The core writes, once per journey; whoever shows journeys reads. Entries are shared
//! and never copied. Once they take more than is allowed, the oldest are forgotten and
//! counted: what a reader is not shown must not look as if it had not been.

use std::{collections::VecDeque, sync::Arc};

use super::{Entry, Selection, index::Index};
use crate::{
    journey::{Journey, Scene, Step},
    verdict::{Parts, Verdict},
};

/// How many lists of steps are kept to be used again.
const SPARE: usize = 1024;

/// How much a journal holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// About as many bytes as it may take ([`Entry::weight`]); the newest entry is
    /// held whatever it takes.
    pub bytes: usize,
}

impl Default for Bound {
    /// 32 MiB: some 15,000 journeys of eight hops each.
    fn default() -> Self {
        Self { bytes: 32 << 20 }
    }
}

/// The latest journeys, in the order of their verdicts.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    bound: Bound,
    entries: VecDeque<Arc<Entry>>,
    index: Index,
    /// What the entries take.
    bytes: usize,
    /// How many were forgotten: the number of the first that is held.
    evicted: u64,
    /// The latest time at which one of those began, Unix time, ns.
    held_since: Option<i64>,
    /// The lists of steps of those that were forgotten last, to be used again.
    spare: Vec<Vec<Step>>,
}

impl Journal {
    /// One that holds nothing yet.
    #[must_use]
    pub fn new(bound: Bound) -> Self {
        Self {
            bound,
            ..Self::default()
        }
    }

    /// One that has forgotten all before a number, the latest of which began at `since`,
    /// Unix time, ns.
    #[must_use]
    pub fn from(bound: Bound, number: u64, since: Option<i64>) -> Self {
        Self {
            evicted: number,
            held_since: since,
            ..Self::new(bound)
        }
    }

    /// Changes how much is held.
    pub fn set_bound(&mut self, bound: Bound) {
        self.bound = bound;
        self.evict();
    }

    /// Adds a journey that was judged.
    pub fn push(&mut self, journey: impl Into<Box<Journey>>, verdict: Verdict, parts: Parts) {
        self.share(Arc::new(Entry {
            number: self.next(),
            journey: journey.into(),
            verdict,
            parts,
        }));
    }

    /// Adds an entry of another journal, which holds them in the same order. Those between
    /// the newest here and this one count as forgotten, and with them all before.
    pub fn share(&mut self, entry: Arc<Entry>) {
        if entry.number != self.next() {
            while self.forget_oldest() {}
            self.evicted = entry.number;
        }
        self.bytes += entry.weight();
        self.index.add(&entry);
        self.entries.push_back(entry);
        self.evict();
    }

    /// Forgets the oldest until the rest is small enough.
    fn evict(&mut self) {
        while self.bytes > self.bound.bytes && self.entries.len() > 1 {
            self.forget_oldest();
        }
    }

    /// Forgets the oldest, if there is any.
    fn forget_oldest(&mut self) -> bool {
        let Some(entry) = self.entries.pop_front() else {
            return false;
        };
        self.index.forget(&entry);
        self.bytes -= entry.weight();
        self.evicted += 1;
        self.held_since = self.held_since.max(Some(entry.journey.start()));
        if self.spare.len() < SPARE
            && let Some(entry) = Arc::into_inner(entry)
        {
            self.spare.push(entry.journey.steps);
        }
        true
    }

    /// Lists of steps that nobody needs any more.
    pub(crate) fn spare(&mut self) -> impl Iterator<Item = Vec<Step>> {
        self.spare.drain(..)
    }

    /// The number that the next entry will have.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.evicted + self.entries.len() as u64
    }

    /// How many entries are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// About how many bytes they take.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many were forgotten for want of room.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Since when all journeys are held that began after it, Unix time, ns; `None`:
    /// all are.
    #[must_use]
    pub const fn held_since(&self) -> Option<i64> {
        self.held_since
    }

    /// An entry by its number, if it is held.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&Arc<Entry>> {
        let at = usize::try_from(number.checked_sub(self.evicted)?).ok()?;
        self.entries.get(at)
    }

    /// The entry of the journey with this number, if it is held.
    #[must_use]
    pub fn with_id(&self, id: u64) -> Option<&Arc<Entry>> {
        self.get(self.index.with_id(id)?)
    }

    /// Entries from a number on, as far as they are held.
    pub fn since(&self, number: u64) -> impl DoubleEndedIterator<Item = &Arc<Entry>> {
        let skipped = number.saturating_sub(self.evicted);
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        self.entries.range(skipped.min(self.entries.len())..)
    }

    /// The entries that are as somebody wants them, in the order of their verdicts.
    ///
    /// Verdicts, conversations, places, periods and numbers of journeys are looked up;
    /// other terms are tried on what is found by these.
    pub fn matching<'a>(
        &'a self,
        scene: &'a Scene,
        selection: &'a Selection,
    ) -> impl Iterator<Item = &'a Arc<Entry>> {
        let found = selection.query.narrow(&self.index, scene);
        let all = found.is_none().then(|| self.entries.iter());
        let found = found.into_iter().flatten();
        let found = found.filter_map(|number| self.get(number));
        let entries = all.into_iter().flatten().chain(found);
        entries.filter(|entry| selection.allows(scene, &entry.journey, &entry.verdict))
    }

    /// How many numbers the index holds.
    #[cfg(test)]
    pub(super) fn indexed(&self) -> usize {
        self.index.len()
    }
}
