//! What is not there: what came before the first record and comes after the last, and
//! records that are missing in between.

use std::ops::Range;

use super::core::{Core, unix};
use crate::input::Report;

impl Core {
    /// Takes note that nothing of these agents is before `time`, Unix time, ns,
    /// so that nothing waits for it.
    pub(super) fn begun(&mut self, agents: Range<usize>, time: i64) {
        for stream in self.all_streams_of(&Vec::from_iter(agents)) {
            self.order.passed(stream, time);
            self.ledger.begun(stream, time);
        }
    }

    /// Takes what was known of a stream before the first batch of it.
    pub(super) fn state(
        &mut self,
        agent: usize,
        stream: usize,
        watermark: u64,
        report: Option<Report>,
    ) {
        let offset = self.scene.nodes[agent].realtime_offset;
        let stream = self.ledger.stream(agent, stream);
        if let Some(report) = report {
            let made = unix(report.time, offset);
            self.ledger.begin(stream, report, made);
        }
        self.passed(stream, watermark, offset);
    }

    /// Takes note that what agents saw before a time, Unix time, ns, is not
    /// all there.
    pub(super) fn later(&mut self, before: i64) {
        for stream in 0..self.ledger.streams() {
            self.ledger.missing(stream, i64::MIN, before);
        }
    }

    /// Takes note that some of what a stream sent is not there: what came
    /// before is told by its watermark and its last report, and the gap ends at
    /// `to`, Unix time, ns. What was known there is given.
    pub(super) fn gap(
        &mut self,
        agent: usize,
        stream: usize,
        (watermark, report): (u64, Option<Report>),
        to: i64,
    ) {
        let offset = self.scene.nodes[agent].realtime_offset;
        let stream = self.ledger.stream(agent, stream);
        self.ledger.missing(stream, self.complete_until(stream), to);
        if let Some(report) = report {
            let made = unix(report.time, offset);
            self.ledger.report(stream, report, made);
        }
        self.passed(stream, watermark, offset);
    }

    /// Takes note that an agent is gone, or that the way to it is broken: what it saw since
    /// it last told is not known until it is back.
    pub(super) fn gone(&mut self, agent: usize) {
        for stream in self.ledger.latest_streams_of(agent) {
            self.ledger.gone(stream, self.complete_until(stream));
            self.order.passed(stream, i64::MAX);
        }
        self.advance();
    }

    /// Takes note that nothing more comes from these agents, which were heard
    /// of until `time`, Unix time, ns, while others go on.
    pub(super) fn ended(&mut self, agents: &[usize], time: i64) {
        for stream in self.all_streams_of(agents) {
            let until = if self.ledger.has_ended(stream) {
                self.ledger.told(stream)
            } else {
                let until = self.complete_until(stream);
                self.ledger.missing(stream, until, time);
                self.ledger.end(stream);
                until
            };
            self.order.passed(stream, i64::MAX);
            self.observed = self.observed.min(until);
        }
        self.advance();
    }

    /// Takes note that nothing more comes. Of a stream that had not ended, the
    /// rest is missing: the recording was cut.
    pub(super) fn cut_off(&mut self) {
        for stream in 0..self.ledger.streams() {
            if !self.ledger.has_ended(stream) {
                self.ledger
                    .missing(stream, self.complete_until(stream), i64::MAX);
            }
        }
    }

    /// Until when all that a stream saw, and all that it lost, is known.
    pub(super) fn complete_until(&self, stream: usize) -> i64 {
        let told = self.ledger.told(stream);
        told.min(self.order.watermark_of(stream))
    }

    /// Hops and journeys that are in memory.
    #[must_use]
    pub fn held(&self) -> usize {
        self.order.len() + self.engine.open() + self.pending.len()
    }

    fn passed(&mut self, stream: usize, watermark: u64, offset: i64) {
        self.order.passed(stream, unix(watermark, offset));
        if watermark == u64::MAX {
            self.ledger.end(stream);
        }
    }

    fn all_streams_of(&self, agents: &[usize]) -> Vec<usize> {
        let agents = agents.iter();
        let streams = agents.flat_map(|agent| self.ledger.streams_of(*agent));
        streams.copied().collect()
    }
}
