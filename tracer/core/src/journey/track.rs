//! A journey in the making: where its packet, or which bytes of it, were
//! seen so far.

use smallvec::SmallVec;

use super::{
    Class, Closed, Drop, Journey, Limits, Step,
    identity::{Datagram, StreamKey, stamp},
    ranges::{Range, Ranges},
};
use crate::model::{Flags, Hop, Packet, Transport};

/// How long a journey whose fate is known waits for what belongs to it: a
/// drop inside the pod that it was handed to, the copy of it that arrives, the
/// error that its sender gets. All of these follow within the same system
/// call or interrupt, or the receiver's next system call.
pub(crate) const SETTLE: i64 = 100_000_000;

/// From pod to pod across two nodes, over an overlay.
pub(super) const USUAL_STEPS: usize = 8;

/// The part of a VLAN tag's control information that says which VLAN it is
/// (IEEE 802.1Q, 9.6).
const VLAN_ID: u16 = 0xfff;

/// A time at which nothing is due: what was not scheduled yet.
const UNSCHEDULED: i64 = i64::MAX;

/// What was seen of a journey at one observation point. Outlives the
/// journey's step.
#[derive(Clone, Debug)]
struct Visit {
    node: u32,
    point: u32,
    ttl: u8,
    seen: Ranges,
}

impl Visit {
    fn is_at(&self, node: usize, point: usize) -> bool {
        (self.node as usize, self.point as usize) == (node, point)
    }
}

/// A journey that hops can still join.
#[derive(Debug)]
pub(super) struct Track {
    /// The packet, as in the journey.
    pub(super) packet: Packet,
    /// What it covers.
    pub(super) range: Range,
    /// Whether no other transmission of its bytes can have come before.
    pub(super) is_first: bool,
    /// Whether an acknowledgement of its first byte, and of none before, carries
    /// its timestamp.
    pub(super) echoed: bool,
    /// The number that its SYN or FIN takes in its stream.
    pub(super) number: Option<i64>,
    /// Whether others of its content come first: it was reported, or what
    /// became of it is known.
    pub(super) settled: bool,
    /// The first journey that answers its question, and whether that tells that
    /// it answers this one, whoever asks the same.
    pub(super) answer: Option<(u64, bool)>,
    /// When it was last heard of, Unix time, ns.
    pub(super) last: i64,
    /// When it is to be seen whether it is to be closed: not later than that.
    pub(super) scheduled: i64,
    /// Not yet reported.
    pub(super) journey: Option<Box<Journey>>,
    /// The sk_buffs that it was seen in, by agent.
    pub(super) skbs: SmallVec<[(usize, u64); 2]>,
    /// What of it was seen where it can be seen last.
    pub(super) arrived: Ranges,
    /// What of it was dropped.
    gone: Ranges,
    /// Whether some of that may have been a copy: others may still arrive.
    copied: bool,
    visits: Vec<Visit>,
}

impl Track {
    pub(super) fn new(range: Range, journey: Journey) -> Self {
        Self {
            packet: journey.packet.clone(),
            range,
            is_first: true,
            echoed: false,
            number: None,
            settled: false,
            answer: None,
            last: i64::MIN,
            scheduled: UNSCHEDULED,
            journey: Some(Box::new(journey)),
            skbs: SmallVec::new(),
            arrived: Ranges::default(),
            gone: Ranges::default(),
            copied: false,
            visits: Vec::with_capacity(USUAL_STEPS),
        }
    }

    /// The stream that its bytes belong to; `None`: it is found by its content.
    pub(super) fn stream(&self) -> Option<StreamKey> {
        let tcp = self.packet.stream_data()?;
        Some(StreamKey::of(&self.packet, tcp))
    }

    /// Sequence number of its first byte, where it is TCP data.
    pub(super) fn first_seq(&self) -> u32 {
        self.packet.stream_data().map_or(0, |tcp| tcp.seq)
    }

    /// The stream in which its SYN or FIN takes a number; `None`: it has none, or
    /// data, which is found by its bytes.
    pub(super) fn mark(&self) -> Option<StreamKey> {
        let Transport::Tcp(tcp) = &self.packet.transport else {
            return None;
        };
        let takes_one = tcp.flags.has(Flags::SYN) || tcp.flags.has(Flags::FIN);
        let alone = tcp.payload_len == 0 && self.packet.fragment.is_none();
        (takes_one && alone && !tcp.flags.has(Flags::RST)).then(|| StreamKey::of(&self.packet, tcp))
    }

    /// Which of its bytes its receiver has from it and from no other transmission, if
    /// it has acknowledged them.
    ///
    /// An echo tells that of the first segment. Those after it may have come earlier,
    /// with a transmission of which nothing is remembered, and waited for the first.
    pub(super) fn brought(&self) -> Option<Range> {
        if self.is_first || !self.echoed {
            return self.is_first.then_some(self.range);
        }
        let steps = self.journey.as_ref().map(|journey| journey.steps.iter());
        let whole = steps?.filter(|step| i64::from(step.seen) == self.range.len());
        let segments = whole.map(|step| i64::from(step.segments)).max()?;
        // The last segment may be shorter than the others.
        let first = self.range.len() / segments.max(1);
        Some(Range {
            end: self.range.start + first,
            ..self.range
        })
    }

    /// The packet that it is a fragment of.
    pub(super) fn datagram(&self) -> Option<Datagram> {
        self.packet.fragment?;
        Datagram::of(&self.packet)
    }

    /// TCP timestamp value of this transmission.
    pub(super) fn stamp(&self) -> Option<u32> {
        stamp(&self.packet)
    }

    /// What of `range` could be this journey's at this hop: not what it has
    /// shown there before, unless it comes round again (its TTL is lower).
    pub(super) fn open_at(&self, node: usize, hop: &Hop, range: Range) -> Option<Range> {
        let overlap = self.range.intersection(range)?;
        let ttl = hop.packet.ttl;
        let visits = self.visits.iter().rev();
        let mut visits = visits.filter(|visit| visit.is_at(node, hop.point));
        let Some(last) = visits.next() else {
            return Some(overlap);
        };
        let is_new = |visit: &Visit| !visit.seen.intersects(overlap) && visit.seen.has_room();
        // With a TTL that it had, it does not come round, whatever came since.
        let is_open = ttl < last.ttl || is_new(last);
        (is_open && visits.all(|visit| visit.ttl != ttl || is_new(visit))).then_some(overlap)
    }

    /// Whether it was seen somewhere in as many pieces as are remembered.
    pub(super) fn is_full(&self) -> bool {
        self.visits.iter().any(|visit| !visit.seen.has_room())
    }

    /// The agent that saw it last, of those before `time` where times tell.
    pub(super) fn last_node(&self) -> Option<usize> {
        self.visits.last().map(|visit| visit.node as usize)
    }

    /// Whether what of it is in `range` was not dropped yet.
    pub(super) fn is_there(&self, range: Range) -> bool {
        !self.gone.intersects(range)
    }

    /// Adds that some of it was freed. `is_copy`: that may have been a copy.
    pub(super) fn drop(&mut self, drop: Drop, range: Range, is_copy: bool) {
        self.last = self.last.max(drop.time);
        let is_loss = matches!(drop.judgement.class, Class::Loss | Class::Refusal);
        if is_loss && self.gone.has_room() {
            self.gone.insert(range);
            self.copied |= is_copy;
        }
        if let Some(journey) = &mut self.journey {
            journey.drops.push(drop);
        }
    }

    /// Why it is finished, if nothing more is heard of it until it is due.
    pub(super) fn why(&self) -> Closed {
        let Some(journey) = &self.journey else {
            return Closed::Known;
        };
        let none = Ranges::default();
        let gone = if self.copied { &none } else { &self.gone };
        let known = if gone.is_empty() {
            self.arrived.len()
        } else {
            let mut known = self.arrived.clone();
            gone.iter().for_each(|range| known.insert(range));
            known.len()
        };
        let awaited = journey.asks && journey.answered_by.is_none() && gone.is_empty();
        let answered = journey.answered_by.is_some() && !journey.asked_again;
        if journey.refusal.is_some() || answered || (known >= self.range.len() && !awaited) {
            Closed::Known
        } else {
            Closed::Silence
        }
    }

    /// When that is.
    pub(super) fn due(&self, limits: &Limits) -> i64 {
        let wait = match self.why() {
            Closed::Known => SETTLE.min(limits.hold),
            _ => limits.hold,
        };
        self.last.saturating_add(wait).min(UNSCHEDULED - 1)
    }

    /// Adds what a hop showed of this journey.
    pub(super) fn add(&mut self, node: usize, time: i64, hop: &Hop, range: Range) {
        self.last = self.last.max(time);
        let share = Share::of(hop, range);
        let known = self
            .visits
            .iter()
            .rposition(|visit| visit.is_at(node, hop.point) && visit.ttl == hop.packet.ttl);
        let index = known.unwrap_or(self.visits.len());
        if known.is_none() {
            self.visits.push(Visit {
                node: u32::try_from(node).expect("few agents"),
                point: u32::try_from(hop.point).expect("few points"),
                ttl: hop.packet.ttl,
                seen: Ranges::default(),
            });
            if let Some(journey) = &mut self.journey {
                journey.steps.push(Step {
                    node,
                    point: hop.point,
                    time,
                    len: 0,
                    segments: 0,
                    ttl: hop.packet.ttl,
                    src_mac: hop.src_mac,
                    dst_mac: hop.dst_mac,
                    vlan: hop.vlan.map(|control| control & VLAN_ID),
                    encap: hop.encap,
                    seen: 0,
                    parts: SmallVec::new(),
                });
            }
        }
        self.visits[index].seen.insert(range);
        if let Some(journey) = &mut self.journey {
            // Steps and visits grow together until the journey is reported.
            let step = &mut journey.steps[index];
            step.time = step.time.min(time);
            step.len += share.len;
            step.segments += share.segments;
            step.seen += u32::try_from(range.len()).unwrap_or(u32::MAX);
        }
    }

    /// Gives the journey away, to be reported.
    pub(super) fn report(&mut self) -> Option<Box<Journey>> {
        let mut journey = self.journey.take()?;
        for (step, visit) in journey.steps.iter_mut().zip(&self.visits) {
            let seen = visit.seen.iter();
            step.parts = seen.map(|range| range.within(self.range)).collect();
        }
        Some(journey)
    }
}

/// A hop's length and segments, as far as they belong to one journey.
struct Share {
    len: u32,
    segments: u32,
}

impl Share {
    fn of(hop: &Hop, range: Range) -> Self {
        let payload = hop.packet.stream_data().map_or(0, |tcp| tcp.payload_len);
        let part = u32::try_from(range.len()).unwrap_or(u32::MAX);
        if payload == 0 || part >= payload {
            return Self {
                len: hop.len,
                segments: hop.segments,
            };
        }
        let headers = hop.len.saturating_sub(payload);
        let segments = u64::from(hop.segments) * u64::from(part);
        Self {
            len: headers.saturating_add(part),
            segments: u32::try_from(segments.div_ceil(u64::from(payload))).unwrap_or(u32::MAX),
        }
    }
}
