//! Byte ranges of a TCP stream, and sets of them.

use smallvec::SmallVec;

/// A half-open range of a TCP stream's bytes, in unwrapped sequence space.
/// A packet without data is the range 0..1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: i64,
    pub(crate) end: i64,
}

impl Range {
    pub(crate) const WHOLE: Self = Self { start: 0, end: 1 };

    pub(crate) fn intersection(self, other: Self) -> Option<Self> {
        let start = self.start.max(other.start);
        let end = self.end.min(other.end);
        (start < end).then_some(Self { start, end })
    }

    pub(crate) const fn len(self) -> i64 {
        self.end - self.start
    }

    /// What is left of `self` without `other`.
    pub(crate) fn without(self, other: Self) -> impl Iterator<Item = Self> {
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

    /// Offsets of a range, as a range.
    pub(crate) fn offsets((start, end): (u32, u32)) -> Self {
        Self {
            start: start.into(),
            end: end.into(),
        }
    }

    /// Offsets of this range from the start of `whole`, which contains this range.
    pub(crate) fn within(self, whole: Self) -> (u32, u32) {
        let offset = |at: i64| u32::try_from(at - whole.start).unwrap_or(u32::MAX);
        (offset(self.start), offset(self.end))
    }
}

/// Maximum number of pieces of a packet: more than a BIG TCP super-packet has segments.
const MAX_PIECES: usize = 1024;

/// A set of bytes: ranges in order that neither overlap nor touch. Nearly always the set has one
/// range, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(SmallVec<[Range; 1]>);

impl Ranges {
    pub(crate) fn insert(&mut self, range: Range) {
        let from = self.0.partition_point(|known| known.end < range.start);
        let to = self.0.partition_point(|known| known.start <= range.end);
        let merged = self.0[from..to].iter().fold(range, |all, known| Range {
            start: all.start.min(known.start),
            end: all.end.max(known.end),
        });
        self.0.drain(from..to);
        self.0.insert(from, merged);
    }

    pub(crate) fn remove(&mut self, range: Range) {
        let at = self.meeting(range);
        let left: SmallVec<[Range; 2]> = self.0[at.clone()]
            .iter()
            .flat_map(|known| known.without(range))
            .collect();
        self.0.drain(at.clone());
        self.0.insert_many(at.start, left);
    }

    /// The indexes of the ranges that share bytes with this range.
    fn meeting(&self, range: Range) -> std::ops::Range<usize> {
        let from = self.0.partition_point(|known| known.end <= range.start);
        let to = self.0.partition_point(|known| known.start < range.end);
        from..to.max(from)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn intersects(&self, range: Range) -> bool {
        range.len() > 0 && !self.meeting(range).is_empty()
    }

    /// Whether the set has room for another piece. A stranger may send every other byte of a
    /// stream, and each piece makes all further ones slower.
    pub(crate) fn has_room(&self) -> bool {
        self.0.len() < MAX_PIECES
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Range> {
        self.0.iter().copied()
    }

    pub(crate) fn len(&self) -> i64 {
        self.0.iter().map(|range| range.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_holds_what_was_put_in_and_not_taken_out(
            ranges in prop::collection::vec((0_i64..60, 1_i64..12, any::<bool>()), 0..20),
        ) {
            let mut set = Ranges::default();
            let mut bytes = [false; 80];
            for (start, len, put) in ranges {
                let range = Range { start, end: start + len };
                if put {
                    set.insert(range);
                } else {
                    set.remove(range);
                }
                for at in start..start + len {
                    bytes[usize::try_from(at).expect("small")] = put;
                }
            }
            for (at, expected) in (0..).zip(bytes) {
                prop_assert_eq!(set.intersects(Range { start: at, end: at + 1 }), expected);
            }
            let all = bytes.iter().filter(|byte| **byte).count();
            prop_assert_eq!(set.len(), i64::try_from(all).expect("small"));
            for pair in set.0.windows(2) {
                prop_assert!(pair[0].end < pair[1].start);
            }
        }
    }
}
