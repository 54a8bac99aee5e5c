//! How much can be read while it is written.
//!
//! A terminal shows thousands of lines a second, and nobody reads them. So a journey is
//! given room by what the latest second has seen: all of it for the first few, then a line,
//! then nothing. Problems have more room than what arrived, so that a flood of deliveries
//! does not hide the one packet that died.
//!
//! It knows no clock: whoever asks says when that is, and how many lines came of it.

use std::collections::VecDeque;

/// Lines in any second.
pub(super) const MOST: usize = 100;

/// How many of them say what was left out; they are kept free for that.
const TOLD: usize = 4;

/// How many lines there may be in a second before journeys that are no problem are left out.
const ORDINARY: usize = 70;

/// How many journeys a second are shown with their hops, problem or not.
pub(super) const FEW: usize = 3;

/// A second, ns.
pub(super) const SECOND: i64 = 1_000_000_000;

/// How many lines a journey may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// With its hops.
    pub(super) hops: usize,
    /// In the shortest form there is.
    pub(super) line: usize,
}

/// What the latest second has seen.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Times do not go back.
    now: i64,
    /// When lines were written, and how many.
    written: VecDeque<(i64, usize)>,
    /// All of these.
    lines: usize,
    /// When the latest few journeys came.
    came: VecDeque<i64>,
}

impl Pace {
    /// It is so late, ns: a time that goes back counts as none.
    pub(super) fn is(&mut self, now: i64) -> i64 {
        self.now = self.now.max(now);
        let now = self.now;
        while let Some((_, lines)) = self.written.pop_front_if(|(time, _)| now - *time >= SECOND) {
            self.lines -= lines;
        }
        now
    }

    /// The room of a journey that comes now.
    pub(super) fn room(&mut self, now: i64, is_problem: bool) -> Room {
        let now = self.is(now);
        let is_one_of_few = self.came.len() < FEW || now - self.came[0] >= SECOND;
        if self.came.len() == FEW {
            self.came.pop_front();
        }
        self.came.push_back(now);
        let most = if is_problem { MOST - TOLD } else { ORDINARY };
        let line = most.saturating_sub(self.lines);
        let hops = if is_problem || is_one_of_few { line } else { 0 };
        Room { hops, line }
    }

    /// So many lines are written now.
    pub(super) fn write(&mut self, lines: usize) {
        self.lines += lines;
        self.written.push_back((self.now, lines));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::{FEW, MOST, ORDINARY, Pace, Room, SECOND, TOLD};

    const NOTHING: Room = Room { hops: 0, line: 0 };

    fn ordinary(pace: &mut Pace, now: i64) -> Room {
        pace.room(now, false)
    }

    #[test]
    fn a_few_a_second_have_all_their_hops() {
        let mut pace = Pace::default();
        for journey in 0..50 {
            let now = journey * SECOND / FEW as i64 + journey;
            let room = ordinary(&mut pace, now);
            assert!(room.hops > 12, "the {journey}th: {room:?}");
            pace.write(12);
        }
    }

    #[test]
    fn more_than_a_few_have_a_line_until_it_is_calm_again() {
        let mut pace = Pace::default();
        for _ in 0..FEW {
            assert!(ordinary(&mut pace, 0).hops > 0);
        }
        let full = ORDINARY;
        assert_eq!(
            ordinary(&mut pace, 1),
            Room {
                hops: 0,
                line: full
            }
        );
        for later in [SECOND - 2, SECOND - 1, SECOND] {
            assert_eq!(ordinary(&mut pace, later).hops, 0, "at {later}");
        }
        // The latest few came from then on.
        assert_eq!(ordinary(&mut pace, 2 * SECOND - 3).hops, 0);
        assert_eq!(ordinary(&mut pace, 2 * SECOND).hops, full);
    }

    #[test]
    fn deliveries_leave_room_for_problems() {
        let mut pace = Pace::default();
        pace.room(0, false);
        pace.write(ORDINARY);
        assert_eq!(ordinary(&mut pace, 1), NOTHING);
        let left = MOST - TOLD - ORDINARY;
        let room = Room {
            hops: left,
            line: left,
        };
        assert_eq!(pace.room(2, true), room);
        pace.write(left);
        assert_eq!(pace.room(3, true), NOTHING);
        // A second after those lines, there is room for as many.
        assert_eq!(pace.room(SECOND, true).hops, MOST - TOLD - left);
    }

    #[test]
    fn a_time_that_goes_back_frees_nothing() {
        let mut pace = Pace::default();
        pace.room(5 * SECOND, true);
        pace.write(MOST - TOLD);
        assert_eq!(pace.room(SECOND, true), NOTHING);
        assert_eq!(pace.room(i64::MIN, true), NOTHING);
    }

    proptest! {
        /// Whoever takes no more room than there is writes no more than is allowed, in
        /// any second.
        #[test]
        fn no_second_has_more_lines(
            journeys in prop::collection::vec((0_i64..SECOND / 8, any::<bool>(), 1_usize..40), 1..400),
        ) {
            let mut pace = Pace::default();
            let mut now = 0;
            let mut lines: Vec<i64> = Vec::new();
            for (later, is_problem, height) in journeys {
                now += later;
                let room = pace.room(now, is_problem);
                let taken = if height <= room.hops { height } else { room.line.min(1) };
                pace.write(taken);
                lines.extend(std::iter::repeat_n(now, taken));
            }
            for (at, first) in lines.iter().enumerate() {
                let until = lines.partition_point(|line| *line < first + SECOND);
                assert!(until - at <= MOST - TOLD, "{} lines from {first} on", until - at);
            }
        }
    }
}
