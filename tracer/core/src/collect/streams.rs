//! The state of agents' streams, for the code that keeps them running.

use super::core::Core;
use crate::input::{Batch, Report};

impl Core {
    /// Whether anything waits that time alone will finish.
    pub fn waits(&self) -> bool {
        !self.order.is_empty() || self.engine.open() > 0 || !self.pending.is_empty()
    }

    /// Whether a verdict waits for reports of lost events.
    pub fn waits_for_reports(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Number of hops and drops that wait for the watermarks of slower streams.
    pub const fn waiting(&self) -> usize {
        self.order.len()
    }

    /// Watermark of a stream, Unix time, ns; `None` if the stream has ended.
    pub fn watermark_of(&self, stream: usize) -> Option<i64> {
        let running = !self.ledger.has_ended(stream);
        running.then(|| self.order.watermark_of(stream))
    }

    /// Time up to which a stream has reported its losses, Unix time, ns; `None` if the stream
    /// has ended.
    pub fn reported_of(&self, stream: usize) -> Option<i64> {
        let running = !self.ledger.has_ended(stream);
        running.then(|| self.ledger.told(stream))
    }

    /// Agent of a stream, and a batch in place of one that the stream has not sent: nothing
    /// waits for the stream until `time`, Unix time, ns.
    #[must_use]
    pub fn without(&self, stream: usize, time: i64) -> (usize, Batch) {
        let (agent, stream) = self.ledger.agent_of(stream);
        let offset = self.scene.nodes[agent].realtime_offset;
        let batch = Batch {
            stream,
            watermark: u64::try_from(time.saturating_sub(offset)).unwrap_or(0),
            overdue: true,
            ..Batch::default()
        };
        (agent, batch)
    }

    /// Name of the node that a stream comes from.
    pub fn node_of(&self, stream: usize) -> &str {
        let (agent, _) = self.ledger.agent_of(stream);
        &self.scene.nodes[agent].node
    }

    /// Number of streams of all agents.
    pub const fn streams(&self) -> usize {
        self.ledger.streams()
    }

    /// Indexes of an agent's streams among all streams.
    pub fn streams_of(&self, agent: usize) -> &[usize] {
        self.ledger.streams_of(agent)
    }

    /// Index of an agent's stream among all streams.
    pub fn stream(&self, agent: usize, stream: usize) -> usize {
        self.ledger.stream(agent, stream)
    }

    /// Number of packets lost to the budget.
    pub fn limited(&self) -> u64 {
        self.ledger.limited()
    }

    /// The last report of each stream, by agent.
    pub fn reports(&self) -> Vec<Vec<&Report>> {
        let agents = 0..self.scene.nodes.len();
        agents
            .map(|agent| self.ledger.reports(agent).collect())
            .collect()
    }
}
