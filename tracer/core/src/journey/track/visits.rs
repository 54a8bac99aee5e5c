//! Where a track's packet was seen, and which bytes of it.

use smallvec::SmallVec;

use super::Track;
use crate::{
    journey::{
        CapturedFrame, Scene,
        frames::{Frame, Frames},
        nodes::Nodes,
        ranges::{Range, Ranges},
    },
    model::{Ends, Hop, Packet, Transport},
};

/// What was seen of a packet at one observation point. A visit is kept after the journey was
/// reported.
#[derive(Clone, Copy, Debug)]
pub(in crate::journey) struct Visit {
    node: u32,
    point: u16,
    ttl: u8,
    /// Whether the bytes are in several pieces, which are in [`super::Rest::pieces`].
    in_pieces: bool,
    /// Start and end offset of the bytes from the track's first byte. For pieces, both numbers are
    /// their index.
    seen: (u32, u32),
}

impl Visit {
    fn is_at(&self, node: usize, point: usize) -> bool {
        (self.node as usize, usize::from(self.point)) == (node, point)
    }
}

/// The part of a step that is not needed after the journey was reported.
#[derive(Clone, Copy, Debug)]
pub(in crate::journey) struct Passage {
    /// Time when the first piece was seen: Unix time, ns.
    pub(in crate::journey) time: i64,
    pub(in crate::journey) len: u32,
    pub(in crate::journey) segments: u32,
    /// Number of bytes that were seen.
    pub(in crate::journey) seen: u32,
    /// Number of the frame around the packet, in [`Frames`].
    pub(in crate::journey) frame: u32,
}

impl Track {
    /// The part of `range` that a hop may add to this track. `None` if the track was already seen
    /// there with any of it, unless the packet comes round again with a lower TTL.
    pub(in crate::journey) fn open_at(
        &self,
        nodes: &Nodes,
        node: usize,
        hop: &Hop,
        range: Range,
    ) -> Option<Range> {
        let overlap = self.range.intersection(range)?;
        let ttl = hop.packet.ttl;
        let visits = self.visits.iter().rev();
        let mut visits = visits.filter(|visit| {
            let is_here = visit.node as usize == node;
            is_here && nodes.is_one_place(node, visit.point.into(), hop.point)
        });
        let Some(last) = visits.next() else {
            return Some(overlap);
        };
        let is_new = |visit: &Visit| self.is_new(visit, overlap);
        // A packet that comes round again has a TTL that it has not had here before.
        let is_open = ttl < last.ttl || is_new(last);
        (is_open && visits.all(|visit| visit.ttl != ttl || is_new(visit))).then_some(overlap)
    }

    /// Whether nothing of a range was seen in a visit, and the visit has room for another piece.
    fn is_new(&self, visit: &Visit, range: Range) -> bool {
        match self.pieces(visit) {
            Some(pieces) => !pieces.intersects(range) && pieces.has_room(),
            None => {
                let seen = self.absolute(visit.seen);
                seen.intersection(range).is_none()
            }
        }
    }

    /// The bytes that were seen in a visit, if they are in pieces.
    fn pieces(&self, visit: &Visit) -> Option<&Ranges> {
        let at = visit.in_pieces.then_some(visit.seen.0 as usize)?;
        self.rest()?.pieces.get(at)
    }

    /// Converts offsets from the track's first byte to a range of its stream.
    fn absolute(&self, (start, end): (u32, u32)) -> Range {
        let first = self.range.start;
        Range {
            start: first + i64::from(start),
            end: first + i64::from(end),
        }
    }

    /// Whether a visit has as many pieces as are remembered.
    pub(in crate::journey) fn is_full(&self) -> bool {
        let mut pieces = self.rest().into_iter().flat_map(|rest| &rest.pieces);
        pieces.any(|pieces| !pieces.has_room())
    }

    /// The agent of the latest visit.
    pub(in crate::journey) fn last_node(&self) -> Option<usize> {
        self.visits.last().map(|visit| visit.node as usize)
    }

    /// The TTL of the latest visit on a node.
    pub(in crate::journey) fn last_ttl(&self, node: usize) -> Option<u8> {
        let mut visits = self.visits.iter().rev();
        let last = visits.find(|visit| visit.node as usize == node);
        last.map(|visit| visit.ttl)
    }

    /// Whether the latest visit by this node's clock is on this node. Visits by other clocks do not
    /// count, because they may look later than they were.
    pub(in crate::journey) fn is_on(&self, scene: &Scene, node: usize) -> bool {
        let nodes = self.visits.iter().rev().map(|visit| visit.node as usize);
        let mut of_this_clock = nodes.filter(|other| scene.one_clock(*other, node));
        of_this_clock.next() == Some(node)
    }

    /// Adds a hop of this packet.
    pub(in crate::journey) fn add(
        &mut self,
        frames: &mut Frames,
        (node, time): (usize, i64),
        hop: &Hop,
        range: Range,
    ) {
        self.last = self.last.max(time);
        let share = Share::of(hop, range);
        let visits = self.visits.iter();
        let known = visits
            .rev()
            .position(|visit| visit.is_at(node, hop.point) && visit.ttl == hop.packet.ttl);
        let seen = u32::try_from(range.len()).unwrap_or(u32::MAX);
        let Some(from_last) = known else {
            self.visits.push(Visit {
                node: u32::try_from(node).expect("few agents"),
                point: u16::try_from(hop.point).expect("few points"),
                ttl: hop.packet.ttl,
                in_pieces: false,
                seen: range.within(self.range),
            });
            if self.is_open {
                let frame = Frame::of(hop, self.other_ends(&hop.packet));
                self.passages.push(Passage {
                    time,
                    len: share.len,
                    segments: share.segments,
                    seen,
                    frame: frames.hold(&frame),
                });
            }
            self.capture(self.visits.len() - 1, hop, time);
            return;
        };
        let index = self.visits.len() - 1 - from_last;
        self.see(index, range);
        if self.is_open {
            // Passages and visits have the same length until the journey is reported.
            let passage = &mut self.passages[index];
            passage.time = passage.time.min(time);
            passage.len += share.len;
            passage.segments += share.segments;
            passage.seen += seen;
        }
        self.capture(index, hop, time);
    }

    /// Keeps the captured frame of a hop in a visit, until the journey is reported.
    fn capture(&mut self, visit: usize, hop: &Hop, time: i64) {
        if let Some(frame) = CapturedFrame::of(hop, time).filter(|_| self.is_open) {
            self.rest_mut().captured.push((visit, frame));
        }
    }

    /// Takes the captured frames, with the index of their visit.
    pub(in crate::journey) fn take_captured(&mut self) -> Vec<(usize, CapturedFrame)> {
        match self.rest() {
            Some(rest) if !rest.captured.is_empty() => {
                std::mem::take(&mut self.rest_mut().captured)
            }
            _ => Vec::new(),
        }
    }

    /// A packet's ends, if they differ from those that this track is found by.
    fn other_ends(&self, packet: &Packet) -> Option<Ends> {
        let own = &self.packet;
        // A later fragment has no ports, but its datagram has.
        if own.fragment.is_some_and(|(offset, _)| offset > 0) {
            return None;
        }
        let same = (own.src, own.dst) == (packet.src, packet.dst) && own.ports() == packet.ports();
        if same && !matches!(packet.transport, Transport::Icmp(_)) {
            return None;
        }
        packet.ends().filter(|ends| own.ends() != Some(*ends))
    }

    /// Adds a range to a visit.
    fn see(&mut self, index: usize, range: Range) {
        let visit = self.visits[index];
        let whole = self.range;
        if !visit.in_pieces {
            let seen = self.absolute(visit.seen);
            if seen.start <= range.end && range.start <= seen.end {
                let both = Range {
                    start: seen.start.min(range.start),
                    end: seen.end.max(range.end),
                };
                self.visits[index].seen = both.within(whole);
                return;
            }
            let mut pieces = Ranges::default();
            pieces.insert(seen);
            let rest = self.rest_mut();
            let at = u32::try_from(rest.pieces.len()).expect("fewer than visits");
            rest.pieces.push(pieces);
            let visit = &mut self.visits[index];
            (visit.in_pieces, visit.seen) = (true, (at, at));
        }
        let (at, _) = self.visits[index].seen;
        self.rest_mut().pieces[at as usize].insert(range);
    }

    /// Agent, point and passage of each visit. Empty after the journey was reported.
    pub(in crate::journey) fn passages(
        &self,
    ) -> impl DoubleEndedIterator<Item = (usize, usize, &Passage)> + ExactSizeIterator {
        let visits = self.visits.iter().zip(&self.passages);
        visits.map(|(visit, passage)| (visit.node as usize, usize::from(visit.point), passage))
    }

    /// TTL of each visit, and the bytes that it saw, as offsets from the first byte.
    pub(in crate::journey) fn seen(&self) -> impl Iterator<Item = (u8, SmallVec<[(u32, u32); 1]>)> {
        self.visits.iter().map(|visit| {
            let parts = match self.pieces(visit) {
                Some(pieces) => pieces.iter().map(|part| part.within(self.range)).collect(),
                None => SmallVec::from_buf([visit.seen]),
            };
            (visit.ttl, parts)
        })
    }
}

/// The part of a hop's length and segments that belongs to one journey.
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
