//! The byte ranges of one direction of a TCP connection that are on their
//! way.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::{
    memory::Candidates,
    ranges::{Range, Ranges},
};

/// No packet carries more: twice what BIG TCP's super-packets may be.
const MAX_PACKET: i64 = 1 << 20;

/// A SYN or a FIN without data, which takes one number of the sequence space
/// (RFC 9293, 3.4).
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) is_syn: bool,
    /// Its timestamp.
    pub(super) stamp: Option<u32>,
    /// Whether no other transmission of it can have come before.
    pub(super) is_first: bool,
    /// Whether its receiver has acknowledged this very one.
    pub(super) acked: bool,
}

/// An index from byte ranges to tracks, in unwrapped sequence space.
#[derive(Debug)]
pub(super) struct Stream {
    /// The last sequence number seen, and what it was unwrapped to.
    last: (u32, i64),
    /// Up to where the receiver has acknowledged.
    acked: i64,
    /// Up to where bytes were seen.
    seen: i64,
    /// Whether its SYN was seen: nothing was sent before that.
    opened: bool,
    /// No track is longer.
    longest: i64,
    tracks: BTreeMap<(i64, u64), i64>,
    marks: BTreeMap<(i64, u64), Mark>,
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
            opened: false,
            longest: 0,
            tracks: BTreeMap::new(),
            marks: BTreeMap::new(),
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

    /// A sequence number, within 2 GiB of the last one.
    pub(super) fn unwrap(&self, seq: u32) -> i64 {
        let (last, unwrapped) = self.last;
        let distance = seq.wrapping_sub(last).cast_signed();
        unwrapped + i64::from(distance)
    }

    /// The receiver has acknowledged everything before `ack`, and echoed a
    /// timestamp. Returns what it had not acknowledged before, where that is known.
    pub(super) fn acknowledge(&mut self, ack: u32, echoed: Option<u32>) -> Option<Range> {
        let (before, ack) = (self.acked, self.unwrap(ack));
        if ack <= before {
            return None;
        }
        self.confirm(ack, echoed);
        self.acked = ack;
        (before > i64::MIN).then_some(Range {
            start: before,
            end: ack,
        })
    }

    /// Marks what is acknowledged for the first time, if it is known which
    /// transmission is. Of a SYN the timestamp tells: it is the only one that an
    /// acknowledgement of it can echo (RFC 7323, 4.3).
    fn confirm(&mut self, ack: i64, echoed: Option<u32>) {
        let new = self.marks.range((self.acked, 0)..(ack, 0));
        let mut acked = SmallVec::<[(i64, u64); 2]>::new();
        for (key, mark) in new {
            let (number, _) = *key;
            let alike = |stamp: Option<u32>| {
                let same = self.marks.range((number, 0)..(number + 1, 0));
                same.filter(|(_, other)| stamp.is_none() || other.stamp == stamp)
                    .take(2)
                    .count()
            };
            let told = match (mark.stamp, echoed) {
                (Some(stamp), Some(echoed)) if mark.is_syn => {
                    stamp == echoed && alike(Some(stamp)) == 1
                }
                _ => mark.is_first && alike(None) == 1,
            };
            if told {
                acked.push(*key);
            }
        }
        for key in acked {
            self.marks.entry(key).and_modify(|mark| mark.acked = true);
        }
    }

    /// Whether bytes from `start` on were never seen nor acknowledged before,
    /// and it is known what came before: all of it, from the SYN on.
    pub(super) fn is_new(&self, start: i64) -> bool {
        self.opened && start >= self.seen.max(self.acked)
    }

    /// Which of a track's bytes were acknowledged and no other that is
    /// remembered carried.
    pub(super) fn acked(&self, range: Range, track: u64) -> Ranges {
        let mut acked = Ranges::default();
        let end = range.end.min(self.acked);
        if end > range.start {
            let known = Range { end, ..range };
            acked.insert(known);
            for (other, _) in self.carriers(known).filter(|(_, id)| *id != track) {
                acked.remove(other);
            }
        }
        acked
    }

    /// Adds a SYN or FIN with the sequence number `seq`. Returns that number,
    /// unwrapped.
    pub(super) fn mark(&mut self, seq: u32, track: u64, mark: Mark) -> i64 {
        let Range { start, end } = self.range(seq, 1);
        self.seen = self.seen.max(end);
        self.opened |= mark.is_syn;
        self.marks.insert((start, track), mark);
        start
    }

    /// Whether a SYN or FIN was acknowledged.
    pub(super) fn is_mark_acked(&self, number: i64, track: u64) -> bool {
        let mark = self.marks.get(&(number, track));
        mark.is_some_and(|mark| mark.acked)
    }

    pub(super) fn unmark(&mut self, number: i64, track: u64) {
        self.marks.remove(&(number, track));
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
        self.tracks.is_empty() && self.marks.is_empty()
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
        let mut found: Candidates = self.carriers(range).map(|(_, track)| track).collect();
        found.sort_unstable();
        found
    }

    /// The same with what they carry, in order of that.
    fn carriers(&self, range: Range) -> impl Iterator<Item = (Range, u64)> {
        self.tracks
            .range((range.start - self.longest, 0)..(range.end, 0))
            .map(|((start, track), end)| (*start, *end, *track))
            .filter(move |(_, end, _)| *end > range.start)
            .map(|(start, end, track)| (Range { start, end }, track))
    }
}
