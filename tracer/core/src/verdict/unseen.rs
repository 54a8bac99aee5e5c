//! Which verdicts lost events forbid.
//!
//! A verdict that rests on a sighting stands, whatever events were lost. A verdict that rests on
//! absence does not, if an event was lost at a place and time where the packet would have been
//! seen.

use std::time::Duration;

use super::{Where, case::Case, fates::Fates};
use crate::{
    journey::{Closed, Journey, Step},
    model::Transport,
};

fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

impl Case<'_> {
    fn hold(&self) -> i64 {
        nanoseconds(self.circumstances.hold())
    }

    /// The time up to which the follow waited for hops of this journey: Unix time, ns.
    pub(super) fn until(&self) -> i64 {
        let wait = match self.journey.closed {
            Closed::Known => nanoseconds(self.circumstances.settle()).min(self.hold()),
            Closed::Silence | Closed::End | Closed::Evicted => self.hold(),
        };
        self.journey.last().saturating_add(wait)
    }

    /// Whether hop events may have been lost while the packet was on its way.
    pub(super) fn hops_lost(&self, place: Where) -> bool {
        let (from, to) = (self.journey.start(), self.until());
        self.circumstances.hops_lost(place, from, to)
    }

    /// Whether drop events may have been lost.
    pub(super) fn drops_lost(&self) -> bool {
        let (from, to) = (self.journey.start(), self.until());
        self.circumstances.drops_lost(None, from, to)
    }

    /// Whether drop events of this node may have been lost.
    pub(super) fn drops_lost_on(&self, node: usize) -> bool {
        let (from, to) = (self.journey.start(), self.until());
        self.circumstances.drops_lost(Some(node), from, to)
    }

    /// Whether only some streams may have had the packet in their sample.
    pub(super) fn uneven(&self) -> bool {
        let (from, to) = (self.journey.start(), self.until());
        self.circumstances.uneven(from, to)
    }

    /// A node whose agent was out of reach while the packet was on its way.
    pub(super) fn agent_gone(&self) -> Option<usize> {
        let (from, to) = (self.journey.start(), self.until());
        self.circumstances.agent_gone(from, to)
    }

    /// Whether any event of the packet may have been lost.
    pub(super) fn events_lost(&self) -> bool {
        self.hops_lost(Where::Anywhere) || self.drops_lost() || self.uneven()
    }

    /// Whether a drop of the packet on the step's node, after the step, may have gone unseen.
    pub(super) fn drop_unseen(&self, step: &Step) -> bool {
        let until = self.until();
        let circumstances = self.circumstances;
        circumstances.drops_lost(Some(step.node), step.time, until)
            || circumstances.uneven(step.time, until)
    }

    /// Whether a reset or error about the packet, which arrived at this step, may have gone
    /// unseen.
    pub(super) fn refusal_unseen(&self, step: &Step) -> bool {
        let Journey {
            asks,
            answered_by,
            refusal,
            ..
        } = self.journey;
        if !asks || answered_by.is_some() || refusal.is_some() {
            return false;
        }
        let out = self.scene.opposite(step.node, step.point, step.time);
        let place = out.map_or(Where::Node(step.node), |out| Where::Point(step.node, out));
        self.hops_lost(place)
    }

    /// Whether the dropped packet may have been a copy, while the packet itself went on unseen.
    pub(super) fn copy_unseen(&self, fates: &Fates<'_>) -> bool {
        let mut nodes = fates.perhaps_copies.iter();
        nodes.any(|node| self.hops_lost(Where::Node(*node)))
            || (!fates.perhaps_copies.is_empty() && self.uneven())
    }

    /// Whether another packet that looks the same to the receiver may have gone unseen: the same
    /// bytes or the same question, sent before or after. Such a packet would have passed the
    /// points that this one passed.
    pub(super) fn twin_unseen(&self) -> bool {
        let journey = self.journey;
        let from = journey.start().saturating_sub(self.hold());
        let to = journey.last().saturating_add(self.hold());
        let lost = |place| self.circumstances.hops_lost(place, from, to);
        let mut steps = journey.steps.iter();
        let passed_unseen = if journey.steps.is_empty() {
            lost(Where::Anywhere)
        } else {
            steps.all(|step| {
                let points = self.scene.nodes.at_place(step.node, step.point);
                // Just before the place got its next number, it was not observed.
                let was_renewed = |point: usize| {
                    let point = &self.scene.nodes[step.node].points[point];
                    points.len() > 1 && (from..to).contains(&self.scene.until(step.node, point))
                };
                let mut points = points.iter().copied();
                points.any(|point| lost(Where::Point(step.node, point)) || was_renewed(point))
            })
        };
        passed_unseen || self.circumstances.sampled(from)
    }

    /// Whether the reset or error may be about an unseen packet that looks the same. If the error
    /// quotes an IPv4 identification, it is about this one.
    pub(super) fn may_refuse_another(&self) -> bool {
        let (packet, told) = (&self.journey.packet, self.journey.refusal);
        let is_quoted = told.is_some_and(|told| told.icmp.is_some())
            && !matches!(packet.transport, Transport::Tcp(_))
            && packet.src.is_ipv4()
            && packet.ip_id.is_some_and(|id| id != 0);
        told.is_some() && !is_quoted && self.twin_unseen()
    }
}
