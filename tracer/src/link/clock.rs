//! Measures a remote agent's clock. Questions go out between commands, and answers come back
//! between records.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

use tracer_core::model::{CLOCK_DRIFT, ClockEstimate, RoundTrip};

use super::lock;
use crate::clock::unix_now;

/// Number of comparisons before a follow begins; the fastest answer counts.
const COMPARISONS: usize = 8;

/// How long these comparisons wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Limit of questions without an answer yet.
const OPEN: usize = 16;

/// A remote agent's clock.
pub(super) struct Clock {
    asked: Mutex<Asked>,
    answered: Condvar,
}

#[derive(Default)]
struct Asked {
    number: u16,
    /// Open questions: number, and time when it was asked, Unix time, ns.
    open: VecDeque<(u16, i64)>,
    /// Round trips that were not used yet.
    trips: Vec<RoundTrip>,
    /// The estimate from the first comparisons, with which later answers are compared.
    estimate: Option<ClockEstimate>,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            asked: Mutex::default(),
            answered: Condvar::new(),
        }
    }

    /// Notes that a question goes out now, and returns its number.
    pub(super) fn ask(&self) -> u16 {
        let now = unix_now();
        let mut asked = lock(&self.asked);
        asked.number = asked.number.wrapping_add(1);
        if asked.open.len() == OPEN {
            asked.open.pop_front();
        }
        let number = asked.number;
        asked.open.push_back((number, now));
        number
    }

    /// Takes an answer: the agent's monotonic clock, ns. Returns how far the clocks have
    /// drifted apart, ns, if that is too much.
    pub(super) fn answered(&self, question: u16, time: u64) -> Option<i64> {
        let heard = unix_now();
        let mut asked = lock(&self.asked);
        let known = asked
            .open
            .iter()
            .position(|(number, _)| *number == question);
        // An answer without a question tells nothing.
        let (_, at) = asked.open.remove(known?)?;
        let trip = RoundTrip {
            asked: at,
            answered: time,
            heard,
        };
        match asked.estimate {
            Some(estimate) => estimate.parted(&trip.estimate()),
            None => {
                asked.trips.push(trip);
                self.answered.notify_all();
                None
            }
        }
    }

    /// How far a time that an agent reported, its monotonic clock, ns, is in the future, ns.
    /// `None` if it may be right. Otherwise this machine was suspended in the meantime.
    pub(super) fn ahead(&self, time: u64) -> Option<i64> {
        let ClockEstimate { offset, bound } = lock(&self.asked).estimate?;
        let time = i64::try_from(time).unwrap_or(i64::MAX);
        let by = time.saturating_add(offset).saturating_sub(unix_now());
        (by.saturating_sub(bound) > CLOCK_DRIFT).then_some(by)
    }

    /// Compares the clocks before a follow begins; `None` if no answer comes.
    pub(super) fn compare(&self, send: impl Fn(u16)) -> Option<ClockEstimate> {
        // Earlier questions had to wait until the agent had time for them.
        let mut asked = lock(&self.asked);
        asked.open.clear();
        asked.trips.clear();
        drop(asked);
        for count in 1..=COMPARISONS {
            send(self.ask());
            let asked = lock(&self.asked);
            let waiting = |asked: &mut Asked| asked.trips.len() < count;
            let waited = self
                .answered
                .wait_timeout_while(asked, PATIENCE, waiting)
                .unwrap_or_else(PoisonError::into_inner);
            if waited.1.timed_out() {
                return None;
            }
        }
        let mut asked = lock(&self.asked);
        let trips = std::mem::take(&mut asked.trips);
        asked.estimate = ClockEstimate::best(trips);
        asked.estimate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_compared_and_what_parts_is_told() {
        let clock = Clock::new();
        // A machine that has run for an hour.
        let booted = unix_now() - 3_600_000_000_000;
        let there = || u64::try_from(unix_now() - booted).expect("it is later");
        let estimate = clock.compare(|question| {
            assert_eq!(clock.answered(question, there()), None);
        });
        let estimate = estimate.expect("all was answered");
        let apart = (estimate.offset - booted).abs();
        assert!(apart <= estimate.bound, "{estimate:?}");

        assert_eq!(clock.answered(clock.ask(), there()), None);
        let suspended = there() - 2 * CLOCK_DRIFT.unsigned_abs();
        let parted = clock
            .answered(clock.ask(), suspended)
            .expect("it has stood still");
        assert!(parted > CLOCK_DRIFT, "{parted}");
        let drift = CLOCK_DRIFT.unsigned_abs();
        assert_eq!(clock.ahead(there() - drift), None);
        assert_eq!(clock.ahead(there()), None);
        assert!(clock.ahead(there() + 2 * drift).is_some());
        let lied = clock.answered(12_345, suspended);
        assert_eq!(lied, None, "nobody asked that");
    }
}
