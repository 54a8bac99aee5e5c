//! The collector's input: records that agents send and recordings hold.

use std::ops::Range;

use super::{Batch, OwnersChange, Report};
use crate::model::Hello;

/// A message of an agent, or what is known about missing ones. A live follow is handled as a
/// join of recordings that are still being written, so it needs no records of its own.
///
/// Agents are numbered across all recordings. Times are Unix time, ns, unless stated otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An agent sent a batch.
    Batch {
        /// Index of the agent.
        agent: usize,
        /// The batch.
        batch: Box<Batch>,
    },
    /// All points of all agents are observed from this time on; `i64::MAX` if they never were.
    Armed(i64),
    /// Addresses got or lost an owner.
    Owners(Box<OwnersChange>),
    /// These agents had started at this time, and sent nothing before. Only for joined
    /// recordings; a single one says so in its head.
    Begun {
        /// Agents of one recording.
        agents: Range<usize>,
        /// Start of these agents.
        time: i64,
    },
    /// The state of a stream before its first row.
    State {
        /// Index of the agent.
        agent: usize,
        /// Index of the stream among the agent's.
        stream: usize,
        /// Time before which everything is in an earlier file, the agent's monotonic clock, ns.
        watermark: u64,
        /// Last report of the stream.
        report: Option<Box<Report>>,
    },
    /// The state of an agent after missing rows, which may have held changes.
    Known {
        /// Index of the agent.
        agent: usize,
        /// The agent's state.
        hello: Box<Hello>,
    },
    /// Some hops and drops up to this time are in an earlier file, which is missing.
    Later(i64),
    /// Rows are missing between the last row of a stream and its next one.
    Gap {
        /// Index of the agent.
        agent: usize,
        /// Index of the stream among the agent's.
        stream: usize,
        /// Watermark at the end of the gap, the agent's monotonic clock, ns.
        watermark: u64,
        /// Last report in the gap or before it.
        report: Option<Box<Report>>,
        /// End of the gap.
        to: i64,
    },
    /// An agent is gone, or the connection to it is broken. What it saw after its last message
    /// is unknown until a change adds new streams of it.
    Gone {
        /// Index of the agent whose streams have ended.
        agent: usize,
        /// Time when the collector noticed it.
        time: i64,
    },
    /// Another agent has started, on a node where packets may be from now on. Its index follows
    /// those of all known agents.
    Joined {
        /// The agent's description of itself. Its points are observed from its start, not from
        /// the beginning.
        hello: Box<Hello>,
        /// Start of the agent.
        time: i64,
    },
    /// Nothing more comes from these agents. Only for joined recordings.
    Ended {
        /// Agents of one recording.
        agents: Vec<usize>,
        /// Time when they ended, or when they were last heard of.
        time: i64,
    },
}
