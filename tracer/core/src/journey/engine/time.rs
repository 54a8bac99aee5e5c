//! When journeys are finished, and when they are forgotten.
//!
//! A journey is put off with every hop. That changes its place among the
//! others only when its turn comes, so that a hop costs nothing there: it
//! stands by a time that is never later than the right one.

use std::cmp::Reverse;

use super::{Engine, translated::opens};
use crate::journey::{
    Closed, Journey, Scene, Step, Translated,
    course::{as_first_seen, causal_order},
    index::Id,
    track::Track,
};

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
        let open = self.open.first_key_value();
        let open = open.map_or(i64::MAX, |((at, _), _)| *at);
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
    fn first_due(&mut self, now: i64) -> Option<(i64, Id)> {
        loop {
            let (&(at, number), &slot) = self.open.first_key_value()?;
            if at > now {
                return None;
            }
            let id = Id { number, slot };
            let track = self.memory.get_mut(id)?;
            let due = track.due(&self.limits);
            if due <= at {
                return Some((at, id));
            }
            track.scheduled = due;
            self.open.pop_first();
            self.open.insert((due, number), slot);
        }
    }

    /// Waits so much longer for each packet's next hop, ns.
    pub(crate) fn wait_longer(&mut self, more: i64) {
        self.limits.hold = self.limits.hold.saturating_add(more);
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

    /// Notes when a track that has begun is to be closed.
    pub(super) fn schedule(&mut self, id: Id) {
        let Some(track) = self.memory.get_mut(id) else {
            return;
        };
        let due = track.due(&self.limits);
        track.scheduled = due;
        self.open.insert((due, id.number), id.slot);
        self.idle_until = self.idle_until.min(due);
    }

    /// Notes that a track may have to be closed earlier than it was to be.
    pub(super) fn reschedule(&mut self, id: Id) {
        let Some(track) = self.memory.get_mut(id) else {
            return;
        };
        if !track.is_open {
            return;
        }
        let due = track.due(&self.limits);
        if due < track.scheduled {
            self.open.remove(&(track.scheduled, id.number));
            self.open.insert((due, id.number), id.slot);
            track.scheduled = due;
            self.idle_until = self.idle_until.min(due);
        }
    }

    /// Reports a journey, and remembers its track.
    fn close(&mut self, scene: &Scene, id: Id, why: Closed) {
        let way = self.memory.get(id);
        let way = way.and_then(|track| self.translations.way(&track.packet));
        let Some(mut journey) = self.memory.report(scene, id, way) else {
            return;
        };
        let Some(track) = self.memory.get(id) else {
            return;
        };
        self.open.remove(&(track.scheduled, id.number));
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
        journey.closed = why;
        journey.drops.sort_by_key(|drop| drop.time);
        journey.translated = way.filter(|way| holds_for(&journey, way)).map(Box::new);
        // A translated packet may have been answered with ends that are not watched.
        if journey.translated.is_some() {
            journey.stand_in = None;
        }
        causal_order(scene, &mut journey);
        as_first_seen(&mut journey);
        journey.took = journey.steps.last().and_then(|last| {
            let mut asked = self.memory.get(id)?.rest()?.asked.iter();
            let (_, since) = asked.find(|(node, _)| *node == last.node)?;
            u64::try_from(last.time.saturating_sub(*since)).ok()
        });
        self.finished.push_back(journey);
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

/// Whether the translation that is known of a journey's flow holds for it. A SYN may open
/// another connection between the same ends, which is translated anew: conntrack then has a new
/// entry, which an agent can only read after it saw the SYN.
fn holds_for(journey: &Journey, way: &Translated) -> bool {
    let is_read_after = |step: &Step| {
        way.told
            .is_some_and(|(agent, time)| step.node == agent && step.time < time)
    };
    let mut steps = journey.steps.iter();
    !opens(&journey.packet) || steps.any(|step| step.ends.is_some() || is_read_after(step))
}
