//! When journeys are closed, and when they are forgotten.
//!
//! Each hop makes a journey due later. To move the journey in the queue for each hop would cost too
//! much. So its place in the queue is a time that is never too late, and is corrected when its turn
//! comes.

use std::cmp::Reverse;

use super::{Engine, translated::opens};
use crate::journey::{
    Closed, Journey, Limits, Scene, Step, Translated,
    course::{as_first_seen, causal_order},
    index::Id,
    track::Track,
};

impl Engine {
    /// Lets time pass until `now` (Unix time, ns). Closes journeys that are due, and forgets
    /// reported ones, each at its time.
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

    /// Closes all journeys, at the end of the follow.
    pub fn end(&mut self, scene: &Scene) {
        while let Some((_, id)) = self.first_due(i64::MAX) {
            self.close(scene, id, Closed::End);
        }
    }

    /// The open track that is due first, and when, if it is due by `now`.
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

    /// The limits, as they are now.
    pub(crate) const fn limits(&self) -> Limits {
        self.limits
    }

    /// Waits longer for all events by `more` ns.
    pub(crate) fn wait_longer(&mut self, more: i64) {
        self.limits.hold = self.limits.hold.saturating_add(more);
        self.limits.settle = self.limits.settle.saturating_add(more);
    }

    pub(super) fn keep_within_limits(&mut self, scene: &Scene) {
        while self.open.len() > self.limits.open {
            let Some((_, first)) = self.first_due(i64::MAX) else {
                break;
            };
            // If the journey's fate is known, closing it early loses nothing.
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

    /// Puts a new track in the queue.
    pub(super) fn schedule(&mut self, id: Id) {
        let Some(track) = self.memory.get_mut(id) else {
            return;
        };
        let due = track.due(&self.limits);
        track.scheduled = due;
        self.open.insert((due, id.number), id.slot);
        self.idle_until = self.idle_until.min(due);
    }

    /// Moves a track forward in the queue, if it is due earlier now.
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

    /// Reports a journey, and keeps its track for a while.
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
        // The answer to a translated packet may have ends that no agent watches.
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

/// Whether the known translation of a journey's flow holds for this journey. A SYN may open another
/// connection between the same ends, which conntrack translates anew. Then conntrack has a new
/// entry, which an agent can only read after it saw the SYN. A drop may show that the SYN was
/// translated before.
fn holds_for(journey: &Journey, way: &Translated) -> bool {
    let is_read_after = |step: &Step| {
        way.told
            .is_some_and(|(agent, time)| step.node == agent && step.time < time)
    };
    let mut steps = journey.steps.iter();
    let mut drops = journey.drops.iter();
    !opens(&journey.packet)
        || steps.any(|step| step.ends.is_some() || is_read_after(step))
        || drops.any(|drop| drop.ends.as_deref() == Some(&way.last))
}
