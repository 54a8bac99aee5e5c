//! The byte ranges of one direction of a TCP connection that are on their
//! way.

use std::collections::BTreeMap;

use super::track::Range;

/// No packet carries more: twice what BIG TCP's super-packets may be.
const MAX_PACKET: i64 = 1 << 20;

/// An index from byte ranges to tracks, in unwrapped sequence space.
#[derive(Debug)]
pub(super) struct Stream {
    /// The last sequence number seen, and what it was unwrapped to.
    last: (u32, i64),
    tracks: BTreeMap<(i64, u64), i64>,
}

impl Stream {
    pub(super) const fn new(seq: u32) -> Self {
        Self {
            last: (seq, 0),
            tracks: BTreeMap::new(),
        }
    }

    /// The range of a packet with `len` bytes at `seq`, which is taken to lie
    /// within 2 GiB of the last one (RFC 9293, 3.4).
    pub(super) fn range(&mut self, seq: u32, len: u32) -> Range {
        let (last, unwrapped) = self.last;
        let distance = seq.wrapping_sub(last).cast_signed();
        let start = unwrapped + i64::from(distance);
        self.last = (seq, start);
        Range {
            start,
            end: start + i64::from(len),
        }
    }

    pub(super) fn insert(&mut self, range: Range, track: u64) {
        self.tracks.insert((range.start, track), range.end);
    }

    pub(super) fn remove(&mut self, range: Range, track: u64) {
        self.tracks.remove(&(range.start, track));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }

    /// The tracks that share bytes with `range`, oldest first.
    pub(super) fn overlapping(&self, range: Range) -> Vec<u64> {
        let mut found: Vec<u64> = self
            .tracks
            .range((range.start - MAX_PACKET, 0)..(range.end, 0))
            .filter(|(_, end)| **end > range.start)
            .map(|((_, track), _)| *track)
            .collect();
        found.sort_unstable();
        found
    }
}
