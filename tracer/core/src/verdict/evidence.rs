//! The evidence of a verdict.
//!
//! Nodes, points, steps and drops are indexes: into [`crate::journey::Scene::nodes`], a node's
//! points, [`crate::journey::Journey::steps`] and the journey's drops.

use std::net::IpAddr;

use super::{Leg, Pattern, Rise, Sort, Station};
use crate::{
    journey::{Impostor, Refusal, StandIn},
    model::{EncapKind, Ends, Fact, Mac, Owner, Tunnel, Way},
};

/// One piece of evidence for a verdict. "The packet" is the journey's packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The drop that decides, with the kernel's reason and function.
    Drop(usize),
    /// What an agent read when the packet was dropped.
    Fact(Fact),
    /// The step that shows that the packet arrived.
    Seen(usize),
    /// The last step.
    LastSeen(usize),
    /// The packet has no step.
    NotSeen,
    /// The first step, if that is not where its sender's packets usually appear first.
    FirstSeen(usize),
    /// The packet reached a node, and tracer does not see what the node itself does with it.
    NodeUnobserved,
    /// The packet reached its receiver, but not through this point, where such packets pass.
    Bypassed {
        /// The node.
        node: usize,
        /// The point.
        point: usize,
    },
    /// The receiver has acknowledged the packet.
    Acknowledged,
    /// Another journey answers the packet.
    Answered {
        /// The answer's journey.
        by: u64,
        /// Whether the answer may be to another packet with the same question.
        perhaps_another: bool,
    },
    /// No answer had come when the follow ended.
    NotAnsweredYet,
    /// No answer was seen at the point where the packet was handed over.
    NoAnswerCame,
    /// Tracer does not see what the receiver drops.
    ReceiverUnobserved,
    /// The journey of the reset or ICMP error that refuses the packet.
    RefusedBy(u64),
    /// The refusal may be about another packet that looks the same.
    PerhapsAnotherRefused,
    /// A copy of the packet was dropped.
    CopyDropped(usize),
    /// This number of bytes was seen to arrive.
    PartArrived(i64),
    /// No drop of the packet was seen, and all nodes watch for drops.
    NoDrop,
    /// Drops are not watched on these nodes.
    DropsUnwatched(Vec<usize>),
    /// Programs of other tools were found at the last point.
    Foreign {
        /// The node.
        node: usize,
        /// The point.
        point: usize,
        /// Whether the programs only cast doubt on the verdict. Otherwise they are the reason for
        /// `unknown`.
        doubt: bool,
    },
    /// The pod's own interface is not observed; it would show whether the packet arrived.
    PodUnobserved,
    /// A frame with the packet ended at an interface with another MAC address.
    StrayFrame(usize),
    /// The interface that led to the receiver is gone.
    InterfaceGone {
        /// The node.
        node: usize,
        /// The point.
        point: usize,
    },
    /// The agent of this node was gone, or out of reach, while the packet was on its way.
    AgentGone(usize),
    /// Drop events were lost while the packet was on its way.
    DropsLost,
    /// Hop events were lost while the packet was on its way.
    HopsLost,
    /// Not all points sampled the same packets.
    Uneven,
    /// A reset or ICMP error about a packet that looks the same.
    AlikeRefused(Refusal),
    /// Pods behind several interfaces have the destination address: nodes and points.
    Twins(Vec<(usize, usize)>),
    /// Another interface with the same address may have answered.
    Impostor(Impostor),
    /// Answers or acknowledgements of the packet start at this point, in the receiver's place.
    StandIn(StandIn),
    /// Conntrack gives the packet to another port of the receiver, after the last point.
    Redirected {
        /// The node.
        node: usize,
        /// The port.
        port: u16,
    },
    /// The frame was for another MAC address, whose owner may have got the packet.
    OtherMac,
    /// An identical packet was on its way.
    Identical,
    /// A kernel freed the packet or a copy of it, and its reason does not say which.
    Unclear(usize),
    /// No endpoint of a Service can get packets.
    NoEndpoints {
        /// The Service.
        service: String,
        /// Whether the Service has endpoints, none of which is ready.
        has_some: bool,
    },
    /// A node did not translate a Service's address.
    NotTranslated {
        /// The node.
        node: usize,
        /// The Service.
        service: String,
        /// The Service's address.
        to: IpAddr,
    },
    /// An answer reached its client with the endpoint's address, because the node did not undo
    /// the translation of the question.
    NotTranslatedBack {
        /// The node.
        node: usize,
        /// Whether no other node saw the answer, so a bridge may have passed it by the rules.
        same_node: bool,
        /// The Service.
        service: String,
        /// The source that the client expects.
        expected: (IpAddr, u16),
        /// The source that the answer has.
        is: (IpAddr, u16),
    },
    /// A Service leads to a port that refuses packets.
    TargetPort {
        /// The Service.
        service: String,
        /// The Service's port.
        port: u16,
        /// The endpoint's address and port.
        to: (IpAddr, u16),
    },
    /// A Service leads to an address that its EndpointSlice has, and no known pod or node.
    NobodysEndpoint {
        /// The Service.
        service: String,
        /// The Service's port.
        port: u16,
        /// The endpoint's address and port.
        to: (IpAddr, u16),
    },
    /// Conntrack on a node translates the packet, and no hop after the translation was seen.
    Conntrack {
        /// The node.
        node: usize,
        /// The packet's ends before the translation.
        from: Ends,
        /// The packet's ends after the translation.
        to: Ends,
    },
    /// A node reassembled the datagram, and may send it on as other fragments.
    Reassembled {
        /// The node.
        node: usize,
    },
    /// A node has no agent.
    NoAgent(String),
    /// The route that led the packet out of its node.
    Route {
        /// The node.
        node: usize,
        /// The route.
        way: Way,
    },
    /// The tunnel led to another node than the receiver's.
    NotThere {
        /// The receiver.
        home: Owner,
        /// The node that sent the packet into the tunnel.
        from: usize,
        /// The node that the tunnel led to.
        to: String,
    },
    /// The receiver's node.
    Home(Owner),
    /// The next point, which is watched, has not seen the packet.
    Missing {
        /// The leg on which the packet is missing.
        leg: Leg,
        /// How many packets that point has seen. `None` if the device's own counter proves that
        /// nothing came in.
        packets: Option<u64>,
    },
    /// What lies between the two points of the leg.
    Between(Leg),
    /// The point at the leg's end has not seen the packet by itself: GRO may have merged it with
    /// others.
    Merged(Leg),
    /// Counters of a device that rose while the packet was on its way.
    DeviceCounters {
        /// The node.
        node: usize,
        /// What rose.
        rise: Rise,
    },
    /// Counters of sockets that rose while the packet was on its way.
    SocketCounters {
        /// The node.
        node: usize,
        /// What rose.
        rise: Rise,
    },
    /// What the packets that vanish on the leg have in common.
    Pattern {
        /// The pattern.
        pattern: Pattern,
        /// The sort of this packet.
        sort: Sort,
        /// UDP port of the packet's tunnel.
        port: Option<u16>,
        /// The packet's bytes on the wire.
        len: u32,
    },
    /// The interface at the leg's end has received nothing at all.
    Silent {
        /// The leg.
        leg: Leg,
        /// Start of that time: Unix time, ns.
        since: i64,
    },
    /// At least one of the points at a leg's end has seen no packet.
    Idle(Leg),
    /// No interface of the destination's node has the frame's destination MAC address.
    NotItsMac {
        /// The address.
        mac: Mac,
        /// The node.
        node: String,
    },
    /// No frame that was sent to a MAC address has come in at a node.
    NothingCame {
        /// The address.
        mac: Mac,
        /// The node.
        node: String,
    },
    /// The frame was sent to an interface that is not observed.
    SentToUnobserved {
        /// The interface.
        interface: String,
        /// The interface's node.
        node: String,
    },
    /// The frame was sent to a MAC address, and it is not known whether that MAC leads to a node.
    SentToUnknown {
        /// The address.
        mac: Mac,
        /// The node.
        node: String,
    },
    /// The frame was sent to another machine.
    SentElsewhere {
        /// That machine.
        station: Station,
        /// The step at which the frame was sent.
        step: usize,
        /// The node that the packet is for.
        node: String,
    },
    /// No tunnel device of a node accepts the packet.
    Mismatch {
        /// The tunnel's kind.
        kind: EncapKind,
        /// The tunnel's VNI.
        vni: Option<u32>,
        /// The tunnel's UDP port, if the sending device is known.
        port: Option<u16>,
        /// The node.
        node: usize,
        /// The node's devices of this kind, with their VNIs and ports.
        devices: Vec<(String, Tunnel)>,
    },
}

impl Evidence {
    /// The facts that were read at a drop, as evidence.
    pub(super) fn facts(facts: &[Fact]) -> impl Iterator<Item = Self> {
        facts.iter().cloned().map(Self::Fact)
    }
}
