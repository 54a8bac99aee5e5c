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
//! **End.** A journey is finished once all of it was seen at the last point
//! before its destination, or when nothing was heard of it for the hold time.
//! It is remembered for a while after, so that late hops and copies are not
//! taken for packets of their own.
//!
//! **What stays uncertain.** Identical packets, which are paired in order and
//! marked ambiguous.

use std::collections::BTreeSet;

use super::{
    Closed, Journey, Scene,
    arrival::arrives,
    course::{causal_order, course},
    identity::{Content, Part, StreamKey, conversation, part},
    memory::Memory,
    track::{Key, Range, Track},
};
use crate::link::{Hop, Packet, Transport};

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
}

/// Joins hops to journeys.
#[derive(Debug)]
pub struct Engine {
    limits: Limits,
    next: u64,
    memory: Memory,
    /// Open tracks, by when they were last heard of.
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
        while self.open.len() > self.limits.open {
            let Some((_, oldest)) = self.open.first().copied() else {
                break;
            };
            self.counts.evicted += 1;
            self.close(scene, oldest, Closed::Evicted);
        }
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
            let id = self.begin(scene, time, hop, part, range);
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
        let before = track.last;
        let seen = track.add(node, time, hop, share);
        if was_open {
            let complete = seen >= track.range.len();
            self.open.remove(&(before, id));
            self.open.insert((track.last, id));
            if complete && arrives(scene, node, hop) {
                self.close(scene, id, Closed::Arrived);
            }
        }
        was_open
    }

    /// Begins a journey with the part of a hop's packet that no other claims.
    fn begin(&mut self, scene: &Scene, time: i64, hop: &Hop, part: Range, whole: Range) -> u64 {
        let id = self.next;
        self.next += 1;
        let mut packet = hop.packet.clone();
        let mut retransmits = None;
        let key;
        let stamp = stamp(&packet);
        let cut = packet.stream_data().map(|tcp| tcp.payload_len);
        if let (Some(old_len), Transport::Tcp(tcp)) = (cut, &mut packet.transport) {
            let offset = u32::try_from(part.start - whole.start).unwrap_or(0);
            tcp.seq = tcp.seq.wrapping_add(offset);
            tcp.payload_len = u32::try_from(part.len()).unwrap_or(old_len);
            packet.len = packet.len.saturating_sub(old_len) + tcp.payload_len;
            let stream = StreamKey::of(&hop.packet, tcp);
            retransmits = self.memory.before(&stream, part);
            key = Key::Stream(stream);
        } else {
            key = Key::Content(Content::of(&packet));
        }
        let (question, answers) = match self::part(&packet) {
            Some(Part::Asks(question)) => (Some(question), None),
            Some(Part::Answers(question)) => (None, self.memory.asker(&question)),
            None => (None, None),
        };
        let journey = Journey {
            id,
            conversation: conversation(&packet),
            direction: course(scene, &packet),
            packet,
            steps: Vec::new(),
            answers,
            retransmits,
            ambiguous: false,
            closed: Closed::End,
        };
        let mut track = Track::new(key, question, part, stamp, journey);
        track.last = time;
        self.open.insert((time, id));
        self.memory.insert(id, track);
        id
    }

    /// Reports a journey, and remembers its track.
    fn close(&mut self, scene: &Scene, id: u64, why: Closed) {
        let Some(track) = self.memory.get_mut(id) else {
            return;
        };
        let Some(mut journey) = track.journey.take() else {
            return;
        };
        self.open.remove(&(track.last, id));
        let silent = match why {
            Closed::Arrived => 0,
            Closed::Silence | Closed::End | Closed::Evicted => self.limits.hold,
        };
        let until = track
            .last
            .saturating_add(silent)
            .saturating_add(self.limits.hold);
        self.reported.insert((until, id));
        self.memory.reported(id);
        journey.closed = why;
        causal_order(scene, &mut journey);
        self.finished.push(journey);
        while self.reported.len() > self.limits.open {
            self.forget_oldest();
        }
    }

    /// Lets time pass: closes what was silent for the hold time before `now`
    /// (Unix time, ns), and forgets what was reported long ago.
    pub fn advance(&mut self, scene: &Scene, now: i64) {
        while let Some((last, id)) = self.open.first().copied() {
            if now.saturating_sub(last) < self.limits.hold {
                break;
            }
            self.close(scene, id, Closed::Silence);
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

/// The timestamp that tells a transmission of stream data from another.
fn stamp(packet: &Packet) -> Option<u32> {
    packet.stream_data()?.timestamps.map(|(value, _)| value)
}
