//! The verdict on a journey.
//!
//! Sightings decide first: the packet was seen at its destination, or it was seen leaving for a
//! place without an agent. Drops and refusals are sightings, too. Absence decides only where the
//! packet had to be seen. There, both ends of the leg are watched, their agents confirm that
//! afterwards, and no event was lost ([`super::unseen`]). Every other packet is `unknown`, and the
//! evidence has the last sighting.

use super::{
    Circumstances, Confidence, Evidence, Kind, Outcome, Parts, Verdict, Waits, Where,
    absence::{left, left_outside, lost},
    case::Case,
    fates::{Fates, watches_receiver},
    translation::{proxied, redirected, tell_translation},
    tunnel::tell_mismatch,
    twins::twins,
    unanswered::unanswered,
};
use crate::{
    journey::{Arrival, Closed, Drop, Journey, Range, Ranges, Refusal, Scene, Step},
    model::{Cause, Direction, Role},
};

/// The verdict on `journey`, and how much of it was delivered, dropped or lost.
#[must_use]
pub fn judge(
    scene: &Scene,
    journey: &Journey,
    circumstances: &impl Circumstances,
) -> (Verdict, Parts) {
    let case = Case {
        scene,
        journey,
        circumstances,
    };
    let fates = Fates::of(scene, journey, &case.taken());
    let mut parts = case.parts(&fates);
    let mut verdict = case
        .refused(&fates)
        .or_else(|| case.all_delivered(&fates, circumstances))
        .or_else(|| case.dropped(&fates))
        .or_else(|| left(&case, &fates))
        .or_else(|| left_outside(&case, &fates))
        .or_else(|| lost(&case, &fates, circumstances, &mut parts))
        .unwrap_or_else(|| case.unknown(&fates, circumstances));
    let dropped = fates.drop.is_some() && !case.copy_unseen(&fates);
    if (dropped || verdict.kind == Kind::Lost) && fates_of(parts) > 1 {
        verdict.kind = Kind::Partial;
    }
    if matches!(verdict.kind, Kind::Dropped | Kind::Lost) && !fates.is_doubtful() {
        verdict.waits = case.who_waits();
    }
    tell_mismatch(&case, &mut verdict);
    tell_translation(&case, &mut verdict);
    case.doubt(&fates, &mut verdict);
    (verdict, parts)
}

/// Whether a refusal says that the packet was too large: RFC 1191, RFC 4443.
const fn is_too_large(refusal: &Refusal) -> bool {
    matches!(
        (refusal.from.is_ipv6(), refusal.icmp),
        (false, Some((3, 4))) | (true, Some((2, _)))
    )
}

/// How many of the four parts are not empty.
fn fates_of(parts: Parts) -> usize {
    let fates = [parts.delivered, parts.dropped, parts.lost, parts.unknown];
    fates.iter().filter(|share| **share > 0).count()
}

impl Case<'_> {
    fn parts(&self, fates: &Fates<'_>) -> Parts {
        let bytes = |ranges: &Ranges| u64::try_from(ranges.len()).unwrap_or(0);
        let sent = u64::from(self.journey.size());
        // Lost events may have shown that the receiver dropped the packet, or that another copy
        // arrived.
        let delivered = if self.may_be_dropped(fates) {
            0
        } else {
            bytes(&fates.delivered)
        };
        let dropped = if self.copy_unseen(fates) {
            0
        } else {
            bytes(&fates.dropped)
        };
        Parts {
            sent,
            delivered,
            dropped,
            lost: 0,
            unknown: sent - delivered - dropped,
        }
    }

    /// The bytes that the receiver certainly has. Either the receiver answered the packet, or it
    /// acknowledged the bytes and no other transmission of them can have gone unseen.
    fn taken(&self) -> Ranges {
        let mut taken = Ranges::default();
        if self.journey.stand_in.is_some() {
            return taken;
        }
        if !self.journey.acked.is_empty() && !self.twin_unseen() {
            let acked = self.journey.acked.iter();
            acked.for_each(|part| taken.insert(Range::offsets(*part)));
        }
        if self.is_answered() {
            taken.insert(self.whole());
        }
        taken
    }

    /// The whole journey, as a range.
    fn whole(&self) -> Range {
        Range::offsets((0, self.journey.size()))
    }

    /// Whether the receiver acknowledged the whole journey, and no other transmission of these
    /// bytes can have gone unseen.
    fn is_acked(&self) -> bool {
        self.journey.acked[..] == [(0, self.journey.size())]
            && self.journey.stand_in.is_none()
            && !self.twin_unseen()
    }

    /// Whether the receiver, and nobody else, answered this packet. `false` also if the answer may
    /// be to another packet with the same question.
    fn is_answered(&self) -> bool {
        self.journey.answered_by.is_some()
            && self.journey.impostor.is_none()
            && self.journey.stand_in.is_none()
            && !self.journey.asked_again
            && !self.twin_unseen()
    }

    /// Whether the receiver may have dropped the packet unseen, and nothing shows that the receiver
    /// took the packet. Drop events were lost, or drops were not watched yet. The receiver may also
    /// have refused the packet where its drops are not watched.
    fn may_be_dropped(&self, fates: &Fates<'_>) -> bool {
        let unseen = fates.nearest.is_some_and(|(_, step)| {
            step.time < self.scene.since
                || self.drop_unseen(step)
                || ((self.is_refused_there() || self.refusal_unseen(step))
                    && !watches_receiver(self.scene, step.node, self.journey))
        });
        unseen && !self.is_answered() && !self.is_acked()
    }

    /// Whether the receiver refused the packet, or another one that looks the same.
    fn is_refused_there(&self) -> bool {
        let told = self.journey.refusal;
        told.is_some_and(|told| self.journey.is_sent_to(told.from)) && self.may_refuse_another()
    }

    /// `refused`: a reset or ICMP error went to the sender.
    fn refused(&self, fates: &Fates<'_>) -> Option<Verdict> {
        let told = self.journey.refusal?;
        if self.may_refuse_another() {
            return None;
        }
        // The drop next to the error shows that the error is about this packet.
        let alike = told.alike && fates.drop.is_none();
        let elsewhere = !self.journey.is_sent_to(told.from);
        if alike && elsewhere && fates.rest.is_empty() {
            return None;
        }
        // This packet may have been lost before another one with the same question was reset.
        if alike && told.icmp.is_none() && !fates.rest.is_empty() {
            return None;
        }
        let mut evidence = self.drop_evidence(fates);
        evidence.push(Evidence::RefusedBy(told.by));
        if alike {
            evidence.push(Evidence::PerhapsAnotherRefused);
        }
        evidence.push(self.last_seen());
        let cause = match fates.drop {
            Some(index) => self.journey.drops[index].judgement.cause,
            None if is_too_large(&told) => Some(Cause::Pmtu),
            None if told.icmp.is_none() => Some(Cause::Reset),
            None => Some(Cause::IcmpError),
        };
        Some(Verdict {
            kind: Kind::Refused,
            confidence: if alike {
                Confidence::Low
            } else {
                Confidence::High
            },
            cause,
            drop: fates.drop,
            outcome: Outcome::Refused,
            waits: None,
            evidence,
        })
    }

    /// `delivered`: the whole journey arrived.
    fn all_delivered(
        &self,
        fates: &Fates<'_>,
        circumstances: &impl Circumstances,
    ) -> Option<Verdict> {
        if !fates.rest.is_empty() || !fates.dropped.is_empty() {
            return None;
        }
        unanswered(self, fates, circumstances)
            .or_else(|| (!self.may_be_dropped(fates)).then(|| self.delivered(fates)))
    }

    fn delivered(&self, fates: &Fates<'_>) -> Verdict {
        let mut evidence = Vec::new();
        let mut confirmed = self.is_acked();
        let mut cause = None;
        let mut outcome = Outcome::Reached;
        if let Some(proxied) = proxied(self) {
            outcome = proxied;
            evidence.push(self.last_seen());
        } else if let Some((arrival, step)) = fates.nearest
            && arrival != Arrival::No
        {
            let index = self.index(step);
            evidence.push(Evidence::Seen(index));
            match self.scene.point(step).role {
                Role::Veth => {
                    outcome = Outcome::HandedOver {
                        step: index,
                        observed: watches_receiver(self.scene, step.node, self.journey),
                    };
                }
                Role::Bridge | Role::Overlay | Role::Uplink => {
                    evidence.push(Evidence::NodeUnobserved);
                }
                Role::Pod => {}
            }
            confirmed |= arrival == Arrival::There;
        } else {
            evidence.push(self.last_seen());
        }
        evidence.extend(self.bypassed(fates));
        evidence.extend(redirected(self));
        if self.is_acked() {
            evidence.push(Evidence::Acknowledged);
        }
        if let Some(by) = self.journey.answered_by {
            let perhaps_another = self.journey.asked_again || self.twin_unseen();
            confirmed |= !perhaps_another
                && self.journey.impostor.is_none()
                && self.journey.stand_in.is_none();
            evidence.push(Evidence::Answered {
                by,
                perhaps_another,
            });
        } else if self.journey.asks && self.journey.closed == Closed::End {
            cause = Some(Cause::StillOpen);
            evidence.push(Evidence::NotAnsweredYet);
        }
        let twins = twins(self.scene, self.journey);
        if self.journey.impostor.is_some() || twins.is_some() {
            cause = Some(Cause::TwoOwners);
        }
        if let Some(first) = self.journey.steps.first()
            && !self.starts_at_source(first)
        {
            evidence.push(Evidence::FirstSeen(0));
        }
        evidence.extend(fates.copies.iter().copied().map(Evidence::CopyDropped));
        Verdict {
            kind: Kind::Delivered,
            confidence: if confirmed {
                Confidence::Confirmed
            } else {
                Confidence::High
            },
            cause,
            drop: None,
            outcome,
            waits: None,
            evidence,
        }
    }

    /// Evidence that the packet bypassed the node's side of the pod's veth pair, as packets do
    /// where programs redirect.
    fn bypassed(&self, fates: &Fates<'_>) -> Option<Evidence> {
        // Before the start, packets may have passed the veth unseen.
        let since_start = self.journey.start() >= self.scene.since;
        let last = self.journey.steps.last();
        let last = last.filter(|_| since_start && !self.uneven())?;
        if fates
            .nearest
            .is_some_and(|(arrival, _)| arrival == Arrival::HostSide)
        {
            return None;
        }
        let address = self.journey.destination()?;
        let mut points = self.scene.nodes.of_pod(address);
        let (_, host_side, _) = points.find(|(node, _, point)| {
            *node == last.node
                && (point.role, point.direction) == (Role::Veth, Direction::Egress)
                && self.scene.observes(*node, point, last.time)
        })?;
        let mut there = self
            .journey
            .steps
            .iter()
            .filter(|step| step.node == last.node);
        let unseen = self.hops_lost(Where::Point(last.node, host_side));
        let nodes = &self.scene.nodes;
        let was_there = |step: &Step| nodes.is_one_place(step.node, step.point, host_side);
        (!unseen && !there.any(was_there)).then_some(Evidence::Bypassed {
            node: last.node,
            point: host_side,
        })
    }

    /// `dropped`: a kernel dropped the packet, or the rest of it.
    fn dropped(&self, fates: &Fates<'_>) -> Option<Verdict> {
        let index = fates.drop.filter(|_| !self.copy_unseen(fates))?;
        let drop = &self.journey.drops[index];
        let mut evidence = self.drop_evidence(fates);
        evidence.extend(self.conntrack_rise(drop));
        evidence.push(self.last_seen());
        Some(Verdict {
            kind: Kind::Dropped,
            confidence: Confidence::High,
            cause: drop.judgement.cause,
            drop: Some(index),
            outcome: Outcome::Dropped,
            waits: None,
            evidence,
        })
    }

    /// Conntrack's counters that rose meanwhile, if netfilter dropped the packet: conntrack drops
    /// packets without a rule.
    fn conntrack_rise(&self, drop: &Drop) -> Option<Evidence> {
        const COUNTERS: [&str; 3] = [
            "ConntrackInsertFailed",
            "ConntrackDrop",
            "ConntrackEarlyDrop",
        ];
        if drop.judgement.cause != Some(Cause::Netfilter) {
            return None;
        }
        let rises = self.circumstances.rises(drop.node, self.journey.start())?;
        let rise = rises.namespace(&drop.netns)?.only(&COUNTERS)?;
        Some(Evidence::SocketCounters {
            node: drop.node,
            rise,
        })
    }

    /// Who waits in vain: the receiver for a question, or the asker for an answer. A lost question
    /// and a lost answer look the same to the asker.
    fn who_waits(&self) -> Option<Waits> {
        let for_answer = self.journey.answers.map(Waits::ForAnswer);
        for_answer.or_else(|| self.journey.asks.then_some(Waits::ForQuestion))
    }
}
