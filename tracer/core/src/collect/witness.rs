//! What the collector knows of the agents during a journey.

use std::time::Duration;

use super::{ledger::Ledger, legs::Legs};
use crate::{
    journey::{Limits, Step},
    verdict::{Circumstances, Pattern, Rises, Silence, Sort, Where},
};

/// Answers the judge's questions.
pub(super) struct Witness<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) legs: &'a Legs,
    /// How long the engine waits for a journey's next event.
    pub(super) limits: Limits,
}

impl Circumstances for Witness<'_> {
    fn hops_lost(&self, place: Where, from: i64, to: i64) -> bool {
        self.ledger.hops_lost(place, from, to)
    }

    fn drops_lost(&self, node: Option<usize>, from: i64, to: i64) -> bool {
        self.ledger.drops_lost(node, from, to)
    }

    fn agent_gone(&self, from: i64, to: i64) -> Option<usize> {
        self.ledger.agent_gone(from, to)
    }

    fn uneven(&self, from: i64, to: i64) -> bool {
        self.ledger.uneven(from, to)
    }

    fn sampled(&self, from: i64) -> bool {
        self.ledger.sampled_since(from)
    }

    fn hold(&self) -> Duration {
        Duration::from_nanos(self.limits.hold.unsigned_abs())
    }

    fn settle(&self) -> Duration {
        Duration::from_nanos(self.limits.settle.unsigned_abs())
    }

    fn packets(&self, node: usize, point: usize, last: i64) -> Option<u64> {
        self.ledger.seen(node, point, last)
    }

    fn rises(&self, node: usize, from: i64) -> Option<Rises> {
        self.ledger.rises(node, from)
    }

    fn silence(&self, node: usize, interface: &str, from: i64, to: i64) -> Option<Silence> {
        self.ledger.silence(node, interface, from, to)
    }

    fn came_in(&self, step: &Step, to: usize) -> Option<bool> {
        self.legs.came_in(step, to)
    }

    fn pattern(&self, from: usize, to: usize, sort: &Sort, len: u32) -> Option<Pattern> {
        self.legs.pattern(from, to, sort, len)
    }
}
