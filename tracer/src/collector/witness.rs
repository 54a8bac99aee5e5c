//! What the collector can say of the agents while a journey was on its way.

use std::time::Duration;

use super::{ledger::Ledger, legs::Legs};
use crate::{
    journey::Step,
    verdict::{Circumstances, Pattern, Rises, Silence, Sort},
};

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

    fn silence(&self, node: usize, interface: &str, from: i64, to: i64) -> Option<Silence> {
        self.ledger.silence(node, interface, from, to)
    }

    fn came_in(&self, step: &Step, to: usize) -> bool {
        self.legs.came_in(step, to)
    }

    fn pattern(&self, from: usize, to: usize, sort: &Sort, len: u32) -> Option<Pattern> {
        self.legs.pattern(from, to, sort, len)
    }
}
