//! What several streams saw, in order of time.
//!
//! A stream's batches are not sorted, and streams do not wait for each other.
//! What holds is each stream's watermark: everything before it has come. So
//! batches wait here until every stream's watermark is past what is in them.
//! Each is sorted when it comes, and then they are merged; what was seen stays
//! where it came, for it is large.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, binary_heap::PeekMut},
};

use crate::model::{Freed, Hop};

/// What an agent saw.
#[derive(Debug)]
pub(crate) enum Sight<'a> {
    /// A packet passing.
    Hop(&'a Hop),
    /// A packet being freed.
    Freed(&'a Freed),
}

/// What an agent saw, in no particular order.
#[derive(Clone, Debug)]
pub(crate) enum Sights {
    /// Packets passing.
    Hops(Vec<Hop>),
    /// Packets being freed.
    Freed(Vec<Freed>),
}

/// A batch of which something waits.
#[derive(Clone, Debug)]
struct Run {
    /// Time of the first input that waits, Unix time, ns.
    time: i64,
    /// Index of the agent.
    node: usize,
    /// Position among those of the same time, so that the order is the same
    /// every time.
    arrival: u64,
    sights: Sights,
    /// Those that wait, by time and index, the last one first.
    waiting: Vec<(i64, usize)>,
}

impl Run {
    fn first(&self) -> Option<(i64, Sight<'_>)> {
        let (time, index) = *self.waiting.last()?;
        let sight = match &self.sights {
            Sights::Hops(hops) => Sight::Hop(&hops[index]),
            Sights::Freed(freed) => Sight::Freed(&freed[index]),
        };
        Some((time, sight))
    }

    /// Goes on to the next one. False if there is none.
    fn advance(&mut self) -> bool {
        self.waiting.pop();
        let next = self.waiting.last();
        next.is_some_and(|(time, _)| {
            self.time = *time;
            true
        })
    }
}

impl PartialEq for Run {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Run {}

impl PartialOrd for Run {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Run {
    /// The greatest is the one whose turn it is.
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |run: &Self| (run.time, run.node, run.arrival);
        key(other).cmp(&key(self))
    }
}

/// Sorts sights behind the watermarks of all streams.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// By stream: everything before this has come. Unix time, ns.
    watermarks: Vec<i64>,
    runs: BinaryHeap<Run>,
    /// How many wait in them.
    waiting: usize,
    arrivals: u64,
}

impl Order {
    pub(crate) fn new(streams: usize) -> Self {
        Self {
            watermarks: vec![i64::MIN; streams],
            runs: BinaryHeap::new(),
            waiting: 0,
            arrivals: 0,
        }
    }

    /// Takes what agent `node` saw; `unix` is the Unix time of its times.
    pub(crate) fn push(&mut self, node: usize, sights: Sights, unix: impl Fn(u64) -> i64) {
        let times: &mut dyn Iterator<Item = u64> = match &sights {
            Sights::Hops(hops) => &mut hops.iter().map(|hop| hop.time),
            Sights::Freed(freed) => &mut freed.iter().map(|freed| freed.time),
        };
        let mut waiting: Vec<(i64, usize)> = times.map(unix).zip(0..).collect();
        // Nearly in order already, which this sort makes use of.
        waiting.sort();
        waiting.reverse();
        if let Some((time, _)) = waiting.last() {
            self.arrivals += 1;
            self.waiting += waiting.len();
            self.runs.push(Run {
                time: *time,
                node,
                arrival: self.arrivals,
                sights,
                waiting,
            });
        }
    }

    /// Adds streams of which nothing is before `time`.
    pub(crate) fn add(&mut self, streams: usize, time: i64) {
        let streams = self.watermarks.len() + streams;
        self.watermarks.resize(streams, time);
    }

    /// Everything of `stream` before `time` has come.
    pub(crate) fn passed(&mut self, stream: usize, time: i64) {
        let watermark = &mut self.watermarks[stream];
        *watermark = (*watermark).max(time);
    }

    /// Everything of `stream` before this has come.
    pub(crate) fn watermark_of(&self, stream: usize) -> i64 {
        self.watermarks[stream]
    }

    /// Nothing more will come.
    pub(crate) fn end(&mut self) {
        self.watermarks.fill(i64::MAX);
    }

    /// Everything before this has come from everywhere.
    pub(crate) fn watermark(&self) -> i64 {
        self.watermarks.iter().copied().min().unwrap_or(i64::MAX)
    }

    /// Gives what nothing can come before any more, with agent and Unix time,
    /// ns, in order.
    pub(crate) fn hand_on(&mut self, mut take: impl FnMut(usize, i64, Sight<'_>)) {
        let watermark = self.watermark();
        while let Some(mut run) = self.runs.peek_mut() {
            let Some((time, sight)) = run.first().filter(|(time, _)| *time < watermark) else {
                break;
            };
            take(run.node, time, sight);
            self.waiting -= 1;
            if !run.advance() {
                PeekMut::pop(run);
            }
        }
    }

    /// How many wait.
    pub(crate) const fn len(&self) -> usize {
        self.waiting
    }

    /// Whether any waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}
