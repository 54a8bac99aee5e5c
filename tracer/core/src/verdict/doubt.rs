//! What is not known, and what speaks against what is.

use super::{
    Circumstances, Confidence, Evidence, Kind, Verdict, Where,
    absence::{gone, in_the_dark, last_of_rest},
    fates::{Fates, watches_interface},
    judge::Case,
    next_hop::no_next_hop,
    twins::{told, twins},
    words::drop_place,
};
use crate::{
    journey::{Arrival, Closed, destination},
    model::{Cause, Direction, Role},
};

impl Case<'_> {
    pub(super) fn unknown(&self, fates: &Fates<'_>, circumstances: &impl Circumstances) -> Verdict {
        let journey = self.journey;
        let mut evidence: Vec<Evidence> = self.last_seen().into_iter().collect();
        let delivered = fates.delivered.len();
        if delivered > 0 {
            evidence.push(
                format!(
                    "{delivered} of {} bytes were seen to arrive",
                    journey.size()
                )
                .into(),
            );
        }
        if fates.drop.is_some() {
            evidence.extend(self.drop_evidence(fates));
        } else if fates.unclear.is_empty() {
            evidence.push(self.no_drop().into());
        }
        let silent = journey.closed == Closed::Silence;
        let gone = gone(self, fates).filter(|_| silent);
        let next = gone.and_then(|gone| no_next_hop(self, &gone, circumstances));
        evidence.extend(next.map(Evidence::Text));
        let taken = last_of_rest(self, fates)
            .map(|step| self.scene.point(step))
            .filter(|point| !point.foreign.is_empty());
        if let Some(point) = taken {
            evidence.push(
                format!(
                    "tc at {} {}, after tracer's program: {}",
                    point.interface,
                    point.direction,
                    point.others()
                )
                .into(),
            );
            if !watches_interface(self.scene, self.journey) {
                evidence.push("--pod-interfaces would show whether it came to the pod".into());
            }
        }
        for (_, index) in &fates.astray {
            let drop = &self.journey.drops[*index];
            evidence.push(
                format!(
                    "a frame of it for another MAC address ended {} ({} in {})",
                    drop_place(self.scene, drop),
                    drop.reason,
                    drop.function
                )
                .into(),
            );
            evidence.extend(Evidence::facts(&drop.facts));
        }
        let gone = self.gone_receiver();
        let host_side = fates.nearest.map(|(arrival, _)| arrival) == Some(Arrival::HostSide);
        let (cause, text) = match journey.closed {
            _ if self.events_lost() => (
                Some(Cause::EventsLost),
                "unknown: events were lost while it was on its way",
            ),
            _ if host_side && delivered == 0 => (
                Some(Cause::NotSeenInPod),
                "unknown: handed to the pod, but not seen on its own interface",
            ),
            _ if !self.scene.is_complete(journey.start()) => (
                Some(Cause::BeforeStart),
                "unknown: on its way before all points were observed",
            ),
            Closed::Silence if taken.is_some() => (
                Some(Cause::ForeignProgram),
                "unknown: not seen again after a program of somebody else, which may have taken \
                 it past what is observed",
            ),
            Closed::Silence if let Some(gone) = &gone => {
                evidence.push(format!("{gone} is gone: what passes there is not seen").into());
                (
                    Some(Cause::InterfaceGone),
                    "unknown: the interface that leads to its receiver is gone",
                )
            }
            Closed::Silence if !fates.astray.is_empty() => (
                Some(Cause::WrongMac),
                "unknown: its frame was for another MAC address, and others may have got it",
            ),
            Closed::Silence if journey.ambiguous => (
                Some(Cause::Ambiguous),
                "unknown: not seen to arrive, but an identical packet was on its way",
            ),
            Closed::End => (
                Some(Cause::StillOpen),
                "unknown: still on its way when the follow ended",
            ),
            Closed::Evicted => (
                Some(Cause::Evicted),
                "unknown: given up, too many packets were on their way at once",
            ),
            Closed::Silence | Closed::Known if !fates.unclear.is_empty() => (
                Some(Cause::UnclearDrop),
                "unknown: a kernel freed it, which may be its loss or the end of a copy",
            ),
            Closed::Silence | Closed::Known if in_the_dark(self, fates) => (
                Some(Cause::Opaque),
                "unknown: put into a tunnel that cannot be looked into, and not seen to come out",
            ),
            Closed::Silence | Closed::Known => (None, "unknown: not seen to arrive"),
        };
        Verdict {
            kind: Kind::Unknown,
            confidence: Confidence::Low,
            cause,
            drop: None,
            evidence,
            text: text.to_owned(),
        }
    }

    /// The interface that led to the receiver, if there is none now.
    fn gone_receiver(&self) -> Option<String> {
        let address = destination(&self.journey.packet)?;
        let mut points = self.scene.nodes.iter().flat_map(|hello| {
            let to_pod = hello.points.iter().filter(|point| {
                (point.role, point.direction) == (Role::Veth, Direction::Egress)
                    && point.addresses.contains(&address)
            });
            to_pod.map(move |point| (hello, point))
        });
        let (hello, last) = points.next_back()?;
        (last.until.is_some() && points.all(|(_, point)| point.until.is_some()))
            .then(|| format!("{} on {}", last.interface, hello.node))
    }

    /// That nothing is known of a drop, and what that is worth.
    fn no_drop(&self) -> String {
        let blind: Vec<&str> = self
            .scene
            .nodes
            .iter()
            .filter(|hello| hello.drops.is_none())
            .map(|hello| hello.node.as_str())
            .collect();
        if blind.is_empty() {
            "no drop of it was seen".to_owned()
        } else {
            format!("drops are not watched on {}", blind.join(", "))
        }
    }

    /// Of what nothing is known, and why.
    fn what_was_lost(&self) -> impl Iterator<Item = String> {
        let drops = self
            .drops_lost()
            .then_some("drops went unreported while it was on its way");
        let hops = self.hops_lost(Where::Anywhere).then_some(
            "events were lost while it was on its way: it may have passed points unseen",
        );
        let uneven = self
            .uneven()
            .then_some("not all points took the same sample of packets while it was on its way");
        let all = [drops, hops, uneven].into_iter().flatten();
        all.map(str::to_owned)
    }

    /// What speaks against a verdict, whatever it is.
    pub(super) fn doubt(&self, fates: &Fates<'_>, verdict: &mut Verdict) {
        let mut doubts = Vec::new();
        // What its receiver has, no program has taken.
        let settled = verdict.confidence == Confidence::Confirmed
            || matches!(verdict.kind, Kind::Unknown | Kind::Dropped | Kind::Refused);
        if let (Some(last), false) = (self.journey.steps.last(), settled) {
            let point = self.scene.point(last);
            if !point.foreign.is_empty() {
                doubts.push(format!(
                    "tc at the last point, after tracer's program: {} may have dropped or \
                     redirected it",
                    point.others()
                ));
            }
        }
        if let (Kind::Delivered, Some(told)) = (verdict.kind, self.journey.refusal) {
            let what = told.icmp.map_or("a reset of", |_| "an ICMP error about");
            doubts.push(format!(
                "#{} is {what} a packet that looks the same",
                told.by
            ));
        }
        if matches!(verdict.kind, Kind::Delivered | Kind::Unanswered) {
            let twins = twins(self.scene, self.journey).map(|twins| {
                format!("its address is behind {twins}: two have it, or one has moved")
            });
            let impostor = self.journey.impostor.as_ref();
            doubts.extend(impostor.map(|other| told(self.scene, self.journey, other)));
            doubts.extend(twins);
        }
        if verdict.kind == Kind::Dropped && fates.is_doubtful() {
            doubts.push(
                "its frame was for another MAC address: if another machine has that, it may \
                 have got it"
                    .to_owned(),
            );
        }
        if self.journey.ambiguous {
            doubts.push(
                "an identical packet was on its way; the two were paired in order".to_owned(),
            );
        }
        if verdict.confidence < Confidence::Confirmed {
            for index in &fates.unclear {
                let drop = &self.journey.drops[*index];
                doubts.push(format!(
                    "it was freed {} ({} in {}): {}",
                    drop_place(self.scene, drop),
                    drop.reason,
                    drop.function,
                    drop.judgement.why
                ));
            }
        }
        if matches!(verdict.kind, Kind::Unknown | Kind::Partial) {
            doubts.extend(self.what_was_lost());
        }
        if !doubts.is_empty() {
            verdict.confidence = Confidence::Low;
            verdict
                .evidence
                .extend(doubts.into_iter().map(Evidence::Text));
        }
    }
}
