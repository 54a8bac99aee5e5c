//! What the collector can say of the agents while a journey was on its way.

use std::{collections::HashMap, time::Duration};

use super::ledger::Ledger;
use crate::{
    journey::{Journey, Scene, Step},
    link::{Direction, Role},
    verdict::{Circumstances, Kind, Rises, Verdict},
};

/// Sizes of the packets on a leg from node to node, in bytes on the uplink.
#[derive(Clone, Copy, Debug, Default)]
struct Sizes {
    /// The largest that arrived.
    arrived: u32,
    /// When one arrived last, Unix time, ns.
    last_arrival: i64,
    lost: Option<Lost>,
}

/// What was lost on a leg.
#[derive(Clone, Copy, Debug)]
struct Lost {
    /// Bytes of the smallest.
    smallest: u32,
    count: u32,
    /// When the first was sent, Unix time, ns.
    since: i64,
}

/// How many losses make a pattern.
const PATTERN: u32 = 3;

/// The sizes of what arrived and what did not, by leg.
#[derive(Debug, Default)]
pub(super) struct Legs(HashMap<(usize, usize), Sizes>);

impl Legs {
    /// Takes note of a journey that was judged.
    pub(super) fn add(&mut self, scene: &Scene, journey: &Journey, verdict: &Verdict) {
        let leaves = |step: &Step| {
            let point = scene.point(step);
            (point.role, point.direction) == (Role::Uplink, Direction::Egress)
        };
        let Some(out) = journey.steps.iter().rposition(leaves) else {
            return;
        };
        let step = &journey.steps[out];
        let len = step.len / step.segments.max(1);
        if let Some(next) = journey.steps.get(out + 1) {
            let sizes = self.0.entry((step.node, next.node)).or_default();
            sizes.arrived = sizes.arrived.max(len);
            sizes.last_arrival = sizes.last_arrival.max(next.time);
        } else if verdict.kind == Kind::Lost
            && let Some(to) = far_end(scene, step)
        {
            let sizes = self.0.entry((step.node, to)).or_default();
            let lost = sizes.lost.get_or_insert(Lost {
                smallest: len,
                count: 0,
                since: step.time,
            });
            lost.smallest = lost.smallest.min(len);
            lost.count += 1;
            lost.since = lost.since.min(step.time);
        }
    }

    fn black_hole(&self, from: usize, to: usize, len: u32) -> Option<u32> {
        let sizes = self.0.get(&(from, to))?;
        let lost = sizes.lost?;
        // Of a leg that carries nothing any more, size says nothing.
        let carries = sizes.arrived > 0 && sizes.last_arrival > lost.since;
        let pattern = lost.count + 1 >= PATTERN && lost.smallest.min(len) > sizes.arrived;
        (pattern && carries).then_some(sizes.arrived)
    }
}

/// The node that a tunnel leads to.
fn far_end(scene: &Scene, step: &Step) -> Option<usize> {
    let owner = scene.owners.get(&step.encap?.outer_dst)?;
    let mut nodes = scene.nodes.iter();
    nodes.position(|hello| hello.node == owner.node)
}

/// Answers what the judge asks.
pub(super) struct Witness<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) legs: &'a Legs,
    /// For how long after a journey was last heard of it matters what was
    /// lost, ns.
    pub(super) hold: i64,
    /// Whether all agents have told since what they lost.
    pub(super) reported: bool,
}

impl Circumstances for Witness<'_> {
    fn hops_lost(&self, from: i64, last: i64) -> bool {
        !self.reported || self.ledger.hops_lost(from, last.saturating_add(self.hold))
    }

    fn sampled(&self, from: i64) -> bool {
        self.ledger.sampled_since(from)
    }

    fn hold(&self) -> Duration {
        Duration::from_nanos(self.hold.unsigned_abs())
    }

    fn drops_lost(&self, from: i64, last: i64) -> bool {
        !self.reported || self.ledger.drops_lost(from, last.saturating_add(self.hold))
    }

    fn packets(&self, node: usize, point: usize, last: i64) -> Option<u64> {
        self.ledger.seen(node, point, last)
    }

    fn rises(&self, node: usize, from: i64) -> Option<Rises> {
        self.ledger.rises(node, from)
    }

    fn black_hole(&self, from: usize, to: usize, len: u32) -> Option<u32> {
        self.legs.black_hole(from, to, len)
    }
}
