//! The byte ranges of one direction of a TCP connection that are on their
//! way.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::{
    StandIn,
    index::{Candidates, Id},
    ranges::{Range, Ranges},
};

/// How many tracks of similar length are looked at for those that share bytes
/// with a packet: more than the segments of a BIG TCP super-packet (512 KiB). A
/// stranger may send a byte at a time, or one segment for ever; of those, the
/// latest are found.
const SCAN: usize = 512;

/// Kinds of length, each eight times the one before: to 2 MiB, four times what
/// BIG TCP's super-packets may be.
const TIERS: u8 = 7;

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
#[derive(Clone, Debug)]
pub(super) struct Stream {
    /// The last sequence number seen, and what it was unwrapped to.
    last: (u32, i64),
    /// Up to where the receiver has acknowledged.
    acked: i64,
    /// Up to where bytes were seen.
    seen: i64,
    /// Whether its SYN was seen: nothing was sent before that.
    opened: bool,
    /// By kind of length, first byte and number. In each kind, what is looked at and
    /// shares no bytes is little: a long track does not make all look-ups long.
    tracks: BTreeMap<(u8, i64, u64), Carried>,
    /// The kinds of length that there were, in bits.
    tiers: u8,
    marks: BTreeMap<(i64, u64), Mark>,
    /// What was looked up last, and found: the next hop is mostly the same
    /// packet's.
    last_found: Option<(Range, Option<u32>, Candidates)>,
    /// From where to where there were packets of which not all tracks were looked at:
    /// what is known of those in between may be incomplete.
    overlooked: Option<Range>,
    /// Where a proxy acknowledges the data in the receiver's place.
    pub(super) stand_in: Option<StandIn>,
    /// Tracks looked at so far.
    #[cfg(test)]
    looked_at: std::cell::Cell<usize>,
}

/// What is known of a track's bytes.
#[derive(Clone, Copy, Debug)]
struct Carried {
    len: u32,
    /// The slot of the track.
    slot: u32,
    stamp: Option<u32>,
}

/// A track that shares bytes with a packet.
#[derive(Clone, Copy)]
struct Carrier {
    range: Range,
    track: Id,
    stamp: Option<u32>,
}

/// The kind of a range's length.
fn tier(range: Range) -> u8 {
    let len = u64::try_from(range.len()).unwrap_or(0).max(1);
    u8::try_from(len.ilog2() / 3)
        .unwrap_or(TIERS)
        .min(TIERS - 1)
}

impl Stream {
    pub(super) const fn new(seq: u32) -> Self {
        Self {
            last: (seq, 0),
            acked: i64::MIN,
            seen: i64::MIN,
            opened: false,
            tracks: BTreeMap::new(),
            tiers: 0,
            marks: BTreeMap::new(),
            last_found: None,
            overlooked: None,
            stand_in: None,
            #[cfg(test)]
            looked_at: std::cell::Cell::new(0),
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
    pub(super) fn acked(&self, range: Range, track: Id) -> Ranges {
        let mut acked = Ranges::default();
        let end = range.end.min(self.acked);
        if end > range.start {
            let known = Range { end, ..range };
            let (carriers, all) = self.carriers(known);
            if !all {
                return acked;
            }
            acked.insert(known);
            for other in carriers.iter().filter(|other| other.track != track) {
                acked.remove(other.range);
            }
        }
        acked
    }

    /// Adds a SYN or FIN with the sequence number `seq`. Returns that number,
    /// unwrapped.
    pub(super) fn mark(&mut self, seq: u32, track: Id, mark: Mark) -> i64 {
        let Range { start, end } = self.range(seq, 1);
        self.seen = self.seen.max(end);
        self.opened |= mark.is_syn;
        self.marks.insert((start, track.number), mark);
        start
    }

    /// Whether a SYN or FIN was acknowledged.
    pub(super) fn is_mark_acked(&self, number: i64, track: Id) -> bool {
        let mark = self.marks.get(&(number, track.number));
        mark.is_some_and(|mark| mark.acked)
    }

    pub(super) fn unmark(&mut self, number: i64, track: Id) {
        self.marks.remove(&(number, track.number));
    }

    pub(super) fn insert(&mut self, range: Range, track: Id, stamp: Option<u32>) {
        let tier = tier(range);
        self.tiers |= 1 << tier;
        self.seen = self.seen.max(range.end);
        let carried = Carried {
            len: u32::try_from(range.len()).unwrap_or(u32::MAX),
            slot: track.slot,
            stamp,
        };
        self.tracks
            .insert((tier, range.start, track.number), carried);
        self.last_found = None;
    }

    pub(super) fn remove(&mut self, range: Range, track: Id) {
        self.tracks
            .remove(&(tier(range), range.start, track.number));
        self.last_found = None;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tracks.is_empty() && self.marks.is_empty()
    }

    /// The last track that carried the byte at `seq`.
    pub(super) fn carrier(&self, seq: u32) -> Option<Id> {
        let start = self.unwrap(seq);
        let byte = Range {
            start,
            end: start + 1,
        };
        self.overlapping(byte).last().copied()
    }

    /// Takes note of a packet whose range is known, as [`Stream::range`] does. False if it
    /// lies elsewhere by now.
    pub(super) fn is_at(&mut self, seq: u32, start: i64) -> bool {
        let same = self.unwrap(seq) == start;
        if same {
            self.last = (seq, start);
        }
        same
    }

    /// As [`Stream::overlapping`], of one timestamp, for one hop after the other.
    pub(super) fn find(&mut self, range: Range, stamp: Option<u32>) -> Candidates {
        let last = self.last_found.as_ref();
        if let Some((.., found)) = last.filter(|last| (last.0, last.1) == (range, stamp)) {
            return found.clone();
        }
        let (carriers, all) = self.carriers(range);
        if !all {
            let known = self.overlooked.get_or_insert(range);
            known.start = known.start.min(range.start);
            known.end = known.end.max(range.end);
        }
        let found = sorted(&carriers, |carrier| carrier.stamp == stamp);
        self.last_found = Some((range, stamp, found.clone()));
        found
    }

    /// The tracks that share bytes with `range`, oldest first.
    pub(super) fn overlapping(&self, range: Range) -> Candidates {
        let (carriers, _) = self.carriers(range);
        sorted(&carriers, |_| true)
    }

    /// Whether packets that share bytes with `range` may not have found its track.
    pub(super) fn may_be_overlooked(&self, range: Range) -> bool {
        let overlooked = self.overlooked;
        overlooked.is_some_and(|known| known.intersection(range).is_some())
    }

    /// The same with what they carry, and whether these are all.
    fn carriers(&self, range: Range) -> (SmallVec<[Carrier; 4]>, bool) {
        let mut found = SmallVec::new();
        let mut all = true;
        for tier in (0..TIERS).filter(|tier| self.tiers & (1 << tier) != 0) {
            let longest = 1_i64 << (3 * (tier + 1));
            let from = (tier, range.start.saturating_sub(longest), 0);
            let near = self.tracks.range(from..(tier, range.end, 0)).rev();
            let mut count = 0;
            for ((_, start, number), carried) in near.take(SCAN) {
                count += 1;
                let end = start + i64::from(carried.len);
                if end > range.start {
                    found.push(Carrier {
                        range: Range { start: *start, end },
                        track: Id {
                            number: *number,
                            slot: carried.slot,
                        },
                        stamp: carried.stamp,
                    });
                }
            }
            all &= count < SCAN;
            #[cfg(test)]
            self.looked_at.set(self.looked_at.get() + count);
        }
        (found, all)
    }
}

/// The tracks of these, oldest first.
fn sorted(carriers: &[Carrier], wanted: impl Fn(&Carrier) -> bool) -> Candidates {
    let wanted = carriers.iter().filter(|carrier| wanted(carrier));
    let mut found: Candidates = wanted.map(|carrier| carrier.track).collect();
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks up and adds these ranges; how many tracks were looked at.
    fn work(ranges: impl Iterator<Item = (i64, i64, u32)>) -> usize {
        let mut stream = Stream::new(0);
        for (number, (start, end, stamp)) in (1..).zip(ranges) {
            let track = Id { number, slot: 0 };
            let range = Range { start, end };
            assert!(!stream.find(range, Some(stamp)).contains(&track));
            stream.insert(range, track, Some(stamp));
            assert!(stream.find(range, Some(stamp)).contains(&track));
        }
        stream.looked_at.get()
    }

    /// What a stranger sends decides how long a look-up takes, and must not make it
    /// longer with each packet.
    #[test]
    fn a_long_packet_does_not_make_the_look_ups_of_short_ones_long() {
        let short = (0..20_000_i64).map(|at| (at, at + 1, 1));
        let looked_at = work([(0, 65_536, 1)].into_iter().chain(short));
        assert!(looked_at < 20_000 * 2 * 16, "{looked_at}");
    }

    #[test]
    fn one_segment_for_ever_costs_the_same_each_time() {
        let again = |times| work((0..times).map(|stamp| (0, 100, stamp)));
        let (some, more) = (again(4_000), again(8_000));
        assert!(more - some <= 4_000 * 2 * SCAN, "{some} {more}");
        assert!(more < some * 5 / 2, "{some} {more}");
    }

    /// Whatever is looked at is enough for the segments of a super-packet.
    #[test]
    fn all_segments_of_a_super_packet_are_found() {
        let id = |number| Id { number, slot: 0 };
        let mut stream = Stream::new(0);
        for track in 0..362_u64 {
            let start = track.cast_signed() * 1448;
            let range = Range {
                start,
                end: start + 1448,
            };
            stream.insert(range, id(track), None);
        }
        let whole = Range {
            start: 0,
            end: 362 * 1448,
        };
        let found = stream.find(whole, None);
        assert_eq!(found[..], (0..362).map(id).collect::<Vec<_>>()[..]);
    }
}
