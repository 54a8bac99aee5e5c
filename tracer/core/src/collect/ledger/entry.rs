//! What one stream has reported.

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
    /// Time of the last report, Unix time, ns.
    pub(super) time: i64,
    /// Time until which nothing waits for the stream.
    pub(super) passed: i64,
    /// Whether the stream has ended, so that it reports no more.
    pub(super) ended: bool,
    /// Time since which the agent is gone, or the connection to it is broken. What the agent
    /// sees in the meantime is unknown.
    pub(super) gone: Option<i64>,
    /// Earlier times at which the agent was gone.
    pub(super) was_gone: Losses,
    /// Times of lost hops, by point. The list after this one has hops of unknown points.
    lost_at: BTreeMap<usize, Losses>,
    pub(super) hops_lost: Losses,
    drops_lost: Losses,
}

impl Entry {
    /// Creates the entry of a stream that has nothing before `now`.
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

    /// Time up to which the stream has reported its losses, or up to which nothing waits for
    /// it.
    pub(super) fn told(&self) -> i64 {
        self.time.max(self.passed)
    }

    /// Points whose hops are in this stream, as far as they are known. Of points that share
    /// counters, only one is listed.
    pub(super) fn points(&self) -> impl Iterator<Item = usize> {
        self.report.counters.iter().map(|(point, _)| *point)
    }

    /// Whether drops were lost between `from` and `to`.
    pub(super) fn drops_lost(&self, (from, to): (i64, i64)) -> bool {
        let gone = self.is_gone(to) && self.report.counters.is_empty();
        gone || self.drops_lost.between(from, to)
    }

    /// Whether nothing was ever lost, as far as it is known.
    pub(super) fn is_whole(&self) -> bool {
        self.gone.is_none()
            && self.was_gone.is_empty()
            && self.lost_at.is_empty()
            && self.hops_lost.is_empty()
            && self.drops_lost.is_empty()
    }

    /// Whether hops at a point, or for `None` at any point, were lost between `from` and `to`.
    pub(super) fn hops_lost(&self, point: Option<usize>, (from, to): (i64, i64)) -> bool {
        let mut points = self.lost_at.iter();
        (self.is_gone(to) && self.report.drops.is_none())
            || self.hops_lost.between(from, to)
            || points.any(|(index, lost)| {
                point.is_none_or(|point| point == *index) && lost.between(from, to)
            })
    }

    /// Notes that hops and drops between `from` and `to` may be missing.
    pub(super) fn missing(&mut self, from: i64, to: i64) {
        // A stream has either hops or drops, and its reports tell which.
        if self.report.drops.is_none() {
            self.hops_lost.add(from, to);
        }
        if self.report.counters.is_empty() {
            self.drops_lost.add(from, to);
        }
    }

    /// Notes what was lost since the last report, according to a report made at `now`.
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
