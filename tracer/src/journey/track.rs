//! A journey in the making: where its packet, or which bytes of it, were
//! seen so far.

use super::{
    Class, Closed, Drop, Journey, Limits, Step,
    identity::{Content, Datagram, Question, QuoteKey, StreamKey},
    ranges::{Range, Ranges},
};
use crate::link::{Hop, Transport};

/// How long a journey whose fate is known waits for what belongs to it: a
/// drop inside the pod that it was handed to, the copy of it that arrives, the
/// error that its sender gets. All of these follow within the same system
/// call or interrupt, or the receiver's next system call.
const SETTLE: i64 = 100_000_000;

/// What was seen of a journey at one observation point.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    node: usize,
    point: usize,
    ttl: u8,
    seen: Ranges,
}

/// Under what a track is found.
#[derive(Debug)]
pub(super) enum Key {
    /// Its packet's content.
    Content(Content),
    /// The stream that its bytes belong to.
    Stream(StreamKey),
}

/// A journey that hops can still join.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) key: Key,
    /// What it asks, if anything.
    pub(super) question: Option<Question>,
    /// The packet that it is a fragment of.
    pub(super) datagram: Option<Datagram>,
    /// How an ICMP error would quote it.
    pub(super) quote: Option<QuoteKey>,
    /// What it covers.
    pub(super) range: Range,
    /// Sequence number of its first byte, where it is TCP data.
    pub(super) first_seq: u32,
    /// TCP timestamp value of this transmission.
    pub(super) stamp: Option<u32>,
    /// When it was last heard of, Unix time, ns.
    pub(super) last: i64,
    /// When it is to be closed, if nothing more is heard of it.
    pub(super) due: i64,
    /// Not yet reported.
    pub(super) journey: Option<Journey>,
    /// The sk_buffs that it was seen in, by agent.
    pub(super) skbs: Vec<(usize, u64)>,
    /// What of it was seen where it can be seen last.
    pub(super) arrived: Ranges,
    /// What of it was dropped.
    gone: Ranges,
    visits: Vec<Visit>,
}

impl Track {
    pub(super) fn new(
        key: Key,
        question: Option<Question>,
        quote: Option<QuoteKey>,
        range: Range,
        stamp: Option<u32>,
        journey: Journey,
    ) -> Self {
        let fragment = journey.packet.fragment;
        let datagram = fragment.and_then(|_| Datagram::of(&journey.packet));
        let first_seq = match &journey.packet.transport {
            Transport::Tcp(tcp) => tcp.seq,
            _ => 0,
        };
        Self {
            datagram,
            first_seq,
            key,
            question,
            quote,
            range,
            stamp,
            last: i64::MIN,
            due: i64::MIN,
            journey: Some(journey),
            skbs: Vec::new(),
            arrived: Ranges::NONE,
            gone: Ranges::NONE,
            visits: Vec::new(),
        }
    }

    /// What of `range` could be this journey's at this hop: not what it has
    /// shown there before, unless it comes round again (its TTL is lower).
    pub(super) fn open_at(&self, node: usize, hop: &Hop, range: Range) -> Option<Range> {
        let overlap = self.range.intersection(range)?;
        let Some(visit) = self.visit(node, hop.point) else {
            return Some(overlap);
        };
        let new = !visit.seen.intersects(overlap);
        (new || hop.packet.ttl < visit.ttl).then_some(overlap)
    }

    fn visit(&self, node: usize, point: usize) -> Option<&Visit> {
        self.visits
            .iter()
            .rev()
            .find(|visit| (visit.node, visit.point) == (node, point))
    }

    /// The agent that saw it last, of those before `time` where times tell.
    pub(super) fn last_node(&self) -> Option<usize> {
        self.visits.last().map(|visit| visit.node)
    }

    /// Whether what of it is in `range` was not dropped yet.
    pub(super) fn is_there(&self, range: Range) -> bool {
        !self.gone.intersects(range)
    }

    /// Adds that some of it was freed.
    pub(super) fn drop(&mut self, drop: Drop, range: Range) {
        self.last = self.last.max(drop.time);
        if matches!(drop.judgement.class, Class::Loss | Class::Refusal) {
            self.gone.insert(range);
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
        let mut known = self.arrived.clone();
        for range in self.gone.iter() {
            known.insert(range);
        }
        let awaited = journey.asks && journey.answered_by.is_none() && self.gone.is_empty();
        if journey.refusal.is_some() || (known.len() >= self.range.len() && !awaited) {
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
        self.last.saturating_add(wait)
    }

    /// Adds what a hop showed of this journey.
    pub(super) fn add(&mut self, node: usize, time: i64, hop: &Hop, range: Range) {
        self.last = self.last.max(time);
        let share = Share::of(hop, range);
        let known = self.visits.iter().rposition(|visit| {
            (visit.node, visit.point) == (node, hop.point) && visit.ttl == hop.packet.ttl
        });
        let index = known.unwrap_or(self.visits.len());
        if known.is_none() {
            self.visits.push(Visit {
                node,
                point: hop.point,
                ttl: hop.packet.ttl,
                seen: Ranges::NONE,
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
                    encap: hop.encap,
                    seen: 0,
                    parts: Vec::new(),
                });
            }
        }
        let visit = &mut self.visits[index];
        visit.seen.insert(range);
        if let Some(journey) = &mut self.journey {
            // Steps and visits grow together until the journey is reported.
            let step = &mut journey.steps[index];
            step.time = step.time.min(time);
            step.len += share.len;
            step.segments += share.segments;
            step.seen += u32::try_from(range.len()).unwrap_or(u32::MAX);
            step.parts = visit
                .seen
                .iter()
                .map(|seen| seen.within(self.range))
                .collect();
        }
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
