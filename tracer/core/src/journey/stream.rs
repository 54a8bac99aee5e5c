//! An index from the bytes of a TCP stream, one direction of a connection, to the tracks that carry
//! them.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::{
    StandIn,
    index::{Candidates, Id},
    ranges::{Range, Ranges},
};

/// Maximum number of tracks of similar length that are compared with a packet's bytes: more than
/// the segments of a BIG TCP super-packet (512 KiB). A stranger may send single bytes, or repeat
/// one segment forever. Of those, only the latest tracks are found.
const SCAN: usize = 512;

/// Number of tiers of length. Each tier is eight times as long as the one before, up to 2 MiB. This
/// is four times the longest BIG TCP super-packet.
const TIERS: u8 = 7;

/// A SYN or a FIN without data, which takes one number of the sequence space (RFC 9293, 3.4).
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) is_syn: bool,
    /// The TCP timestamp value.
    pub(super) stamp: Option<u32>,
    /// Whether no other transmission of the SYN or FIN can have come before.
    pub(super) is_first: bool,
    /// Whether the receiver has acknowledged this transmission.
    pub(super) acked: bool,
}

/// An index from byte ranges to tracks, in unwrapped sequence space.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    /// The last sequence number, and its unwrapped value.
    last: (u32, i64),
    /// The end of the bytes that the receiver has acknowledged.
    acked: i64,
    /// The end of the bytes that were seen.
    seen: i64,
    /// Whether the stream's SYN was seen. Nothing was sent before the SYN.
    opened: bool,
    /// Tracks by tier of length, first byte and number. A look-up in a tier passes few tracks that
    /// share no bytes, so a long track does not slow all look-ups down.
    tracks: BTreeMap<(u8, i64, u64), Carried>,
    /// The tiers that ever had a track, one bit each.
    tiers: u8,
    marks: BTreeMap<(i64, u64), Mark>,
    /// The last look-up and its result. The next hop is mostly of the same packet.
    last_found: Option<(Range, Option<u32>, Candidates)>,
    /// The bytes of packets that were not compared with all tracks. What is known about tracks with
    /// these bytes may be incomplete.
    overlooked: Option<Range>,
    /// The point where a proxy acknowledges the data in the receiver's place.
    pub(super) stand_in: Option<StandIn>,
    /// Number of tracks that look-ups compared so far.
    #[cfg(test)]
    looked_at: std::cell::Cell<usize>,
}

/// The bytes that a track carries.
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

/// The tier of a range's length.
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

    /// The range of a packet with `len` bytes at `seq`. The engine assumes that the packet is
    /// within 2 GiB of the last one (RFC 9293, 3.4).
    pub(super) fn range(&mut self, seq: u32, len: u32) -> Range {
        let start = self.unwrap(seq);
        self.last = (seq, start);
        Range {
            start,
            end: start + i64::from(len),
        }
    }

    /// Unwraps a sequence number within 2 GiB of the last one.
    pub(super) fn unwrap(&self, seq: u32) -> i64 {
        let (last, unwrapped) = self.last;
        let distance = seq.wrapping_sub(last).cast_signed();
        unwrapped + i64::from(distance)
    }

    /// Notes that the receiver has acknowledged everything before `ack`, and echoed a timestamp.
    /// Returns the bytes that are newly acknowledged. `None` if this is not known.
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

    /// Marks SYNs and FINs that are acknowledged for the first time, if it is known which
    /// transmission is. The timestamp shows this for a SYN: an acknowledgement of a SYN can only
    /// echo the SYN's own timestamp (RFC 7323, 4.3).
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

    /// Whether bytes from `start` on were never seen nor acknowledged before. This is only known if
    /// all bytes from the SYN on were seen.
    pub(super) fn is_new(&self, start: i64) -> bool {
        self.opened && start >= self.seen.max(self.acked)
    }

    /// The bytes of a track that were acknowledged, and that no other remembered track carried.
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

    /// Adds a SYN or FIN with the sequence number `seq`. Returns the unwrapped number.
    pub(super) fn mark(&mut self, seq: u32, track: Id, mark: Mark) -> i64 {
        let Range { start, end } = self.range(seq, 1);
        self.seen = self.seen.max(end);
        self.opened |= mark.is_syn;
        self.marks.insert((start, track.number), mark);
        start
    }

    /// Whether this transmission of a SYN or FIN was acknowledged.
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

    /// The latest track that carried the byte at `seq`.
    pub(super) fn carrier(&self, seq: u32) -> Option<Id> {
        let start = self.unwrap(seq);
        let byte = Range {
            start,
            end: start + 1,
        };
        self.overlapping(byte).last().copied()
    }

    /// Notes a packet with a known range, as [`Stream::range`] does. Returns `false` if `seq`
    /// unwraps to another number by now.
    pub(super) fn is_at(&mut self, seq: u32, start: i64) -> bool {
        let same = self.unwrap(seq) == start;
        if same {
            self.last = (seq, start);
        }
        same
    }

    /// As [`Stream::overlapping`], but only tracks with this timestamp, and with a memory of the
    /// last look-up.
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

    /// Whether a packet that shares bytes with `range` may not have been compared with its track.
    pub(super) fn may_be_overlooked(&self, range: Range) -> bool {
        let overlooked = self.overlooked;
        overlooked.is_some_and(|known| known.intersection(range).is_some())
    }

    /// The tracks that share bytes with `range`, with their bytes, and whether these are all such
    /// tracks.
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

/// The wanted tracks, oldest first.
fn sorted(carriers: &[Carrier], wanted: impl Fn(&Carrier) -> bool) -> Candidates {
    let wanted = carriers.iter().filter(|carrier| wanted(carrier));
    let mut found: Candidates = wanted.map(|carrier| carrier.track).collect();
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks up and adds these ranges. Returns the number of tracks that were compared.
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

    /// A stranger decides what is sent. Further packets must not make look-ups ever slower.
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

    /// The maximum number of comparisons is enough for the segments of a super-packet.
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
