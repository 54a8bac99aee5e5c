//! Puts the hops and drops of several streams into order of time.
//!
//! A stream's batches are not sorted, and streams do not wait for each other. But each stream
//! has a watermark: everything before it has come. So batches wait here until every stream's
//! watermark has passed their hops. Each batch is sorted when it comes, and batches are merged
//! at the end. Hops are large, so only their times and indexes are sorted.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, binary_heap::PeekMut},
};

use crate::model::{Freed, Hop};

/// A hop or a drop.
#[derive(Debug)]
pub(crate) enum Sight<'a> {
    /// A packet passed.
    Hop(&'a Hop),
    /// The kernel freed a packet.
    Freed(&'a Freed),
}

/// Hops or drops of a batch, in no particular order.
#[derive(Clone, Debug)]
pub(crate) enum Sights {
    /// Hops.
    Hops(Vec<Hop>),
    /// Freed packets.
    Freed(Vec<Freed>),
}

/// A batch with hops or drops that wait.
#[derive(Clone, Debug)]
struct Run {
    /// Time of the first one that waits, Unix time, ns.
    time: i64,
    /// Index of the agent.
    node: usize,
    /// Number of the batch in order of arrival. It decides between equal times, so that the
    /// order is always the same.
    arrival: u64,
    sights: Sights,
    /// Times and indexes of those that wait, the last one first.
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

    /// Goes on to the next one; false if there is none.
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
    /// The heap gives its greatest element first, so the earliest batch is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |run: &Self| (run.time, run.node, run.arrival);
        key(other).cmp(&key(self))
    }
}

/// Sorts hops and drops up to the watermark of all streams.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// Watermark of each stream, Unix time, ns: everything before it has come.
    watermarks: Vec<i64>,
    runs: BinaryHeap<Run>,
    /// Number of hops and drops that wait.
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

    /// Takes hops or drops of the agent `node`. `unix` turns the agent's times into Unix time.
    pub(crate) fn push(&mut self, node: usize, sights: Sights, unix: impl Fn(u64) -> i64) {
        let times: &mut dyn Iterator<Item = u64> = match &sights {
            Sights::Hops(hops) => &mut hops.iter().map(|hop| hop.time),
            Sights::Freed(freed) => &mut freed.iter().map(|freed| freed.time),
        };
        let mut waiting: Vec<(i64, usize)> = times.map(unix).zip(0..).collect();
        // The times are nearly in order already, and this sort is fast then.
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

    /// Adds streams that have nothing before `time`, Unix time, ns.
    pub(crate) fn add(&mut self, streams: usize, time: i64) {
        let streams = self.watermarks.len() + streams;
        self.watermarks.resize(streams, time);
    }

    /// Notes that everything of `stream` before `time` has come, Unix time, ns.
    pub(crate) fn passed(&mut self, stream: usize, time: i64) {
        let watermark = &mut self.watermarks[stream];
        *watermark = (*watermark).max(time);
    }

    /// Watermark of `stream`, Unix time, ns: everything before it has come.
    pub(crate) fn watermark_of(&self, stream: usize) -> i64 {
        self.watermarks[stream]
    }

    /// Notes that nothing more will come from any stream.
    pub(crate) fn end(&mut self) {
        self.watermarks.fill(i64::MAX);
    }

    /// The lowest watermark, Unix time, ns: everything before it has come from all streams.
    pub(crate) fn watermark(&self) -> i64 {
        self.watermarks.iter().copied().min().unwrap_or(i64::MAX)
    }

    /// Hands on, in order of time, what no later input can precede, with agent and Unix time,
    /// ns.
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

    /// Number of hops and drops that wait.
    pub(crate) const fn len(&self) -> usize {
        self.waiting
    }

    /// Whether none waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}
