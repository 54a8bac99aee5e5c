//! The byte ranges of one direction of a TCP connection that are on their
//! way.

use std::collections::BTreeMap;

use super::{memory::Candidates, ranges::Range};

/// No packet carries more: twice what BIG TCP's super-packets may be.
const MAX_PACKET: i64 = 1 << 20;

/// An index from byte ranges to tracks, in unwrapped sequence space.
#[derive(Debug)]
pub(super) struct Stream {
    /// The last sequence number seen, and what it was unwrapped to.
    last: (u32, i64),
    /// Up to where the receiver has acknowledged.
    acked: i64,
    /// Up to where bytes were seen.
    seen: i64,
    /// No track is longer.
    longest: i64,
    tracks: BTreeMap<(i64, u64), i64>,
    /// What was looked up last, and found: the next hop is mostly the same
    /// packet's.
    last_found: Option<(Range, Candidates)>,
}

impl Stream {
    pub(super) const fn new(seq: u32) -> Self {
        Self {
            last: (seq, 0),
            acked: i64::MIN,
            seen: i64::MIN,
            longest: 0,
            tracks: BTreeMap::new(),
            last_found: None,
        }
    }

    /// The range of a packet with `len` bytes at `seq`, which is taken to lie
    /// within 2 GiB of the last one (RFC 9293, 3.4).
    pub(super) fn range(&mut self, seq: u32, len: u32) -> Range {
        let start = self.unwrap(seq);
        self.last = (seq, start);
        Range {
            start,
            end: start + i64::from(len),
        }
    }

    fn unwrap(&self, seq: u32) -> i64 {
        let (last, unwrapped) = self.last;
        let distance = seq.wrapping_sub(last).cast_signed();
        unwrapped + i64::from(distance)
    }

    /// The receiver has acknowledged everything before `ack`.
    pub(super) fn acknowledge(&mut self, ack: u32) {
        self.acked = self.acked.max(self.unwrap(ack));
    }

    /// Whether bytes from `start` on were never seen nor acknowledged before.
    pub(super) fn is_new(&self, start: i64) -> bool {
        start >= self.seen.max(self.acked)
    }

    /// Whether all of a track's bytes were acknowledged and no other that is
    /// remembered carried them.
    pub(super) fn is_acked(&self, range: Range, track: u64) -> bool {
        self.acked >= range.end && self.overlapping(range)[..] == [track]
    }

    pub(super) fn insert(&mut self, range: Range, track: u64) {
        self.longest = self.longest.max(range.len().min(MAX_PACKET));
        self.seen = self.seen.max(range.end);
        self.tracks.insert((range.start, track), range.end);
        self.last_found = None;
    }

    pub(super) fn remove(&mut self, range: Range, track: u64) {
        self.tracks.remove(&(range.start, track));
        self.last_found = None;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }

    /// The last track that carried the byte at `seq`.
    pub(super) fn carrier(&self, seq: u32) -> Option<u64> {
        let start = self.unwrap(seq);
        let byte = Range {
            start,
            end: start + 1,
        };
        self.overlapping(byte).last().copied()
    }

    /// As [`Stream::overlapping`], for one hop after the other.
    pub(super) fn find(&mut self, range: Range) -> Candidates {
        if let Some((_, found)) = self.last_found.as_ref().filter(|(last, _)| *last == range) {
            return found.clone();
        }
        let found = self.overlapping(range);
        self.last_found = Some((range, found.clone()));
        found
    }

    /// The tracks that share bytes with `range`, oldest first.
    pub(super) fn overlapping(&self, range: Range) -> Candidates {
        let mut found: Candidates = self
            .tracks
            .range((range.start - self.longest, 0)..(range.end, 0))
            .filter(|(_, end)| **end > range.start)
            .map(|((_, track), _)| *track)
            .collect();
        found.sort_unstable();
        found
    }
}
