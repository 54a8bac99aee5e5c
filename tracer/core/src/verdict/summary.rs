//! Sums of a follow: verdicts, latencies, and what became of every event.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use hashbrown::HashMap;
use hdrhistogram::Histogram;
use tracer_common::{
    counters::Counters,
    drop::{DropCounter, DropCounters},
};

use super::{
    Dns, Kind, Verdict,
    latency::{GROWS, histogram, latencies},
};
use crate::{
    journey::{Journey, Scene, Step},
    model::{Direction, way},
};

/// An observation point, by names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Name of the node.
    pub node: String,
    /// `host`, or the pod whose namespace it is.
    pub netns: String,
    /// Name of the interface.
    pub interface: String,
    /// Direction.
    pub direction: Direction,
    /// How the program is attached, as in [`crate::model::Point::hook`].
    pub hook: Cow<'static, str>,
}

impl Place {
    /// The point of a step.
    pub(super) fn of(scene: &Scene, step: &Step) -> Self {
        Self::at(scene, step.node, step.point)
    }

    /// A point by its agent's index and its own.
    fn at(scene: &Scene, node: usize, point: usize) -> Self {
        let hello = &scene.nodes[node];
        let point = &hello.points[point];
        Self {
            node: hello.node.clone(),
            netns: point.netns.clone(),
            interface: point.interface.clone(),
            direction: point.direction,
            hook: point.hook.clone(),
        }
    }

    /// Direction of the packets that pass the point, in three letters.
    #[must_use]
    pub fn way(&self) -> &'static str {
        way(&self.hook, self.direction)
    }
}

/// What became of every packet and event, over the whole follow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounting {
    /// Packets at all points, by what the programs did with them.
    pub packets: Counters,
    /// Events that agents could not decode.
    pub malformed: u64,
    /// Hops that reached the collector.
    pub hops: u64,
    /// Hops that are part of a journey.
    pub joined: u64,
    /// Hops that came after their journey was reported.
    pub late: u64,
    /// Journeys given up for want of memory.
    pub evicted: u64,
    /// What became of every freed packet.
    pub drops: DropAccounting,
}

/// What became of every freed packet, over the whole follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropAccounting {
    /// Freed packets by what the programs did with them, all agents together.
    pub counters: DropCounters,
    /// Events that agents could not decode.
    pub malformed: u64,
    /// Runs of the program that kernels left out.
    pub missed: u64,
    /// Freed packets that reached the collector.
    pub freed: u64,
    /// Freed packets that are part of a journey.
    pub joined: u64,
    /// Freed packets that came after their journey was reported.
    pub late: u64,
    /// Freed packets that belong to no known journey.
    pub alone: u64,
}

impl Accounting {
    /// Events that were lost on the way to the collector. While there are any, a packet that was
    /// not seen may still have passed.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        use tracer_common::counters::Counter;
        self.packets.get(Counter::RingFull)
            + self.packets.get(Counter::RateLimited)
            + self.malformed
    }

    /// Whether every emitted event is accounted for.
    #[must_use]
    pub const fn balances(&self) -> bool {
        use tracer_common::counters::Counter;
        self.packets.get(Counter::Emitted) == self.hops + self.malformed
            && self.hops == self.joined + self.late
    }
}

/// Where packets were dropped, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DropPlace {
    /// Name of the node.
    pub node: String,
    /// `host`, or the pod whose namespace it is.
    pub netns: Arc<str>,
    /// Interface, where it is known.
    pub interface: Option<Arc<str>>,
    /// The kernel's reason.
    pub reason: Arc<str>,
    /// The kernel's function.
    pub function: Arc<str>,
}

impl DropAccounting {
    /// Freed packets without an event. While there are any, a packet may have been dropped unseen.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.counters.get(DropCounter::RingFull)
            + self.counters.get(DropCounter::RateLimited)
            + self.malformed
            + self.missed
    }
}

/// A follow's sums.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Journeys by verdict.
    pub verdicts: BTreeMap<Kind, u64>,
    /// Latency from point to next point, ns.
    pub legs: BTreeMap<(Place, Place), Histogram<u64>>,
    /// Journeys by the drop that decided.
    pub drops: BTreeMap<DropPlace, u64>,
    /// Journeys that turned out not to belong to the follow. No other sum includes them.
    pub others: u64,
    /// Questions to DNS and their answers.
    pub dns: Dns,
    /// Where every event went.
    pub accounting: Accounting,
}

impl Summary {
    /// Journeys in all.
    #[must_use]
    pub fn journeys(&self) -> u64 {
        self.verdicts.values().sum()
    }
}

/// A summary in progress. Looking up names costs more than everything else about a journey, so
/// points get names only at the end.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    others: u64,
    dns: Dns,
    verdicts: BTreeMap<Kind, u64>,
    drops: BTreeMap<DropPlace, u64>,
    /// By the two ends of the leg: each the index of an agent, and of one of its points.
    legs: HashMap<[(usize, usize); 2], Histogram<u64>>,
}

impl Sums {
    /// Adds a finished journey.
    pub fn add(&mut self, scene: &Scene, journey: &Journey, verdict: &Verdict) {
        *self.verdicts.entry(verdict.kind).or_default() += 1;
        if let Some(drop) = verdict.drop.map(|index| &journey.drops[index]) {
            let place = DropPlace {
                node: scene.nodes[drop.node].node.clone(),
                netns: Arc::clone(&drop.netns),
                interface: drop.device.clone(),
                reason: Arc::clone(&drop.reason),
                function: Arc::clone(&drop.function),
            };
            *self.drops.entry(place).or_default() += 1;
        }
        self.dns.add(scene, journey, verdict);
        for (from, to, latency) in latencies(journey) {
            let leg = [from, to].map(|step| (step.node, step.point));
            let histogram = self.legs.entry(leg).or_insert_with(histogram);
            histogram.record(latency).expect(GROWS);
        }
    }

    /// Approximate memory of the sums, in bytes. Nearly all of it is histograms.
    #[must_use]
    pub fn weight(&self) -> usize {
        let legs = self.legs.values().chain([&self.dns.took]);
        let counts: usize = legs.map(Histogram::distinct_values).sum();
        counts * size_of::<u64>()
    }

    /// Counts a journey that does not belong to the follow.
    pub const fn add_other(&mut self) {
        self.others += 1;
    }

    /// The summary of these sums, with the ledger's `accounting`.
    #[must_use]
    pub fn summary(&self, scene: &Scene, accounting: Accounting) -> Summary {
        let mut legs = BTreeMap::new();
        for (leg, latency) in &self.legs {
            let [from, to] = leg.map(|(node, point)| Place::at(scene, node, point));
            let sum = legs.entry((from, to)).or_insert_with(histogram);
            sum.add(latency).expect(GROWS);
        }
        Summary {
            verdicts: self.verdicts.clone(),
            legs,
            drops: self.drops.clone(),
            others: self.others,
            dns: self.dns.clone(),
            accounting,
        }
    }
}
