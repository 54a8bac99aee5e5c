//! What became of a packet, and where.

use std::{net::IpAddr, time::Duration};

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{Mac, Owner};

/// What became of the packet. Indexes are as in [`super::Evidence`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The packet reached its receiver.
    Reached,
    /// The node's side of the pod's veth pair handed the packet over.
    HandedOver {
        /// The step at that interface.
        step: usize,
        /// Whether drops inside the pod are watched.
        observed: bool,
    },
    /// A node gave the packet to a proxy of its own, at this address and port, and not to the
    /// receiver.
    Proxied {
        /// The node.
        node: usize,
        /// The proxy's address and port.
        to: (IpAddr, u16),
    },
    /// A kernel dropped the packet: [`super::Verdict::drop`].
    Dropped,
    /// A reset or ICMP error refused the packet: [`crate::journey::Journey::refusal`].
    Refused,
    /// The packet went out towards a node without an agent.
    LeftFor {
        /// The step where it went out.
        step: usize,
        /// The node.
        node: String,
    },
    /// The packet went out towards a node without an agent, by a known gateway.
    LeftBy {
        /// The step where it went out.
        step: usize,
        /// The gateway.
        gateway: IpAddr,
        /// The gateway's MAC address, if the frame had that MAC.
        mac: Option<Mac>,
        /// The node.
        node: String,
    },
    /// The packet went out towards an address that no known pod or node has. Usually it is
    /// outside of the cluster.
    LeftOutside {
        /// The step where it went out.
        step: usize,
        /// The address.
        to: IpAddr,
    },
    /// The packet went out with a Service's address, which its node did not translate.
    Untranslated {
        /// The step where it went out.
        step: usize,
        /// The address.
        to: IpAddr,
    },
    /// A tunnel took the packet to another node than the receiver's.
    WrongNode {
        /// The node.
        node: String,
        /// The receiver.
        home: Owner,
    },
    /// The frame went out to another machine than the node that the packet is for.
    Astray {
        /// The step where it went out.
        step: usize,
        /// The machine that got the frame.
        station: Station,
        /// The node that the packet is for.
        node: String,
    },
    /// A tunnel took the packet to an address that no node has.
    NoNode {
        /// The address.
        remote: IpAddr,
    },
    /// The packet vanished between two points.
    Lost(Leg),
    /// The packet arrived, and no answer came.
    Unanswered {
        /// Whether the receiver is known to have got the packet.
        taken: bool,
        /// How long the follow waited for the answer.
        hold: Duration,
    },
    /// Unknown; [`super::Verdict::cause`] says why.
    Unknown,
    /// No tunnel device of the node accepts the packet.
    NotTaken {
        /// The node.
        node: usize,
    },
}

/// Who waits in vain, because a question or an answer did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// The packet's receiver, for the answer to this journey.
    ForAnswer(u64),
    /// The packet's receiver, for this question.
    ForQuestion,
}

/// The two points between which a packet vanished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// What lies between the two points.
    pub kind: LegKind,
    /// The last step before the gap.
    pub step: usize,
    /// The node behind the gap.
    pub node: usize,
    /// Points of that node, one of which the packet had to pass.
    pub points: Vec<usize>,
}

/// What lies between two points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LegKind {
    /// The wire between two uplinks, with their queues, drivers and NICs.
    Wire,
    /// A tunnel that tracer cannot decode.
    Tunnel,
    /// A bridge.
    Bridge,
    /// The driver of an interface and GRO, between its XDP and its tc.
    Receive,
}

/// The machine that a frame was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Station {
    /// The MAC address.
    pub mac: Mac,
    /// The node that has it.
    pub node: Option<usize>,
    /// The IP address that resolved to this MAC address.
    pub address: Option<IpAddr>,
}
