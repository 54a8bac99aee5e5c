//! A journey in the making: where its packet, or which bytes of it, were
//! seen so far.

use super::{
    Journey, Step,
    identity::{Content, Question, StreamKey},
};
use crate::link::Hop;

/// A half-open range of a TCP stream's bytes, in unwrapped sequence space.
/// A packet without data is the range 0..1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: i64,
    pub(super) end: i64,
}

impl Range {
    pub(super) const WHOLE: Self = Self { start: 0, end: 1 };

    pub(super) fn intersection(self, other: Self) -> Option<Self> {
        let start = self.start.max(other.start);
        let end = self.end.min(other.end);
        (start < end).then_some(Self { start, end })
    }

    pub(super) const fn len(self) -> i64 {
        self.end - self.start
    }

    /// What is left of `self` without `other`.
    pub(super) fn without(self, other: Self) -> impl Iterator<Item = Self> {
        let before = Self {
            start: self.start,
            end: self.end.min(other.start),
        };
        let after = Self {
            start: self.start.max(other.end),
            end: self.end,
        };
        [before, after].into_iter().filter(|part| part.len() > 0)
    }
}

/// What was seen of a journey at one observation point.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    node: usize,
    point: usize,
    ttl: u8,
    /// Ranges seen, disjoint.
    seen: Vec<Range>,
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
    /// What it covers.
    pub(super) range: Range,
    /// TCP timestamp value of this transmission.
    pub(super) stamp: Option<u32>,
    /// When it was last heard of, Unix time, ns.
    pub(super) last: i64,
    /// Not yet reported.
    pub(super) journey: Option<Journey>,
    /// The sk_buffs that it was seen in, by agent.
    pub(super) skbs: Vec<(usize, u64)>,
    visits: Vec<Visit>,
}

impl Track {
    pub(super) const fn new(
        key: Key,
        question: Option<Question>,
        range: Range,
        stamp: Option<u32>,
        journey: Journey,
    ) -> Self {
        Self {
            key,
            question,
            range,
            stamp,
            last: i64::MIN,
            journey: Some(journey),
            skbs: Vec::new(),
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
        let new = !visit
            .seen
            .iter()
            .any(|seen| seen.intersection(overlap).is_some());
        (new || hop.packet.ttl < visit.ttl).then_some(overlap)
    }

    fn visit(&self, node: usize, point: usize) -> Option<&Visit> {
        self.visits
            .iter()
            .rev()
            .find(|visit| (visit.node, visit.point) == (node, point))
    }

    /// Adds what a hop showed of this journey. Returns how much of it has now
    /// been seen there.
    pub(super) fn add(&mut self, node: usize, time: i64, hop: &Hop, range: Range) -> i64 {
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
                seen: Vec::new(),
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
                });
            }
        }
        let visit = &mut self.visits[index];
        visit.seen.push(range);
        if let Some(journey) = &mut self.journey {
            // Steps and visits grow together until the journey is reported.
            let step = &mut journey.steps[index];
            step.time = step.time.min(time);
            step.len += share.len;
            step.segments += share.segments;
            step.seen += u32::try_from(range.len()).unwrap_or(u32::MAX);
        }
        visit.seen.iter().map(|seen| seen.len()).sum()
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
