//! What agents can vouch for while a journey was on its way.

use std::{fmt, time::Duration};

use super::Rises;
use crate::{
    journey::{Journey, Scene, Step, tunnel_of},
    model::{EncapKind, Proto},
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

/// Whether a packet that was not seen at a point really did not pass there. Times are Unix time,
/// ns.
pub trait Circumstances {
    /// Whether hop events between `from` and `to` were lost: a packet may have passed unseen
    /// there.
    fn hops_lost(&self, place: Where, from: i64, to: i64) -> bool;

    /// Whether drop events of a node were lost, or of any node without `node`: a packet may have
    /// been dropped unseen.
    fn drops_lost(&self, node: Option<usize>, from: i64, to: i64) -> bool;

    /// A node whose agent was gone, or out of reach, at some time between `from` and `to`.
    fn agent_gone(&self, from: i64, to: i64) -> Option<usize>;

    /// Whether, at some time between `from` and `to`, not all streams sampled the same packets. A
    /// packet that one stream shows may then have passed the others unseen.
    fn uneven(&self, from: i64, to: i64) -> bool;

    /// Whether packets were sampled at some time since `from`: the answer to a question in the
    /// sample need not be in the sample.
    fn sampled(&self, from: i64) -> bool;

    /// How long to wait for a packet's next hop.
    fn hold(&self) -> Duration;

    /// How long to wait for further events of a packet whose fate is known.
    fn settle(&self) -> Duration;

    /// Number of packets of any kind that a point has seen since the start. `None` if its agent has
    /// sent no report after `last`, or if the point no longer sees packets.
    fn packets(&self, node: usize, point: usize, last: i64) -> Option<u64>;

    /// Which of a node's counters rose between `from` and now, as far as known.
    fn rises(&self, node: usize, from: i64) -> Option<Rises>;

    /// Whether an interface of a node received nothing at all between `from` and `to`, by its own
    /// counter.
    fn silence(&self, node: usize, interface: &str, from: i64, to: i64) -> Option<Silence>;

    /// Whether other packets to the same place as at this step (the same remote, or else the same
    /// MAC) came in at node `to`. `None` if not all were remembered.
    fn came_in(&self, step: &Step, to: usize) -> Option<bool>;

    /// What the packets that vanish between the uplinks of two nodes have in common. `None` if this
    /// packet, of this sort and of `len` bytes, is none of them.
    fn pattern(&self, from: usize, to: usize, sort: &Sort, len: u32) -> Option<Pattern>;
}

/// An interface that receives nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Start of that time, as far as known: Unix time, ns.
    pub since: i64,
    /// Whether the counter has ever counted. Some devices' counters never do.
    pub counts: bool,
}

/// By what the network between nodes can tell packets apart, besides size and destination.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sort {
    /// In a tunnel of this kind, with its VNI and outer headers.
    Inside(EncapKind, Option<u32>, Outer),
    /// Outside of a tunnel: protocol, and source and destination port if the packet has ports.
    Plain(Proto, Option<(u16, u16)>),
}

/// What a network sees of a tunnel, besides its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outer {
    /// Whether the outer IP header is IPv6.
    pub is_v6: bool,
    /// UDP destination port, if the tunnel's device is known.
    pub port: Option<u16>,
}

impl Sort {
    /// The sort of a packet as it was seen at a step.
    #[must_use]
    pub fn of(scene: &Scene, journey: &Journey, step: &Step) -> Self {
        match step.encap {
            Some(encap) => {
                let outer = Outer {
                    is_v6: encap.outer_dst.is_ipv6(),
                    port: tunnel_of(scene, journey, step).map(|tunnel| tunnel.port),
                };
                Self::Inside(encap.kind, encap.vni, outer)
            }
            None => Self::Plain(journey.packet.proto(), journey.packet.ports()),
        }
    }
}

/// The sort without VNI and ports.
impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inside(kind, ..) => write!(f, "{kind}"),
            Self::Plain(proto, _) => write!(f, "{proto}"),
        }
    }
}

/// What packets that vanish have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Smaller packets of the sort arrive. The size in bytes of the largest one that did.
    TooLarge(u32),
    /// No packet of the sort arrives.
    AllOfSort {
        /// How many did not arrive, this one included.
        lost: u32,
        /// When the first of them was sent, Unix time, ns.
        since: i64,
        /// Sorts of packets that have arrived since, each once.
        others: Vec<String>,
    },
}
