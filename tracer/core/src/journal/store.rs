//! The journal: the latest judged journeys, with an index.
//!
//! The live view keeps the journeys that it may show again. Entries are shared and never copied.
//! If entries take more memory than the limit, the oldest are forgotten and counted. Readers
//! must be able to say that journeys are missing.

use std::{collections::VecDeque, sync::Arc};

use super::{Entry, Selection, index::Index};
use crate::journey::Scene;

/// Limit of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Memory limit, approximate bytes ([`Entry::weight`]). The newest entry stays whatever it
    /// takes.
    pub bytes: usize,
}

/// The latest journeys, in the order of their verdicts.
#[derive(Clone, Debug)]
pub struct Journal {
    bound: Bound,
    entries: VecDeque<Arc<Entry>>,
    index: Index,
    /// Memory that the entries take, approximate bytes.
    bytes: usize,
    /// Number of forgotten entries, which is also the number of the first held entry.
    evicted: u64,
    /// Latest begin of a forgotten entry, Unix time, ns.
    held_since: Option<i64>,
}

impl Journal {
    /// Creates an empty journal.
    #[must_use]
    pub fn new(bound: Bound) -> Self {
        Self::from(bound, 0, None)
    }

    /// Creates an empty journal that has forgotten all entries before a number. The latest of
    /// them began at `since`, Unix time, ns.
    #[must_use]
    pub fn from(bound: Bound, number: u64, since: Option<i64>) -> Self {
        Self {
            bound,
            entries: VecDeque::new(),
            index: Index::default(),
            bytes: 0,
            evicted: number,
            held_since: since,
        }
    }

    /// Adds an entry. If entries between the newest one and this one are missing, they and all
    /// before them count as forgotten.
    pub fn push(&mut self, entry: Arc<Entry>) {
        if entry.number != self.next() {
            while self.forget_oldest() {}
            self.evicted = entry.number;
        }
        self.bytes += entry.weight();
        self.index.add(&entry);
        self.entries.push_back(entry);
        self.evict();
    }

    /// Forgets the oldest entries until the rest is within the limit.
    fn evict(&mut self) {
        while self.bytes > self.bound.bytes && self.entries.len() > 1 {
            self.forget_oldest();
        }
    }

    /// Forgets the oldest entry. Returns whether there was one.
    fn forget_oldest(&mut self) -> bool {
        let Some(entry) = self.entries.pop_front() else {
            return false;
        };
        self.index.forget(&entry);
        self.bytes -= entry.weight();
        self.evicted += 1;
        self.held_since = self.held_since.max(Some(entry.journey.start()));
        true
    }

    /// Number of the next entry.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.evicted + self.entries.len() as u64
    }

    /// Number of held entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no entry is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Memory that the held entries take, approximate bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of entries that were forgotten because of the limit.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Unix time, ns, after which every journey that began is held; `None` if all are held.
    #[must_use]
    pub const fn held_since(&self) -> Option<i64> {
        self.held_since
    }

    /// Entry by its number; `None` if it is not held.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&Arc<Entry>> {
        let at = usize::try_from(number.checked_sub(self.evicted)?).ok()?;
        self.entries.get(at)
    }

    /// Entry by the journey's own number; `None` if it is not held.
    #[must_use]
    pub fn with_id(&self, id: u64) -> Option<&Arc<Entry>> {
        self.get(self.index.with_id(id)?)
    }

    /// Held entries from a number on.
    pub fn since(&self, number: u64) -> impl DoubleEndedIterator<Item = &Arc<Entry>> {
        let skipped = number.saturating_sub(self.evicted);
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        self.entries.range(skipped.min(self.entries.len())..)
    }

    /// Held entries that match a query, in the order of verdicts.
    ///
    /// The index finds verdicts, conversations, places, periods and numbers of journeys. Other
    /// terms of the query are tried on the entries that the index finds.
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

    /// Number of numbers in the index.
    #[cfg(test)]
    pub(super) fn indexed(&self) -> usize {
        self.index.len()
    }
}
