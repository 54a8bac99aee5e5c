//! What several streams saw, in order of time.
//!
//! A stream's batches are not sorted, and streams do not wait for each other.
//! What holds is each stream's watermark: everything before it has come. So
//! hops wait here until every stream's watermark is past them.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::link::{Freed, Hop};

/// What an agent saw.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// A packet passing.
    Hop(Hop),
    /// A packet being freed.
    Freed(Freed),
}

/// A sight on its way to the engine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Unix time, ns.
    pub(super) time: i64,
    /// Index of the agent.
    pub(super) node: usize,
    /// Position among those of the same time, so that the order is the same
    /// every time.
    arrival: u64,
    pub(super) sight: Sight,
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |waiting: &Self| (waiting.time, waiting.node, waiting.arrival);
        key(self).cmp(&key(other))
    }
}

/// Sorts sights behind the watermarks of all streams.
#[derive(Debug)]
pub(super) struct Order {
    /// By stream: everything before this has come. Unix time, ns.
    watermarks: Vec<i64>,
    waiting: BinaryHeap<Reverse<Waiting>>,
    arrivals: u64,
}

impl Order {
    pub(super) fn new(streams: usize) -> Self {
        Self {
            watermarks: vec![i64::MIN; streams],
            waiting: BinaryHeap::new(),
            arrivals: 0,
        }
    }

    pub(super) fn push(&mut self, node: usize, time: i64, sight: Sight) {
        self.arrivals += 1;
        self.waiting.push(Reverse(Waiting {
            time,
            node,
            arrival: self.arrivals,
            sight,
        }));
    }

    /// Everything of `stream` before `time` has come.
    pub(super) fn passed(&mut self, stream: usize, time: i64) {
        let watermark = &mut self.watermarks[stream];
        *watermark = (*watermark).max(time);
    }

    /// Nothing more will come.
    pub(super) fn end(&mut self) {
        self.watermarks.fill(i64::MAX);
    }

    /// Everything before this has come from everywhere.
    pub(super) fn watermark(&self) -> i64 {
        self.watermarks.iter().copied().min().unwrap_or(i64::MAX)
    }

    /// The next one that nothing can come before any more.
    pub(super) fn next(&mut self) -> Option<Waiting> {
        let watermark = self.watermark();
        let Reverse(first) = self.waiting.peek()?;
        if first.time >= watermark {
            return None;
        }
        self.waiting.pop().map(|Reverse(waiting)| waiting)
    }

    /// Whether any waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
