//! The verdict on a journey.
//!
//! What was seen decides first: a packet was seen where its way ends, freed by
//! a kernel that says why, refused by who got it, or seen leaving for a place
//! that no agent watches. That something was *not* seen decides only where it
//! had to be seen: both ends of the leg are watched, their agents say so
//! after the fact, and no event was lost there ([`super::unseen`]). Everything
//! else is `unknown`, together with what was seen last.

use super::{
    Circumstances, Confidence, Evidence, Kind, Parts, Verdict, Where,
    absence::{left, lost},
    fates::{Fates, watches_receiver},
    tunnel::tell_mismatch,
    twins::twins,
    unanswered::unanswered,
    words::{drop_place, is_too_large, owner, place, refusal},
};
use crate::{
    journey::{Arrival, Closed, Journey, Range, Ranges, Scene, Step, destination},
    model::{Cause, Direction, Role},
};

/// What can be said of `journey`.
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
        .or_else(|| lost(&case, &fates, circumstances, &mut parts))
        .unwrap_or_else(|| case.unknown(&fates, circumstances));
    let dropped = fates.drop.is_some() && !case.copy_unseen(&fates);
    if (dropped || verdict.kind == Kind::Lost) && fates_of(parts) > 1 {
        case.partial(&mut verdict, parts);
    }
    if matches!(verdict.kind, Kind::Dropped | Kind::Lost) && !fates.is_doubtful() {
        case.name_who_waits(&mut verdict);
    }
    tell_mismatch(&case, &mut verdict);
    case.doubt(&fates, &mut verdict);
    (verdict, parts)
}

/// How many different fates the parts had.
fn fates_of(parts: Parts) -> usize {
    let fates = [parts.delivered, parts.dropped, parts.lost, parts.unknown];
    fates.iter().filter(|share| **share > 0).count()
}

/// A journey that is being judged.
pub(super) struct Case<'a> {
    pub(super) scene: &'a Scene,
    pub(super) journey: &'a Journey,
    pub(super) circumstances: &'a dyn Circumstances,
}

impl Case<'_> {
    fn parts(&self, fates: &Fates<'_>) -> Parts {
        let bytes = |ranges: &Ranges| u64::try_from(ranges.len()).unwrap_or(0);
        let sent = u64::from(self.journey.size());
        // What was lost on its way to the collector may have shown that the
        // receiver dropped it, or that another copy arrived.
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

    /// What of it its receiver is known to have: what it acknowledged, if no other
    /// transmission of that can have gone unseen, and what it answered.
    fn taken(&self) -> Ranges {
        let mut taken = Ranges::default();
        if !self.journey.acked.is_empty() && !self.twin_unseen() {
            let acked = self.journey.acked.iter();
            acked.for_each(|part| taken.insert(Range::offsets(*part)));
        }
        if self.is_answered() {
            taken.insert(self.whole());
        }
        taken
    }

    /// All of it, as a range.
    fn whole(&self) -> Range {
        Range::offsets((0, self.journey.size()))
    }

    /// Whether its receiver acknowledged all of it, and no other transmission of
    /// it can have gone unseen.
    fn is_acked(&self) -> bool {
        self.journey.acked[..] == [(0, self.journey.size())] && !self.twin_unseen()
    }

    /// Whether its receiver answered it: nobody else did, and it was no other packet
    /// that asks the same.
    fn is_answered(&self) -> bool {
        self.journey.answered_by.is_some()
            && self.journey.impostor.is_none()
            && !self.journey.asked_again
            && !self.twin_unseen()
    }

    /// Whether its receiver may have dropped what arrived: nobody told, or
    /// drops may not have been watched yet, and nothing says that it took it.
    fn may_be_dropped(&self, fates: &Fates<'_>) -> bool {
        let unseen = fates.nearest.is_some_and(|(_, step)| {
            step.time < self.scene.since
                || self.drop_unseen(step)
                || ((self.is_refused_there() || self.refusal_unseen(step))
                    && !watches_receiver(self.scene, step.node, self.journey))
        });
        unseen && !self.is_answered() && !self.is_acked()
    }

    /// Whether its receiver refused it, or a packet that looks the same.
    fn is_refused_there(&self) -> bool {
        let told = self.journey.refusal;
        told.is_some_and(|told| told.from == self.journey.packet.dst) && self.may_refuse_another()
    }

    /// Somebody told the sender.
    fn refused(&self, fates: &Fates<'_>) -> Option<Verdict> {
        let told = self.journey.refusal?;
        if self.may_refuse_another() {
            return None;
        }
        // The drop beside it says that it was this one.
        let alike = told.alike && fates.drop.is_none();
        let elsewhere = told.from != self.journey.packet.dst;
        if alike && elsewhere && fates.rest.is_empty() {
            return None;
        }
        // It may have been lost before another one that asks the same was reset.
        if alike && told.icmp.is_none() && !fates.rest.is_empty() {
            return None;
        }
        let mut evidence = self.drop_evidence(fates);
        evidence.push(format!("refused by #{}", told.by).into());
        if alike {
            evidence.push("the error may be about another packet that looks the same".into());
        }
        evidence.extend(self.last_seen());
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
            evidence,
            text: format!("refused: {}", refusal(self.scene, self.journey, &told)),
        })
    }

    /// All of it arrived.
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
        let mut text = format!("delivered: reached {}", owner(self.scene, self.journey));
        if let Some((arrival, step)) = fates.nearest
            && arrival != Arrival::No
        {
            evidence.push(format!("seen {}", place(self.scene, step)).into());
            let point = self.scene.point(step);
            match point.role {
                Role::Veth => {
                    let to = owner(self.scene, self.journey);
                    text = format!("delivered: handed to {to} by {}", point.interface);
                    if !watches_receiver(self.scene, step.node, self.journey) {
                        text += "; what happens in there is not observed";
                    }
                }
                Role::Bridge | Role::Overlay | Role::Uplink => {
                    evidence.push("what the node itself then does with it is not observed".into());
                }
                Role::Pod => {}
            }
            confirmed |= arrival == Arrival::There;
        } else {
            evidence.extend(self.last_seen());
        }
        evidence.extend(self.bypassed(fates));
        if self.is_acked() {
            evidence.push("its receiver has acknowledged it".into());
        }
        if let Some(answer) = self.journey.answered_by {
            let another = self.journey.asked_again || self.twin_unseen();
            confirmed |= !another && self.journey.impostor.is_none();
            evidence.push(Evidence::Text(if another {
                format!("#{answer} answers it, or another packet that asks the same")
            } else {
                format!("answered by #{answer}")
            }));
        } else if self.journey.asks && self.journey.closed == Closed::End {
            cause = Some(Cause::StillOpen);
            evidence.push("no answer had come when the follow ended".into());
        }
        let twins = twins(self.scene, self.journey);
        if self.journey.impostor.is_some() || twins.is_some() {
            cause = Some(Cause::TwoOwners);
        }
        if let Some(first) = self.journey.steps.first()
            && !self.starts_at_source(first)
        {
            evidence.push(
                format!(
                    "first seen {}: what came before was not observed",
                    place(self.scene, first)
                )
                .into(),
            );
        }
        for index in &fates.copies {
            let drop = &self.journey.drops[*index];
            evidence.push(
                format!(
                    "a copy of it was dropped {}: {}",
                    drop_place(self.scene, drop),
                    drop.judgement.why
                )
                .into(),
            );
        }
        Verdict {
            kind: Kind::Delivered,
            confidence: if confirmed {
                Confidence::Confirmed
            } else {
                Confidence::High
            },
            cause,
            drop: None,
            evidence,
            text,
        }
    }

    /// That it got to its receiver past the host's side of the pod's interface:
    /// where programs redirect, and not where packets are lost.
    fn bypassed(&self, fates: &Fates<'_>) -> Option<Evidence> {
        let last = self.journey.steps.last().filter(|_| !self.uneven())?;
        if fates
            .nearest
            .is_some_and(|(arrival, _)| arrival == Arrival::HostSide)
        {
            return None;
        }
        let address = destination(&self.journey.packet)?;
        let hello = &self.scene.nodes[last.node];
        let host_side = hello.points.iter().position(|point| {
            (point.role, point.direction) == (Role::Veth, Direction::Egress)
                && point.addresses.contains(&address)
        })?;
        let mut there = self
            .journey
            .steps
            .iter()
            .filter(|step| step.node == last.node);
        let unseen = self.hops_lost(Where::Point(last.node, host_side));
        (!unseen && !there.any(|step| step.point == host_side)).then(|| {
            let interface = &hello.points[host_side].interface;
            format!("it bypassed {interface} on {}", hello.node).into()
        })
    }

    /// A kernel dropped it, or what is left of it.
    fn dropped(&self, fates: &Fates<'_>) -> Option<Verdict> {
        let index = fates.drop.filter(|_| !self.copy_unseen(fates))?;
        let drop = &self.journey.drops[index];
        let mut evidence = self.drop_evidence(fates);
        evidence.extend(self.last_seen());
        Some(Verdict {
            kind: Kind::Dropped,
            confidence: Confidence::High,
            cause: drop.judgement.cause,
            drop: Some(index),
            evidence,
            text: format!(
                "dropped {}: {}",
                drop_place(self.scene, drop),
                drop.judgement.why
            ),
        })
    }

    /// What the kernel said of the drop that decides.
    pub(super) fn drop_evidence(&self, fates: &Fates<'_>) -> Vec<Evidence> {
        let Some(drop) = fates.drop.map(|index| &self.journey.drops[index]) else {
            return Vec::new();
        };
        let kernel = format!(
            "{} in {} {}",
            drop.reason,
            drop.function,
            drop_place(self.scene, drop)
        );
        [kernel.into()]
            .into_iter()
            .chain(Evidence::facts(&drop.facts))
            .collect()
    }

    /// Where it was seen last.
    pub(super) fn last_seen(&self) -> Option<Evidence> {
        match self.journey.steps.last() {
            Some(last) => Some(format!("last seen {}", place(self.scene, last)).into()),
            None => Some("not seen at any observation point".into()),
        }
    }

    /// Whether the first step is where the sender's packets are seen first.
    fn starts_at_source(&self, first: &Step) -> bool {
        let point = self.scene.point(first);
        let local = &self.scene.nodes[first.node].local;
        match (point.role, point.direction) {
            (Role::Pod, Direction::Egress) | (Role::Veth, Direction::Ingress) => true,
            // Sent by the node itself.
            (_, Direction::Egress) => local.contains(&self.journey.packet.src),
            (_, Direction::Ingress) => false,
        }
    }

    fn partial(&self, verdict: &mut Verdict, parts: Parts) {
        verdict.kind = Kind::Partial;
        let share = |share: u64, fate: &str| (share > 0).then(|| format!("{share} {fate}"));
        let shares: Vec<String> = [
            share(parts.delivered, "delivered"),
            share(parts.dropped, "dropped"),
            share(parts.lost, "lost"),
            share(parts.unknown, "unknown"),
        ]
        .into_iter()
        .flatten()
        .collect();
        verdict.text = format!(
            "partial: of {} bytes {}; {}",
            parts.sent,
            shares.join(", "),
            verdict.text
        );
    }

    /// Of a question and of an answer: who waits in vain. It tells apart what
    /// looks the same to the one that asks.
    fn name_who_waits(&self, verdict: &mut Verdict) {
        let to = owner(self.scene, self.journey);
        if let Some(question) = self.journey.answers {
            verdict.text += &format!("; {to} never got the answer to #{question}");
        } else if self.journey.asks {
            verdict.text += &format!("; {to} never got it");
        }
    }
}
