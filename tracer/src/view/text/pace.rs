//! How much text a person can read while it is written.
//!
//! A terminal shows thousands of lines a second, and nobody reads them. So the lines of the latest
//! second decide how much room a journey gets. The first few journeys have all their lines, further
//! ones one line, and then none. Problems have more room than delivered packets, so that a flood of
//! deliveries does not hide a drop.
//!
//! This module reads no clock. Its caller passes the time, and the number of lines that were
//! written.

use std::collections::VecDeque;

/// Maximum number of lines in any second.
pub(super) const MOST: usize = 100;

/// Lines of these that are reserved for reports of what was left out.
const TOLD: usize = 4;

/// Number of lines in a second after which journeys without a problem are left out.
const ORDINARY: usize = 70;

/// Number of journeys a second that are shown with their hops, problem or not.
pub(super) const FEW: usize = 3;

/// A second, ns.
pub(super) const SECOND: i64 = 1_000_000_000;

/// Maximum number of lines of a journey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Lines of a journey with its hops.
    pub(super) hops: usize,
    /// Lines of a journey in its shortest form.
    pub(super) line: usize,
}

/// The lines and journeys of the latest second.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The current time, ns. Times do not go back.
    now: i64,
    /// When lines were written, and how many.
    written: VecDeque<(i64, usize)>,
    /// Sum of these lines.
    lines: usize,
    /// Times of the latest few journeys.
    came: VecDeque<i64>,
}

impl Pace {
    /// Sets the current time, ns. A time that goes back changes nothing. Returns the current time.
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

    /// Notes that this number of lines is written now.
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
        // The latest few journeys came from this time on.
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
        // A second after those lines, there is room for the same number again.
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
        /// Callers that take no more room than they get never write more lines than allowed, in any
        /// second.
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
