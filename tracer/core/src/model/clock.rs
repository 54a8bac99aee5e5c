//! How the clocks of different kernels relate.
//!
//! Times of one kernel are compared by its monotonic clock. For two kernels, a round trip
//! bounds the difference of the clocks: an answer was given after its question was asked, and
//! before the answer was heard. Nothing narrows these bounds further.

use super::Hello;

/// How far two clocks may drift apart after they were compared, ns. If an estimate is further
/// off, it is discarded, and a new one is made.
pub const CLOCK_DRIFT: i64 = 100_000_000;

const MILLISECOND: i64 = 1_000_000;

/// A question about another clock, and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTrip {
    /// Time when the question was asked, Unix time, ns, by the asking side's clock.
    pub asked: i64,
    /// Time when the question was answered, the other side's monotonic clock, ns.
    pub answered: u64,
    /// Time when the answer was heard, Unix time, ns, by the asking side's clock.
    pub heard: i64,
}

/// An estimate of another node's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockEstimate {
    /// Nanoseconds that turn the other clock's monotonic time into Unix time when added.
    pub offset: i64,
    /// Error bound of `offset`, ns, in both directions.
    pub bound: i64,
}

impl RoundTrip {
    /// The estimate that this round trip allows.
    #[must_use]
    pub fn estimate(&self) -> ClockEstimate {
        let Self {
            asked,
            answered,
            heard,
        } = *self;
        let half = heard.saturating_sub(asked).max(0) / 2;
        let answered = i64::try_from(answered).unwrap_or(i64::MAX);
        ClockEstimate {
            offset: asked.saturating_add(half).saturating_sub(answered),
            bound: half + 1,
        }
    }
}

impl ClockEstimate {
    /// The best estimate from several round trips, which is the fastest one's; `None` without
    /// round trips.
    pub fn best(trips: impl IntoIterator<Item = RoundTrip>) -> Option<Self> {
        let estimates = trips.into_iter().map(|trip| trip.estimate());
        estimates.min_by_key(|estimate| estimate.bound)
    }

    /// How far the other clock has drifted from this estimate, ns, according to a later
    /// estimate. `None` unless the drift certainly exceeds [`CLOCK_DRIFT`].
    #[must_use]
    pub fn parted(&self, later: &Self) -> Option<i64> {
        let apart = later.offset.saturating_sub(self.offset);
        let sure = apart
            .saturating_abs()
            .saturating_sub(self.bound)
            .saturating_sub(later.bound);
        (sure > CLOCK_DRIFT).then_some(apart)
    }
}

/// How far the clocks of these nodes may differ, ns, in whole milliseconds; 0 if all nodes are
/// on one kernel.
#[must_use]
pub fn skew(nodes: &[Hello]) -> i64 {
    let apart = |one: &Hello, other: &Hello| {
        let same = one.boot_id == other.boot_id && !one.boot_id.is_empty();
        let bounds = one.clock_bound.saturating_add(other.clock_bound);
        if same {
            0
        } else {
            bounds.saturating_add(CLOCK_DRIFT)
        }
    };
    let pairs = nodes.iter().enumerate().flat_map(|(index, one)| {
        let others = nodes[index + 1..].iter();
        others.map(move |other| apart(one, other))
    });
    let skew = pairs.max().unwrap_or(0);
    skew.saturating_add(MILLISECOND - 1) / MILLISECOND * MILLISECOND
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::by_hand::{B, NODE_B, node};

    #[test]
    fn agents_of_one_kernel_have_one_clock() {
        let hello = |boot: &str, clock_bound| Hello {
            boot_id: boot.to_owned(),
            clock_bound,
            ..node("b", B, NODE_B)
        };
        assert_eq!(skew(&[hello("x", 3), hello("x", 5)]), 0);
        let nodes = [hello("x", 0), hello("y", 5), hello("z", 7)];
        assert_eq!(skew(&nodes), CLOCK_DRIFT + MILLISECOND);
        // Nodes with unknown boot ids may be on two kernels.
        assert_eq!(skew(&[hello("", 0), hello("", 0)]), CLOCK_DRIFT);
        assert_eq!(skew(&nodes[..1]), 0);
    }

    proptest! {
        /// However long question and answer take, the truth is within the bound.
        #[test]
        fn the_truth_is_within_the_bound(
            offset in -1_000_000_000_000..1_000_000_000_000_i64,
            trips in prop::collection::vec((0..1_000_000_i64, 0..1_000_000_i64), 1..9),
        ) {
            let asked = 5_000_000_000_000_i64;
            let trips = trips.into_iter().map(|(there, back)| RoundTrip {
                asked,
                answered: u64::try_from(asked + there - offset).expect("it is later"),
                heard: asked + there + back,
            });
            let best = ClockEstimate::best(trips).expect("there is one");
            prop_assert!((best.offset - offset).abs() <= best.bound);
            let truth = ClockEstimate { offset, bound: 0 };
            prop_assert_eq!(best.parted(&truth), None);
            let moved = ClockEstimate {
                offset: offset + CLOCK_DRIFT + 2 * best.bound + 1,
                bound: 0,
            };
            prop_assert!(best.parted(&moved).is_some());
        }
    }
}
