//! Handles missing input: before the first record, after the last one, and in between.

use std::ops::Range;

use super::core::{Core, unix};
use crate::input::Report;

impl Core {
    /// Notes that these agents sent nothing before `time`, Unix time, ns, so that nothing waits
    /// for it.
    pub(super) fn begun(&mut self, agents: Range<usize>, time: i64) {
        for stream in self.all_streams_of(&Vec::from_iter(agents)) {
            self.order.passed(stream, time);
            self.ledger.begun(stream, time);
        }
    }

    /// Sets the state of a stream before its first batch.
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

    /// Notes that some hops and drops before a time, Unix time, ns, are missing.
    pub(super) fn later(&mut self, before: i64) {
        for stream in 0..self.ledger.streams() {
            self.ledger.missing(stream, i64::MIN, before);
        }
    }

    /// Notes a gap in a stream. The gap begins where the stream is known completely, and ends
    /// at `to`, Unix time, ns. The watermark is that at the end of the gap. The report is the
    /// last one in the gap or before it.
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

    /// Notes that an agent is gone, or that the connection to it is broken. What the agent saw
    /// after its last message is unknown until it is back.
    pub(super) fn gone(&mut self, agent: usize) {
        for stream in self.ledger.latest_streams_of(agent) {
            self.ledger.gone(stream, self.complete_until(stream));
            self.order.passed(stream, i64::MAX);
        }
        self.advance();
    }

    /// Notes that nothing more comes from these agents, while others go on. The agents were
    /// last heard of at `time`, Unix time, ns.
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

    /// Notes that nothing more comes. The recording was cut, so the rest of each stream that
    /// had not ended is missing.
    pub(super) fn cut_off(&mut self) {
        for stream in 0..self.ledger.streams() {
            if !self.ledger.has_ended(stream) {
                self.ledger
                    .missing(stream, self.complete_until(stream), i64::MAX);
            }
        }
    }

    /// Time up to which all hops, drops and losses of a stream are known, Unix time, ns.
    pub(super) fn complete_until(&self, stream: usize) -> i64 {
        let told = self.ledger.told(stream);
        told.min(self.order.watermark_of(stream))
    }

    /// Number of hops and journeys in memory.
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
