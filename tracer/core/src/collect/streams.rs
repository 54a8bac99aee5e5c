//! What is known of agents' streams, for who keeps them running.

use super::core::Core;
use crate::input::{Batch, Report};

impl Core {
    /// Whether anything is under way that time alone brings to an end.
    pub fn waits(&self) -> bool {
        !self.order.is_empty() || self.engine.open() > 0 || !self.pending.is_empty()
    }

    /// Whether a verdict waits for what agents have lost.
    pub fn waits_for_reports(&self) -> bool {
        !self.pending.is_empty()
    }

    /// How many hops and drops wait for streams that have not told of them.
    pub const fn waiting(&self) -> usize {
        self.order.len()
    }

    /// Until when a stream has told of all that it saw, Unix time, ns; `None` if it
    /// has ended.
    pub fn watermark_of(&self, stream: usize) -> Option<i64> {
        let running = !self.ledger.has_ended(stream);
        running.then(|| self.order.watermark_of(stream))
    }

    /// Until when a stream has told of all that it lost, Unix time, ns; `None` if it
    /// has ended.
    pub fn reported_of(&self, stream: usize) -> Option<i64> {
        let running = !self.ledger.has_ended(stream);
        running.then(|| self.ledger.told(stream))
    }

    /// In place of what a stream has not sent: it is not waited for until `time`, Unix
    /// time, ns. With the stream's agent.
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

    /// The name of the node that a stream is of.
    pub fn node_of(&self, stream: usize) -> &str {
        let (agent, _) = self.ledger.agent_of(stream);
        &self.scene.nodes[agent].node
    }

    /// How many streams all agents have.
    pub const fn streams(&self) -> usize {
        self.ledger.streams()
    }

    /// Which of all streams are an agent's.
    pub fn streams_of(&self, agent: usize) -> &[usize] {
        self.ledger.streams_of(agent)
    }

    /// The index among all streams of one of an agent's.
    pub fn stream(&self, agent: usize, stream: usize) -> usize {
        self.ledger.stream(agent, stream)
    }

    /// Packets cut off by the budget.
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
