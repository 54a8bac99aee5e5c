//! The engine that joins hops to journeys.
//!
//! **The problem.** A packet is seen at a dozen points, on two nodes, in
//! pieces or merged with others, and nothing on the wire says "I am the same
//! as that one".
//!
//! **Identity.** Within a node the sk_buff's address, for as long as the
//! content agrees: it survives encapsulation, and breaks at segmentation,
//! merging and cloning. Everywhere else the content alone: what no hop
//! changes of the innermost packet ([`Content`](super::content::Content)). TCP
//! data is a byte range, because one super-packet that leaves may arrive as many
//! segments and the other way round; its timestamp tells a retransmission from
//! the first transmission.
//!
//! **Steps.** A hop joins (1) the journey last seen in this sk_buff, (2) the
//! oldest one of the same content that this point has not seen, open ones
//! first, and those that no kernel has dropped; (3) the journeys of the fragments that its
//! datagram was reassembled from; or (4) begins its own. Hops should come in order of time;
//! one that comes late still finds its journey, only identical packets may then be paired
//! wrongly.
//!
//! **Translation.** Where NAT gives a packet other ends, the sk_buff carries it over, and
//! what was seen there holds for its flow ([`translation`](super::translation)): all hops
//! are looked for under the ends that stand for it.
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
//! marked ambiguous. TCP data in very many pieces: how many are compared has a bound,
//! and what may have been overlooked is given up.

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
    Closed, Journey, Scene, Step,
    arrival::arrives,
    identity::stamp,
    index::{Candidates, Id},
    memory::Memory,
    ranges::Range,
    translation::Translations,
};
use crate::model::{Hop, Packet};

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
    /// Journeys given up, see [`Closed::Evicted`].
    pub evicted: u64,
    /// Freed packets that are part of a journey that was open.
    pub drops_joined: u64,
    /// Those of a journey that had been reported.
    pub drops_late: u64,
    /// Those of no journey that is known: they decide nothing.
    pub drops_alone: u64,
}

/// Joins hops to journeys.
#[derive(Clone, Debug)]
pub struct Engine {
    limits: Limits,
    next: u64,
    memory: Memory,
    translations: Translations,
    /// The slots of open tracks, each by its number and a time not later than when it is
    /// to be closed.
    open: BTreeMap<(i64, u64), u32>,
    /// Reported tracks, by when they are to be forgotten.
    reported: BinaryHeap<Reverse<(i64, Id)>>,
    /// Before this, nothing of that is to be done.
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

    /// About how many bytes a clone takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        /// A journey with its steps.
        const JOURNEY: usize = 2 << 10;

        let finished = self.finished.len() * JOURNEY;
        self.memory.weight(self.open.len()) + self.translations.weight() + finished
    }

    /// Whether nothing is remembered of any hop.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.memory.is_empty()
    }

    /// Takes a hop that agent `node` saw at `time`, Unix time, ns.
    ///
    /// Time passes first, so that it makes no difference when else it is let
    /// pass.
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

    /// The track that has all of a hop: that was in its sk_buff before, and is open at
    /// its point. It would be the likeliest of all.
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

    /// Gives the hop's range to tracks, or to new ones. Returns whether any
    /// of it went to a journey that was not reported yet. `packet`: the hop's, as it is
    /// looked for.
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
        // Of identical packets, the one that was in this sk_buff; then open
        // ones before reported ones, those that are still there before those
        // that were dropped, and each in order.
        let mut ranked: SmallVec<[Rank; 4]> = candidates
            .iter()
            .filter_map(|id| {
                let track = self.memory.get(*id)?;
                let part = track.open_at(&scene.nodes, node, hop, range)?;
                let other = owner != Some(*id);
                // What was dropped, or silent for so long, does not go on: this
                // is another packet that looks the same.
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
        // Where clocks differ, one may have been seen to arrive before it was seen
        // to leave, and have been taken for the one before.
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

    /// Packets that could each be this one, and of which none was in its
    /// sk_buff, cannot be told apart.
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

    /// Marks journeys that nothing distinguishes, as far as they were not reported yet.
    fn mark_all_ambiguous(&mut self, ids: &[Id]) {
        for id in ids {
            if let Some(track) = self.memory.get_mut(*id) {
                track.ambiguous |= track.is_open;
            }
        }
    }

    /// Adds a hop's share to a track. Returns whether it was open.
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
        // Anything else only puts it off.
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

    /// The next of the journeys that are finished, in the order in which they did.
    pub fn next_finished(&mut self) -> Option<Box<Journey>> {
        self.finished.pop_front()
    }

    /// Takes lists of steps that nobody needs any more, for journeys to come.
    pub(crate) fn reuse(&mut self, steps: impl Iterator<Item = Vec<Step>>) {
        self.memory.reuse(steps);
    }
}

/// How likely it is that a hop belongs to a track: the least is the likeliest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// Another one was in this sk_buff last.
    other: bool,
    reported: bool,
    /// What became of it is known.
    gone: bool,
    id: Id,
}

/// What is left of a packet's range: usually all of it, or nothing.
type Parts = SmallVec<[Range; 2]>;
