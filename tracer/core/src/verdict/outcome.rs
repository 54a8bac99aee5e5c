//! What happened, with what is known of where and to whom.

use std::{net::IpAddr, time::Duration};

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{Mac, Owner};

/// What happened. Indexes are those of [`super::Evidence`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its receiver has it.
    Reached,
    /// The host's side of a pod's interface has handed it over.
    HandedOver {
        /// The step there.
        step: usize,
        /// Whether drops inside the pod are watched.
        observed: bool,
    },
    /// [`super::Verdict::drop`] says who dropped it, and why.
    Dropped,
    /// [`crate::journey::Journey::refusal`] says who refused it.
    Refused,
    /// It went out towards a node without an agent.
    LeftFor {
        /// The step where it went out.
        step: usize,
        /// The node.
        node: String,
    },
    /// The same, and it is known who was to bring it there.
    LeftBy {
        /// The step where it went out.
        step: usize,
        /// The gateway.
        gateway: IpAddr,
        /// Its MAC address, if the frame had that.
        mac: Option<Mac>,
        /// The node.
        node: String,
    },
    /// It went out towards an address that nobody has who is known: outside of the cluster,
    /// as a rule.
    LeftOutside {
        /// The step where it went out.
        step: usize,
        /// The address.
        to: IpAddr,
    },
    /// A tunnel took it to another node than its receiver's.
    WrongNode {
        /// The node.
        node: String,
        /// The receiver.
        home: Owner,
    },
    /// It went out to somebody else than the node that it is for.
    Astray {
        /// The step where it went out.
        step: usize,
        /// Who got it.
        station: Station,
        /// The node that it is for.
        node: String,
    },
    /// A tunnel took it to an address of no node.
    NoNode {
        /// The address.
        remote: IpAddr,
    },
    /// It vanished between two points.
    Lost(Leg),
    /// It arrived, and nobody answered.
    Unanswered {
        /// Whether its receiver is known to have got it.
        taken: bool,
        /// How long the answer was waited for.
        hold: Duration,
    },
    /// Nothing is known; [`super::Verdict::cause`] says why.
    Unknown,
    /// No tunnel device of a node takes what was sent to it.
    NotTaken {
        /// The node.
        node: usize,
    },
}

/// Who waits in vain for what did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// The receiver, for the answer to this journey.
    ForAnswer(u64),
    /// The receiver, for a question.
    ForQuestion,
}

/// From where to where something vanished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// What lies in between.
    pub kind: LegKind,
    /// The last step before.
    pub step: usize,
    /// The node behind it.
    pub node: usize,
    /// Its points, one of which it had to pass.
    pub points: Vec<usize>,
}

/// What lies between two points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LegKind {
    /// Queue, driver and NIC of an uplink, the wire, and the same of another.
    Wire,
    /// A tunnel that cannot be looked into.
    Tunnel,
    /// A bridge.
    Bridge,
}

/// Who a frame was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Station {
    /// The MAC address.
    pub mac: Mac,
    /// The node that has it.
    pub node: Option<usize>,
    /// The IP address that was asked for it.
    pub address: Option<IpAddr>,
}
