//! What one stream has told of.

use std::collections::BTreeMap;

use tracer_common::{
    counters::{Counter, Counters},
    drop::{DropCounter, DropCounters},
};

use super::losses::Losses;
use crate::input::{DropReport, Report};

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) report: Report,
    /// When that was made.
    pub(super) time: i64,
    /// Until when it is not waited for.
    pub(super) passed: i64,
    /// Whether it sends no more, so that it has nothing to tell any more.
    pub(super) ended: bool,
    /// Since when its agent is gone, or the way to it is broken; what it saw meanwhile is
    /// not known.
    pub(super) gone: Option<i64>,
    /// When it was gone before.
    pub(super) was_gone: Losses,
    /// When it lost hops at points, and hops of which the point is not known.
    lost_at: BTreeMap<usize, Losses>,
    pub(super) hops_lost: Losses,
    drops_lost: Losses,
}

impl Entry {
    /// One that has nothing to tell of before `now`.
    pub(super) fn new(now: i64) -> Self {
        Self {
            report: Report {
                sample: u32::MAX,
                ..Report::default()
            },
            time: now,
            passed: i64::MIN,
            ended: false,
            gone: None,
            was_gone: Losses::default(),
            lost_at: BTreeMap::new(),
            hops_lost: Losses::default(),
            drops_lost: Losses::default(),
        }
    }

    /// Whether the agent was gone at some time before `to`, and still is.
    pub(super) fn is_gone(&self, to: i64) -> bool {
        self.gone.is_some_and(|from| from <= to)
    }

    /// Until when it has told of its losses, or is not waited for.
    pub(super) fn told(&self) -> i64 {
        self.time.max(self.passed)
    }

    /// The points whose hops are in this stream, as far as that is known. Of points that
    /// share counters, one is named.
    pub(super) fn points(&self) -> impl Iterator<Item = usize> {
        self.report.counters.iter().map(|(point, _)| *point)
    }

    /// Whether drops were lost between `from` and `to`.
    pub(super) fn drops_lost(&self, (from, to): (i64, i64)) -> bool {
        let gone = self.is_gone(to) && self.report.counters.is_empty();
        gone || self.drops_lost.between(from, to)
    }

    /// Whether anything was ever lost, as far as is known.
    pub(super) fn is_whole(&self) -> bool {
        self.gone.is_none()
            && self.was_gone.is_empty()
            && self.lost_at.is_empty()
            && self.hops_lost.is_empty()
            && self.drops_lost.is_empty()
    }

    /// Whether hops at a point were lost between `from` and `to`, or at any.
    pub(super) fn hops_lost(&self, point: Option<usize>, (from, to): (i64, i64)) -> bool {
        let mut points = self.lost_at.iter();
        (self.is_gone(to) && self.report.drops.is_none())
            || self.hops_lost.between(from, to)
            || points.any(|(index, lost)| {
                point.is_none_or(|point| point == *index) && lost.between(from, to)
            })
    }

    /// Takes note that what it saw between `from` and `to` may be missing.
    pub(super) fn missing(&mut self, from: i64, to: i64) {
        // A stream has hops or drops, and its reports tell which.
        if self.report.drops.is_none() {
            self.hops_lost.add(from, to);
        }
        if self.report.counters.is_empty() {
            self.drops_lost.add(from, to);
        }
    }

    /// Takes note of what a report, made at `now`, says was lost since the last.
    pub(super) fn lose(&mut self, report: &Report, now: i64) {
        let from = self.time;
        let before: BTreeMap<usize, u64> = self
            .report
            .counters
            .iter()
            .map(|(point, counters)| (*point, hops_lost(counters)))
            .collect();
        for (point, counters) in &report.counters {
            let known = before.get(point).copied().unwrap_or(0);
            if hops_lost(counters) > known {
                self.lost_at.entry(*point).or_default().add(from, now);
            }
        }
        if report.malformed > self.report.malformed {
            self.hops_lost.add(from, now);
        }
        let known = self.report.drops.unwrap_or_default();
        let drops = report.drops.unwrap_or(known);
        if drops_lost(&drops) > drops_lost(&known) {
            self.drops_lost.add(from, now);
        }
    }
}

fn hops_lost(counters: &Counters) -> u64 {
    let (full, limited) = (Counter::RingFull, Counter::RateLimited);
    counters.get(full).saturating_add(counters.get(limited))
}

fn drops_lost(report: &DropReport) -> u64 {
    let counted = |counters: &DropCounters| {
        let (full, limited) = (DropCounter::RingFull, DropCounter::RateLimited);
        counters.get(full).saturating_add(counters.get(limited))
    };
    counted(&report.counters)
        .saturating_add(report.malformed)
        .saturating_add(report.missed)
}
