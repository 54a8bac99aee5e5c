//! When journeys are finished, and when they are forgotten.
//!
//! A journey is put off with every hop. That changes its place among the
//! others only when its turn comes, so that a hop costs nothing there: it
//! stands by a time that is never later than the right one.

use std::cmp::Reverse;

use super::Engine;
use crate::journey::{Closed, Scene, course::causal_order, track::Track};

impl Engine {
    /// Lets time pass: closes what is due by `now` (Unix time, ns), and
    /// forgets what was reported long ago, each at its time.
    pub fn advance(&mut self, scene: &Scene, now: i64) {
        if now < self.idle_until {
            return;
        }
        loop {
            let forget = self.reported.peek().map(|Reverse((at, _))| *at);
            let next = forget.map_or(now, |at| at.min(now));
            if let Some((_, id)) = self.first_due(next) {
                let mut why = self.memory.get(id).map_or(Closed::Silence, Track::why);
                if why == Closed::Silence && self.memory.may_be_overlooked(id) {
                    self.counts.evicted += 1;
                    why = Closed::Evicted;
                }
                self.close(scene, id, why);
            } else if forget.is_some_and(|at| at <= now) {
                self.forget_oldest();
            } else {
                break;
            }
        }
        let open = self.open.first().map_or(i64::MAX, |(at, _)| *at);
        let reported = self
            .reported
            .peek()
            .map_or(i64::MAX, |Reverse((at, _))| *at);
        self.idle_until = open.min(reported);
    }

    /// Closes everything.
    pub fn end(&mut self, scene: &Scene) {
        while let Some((_, id)) = self.first_due(i64::MAX) {
            self.close(scene, id, Closed::End);
        }
    }

    /// The open track that is to be closed first, and when, if that is by
    /// `now`.
    fn first_due(&mut self, now: i64) -> Option<(i64, u64)> {
        loop {
            let (at, id) = self.open.first().copied().filter(|(at, _)| *at <= now)?;
            let track = self.memory.get_mut(id)?;
            let due = track.due(&self.limits);
            if due <= at {
                return Some((at, id));
            }
            track.scheduled = due;
            self.open.pop_first();
            self.open.insert((due, id));
        }
    }

    pub(super) fn keep_within_limits(&mut self, scene: &Scene) {
        while self.open.len() > self.limits.open {
            let Some((_, first)) = self.first_due(i64::MAX) else {
                break;
            };
            // What is known of it needs no more memory.
            let why = match self.memory.get(first).map(Track::why) {
                Some(Closed::Known) => Closed::Known,
                _ => {
                    self.counts.evicted += 1;
                    Closed::Evicted
                }
            };
            self.close(scene, first, why);
        }
    }

    /// Notes that a track may have to be closed earlier than it was to be.
    pub(super) fn reschedule(&mut self, id: u64) {
        let Some(track) = self.memory.get_mut(id) else {
            return;
        };
        if track.journey.is_none() {
            return;
        }
        let due = track.due(&self.limits);
        if due < track.scheduled {
            self.open.remove(&(track.scheduled, id));
            self.open.insert((due, id));
            track.scheduled = due;
            self.idle_until = self.idle_until.min(due);
        }
    }

    /// Reports a journey, and remembers its track.
    fn close(&mut self, scene: &Scene, id: u64, why: Closed) {
        let acked = self.memory.acked(id);
        let Some(track) = self.memory.get_mut(id) else {
            return;
        };
        let acked = acked.iter().map(|part| part.within(track.range)).collect();
        let Some(mut journey) = track.report() else {
            return;
        };
        self.open.remove(&(track.scheduled, id));
        let silent = match why {
            Closed::Known => 0,
            Closed::Silence | Closed::End | Closed::Evicted => self.limits.hold,
        };
        let until = track
            .last
            .saturating_add(silent)
            .saturating_add(self.limits.hold);
        self.reported.push(Reverse((until, id)));
        self.idle_until = self.idle_until.min(until);
        self.memory.settled(id);
        journey.acked = acked;
        journey.closed = why;
        journey.drops.sort_by_key(|drop| drop.time);
        causal_order(scene, &mut journey);
        self.finished.push(*journey);
        while self.reported.len() > self.limits.open {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(Reverse((_, id))) = self.reported.pop() {
            self.memory.forget(id);
        }
    }
}
