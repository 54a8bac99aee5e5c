//! What is known of the agents while a journey was on its way.

use std::{fmt, time::Duration};

use super::Rises;
use crate::{
    journey::Step,
    model::{EncapKind, Packet, Proto},
};

/// Where events may have been lost. Nodes and points are indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// At one observation point of a node.
    Point(usize, usize),
    /// On one node.
    Node(usize),
    /// On any node.
    Anywhere,
}

/// Whether what was not seen did not happen. Times are Unix time, ns.
pub trait Circumstances {
    /// Whether hops of between `from` and `to` were lost on their way to the
    /// collector: a packet may have passed unseen there.
    fn hops_lost(&self, place: Where, from: i64, to: i64) -> bool;

    /// Whether drops on a node were, or on any if none is given: a packet may
    /// have been dropped unseen.
    fn drops_lost(&self, node: Option<usize>, from: i64, to: i64) -> bool;

    /// A node whose agent was gone, or out of reach, at some time between `from` and `to`.
    fn agent_gone(&self, from: i64, to: i64) -> Option<usize>;

    /// Whether, at some time between `from` and `to`, not all streams took the
    /// same sample: a packet that one shows may have passed the others unseen.
    fn uneven(&self, from: i64, to: i64) -> bool;

    /// Whether, at some time since `from`, not every packet was taken: an answer
    /// need not be in the sample that its question is in.
    fn sampled(&self, from: i64) -> bool;

    /// How long a packet is waited for after it was last heard of.
    fn hold(&self) -> Duration;

    /// How many packets of any kind a point has seen since the beginning, as
    /// its agent said after `last`; `None` if the agent was not heard of since.
    fn packets(&self, node: usize, point: usize, last: i64) -> Option<u64>;

    /// Which of a node's counters rose between `from` and now, as far as that
    /// is known.
    fn rises(&self, node: usize, from: i64) -> Option<Rises>;

    /// Whether nothing at all came in at an interface of a node between `from`
    /// and `to`, as its own counter has it.
    fn silence(&self, node: usize, interface: &str, from: i64, to: i64) -> Option<Silence>;

    /// Whether others that were sent as this step shows, to the same tunnel's
    /// end or else the same MAC, came in at node `to`.
    fn came_in(&self, step: &Step, to: usize) -> bool;

    /// What is common to those that vanish on the leg from one node's uplink to
    /// another's, one of this sort and of `len` bytes included.
    fn pattern(&self, from: usize, to: usize, sort: &Sort, len: u32) -> Option<Pattern>;
}

/// An interface that receives nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Since when, as far as is known, Unix time, ns.
    pub since: i64,
    /// Whether its counter has ever counted: else it may be none that does.
    pub counts: bool,
}

/// What a network between nodes can tell packets apart by, besides their sizes
/// and where they go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sort {
    /// In a tunnel of this kind, with its network identifier. Its outer
    /// protocol and port follow from that.
    Inside(EncapKind, Option<u32>),
    /// In none: protocol, and ports from and to if it has them.
    Plain(Proto, Option<(u16, u16)>),
}

impl Sort {
    /// That of a packet as it was seen at a step.
    #[must_use]
    pub fn of(step: &Step, packet: &Packet) -> Self {
        match step.encap {
            Some(encap) => Self::Inside(encap.kind, encap.vni),
            None => Self::Plain(packet.proto(), packet.ports()),
        }
    }
}

/// Without its ports.
impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inside(kind, _) => write!(f, "{kind}"),
            Self::Plain(proto, _) => write!(f, "{proto}"),
        }
    }
}

/// What is common to packets that vanish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Smaller ones of the sort arrive: the largest, in bytes, that did.
    TooLarge(u32),
    /// None of the sort arrives.
    AllOfSort {
        /// How many did not, this one included.
        lost: u32,
        /// When the first of them was sent, Unix time, ns.
        since: i64,
        /// Sorts of packets that have arrived since, each once.
        others: Vec<String>,
    },
}
