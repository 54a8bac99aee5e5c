//! The engine that joins hops to journeys.
//!
//! **The problem.** A dozen points on two nodes see a packet, in pieces or merged with others.
//! Nothing on the wire says which hops belong to one packet.
//!
//! **Identity.** Within a node, the sk_buff's address identifies a packet as long as the content
//! agrees. The address survives encapsulation, and changes at segmentation, merging and cloning.
//! Everywhere else, only the content identifies a packet: the fields of the innermost packet that
//! no hop changes ([`Content`](super::content::Content)). TCP data is a byte range, because one
//! super-packet may arrive as many segments, or many segments as one. The TCP timestamp tells a
//! retransmission from the first transmission.
//!
//! **Steps.** A hop joins (1) the journey last seen in this sk_buff. Otherwise it joins (2) the
//! oldest journey with the same content that this point has not seen. Open journeys, and journeys
//! that no kernel has dropped, are preferred. Otherwise it joins (3) the journeys of the fragments
//! that its datagram was reassembled from, or (4) begins a journey of its own. Hops should come in
//! order of time. A late hop still finds its journey, but identical packets may then be paired
//! wrongly.
//!
//! **Translation.** If NAT gives a packet other ends, the sk_buff carries its identity over the
//! translation. The translation then holds for the whole flow
//! ([`translation`](super::translation)): all hops are looked up under the ends that stand for the
//! flow.
//!
//! **Drops.** A freed packet is found by the same identity. It belongs to the journey last seen in
//! its sk_buff, else to one with the same content, first those last seen on the drop's node. If the
//! kernel does not tell the drop's namespace, only the sk_buff counts, and only on the node of the
//! last hop. A loss that no hop saw begins a journey if the packet was on its way out, before the
//! first observation point.
//!
//! **End.** A journey is closed shortly after its fate is known: it was seen at the last point
//! before its destination, dropped, or refused. A question also waits for its answer. Otherwise the
//! journey is closed after the hold time without an event. The engine remembers closed journeys for
//! a while, so that late hops and copies do not begin journeys of their own.
//!
//! **What stays uncertain.** Identical packets are paired in order and marked ambiguous. For TCP
//! data in very many pieces, the number of comparisons is bounded; journeys that may have been
//! overlooked are given up.

mod begin;
mod freed;
mod reassembled;
mod time;
mod translated;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
};

use smallvec::{SmallVec, smallvec};

use super::{
    Closed, Journey, Limits, Scene, Step,
    arrival::arrives,
    identity::stamp,
    index::{Candidates, Id},
    memory::Memory,
    ranges::Range,
    translation::Translations,
};
use crate::model::{Hop, Packet};

/// What became of hops and drops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// Hops that are part of a journey that was open.
    pub joined: u64,
    /// Hops of a journey that had already been reported.
    pub late: u64,
    /// Journeys that were given up, see [`Closed::Evicted`].
    pub evicted: u64,
    /// Freed packets that are part of a journey that was open.
    pub drops_joined: u64,
    /// Freed packets of a journey that had already been reported.
    pub drops_late: u64,
    /// Freed packets of no known journey. These decide nothing.
    pub drops_alone: u64,
}

/// Joins hops to journeys.
#[derive(Clone, Debug)]
pub struct Engine {
    limits: Limits,
    next: u64,
    memory: Memory,
    translations: Translations,
    /// The slots of open tracks. Each key is a time, not later than the time when the track is due,
    /// and the track's number.
    open: BTreeMap<(i64, u64), u32>,
    /// Reported tracks, by the time when they are forgotten.
    reported: BinaryHeap<Reverse<(i64, Id)>>,
    /// Before this time, no track is due, neither to be closed nor to be forgotten.
    idle_until: i64,
    finished: VecDeque<Box<Journey>>,
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
            translations: Translations::default(),
            open: BTreeMap::new(),
            reported: BinaryHeap::new(),
            idle_until: i64::MIN,
            finished: VecDeque::new(),
            counts: Joined::default(),
        }
    }

    /// What became of all hops and drops so far.
    #[must_use]
    pub const fn counts(&self) -> Joined {
        self.counts
    }

    /// Number of open journeys.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Approximate memory of a clone, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        /// Bytes of a journey with its steps.
        const JOURNEY: usize = 2 << 10;

        let finished = self.finished.len() * JOURNEY;
        self.memory.weight(self.open.len()) + self.translations.weight() + finished
    }

    /// Whether the engine remembers no hop.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.memory.is_empty()
    }

    /// Adds a hop that agent `node` saw at `time`, Unix time, ns.
    ///
    /// The engine's time passes first, so that extra calls of [`Engine::advance`] make no
    /// difference.
    pub fn push(&mut self, scene: &Scene, node: usize, time: i64, hop: &Hop) {
        self.advance(scene, time);
        let packet = self.under_key(&hop.packet, time);
        let found = self
            .same_again(scene, (node, hop), &packet)
            .or_else(|| self.over_translation(scene, (node, time), hop));
        let joined = match found {
            Some((id, range)) => self.add(scene, (node, time), hop, id, range),
            None => {
                let (packet, range, candidates) = self.candidates(packet, hop, time);
                (candidates.is_empty() && self.push_whole(scene, (node, time), (hop, &packet)))
                    || self.push_range(scene, (node, time), (hop, &packet), range, &candidates)
            }
        };
        if joined {
            self.counts.joined += 1;
        } else {
            self.counts.late += 1;
        }
        self.keep_within_limits(scene);
    }

    /// The track that was in the hop's sk_buff before, covers the whole hop, and is open at its
    /// point. No other track can be likelier.
    fn same_again(
        &mut self,
        scene: &Scene,
        (node, hop): (usize, &Hop),
        packet: &Packet,
    ) -> Option<(Id, Range)> {
        let id = self.memory.same_again((node, hop.skb), packet)?;
        let track = self.memory.get(id)?;
        let range = track.open_at(&scene.nodes, node, hop, track.range)?;
        Some((id, range))
    }

    /// Adds the hop's range to tracks, or to new ones. Returns whether a journey that was not
    /// reported yet got any of it. `packet`: the hop's packet, under the ends that its tracks are
    /// found by.
    fn push_range(
        &mut self,
        scene: &Scene,
        (node, time): (usize, i64),
        (hop, packet): (&Hop, &Packet),
        range: Range,
        candidates: &Candidates,
    ) -> bool {
        let stamp = stamp(&hop.packet);
        let owner = self.memory.owner(node, hop.skb);
        // Of identical packets, the one in this sk_buff comes first. Then open ones come before
        // reported ones, and ones that were not dropped before dropped ones, each in order of their
        // numbers.
        let mut ranked: SmallVec<[Rank; 4]> = candidates
            .iter()
            .filter_map(|id| {
                let track = self.memory.get(*id)?;
                let part = track.open_at(&scene.nodes, node, hop, range)?;
                let other = owner != Some(*id);
                // A packet that was dropped, or silent for the hold time, does not go on. The hop
                // is of another packet that looks the same.
                let over = !track.is_open
                    && (!track.is_there(part)
                        || time > track.last.saturating_add(self.limits.hold));
                (track.stamp() == stamp && !(other && over)).then(|| Rank {
                    other,
                    reported: !track.is_open,
                    gone: track.settled || !track.is_there(part),
                    id: *id,
                })
            })
            .collect();
        ranked.sort_unstable();
        self.mark_ambiguous(&ranked, range);

        let mut joined = false;
        let mut rest: Parts = smallvec![range];
        for Rank { id, .. } in ranked {
            let mut left = Parts::new();
            for part in rest {
                let track = self.memory.get(id);
                let Some(share) =
                    track.and_then(|track| track.open_at(&scene.nodes, node, hop, part))
                else {
                    left.push(part);
                    continue;
                };
                joined |= self.add(scene, (node, time), hop, id, share);
                left.extend(part.without(share));
            }
            rest = left;
        }
        // If clocks differ, a packet may seem to arrive before it was sent. Its hop may then have
        // joined the packet before.
        let alike =
            !candidates.is_empty() && hop.packet.stream_data().is_none() && !scene.is_one_clock();
        for part in rest {
            let id = self.begin(scene, (node, time), (packet, Some(hop)), part, range);
            if alike {
                self.mark_all_ambiguous(candidates);
                self.mark_all_ambiguous(&[id]);
            }
            joined |= self.add(scene, (node, time), hop, id, part);
        }
        joined
    }

    /// Marks packets as ambiguous if each of them may be this one, and none was in its sk_buff.
    fn mark_ambiguous(&mut self, ranked: &[Rank], range: Range) {
        let Some(first) = ranked.first().filter(|rank| rank.other && !rank.reported) else {
            return;
        };
        let share = |id: Id| {
            let track = self.memory.get(id)?;
            track.range.intersection(range)
        };
        let Some(wanted) = share(first.id) else {
            return;
        };
        let rivals: Candidates = ranked
            .iter()
            .filter(|rank| (rank.reported, rank.gone) == (first.reported, first.gone))
            .filter(|rank| share(rank.id).is_some_and(|part| part.intersection(wanted).is_some()))
            .map(|rank| rank.id)
            .collect();
        if rivals.len() < 2 {
            return;
        }
        self.mark_all_ambiguous(&rivals);
    }

    /// Marks journeys that look the same as ambiguous, if they were not reported yet.
    fn mark_all_ambiguous(&mut self, ids: &[Id]) {
        for id in ids {
            if let Some(track) = self.memory.get_mut(*id) {
                track.ambiguous |= track.is_open;
            }
        }
    }

    /// Adds a hop's share to a track. Returns whether the track was open.
    fn add(
        &mut self,
        scene: &Scene,
        (node, time): (usize, i64),
        hop: &Hop,
        id: Id,
        share: Range,
    ) -> bool {
        let was_open = self.memory.add(id, (node, time), hop, share);
        self.read_dns(id, time, hop);
        // Other hops only make the track due later.
        if was_open
            && arrives(scene, (node, time), hop)
            && let Some(track) = self.memory.get_mut(id)
        {
            track.arrived.insert(share);
            if track.why() == Closed::Known {
                self.memory.settled(id);
            }
            self.reschedule(id);
        }
        was_open
    }

    /// The next finished journey, in the order in which journeys were closed.
    pub fn next_finished(&mut self) -> Option<Box<Journey>> {
        self.finished.pop_front()
    }

    /// Takes a list of steps that is no longer needed, to use it for another journey.
    pub(crate) fn reuse(&mut self, steps: Vec<Step>) {
        self.memory.reuse(steps);
    }
}

/// How likely it is that a hop belongs to a track. The smallest rank is the likeliest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// Whether another track was last in this sk_buff.
    other: bool,
    reported: bool,
    /// Whether the track's fate is known.
    gone: bool,
    id: Id,
}

/// The rest of a packet's range: usually all of it, or nothing.
type Parts = SmallVec<[Range; 2]>;
