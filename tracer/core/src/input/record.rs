//! What a collector takes: the records that agents send and recordings hold.

use std::ops::Range;

use super::{Batch, OwnersChange, Report};
use crate::model::Hello;

/// What agents sent, or what is known of what they sent. A live follow is the joining of
/// recordings that are still being written, so there are no other records for it.
///
/// Agents count over all recordings; times are Unix time, ns, unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// What an agent sent.
    Batch {
        /// Whose.
        agent: usize,
        /// What it was.
        batch: Box<Batch>,
    },
    /// All points of all agents are observed from then on; `i64::MAX` if they never were.
    Armed(i64),
    /// Addresses got or lost an owner.
    Owners(Box<OwnersChange>),
    /// These agents had started then: nothing of them is before. Of recordings
    /// side by side only; one alone says so in its head.
    Begun {
        /// A recording's.
        agents: Range<usize>,
        /// When.
        time: i64,
    },
    /// What was known of a stream before its first row.
    State {
        /// Whose.
        agent: usize,
        /// Which of its streams.
        stream: usize,
        /// What was before this time is in an earlier file: the agent's
        /// monotonic clock, ns.
        watermark: u64,
        /// Its last report.
        report: Option<Box<Report>>,
    },
    /// What is known of an agent after rows are missing: what has changed
    /// meanwhile may have been in them.
    Known {
        /// Whose.
        agent: usize,
        /// What it is.
        hello: Box<Hello>,
    },
    /// Some of what agents saw until then is in an earlier file that is not
    /// there.
    Later(i64),
    /// Rows are missing between the last of a stream and what comes next.
    Gap {
        /// Whose.
        agent: usize,
        /// Which of its streams.
        stream: usize,
        /// Its watermark at the end of the gap: the agent's monotonic clock, ns.
        watermark: u64,
        /// Its last report in the gap or before.
        report: Option<Box<Report>>,
        /// When the gap ends.
        to: i64,
    },
    /// An agent is gone, or the way to it is broken. What it saw since it last told is not
    /// known until a change of it adds streams.
    Gone {
        /// Whose streams have ended.
        agent: usize,
        /// When that was noticed.
        time: i64,
    },
    /// Another agent, on a node where a packet may be from now on. Its number is the next
    /// after all that are known.
    Joined {
        /// What it says of itself. Its points are observed since they are, not from the
        /// beginning.
        hello: Box<Hello>,
        /// When it had started.
        time: i64,
    },
    /// Nothing more comes from these agents. Of recordings side by side only.
    Ended {
        /// A recording's.
        agents: Vec<usize>,
        /// When they ended, or were last heard of.
        time: i64,
    },
}
