//! `unknown` verdicts with their reasons, and doubts about all other verdicts.

use super::{
    Circumstances, Confidence, Evidence, Kind, Outcome, Verdict, Where,
    case::Case,
    fates::{Fates, watches_interface},
    next_hop::no_next_hop,
    receive::not_at_tc,
    rest::{gone, in_the_dark, last_of_rest},
    twins::twins,
};
use crate::{
    journey::{Arrival, Closed},
    model::{Cause, Direction, Role},
};

impl Case<'_> {
    pub(super) fn unknown(&self, fates: &Fates<'_>, circumstances: &impl Circumstances) -> Verdict {
        let journey = self.journey;
        let mut evidence = vec![self.last_seen()];
        let delivered = fates.delivered.len();
        if delivered > 0 {
            evidence.push(Evidence::PartArrived(delivered));
        }
        if fates.drop.is_some() {
            evidence.extend(self.drop_evidence(fates));
        } else if fates.unclear.is_empty() {
            evidence.push(self.no_drop());
        }
        let silent = journey.closed == Closed::Silence;
        let gone = gone(self, fates).filter(|_| silent);
        evidence.extend(gone.and_then(|gone| no_next_hop(self, &gone, circumstances)));
        if silent && fates.drop.is_none() {
            evidence.extend(not_at_tc(self, fates, circumstances));
        }
        let last = last_of_rest(self, fates);
        if let Some(step) = last.filter(|_| journey.reassembled) {
            evidence.push(Evidence::Reassembled { node: step.node });
        }
        let taken = last.and_then(|step| {
            let point = self.scene.with_others(step.node, step.point)?;
            Some((step.node, point))
        });
        if let Some((node, point)) = taken {
            evidence.push(Evidence::Foreign {
                node,
                point,
                doubt: false,
            });
            if !watches_interface(self.scene, self.journey) {
                evidence.push(Evidence::PodUnobserved);
            }
        }
        for (_, index) in &fates.astray {
            evidence.push(Evidence::StrayFrame(*index));
            evidence.extend(Evidence::facts(&self.journey.drops[*index].facts));
        }
        let gone = self.gone_receiver();
        let host_side = fates.nearest.map(|(arrival, _)| arrival) == Some(Arrival::HostSide);
        let cause = match journey.closed {
            _ if self.events_lost() => Some(match self.agent_gone() {
                Some(_) => Cause::AgentGone,
                None => Cause::EventsLost,
            }),
            _ if host_side && delivered == 0 => Some(Cause::NotSeenInPod),
            _ if !self.scene.is_complete(journey.start()) => Some(Cause::BeforeStart),
            Closed::Silence if taken.is_some() => Some(Cause::ForeignProgram),
            _ if let Some(stand_in) = journey.stand_in => {
                evidence.push(Evidence::StandIn(stand_in));
                Some(Cause::StandIn)
            }
            Closed::Silence if let Some((node, point)) = gone => {
                evidence.push(Evidence::InterfaceGone { node, point });
                Some(Cause::InterfaceGone)
            }
            Closed::Silence if !fates.astray.is_empty() => Some(Cause::WrongMac),
            Closed::Silence if journey.ambiguous => Some(Cause::Ambiguous),
            Closed::End => Some(Cause::StillOpen),
            Closed::Evicted => Some(Cause::Evicted),
            Closed::Silence | Closed::Known if !fates.unclear.is_empty() => {
                Some(Cause::UnclearDrop)
            }
            Closed::Silence | Closed::Known if in_the_dark(self, fates) => Some(Cause::Opaque),
            Closed::Silence | Closed::Known => None,
        };
        Verdict {
            kind: Kind::Unknown,
            confidence: Confidence::Low,
            cause,
            drop: None,
            outcome: Outcome::Unknown,
            waits: None,
            evidence,
        }
    }

    /// The interface that led to the receiver, by node and point, if that interface is gone.
    fn gone_receiver(&self) -> Option<(usize, usize)> {
        let address = self.journey.destination()?;
        let points = self.scene.nodes.of_pod(address);
        let mut points = points.filter(|(_, _, point)| {
            (point.role, point.direction) == (Role::Veth, Direction::Egress)
        });
        let (node, index, last) = points.next_back()?;
        // Where no agent is any more, interfaces may still be there.
        let is_watched = self.scene.is_there(node, self.journey.start());
        (is_watched && last.until.is_some() && points.all(|(_, _, point)| point.until.is_some()))
            .then_some((node, index))
    }

    /// Evidence that no drop was seen, or that some nodes do not watch for drops.
    fn no_drop(&self) -> Evidence {
        let nodes = self.scene.nodes.iter().enumerate();
        let blind = nodes.filter(|(_, hello)| hello.drops.is_none());
        let blind: Vec<usize> = blind.map(|(node, _)| node).collect();
        if blind.is_empty() {
            Evidence::NoDrop
        } else {
            Evidence::DropsUnwatched(blind)
        }
    }

    /// Which events were lost, as evidence.
    fn what_was_lost(&self) -> impl Iterator<Item = Evidence> {
        let drops = self.drops_lost().then_some(Evidence::DropsLost);
        let hops = self
            .hops_lost(Where::Anywhere)
            .then_some(Evidence::HopsLost);
        let uneven = self.uneven().then_some(Evidence::Uneven);
        let agent = self.agent_gone().map(Evidence::AgentGone);
        [agent, drops, hops, uneven].into_iter().flatten()
    }

    /// Adds evidence against a verdict, and lowers its confidence.
    pub(super) fn doubt(&self, fates: &Fates<'_>, verdict: &mut Verdict) {
        let mut doubts = Vec::new();
        // If the receiver has the packet, no other program took it away.
        let settled = verdict.confidence == Confidence::Confirmed
            || matches!(verdict.kind, Kind::Unknown | Kind::Dropped | Kind::Refused);
        if let (Some(last), false) = (self.journey.steps.last(), settled)
            && let Some(point) = self.scene.with_others(last.node, last.point)
        {
            doubts.push(Evidence::Foreign {
                node: last.node,
                point,
                doubt: true,
            });
        }
        if verdict.kind == Kind::Delivered {
            doubts.extend(self.journey.refusal.map(Evidence::AlikeRefused));
        }
        if matches!(verdict.kind, Kind::Delivered | Kind::Unanswered) {
            doubts.extend(self.journey.impostor.map(Evidence::Impostor));
            doubts.extend(twins(self.scene, self.journey).map(Evidence::Twins));
        }
        if verdict.kind == Kind::Dropped && fates.is_doubtful() {
            doubts.push(Evidence::OtherMac);
        }
        if self.journey.ambiguous {
            doubts.push(Evidence::Identical);
        }
        if verdict.confidence < Confidence::Confirmed {
            doubts.extend(fates.unclear.iter().copied().map(Evidence::Unclear));
        }
        if matches!(verdict.kind, Kind::Unknown | Kind::Partial) {
            doubts.extend(self.what_was_lost());
        }
        if !doubts.is_empty() {
            verdict.confidence = Confidence::Low;
            verdict.evidence.extend(doubts);
        }
    }
}
