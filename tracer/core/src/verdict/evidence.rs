//! What a verdict rests on.
//!
//! Nodes, points, steps and drops are indexes: of [`crate::journey::Scene::nodes`], of
//! a node's points, of [`crate::journey::Journey::steps`] and of its drops.

use super::{Leg, Pattern, Rise, Sort, Station};
use crate::{
    journey::{Impostor, Refusal},
    model::{EncapKind, Ends, Fact, Mac, Owner, Tunnel, Way},
};

/// One thing that a verdict rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The kernel's reason and function, of the drop that decides.
    Drop(usize),
    /// What an agent read when the packet was dropped.
    Fact(Fact),
    /// The step that shows that it arrived.
    Seen(usize),
    /// The last step.
    LastSeen(usize),
    /// It has no step.
    NotSeen,
    /// The first step, which is not where packets of its sender are seen first.
    FirstSeen(usize),
    /// It came to a node, and what the node itself does with it is not observed.
    NodeUnobserved,
    /// It got to its receiver, and this point, where such packets pass, has not seen it.
    Bypassed {
        /// The node.
        node: usize,
        /// The point.
        point: usize,
    },
    /// Its receiver has acknowledged it.
    Acknowledged,
    /// A journey answers it.
    Answered {
        /// The answer's journey.
        by: u64,
        /// Whether that may answer another packet that asks the same.
        perhaps_another: bool,
    },
    /// No answer had come when the follow ended.
    NotAnsweredYet,
    /// No answer came out where it had gone in.
    NoAnswerCame,
    /// What the receiver drops is not observed.
    ReceiverUnobserved,
    /// A journey refuses it.
    RefusedBy(u64),
    /// The refusal may be about another packet that looks the same.
    PerhapsAnotherRefused,
    /// A copy of it was dropped.
    CopyDropped(usize),
    /// So many bytes of it were seen to arrive.
    PartArrived(i64),
    /// No drop of it was seen, and all nodes watch for drops.
    NoDrop,
    /// Drops are not watched on these nodes.
    DropsUnwatched(Vec<usize>),
    /// Programs of others run after tracer's at the last point.
    Foreign {
        /// The node.
        node: usize,
        /// The point.
        point: usize,
        /// Whether they only cast doubt on what is said; else they are why nothing is.
        doubt: bool,
    },
    /// The pod's own interface is not observed, and would show whether it came there.
    PodUnobserved,
    /// A frame of it ended where it was not meant for.
    StrayFrame(usize),
    /// The interface that led to its receiver is gone.
    InterfaceGone {
        /// The node.
        node: usize,
        /// The point.
        point: usize,
    },
    /// The agent of this node was gone, or out of reach, while it was on its way.
    AgentGone(usize),
    /// Drops went unreported while it was on its way.
    DropsLost,
    /// Hops were lost while it was on its way.
    HopsLost,
    /// Not all points took the same sample of packets.
    Uneven,
    /// What refuses a packet that looks the same.
    AlikeRefused(Refusal),
    /// Several interfaces of pods have the receiver's address: nodes and points.
    Twins(Vec<(usize, usize)>),
    /// Somebody else may have answered.
    Impostor(Impostor),
    /// Its frame was for another MAC address, whose owner may have got it.
    OtherMac,
    /// An identical packet was on its way.
    Identical,
    /// It was freed, which may be its loss or the end of a copy.
    Unclear(usize),
    /// No endpoint of a Service, by its name, is ready.
    NoEndpoints(String),
    /// A node's table of connections translates it, and no hop behind that was seen.
    Conntrack {
        /// The node.
        node: usize,
        /// Its ends in front of the translation.
        from: Ends,
        /// Those behind it.
        to: Ends,
    },
    /// No agent watches a node.
    NoAgent(String),
    /// The route that led it out of its node.
    Route {
        /// The node.
        node: usize,
        /// The route.
        way: Way,
    },
    /// The receiver is on another node than the one that a tunnel led to.
    NotThere {
        /// The receiver.
        home: Owner,
        /// The node that sent it into the tunnel.
        from: usize,
        /// The node that the tunnel led to.
        to: String,
    },
    /// Where the receiver is.
    Home(Owner),
    /// The next point, which is watched, has not seen it.
    Missing {
        /// From where to where.
        leg: Leg,
        /// How many packets that point has seen; `None` if that its device received
        /// none is what proves that it is watched.
        packets: Option<u64>,
    },
    /// What lies in between.
    Between(Leg),
    /// Counters of a device that rose meanwhile.
    DeviceCounters {
        /// The node.
        node: usize,
        /// What rose.
        rise: Rise,
    },
    /// Counters of sockets that rose meanwhile.
    SocketCounters {
        /// The node.
        node: usize,
        /// What rose.
        rise: Rise,
    },
    /// What is common to those that vanish on the leg.
    Pattern {
        /// What.
        pattern: Pattern,
        /// The sort of this packet.
        sort: Sort,
        /// UDP port of the tunnel that it was in.
        port: Option<u16>,
        /// Its bytes on the wire.
        len: u32,
    },
    /// Nothing at all has come in at a leg's end.
    Silent {
        /// The leg.
        leg: Leg,
        /// Since when, Unix time, ns.
        since: i64,
    },
    /// Not each of the points at a leg's end has seen packets.
    Idle(Leg),
    /// A frame's destination MAC address is no interface of the node that it is for.
    NotItsMac {
        /// The address.
        mac: Mac,
        /// The node.
        node: String,
    },
    /// Nothing that was sent to a MAC address has come in at a node.
    NothingCame {
        /// The address.
        mac: Mac,
        /// The node.
        node: String,
    },
    /// It was sent to an interface that is not observed.
    SentToUnobserved {
        /// The interface.
        interface: String,
        /// Its node.
        node: String,
    },
    /// It was sent to a MAC address of which it is not known whether it leads to a node.
    SentToUnknown {
        /// The address.
        mac: Mac,
        /// The node.
        node: String,
    },
    /// It was sent to somebody else.
    SentElsewhere {
        /// To whom.
        station: Station,
        /// The step at which it was sent.
        step: usize,
        /// The node that it is for.
        node: String,
    },
    /// No device of a node takes what the tunnel was given.
    Mismatch {
        /// The tunnel's kind.
        kind: EncapKind,
        /// Its network identifier.
        vni: Option<u32>,
        /// Its UDP port, where the device that sent it is known.
        port: Option<u16>,
        /// The node.
        node: usize,
        /// Devices of the kind there are, and what they have.
        devices: Vec<(String, Tunnel)>,
    },
}

impl Evidence {
    /// What was read of a drop.
    pub(super) fn facts(facts: &[Fact]) -> impl Iterator<Item = Self> {
        facts.iter().cloned().map(Self::Fact)
    }
}
