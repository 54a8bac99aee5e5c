//! The engine that joins hops to journeys.
//!
//! **The problem.** A packet is seen at a dozen points, on two nodes, in
//! pieces or merged with others, and nothing on the wire says "I am the same
//! as that one".
//!
//! **Identity.** Within a node the sk_buff's address, for as long as the
//! content agrees: it survives encapsulation, and breaks at segmentation,
//! merging and cloning. Everywhere else the content alone: what no hop
//! changes of the innermost packet ([`Content`]). TCP data is a byte range,
//! because one super-packet that leaves may arrive as many segments and the
//! other way round; its timestamp tells a retransmission from the first
//! transmission.
//!
//! **Steps.** A hop joins (1) the journey last seen in this sk_buff, (2) the
//! oldest one of the same content that this point has not seen, open ones
//! first; or (3) begins its own. Hops should come in order of time; one that
//! comes late still finds its journey, only identical packets may then be
//! paired wrongly.
//!
//! **Drops.** A freed packet is found by the same identity: the journey last
//! seen in its sk_buff, else one of the same content, those last seen on the
//! drop's node first. Where the kernel does not tell whose namespace it was,
//! only the sk_buff counts, and only on the node of the last hop. A loss of a
//! packet that was never seen begins a journey if it was lost on its way out:
//! before the first observation point.
//!
//! **End.** A journey is finished shortly after what became of all of it is
//! known: it was seen at the last point before its destination, dropped, or
//! refused; a question also waits for its answer. Else it is finished when
//! nothing was heard of it for the hold time. It is remembered for a while
//! after, so that late hops and copies are not taken for packets of their own.
//!
//! **What stays uncertain.** Identical packets, which are paired in order and
//! marked ambiguous.

use std::collections::BTreeSet;

use tracer_common::drop::Scope;

use super::{
    Class, Closed, Drop, Journey, Judgement, Refusal, Scene,
    arrival::{arrives, is_at_home},
    course::{causal_order, course},
    identity::{Content, Part, Question, QuoteKey, StreamKey, conversation, part},
    memory::Memory,
    ranges::Range,
    track::{Key, Track},
};
use crate::link::{Flags, Freed, Hop, Packet, Transport};

/// How the engine is to behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Silence after which a journey is closed, ns. For as long again, a
    /// reported one is remembered.
    pub hold: i64,
    /// Journeys that may be open at once, and that are remembered at most.
    pub open: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            hold: 5_000_000_000,
            open: 65_536,
        }
    }
}

/// Where hops went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// Hops that are part of a journey that was open.
    pub joined: u64,
    /// Hops of a journey that had been reported.
    pub late: u64,
    /// Journeys given up for want of memory.
    pub evicted: u64,
    /// Freed packets that are part of a journey that was open.
    pub drops_joined: u64,
    /// Those of a journey that had been reported.
    pub drops_late: u64,
    /// Those of no journey that is known: they decide nothing.
    pub drops_alone: u64,
}

/// Joins hops to journeys.
#[derive(Debug)]
pub struct Engine {
    limits: Limits,
    next: u64,
    memory: Memory,
    /// Open tracks, by when they are to be closed.
    open: BTreeSet<(i64, u64)>,
    /// Reported tracks, by when they are to be forgotten.
    reported: BTreeSet<(i64, u64)>,
    finished: Vec<Journey>,
    counts: Joined,
}

impl Engine {
    /// An engine without journeys.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            next: 1,
            memory: Memory::default(),
            open: BTreeSet::new(),
            reported: BTreeSet::new(),
            finished: Vec::new(),
            counts: Joined::default(),
        }
    }

    /// Where hops went so far.
    #[must_use]
    pub const fn counts(&self) -> Joined {
        self.counts
    }

    /// Journeys that are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Whether nothing is remembered of any hop.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.memory.is_empty()
    }

    /// Takes a hop that agent `node` saw at `time`, Unix time, ns.
    pub fn push(&mut self, scene: &Scene, node: usize, time: i64, hop: &Hop) {
        let (range, candidates) = self.memory.candidates(&hop.packet);
        let joined = self.push_range(scene, (node, time), hop, range, &candidates);
        if joined {
            self.counts.joined += 1;
        } else {
            self.counts.late += 1;
        }
        self.keep_within_limits(scene);
    }

    /// Takes a packet that agent `node` saw freed at `time`, Unix time, ns.
    pub fn push_freed(
        &mut self,
        scene: &Scene,
        (node, time): (usize, i64),
        freed: &Freed,
        judgement: Judgement,
    ) {
        let Some(packet) = &freed.packet else {
            self.counts.drops_alone += 1;
            return;
        };
        let (range, candidates) = self.memory.candidates(packet);
        let stamp = stamp(packet);
        let owner = self.memory.owner(node, freed.skb);
        let mut ranked: Vec<(bool, bool, bool, bool, u64)> = candidates
            .iter()
            .filter_map(|id| {
                let track = self.memory.get(*id)?;
                let part = track.range.intersection(range)?;
                let owns = owner == Some(*id);
                let last = track.last_node() == Some(node);
                let told = freed.netns.is_some() || (owns && last);
                (track.stamp == stamp && told).then(|| {
                    let reported = track.journey.is_none();
                    (!owns, !last, reported, !track.is_there(part), *id)
                })
            })
            .collect();
        ranked.sort_unstable();

        let drop = |part: Range, whole: Range, same_buffer| Drop {
            node,
            time,
            netns: freed.netns.clone().unwrap_or_else(|| "host".into()),
            scope: freed.scope,
            device: freed.device.clone(),
            reason: freed.reason.clone(),
            function: freed.place.function.clone(),
            offset: freed.place.offset,
            judgement,
            same_buffer,
            facts: freed.facts.clone(),
            part: part.within(whole),
        };
        let (mut joined, mut late) = (false, false);
        let mut rest = vec![range];
        for (not_owner, .., id) in ranked {
            let mut left = Vec::new();
            for part in rest {
                let track = self.memory.get_mut(id).expect("a ranked track exists");
                let Some(share) = track.range.intersection(part) else {
                    left.push(part);
                    continue;
                };
                joined |= track.journey.is_some();
                late |= track.journey.is_none();
                track.drop(drop(share, track.range, !not_owner), share);
                self.reschedule(id);
                left.extend(part.without(share));
            }
            rest = left;
        }
        if !joined && !late && begins(scene, node, freed, judgement) {
            joined = true;
            for part in rest {
                let id = self.begin(scene, time, packet, part, range);
                let track = self.memory.get_mut(id).expect("it has just begun");
                track.drop(drop(part, part, false), part);
                self.reschedule(id);
            }
            self.keep_within_limits(scene);
        }
        if joined {
            self.counts.drops_joined += 1;
        } else if late {
            self.counts.drops_late += 1;
        } else {
            self.counts.drops_alone += 1;
        }
    }

    fn keep_within_limits(&mut self, scene: &Scene) {
        while self.open.len() > self.limits.open {
            let Some((_, first)) = self.open.first().copied() else {
                break;
            };
            // What is known of it needs no more memory.
            let why = match self.memory.get(first).map(Track::why) {
                Some(Closed::Known) => Closed::Known,
                _ => {
                    self.counts.evicted += 1;
                    Closed::Evicted
                }
            };
            self.close(scene, first, why);
        }
    }

    /// Notes anew when a track is to be closed.
    fn reschedule(&mut self, id: u64) {
        let Some(track) = self.memory.get_mut(id) else {
            return;
        };
        if track.journey.is_none() {
            return;
        }
        let due = track.due(&self.limits);
        self.open.remove(&(track.due, id));
        self.open.insert((due, id));
        track.due = due;
    }

    /// Gives the hop's range to tracks, or to new ones. Returns whether any
    /// of it went to a journey that was not reported yet.
    fn push_range(
        &mut self,
        scene: &Scene,
        (node, time): (usize, i64),
        hop: &Hop,
        range: Range,
        candidates: &[u64],
    ) -> bool {
        let stamp = stamp(&hop.packet);
        let owner = self.memory.owner(node, hop.skb);
        // Of identical packets, the one that was in this sk_buff; then open
        // ones before reported ones, and each in order.
        let mut ranked: Vec<(bool, bool, u64)> = candidates
            .iter()
            .filter_map(|id| {
                let track = self.memory.get(*id)?;
                (track.stamp == stamp && track.open_at(node, hop, range).is_some())
                    .then(|| (owner != Some(*id), track.journey.is_none(), *id))
            })
            .collect();
        ranked.sort_unstable();
        self.mark_ambiguous(&ranked, range);

        let mut joined = false;
        let mut rest = vec![range];
        for (_, _, id) in ranked {
            let mut left = Vec::new();
            for part in rest {
                let track = self.memory.get(id);
                let Some(share) = track.and_then(|track| track.open_at(node, hop, part)) else {
                    left.push(part);
                    continue;
                };
                joined |= self.add(scene, (node, time), hop, id, share);
                left.extend(part.without(share));
            }
            rest = left;
        }
        for part in rest {
            let id = self.begin(scene, time, &hop.packet, part, range);
            joined |= self.add(scene, (node, time), hop, id, part);
        }
        joined
    }

    /// Packets that could each be this one, and of which none was in its
    /// sk_buff, cannot be told apart.
    fn mark_ambiguous(&mut self, ranked: &[(bool, bool, u64)], range: Range) {
        let Some((true, false, first)) = ranked.first() else {
            return;
        };
        let share = |id: u64| {
            let track = self.memory.get(id)?;
            track.range.intersection(range)
        };
        let Some(wanted) = share(*first) else {
            return;
        };
        let rivals: Vec<u64> = ranked
            .iter()
            .filter(|(_, reported, id)| {
                !reported && share(*id).is_some_and(|other| other.intersection(wanted).is_some())
            })
            .map(|(_, _, id)| *id)
            .collect();
        if rivals.len() < 2 {
            return;
        }
        for id in rivals {
            let track = self.memory.get_mut(id);
            if let Some(journey) = track.and_then(|track| track.journey.as_mut()) {
                journey.ambiguous = true;
            }
        }
    }

    /// Adds a hop's share to a track. Returns whether it was open.
    fn add(
        &mut self,
        scene: &Scene,
        (node, time): (usize, i64),
        hop: &Hop,
        id: u64,
        share: Range,
    ) -> bool {
        self.memory.own(node, hop.skb, id);
        let track = self.memory.get_mut(id).expect("a ranked track exists");
        let was_open = track.journey.is_some();
        track.add(node, time, hop, share);
        if was_open {
            if arrives(scene, node, hop) {
                track.arrived.insert(share);
            }
            self.reschedule(id);
        }
        was_open
    }

    /// Begins a journey with the part of a packet that no other claims.
    fn begin(
        &mut self,
        scene: &Scene,
        time: i64,
        observed: &Packet,
        part: Range,
        whole: Range,
    ) -> u64 {
        let id = self.next;
        self.next += 1;
        let mut packet = observed.clone();
        let mut retransmits = None;
        let key;
        let stamp = stamp(&packet);
        let cut = packet.stream_data().map(|tcp| tcp.payload_len);
        if let (Some(old_len), Transport::Tcp(tcp)) = (cut, &mut packet.transport) {
            let offset = u32::try_from(part.start - whole.start).unwrap_or(0);
            tcp.seq = tcp.seq.wrapping_add(offset);
            tcp.payload_len = u32::try_from(part.len()).unwrap_or(old_len);
            packet.len = packet.len.saturating_sub(old_len) + tcp.payload_len;
            let stream = StreamKey::of(observed, tcp);
            retransmits = self.memory.before(&stream, part);
            key = Key::Stream(stream);
        } else {
            key = Key::Content(Content::of(&packet));
        }
        let (question, answers) = self.exchange(id, &packet);
        let journey = Journey {
            id,
            conversation: conversation(&packet),
            direction: course(scene, &packet),
            packet,
            steps: Vec::new(),
            drops: Vec::new(),
            answers,
            asks: question.is_some_and(|question| question.is_due_an_answer()),
            answered_by: None,
            refusal: None,
            acked: false,
            retransmits,
            ambiguous: false,
            closed: Closed::End,
        };
        let quote = QuoteKey::of(&journey.packet);
        let mut track = Track::new(key, question, quote, part, stamp, journey);
        track.last = time;
        self.memory.insert(id, track);
        self.reschedule(id);
        id
    }

    /// What a new journey asks, and which one it answers or refuses; notes it
    /// there.
    fn exchange(&mut self, id: u64, packet: &Packet) -> (Option<Question>, Option<u64>) {
        if let Transport::Tcp(tcp) = &packet.transport
            && tcp.flags.has(Flags::ACK)
            && !tcp.flags.has(Flags::RST)
        {
            self.memory.acknowledge(packet, tcp);
        }
        if let Transport::Icmp(error) = &packet.transport
            && let Some(quote) = &error.quote
        {
            let refused = self.memory.quoted(quote);
            let refusal = Refusal {
                by: id,
                from: packet.src,
                icmp: Some((error.kind, error.code)),
            };
            self.refuse(refused, refusal);
            return (None, refused);
        }
        match part(packet) {
            Some(Part::Asks(question)) => (Some(question), None),
            Some(Part::Answers(question)) => {
                let asker = self.memory.asker(&question);
                if let Some(journey) = self.open_journey(asker) {
                    journey.answered_by.get_or_insert(id);
                }
                asker.into_iter().for_each(|asker| self.reschedule(asker));
                (None, asker)
            }
            Some(Part::Refuses(question)) => {
                let asker = self.memory.asker(&question);
                let refusal = Refusal {
                    by: id,
                    from: packet.src,
                    icmp: None,
                };
                self.refuse(asker, refusal);
                (None, asker)
            }
            None => (None, None),
        }
    }

    fn refuse(&mut self, refused: Option<u64>, refusal: Refusal) {
        if let Some(journey) = self.open_journey(refused)
            && journey.answered_by.is_none()
        {
            journey.refusal.get_or_insert(refusal);
        }
        refused.into_iter().for_each(|id| self.reschedule(id));
    }

    fn open_journey(&mut self, id: Option<u64>) -> Option<&mut Journey> {
        self.memory.get_mut(id?)?.journey.as_mut()
    }

    /// Reports a journey, and remembers its track.
    fn close(&mut self, scene: &Scene, id: u64, why: Closed) {
        let Some(track) = self.memory.get_mut(id) else {
            return;
        };
        let Some(mut journey) = track.journey.take() else {
            return;
        };
        self.open.remove(&(track.due, id));
        let silent = match why {
            Closed::Known => 0,
            Closed::Silence | Closed::End | Closed::Evicted => self.limits.hold,
        };
        let until = track
            .last
            .saturating_add(silent)
            .saturating_add(self.limits.hold);
        self.reported.insert((until, id));
        self.memory.reported(id);
        journey.acked = self.memory.is_acked(id);
        journey.closed = why;
        journey.drops.sort_by_key(|drop| drop.time);
        causal_order(scene, &mut journey);
        self.finished.push(journey);
        while self.reported.len() > self.limits.open {
            self.forget_oldest();
        }
    }

    /// Lets time pass: closes what is due before `now` (Unix time, ns), and
    /// forgets what was reported long ago.
    pub fn advance(&mut self, scene: &Scene, now: i64) {
        while let Some((due, id)) = self.open.first().copied() {
            if due > now {
                break;
            }
            let why = self.memory.get(id).map_or(Closed::Silence, Track::why);
            self.close(scene, id, why);
        }
        while self.reported.first().is_some_and(|(at, _)| *at <= now) {
            self.forget_oldest();
        }
    }

    /// Closes everything.
    pub fn end(&mut self, scene: &Scene) {
        while let Some((_, id)) = self.open.first().copied() {
            self.close(scene, id, Closed::End);
        }
    }

    /// The journeys finished since the last call, in the order in which they
    /// finished.
    pub fn finished(&mut self) -> Vec<Journey> {
        std::mem::take(&mut self.finished)
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.reported.pop_first() {
            self.memory.forget(id);
        }
    }
}

/// Whether a packet that was freed and never seen was on its way out, before
/// the first observation point: at a device, or still with its sender's
/// socket. What dies at a receiving socket was seen before, if perhaps too
/// long ago to be remembered.
fn begins(scene: &Scene, node: usize, freed: &Freed, judgement: Judgement) -> bool {
    let way_out = match freed.scope {
        Some(Scope::Device) => true,
        Some(Scope::Socket) => freed
            .packet
            .as_ref()
            .is_some_and(|packet| is_at_home(scene, node, packet.src)),
        Some(Scope::Receiver) | None => false,
    };
    judgement.class == Class::Loss && way_out
}

/// The timestamp that tells a transmission of stream data from another.
fn stamp(packet: &Packet) -> Option<u32> {
    packet.stream_data()?.timestamps.map(|(value, _)| value)
}
