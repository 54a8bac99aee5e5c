//! The evidence of verdicts, as objects. The objects have names instead of indexes.

mod parts;

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;
use tracer_core::{
    journey::{Journey, Scene},
    model::{Fact, Foreign, Mac, Owner},
    verdict,
};

use self::parts::{
    Counter, Device, Encap, Frame, Freed, Leg, Other, Route, Sighting, Vanished, owner,
};
use super::{dropped::Refusal, packet::shown, place::Place};
use crate::view::{
    evidence::sentence,
    moment::Moment,
    places::holder,
    translation::{End, dst},
};

/// One observation that a verdict rests on, with a sentence that says the same.
#[derive(JsonSchema, Serialize)]
pub(in crate::view) struct Evidence<'a> {
    #[serde(flatten)]
    what: What<'a>,
    /// The evidence in a sentence.
    text: String,
}

impl<'a> Evidence<'a> {
    pub(in crate::view) fn all(
        scene: &'a Scene,
        journey: &'a Journey,
        evidence: &'a [verdict::Evidence],
    ) -> Vec<Self> {
        let told = evidence.iter().map(|evidence| Self {
            what: What::new(scene, journey, evidence),
            text: sentence(scene, journey, evidence),
        });
        told.collect()
    }
}

/// The kind of evidence, with its fields. Kinds are those of `verdict::Evidence`.
#[derive(JsonSchema, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum What<'a> {
    /// The drop that decides the verdict.
    Drop(Freed<'a>),
    /// What the agent read when the packet was dropped.
    Fact {
        /// One of the facts, without its `text`.
        fact: &'a Fact,
    },
    /// The hop that shows that the packet arrived.
    Seen(Sighting<'a>),
    /// The last hop.
    LastSeen(Sighting<'a>),
    /// The packet has no hop.
    NotSeen,
    /// The first hop; earlier hops were not observed.
    FirstSeen(Sighting<'a>),
    /// The packet reached a node, and tracer does not see what the node itself does with it.
    NodeUnobserved,
    /// The packet arrived, but this point did not see it.
    Bypassed(Place<'a>),
    /// The receiver has acknowledged the packet.
    Acknowledged,
    /// Another journey answers the packet.
    Answered {
        /// `id` of the answer's journey.
        by: u64,
        /// Whether the answer may be to another packet that asks the same.
        perhaps_another: bool,
    },
    /// No answer had come when the follow ended.
    NotAnsweredYet,
    /// No answer was seen where the packet was handed over.
    NoAnswerCame,
    /// Tracer does not see what the receiver drops.
    ReceiverUnobserved,
    /// A reset or an ICMP error refuses the packet.
    RefusedBy {
        /// `id` of the journey of the reset or ICMP error.
        by: u64,
    },
    /// The refusal may be about another packet that looks the same.
    PerhapsAnotherRefused,
    /// A kernel dropped a copy of the packet.
    CopyDropped(Freed<'a>),
    /// How much of the packet was seen to arrive.
    PartArrived {
        /// Payload bytes of TCP data that were seen to arrive, else 1.
        arrived: i64,
        /// Payload bytes of TCP data that were sent, else 1.
        sent: u32,
    },
    /// No drop of the packet was seen, and all nodes watch for drops.
    NoDrop,
    /// Some nodes do not watch for drops.
    DropsUnwatched {
        /// Names of the nodes that do not watch for drops.
        nodes: Vec<&'a str>,
    },
    /// Programs of other tools run after tracer's at the last point.
    Foreign {
        #[serde(flatten)]
        at: Place<'a>,
        /// The other tools' programs.
        programs: &'a [Foreign],
        /// True if the programs only cast doubt on the verdict, false if they are the reason for
        /// `unknown`.
        doubt: bool,
    },
    /// The pod's own interface, which would show whether the packet arrived, is not observed.
    PodUnobserved,
    /// A frame with the packet ended at an interface with another MAC address.
    StrayFrame(Freed<'a>),
    /// The interface that led to the receiver is gone.
    InterfaceGone(Place<'a>),
    /// The agent of a node was gone, or out of reach, while the packet was on its way.
    AgentGone {
        /// Name of the node.
        node: &'a str,
    },
    /// Drop events were lost while the packet was on its way.
    DropsLost,
    /// Hop events were lost while the packet was on its way, or captures do not say what they
    /// missed.
    HopsLost,
    /// Not all points took the same sample of packets.
    Uneven,
    /// A reset or ICMP error is about a packet that looks the same.
    AlikeRefused(Refusal),
    /// Pods behind several points have the destination address.
    Twins {
        /// Points, behind each of which is a pod with the destination address.
        points: Vec<Place<'a>>,
    },
    /// An answer came from this point, but the question went elsewhere.
    Impostor(Other<'a>),
    /// The frame was for another MAC address, whose owner may have got the packet.
    OtherMac,
    /// An identical packet was on its way.
    Identical,
    /// A kernel freed the packet, which may be its loss or the end of a copy.
    Unclear(Freed<'a>),
    /// A Service has no endpoint that could get packets.
    NoEndpoints {
        /// `namespace/name` of the Service.
        service: &'a str,
        /// Whether the Service has endpoints, none of which is ready.
        has_some: bool,
    },
    /// A node did not translate the address of a Service.
    NotTranslated {
        /// Name of the node.
        node: &'a str,
        /// `namespace/name` of the Service.
        service: &'a str,
        /// Address of the Service.
        to: IpAddr,
    },
    /// An answer reached its client with the endpoint's address, because the node did not undo
    /// the translation of the question.
    NotTranslatedBack {
        /// Name of the node.
        node: &'a str,
        /// Whether no other node saw the answer, so a bridge may have passed it by the rules.
        same_node: bool,
        /// `namespace/name` of the Service.
        service: &'a str,
        /// Source that the client expects.
        expected: End,
        /// Source that the answer has.
        is: End,
    },
    /// A Service leads to a port that refuses packets.
    TargetPort {
        /// `namespace/name` of the Service.
        service: &'a str,
        /// Port of the Service.
        port: u16,
        /// Address and port of the endpoint.
        to: End,
    },
    /// A Service leads to an address that its EndpointSlice has, and no known pod or node.
    NobodysEndpoint {
        /// `namespace/name` of the Service.
        service: &'a str,
        /// Port of the Service.
        port: u16,
        /// Address and port of the endpoint.
        to: End,
    },
    /// Answers with the receiver's address start at this point, where a proxy or a rule makes them.
    StandIn(Place<'a>),
    /// Conntrack gives the packet to another port of the receiver, after the last point.
    Redirected {
        /// Name of the node.
        node: &'a str,
        /// Port of the receiver that gets the packet.
        port: u16,
    },
    /// Conntrack translates the packet, and no hop with the new address was seen.
    Conntrack {
        /// Name of the node.
        node: &'a str,
        /// Destination before the translation.
        from: End,
        /// Destination after the translation.
        to: End,
        /// Name of the pod, Service or node that has the new address; null if unknown.
        owner: Option<&'a str>,
    },
    /// A node reassembled the datagram, and may send it on as other fragments.
    Reassembled {
        /// Name of the node.
        node: &'a str,
    },
    /// No agent watches the node.
    NoAgent {
        /// Name of the node.
        node: &'a str,
    },
    /// The route that led the packet out of its node.
    Route(Route<'a>),
    /// A tunnel led to another node than the receiver's.
    NotThere {
        /// Name of the receiver.
        receiver: &'a str,
        /// The receiver's node.
        node: &'a str,
        /// The node that sent the packet into the tunnel.
        from_node: &'a str,
        /// The node that the tunnel led to.
        to_node: &'a str,
    },
    /// The receiver is on the node.
    Home {
        /// Name of the receiver.
        receiver: &'a str,
        /// Name of the node.
        node: &'a str,
    },
    /// No point behind the gap has seen the packet, although all are watched.
    Missing {
        #[serde(flatten)]
        leg: Leg<'a>,
        /// Packets that these points have seen; null if the device's own counter shows that none
        /// came in.
        packets: Option<u64>,
    },
    /// What lies between the two ends of the leg.
    Between(Leg<'a>),
    /// The point behind the gap did not see the packet by itself: GRO may have merged it with
    /// others.
    Merged(Leg<'a>),
    /// Counters of an interface rose while the packet was on its way.
    DeviceCounters {
        /// Name of the node.
        node: &'a str,
        /// Name of the interface.
        interface: &'a str,
        /// Counters that rose.
        counters: Vec<Counter<'a>>,
    },
    /// Counters of a namespace's sockets rose while the packet was on its way.
    SocketCounters {
        /// Name of the node.
        node: &'a str,
        /// `host`, or `namespace/name` of the pod whose network namespace it is.
        netns: &'a str,
        /// Counters that rose.
        counters: Vec<Counter<'a>>,
    },
    /// What the packets that are lost on the leg have in common.
    Pattern(Vanished<'a>),
    /// Nothing at all has come in behind the gap for some time.
    Silent {
        #[serde(flatten)]
        leg: Leg<'a>,
        /// Time since which nothing has come in.
        since: Moment,
    },
    /// At least one of the points behind the gap has seen no packet.
    Idle(Leg<'a>),
    /// No interface of the destination's node has the destination MAC address of the frame.
    NotItsMac(Frame<'a>),
    /// No frame that was sent to this MAC address has come in at the node.
    NothingCame(Frame<'a>),
    /// The frame was sent to an interface that is not observed.
    SentToUnobserved {
        /// Name of the node.
        node: &'a str,
        /// Name of the interface.
        interface: &'a str,
    },
    /// Tracer does not know whether the frame's destination MAC address leads to the node.
    SentToUnknown(Frame<'a>),
    /// The frame was sent to another machine than the destination's node.
    SentElsewhere {
        /// The hop at which the frame was sent.
        from: Sighting<'a>,
        /// Destination MAC address of the frame.
        #[serde(serialize_with = "shown")]
        #[schemars(with = "String")]
        mac: Mac,
        /// IP address that resolved to this MAC address; null if unknown.
        address: Option<IpAddr>,
        /// Name of the node, pod or Service that has this MAC address; null if unknown.
        owner: Option<&'a str>,
        /// Name of the node that the packet is for.
        node: &'a str,
    },
    /// No tunnel device of the node accepts the packet.
    Mismatch {
        /// Tunnel around the packet.
        encap: Encap,
        /// Name of the node.
        node: &'a str,
        /// The node's tunnel devices of that kind; empty without any.
        devices: Vec<Device<'a>>,
    },
}

impl<'a> What<'a> {
    fn new(scene: &'a Scene, journey: &'a Journey, evidence: &'a verdict::Evidence) -> Self {
        use verdict::Evidence as Given;

        let name = |node: usize| scene.nodes[node].node.as_str();
        let at = |node, point| Place::numbered(scene, node, point);
        let seen = |step| Sighting::new(scene, journey, step);
        let freed = |drop: usize| Freed::new(scene, &journey.drops[drop]);
        let leg = |leg| Leg::new(scene, journey, leg);
        match evidence {
            Given::Drop(drop) => Self::Drop(freed(*drop)),
            Given::Fact(fact) => Self::Fact { fact },
            Given::Seen(step) => Self::Seen(seen(*step)),
            Given::LastSeen(step) => Self::LastSeen(seen(*step)),
            Given::NotSeen => Self::NotSeen,
            Given::FirstSeen(step) => Self::FirstSeen(seen(*step)),
            Given::NodeUnobserved => Self::NodeUnobserved,
            Given::Bypassed { node, point } => Self::Bypassed(at(*node, *point)),
            Given::Acknowledged => Self::Acknowledged,
            Given::Answered {
                by,
                perhaps_another,
            } => Self::Answered {
                by: *by,
                perhaps_another: *perhaps_another,
            },
            Given::NotAnsweredYet => Self::NotAnsweredYet,
            Given::NoAnswerCame => Self::NoAnswerCame,
            Given::ReceiverUnobserved => Self::ReceiverUnobserved,
            Given::RefusedBy(by) => Self::RefusedBy { by: *by },
            Given::PerhapsAnotherRefused => Self::PerhapsAnotherRefused,
            Given::CopyDropped(drop) => Self::CopyDropped(freed(*drop)),
            Given::PartArrived(bytes) => Self::PartArrived {
                arrived: *bytes,
                sent: journey.size(),
            },
            Given::NoDrop => Self::NoDrop,
            Given::DropsUnwatched(nodes) => Self::DropsUnwatched {
                nodes: nodes.iter().map(|node| name(*node)).collect(),
            },
            Given::Foreign { node, point, doubt } => Self::Foreign {
                at: at(*node, *point),
                programs: &scene.nodes[*node].points[*point].foreign,
                doubt: *doubt,
            },
            Given::PodUnobserved => Self::PodUnobserved,
            Given::StrayFrame(drop) => Self::StrayFrame(freed(*drop)),
            Given::InterfaceGone { node, point } => Self::InterfaceGone(at(*node, *point)),
            Given::AgentGone(node) => Self::AgentGone {
                node: &scene.nodes[*node].node,
            },
            Given::DropsLost => Self::DropsLost,
            Given::HopsLost => Self::HopsLost,
            Given::Uneven => Self::Uneven,
            Given::AlikeRefused(refusal) => Self::AlikeRefused(Refusal::new(refusal)),
            Given::Twins(points) => Self::Twins {
                points: points
                    .iter()
                    .map(|(node, point)| at(*node, *point))
                    .collect(),
            },
            Given::Impostor(impostor) => Self::Impostor(Other::new(scene, journey, impostor)),
            Given::OtherMac => Self::OtherMac,
            Given::Identical => Self::Identical,
            Given::Unclear(drop) => Self::Unclear(freed(*drop)),
            Given::NoEndpoints { service, has_some } => Self::NoEndpoints {
                service,
                has_some: *has_some,
            },
            Given::NotTranslated { node, service, to } => Self::NotTranslated {
                node: name(*node),
                service,
                to: *to,
            },
            Given::NotTranslatedBack {
                node,
                same_node,
                service,
                expected,
                is,
            } => Self::NotTranslatedBack {
                node: name(*node),
                same_node: *same_node,
                service,
                expected: (*expected).into(),
                is: (*is).into(),
            },
            Given::TargetPort { service, port, to } => Self::TargetPort {
                service,
                port: *port,
                to: (*to).into(),
            },
            Given::NobodysEndpoint { service, port, to } => Self::NobodysEndpoint {
                service,
                port: *port,
                to: (*to).into(),
            },
            Given::StandIn(stand_in) => Self::StandIn(at(stand_in.node, stand_in.point)),
            Given::Redirected { node, port } => Self::Redirected {
                node: name(*node),
                port: *port,
            },
            Given::Conntrack { node, from, to } => Self::Conntrack {
                node: name(*node),
                from: dst(from),
                to: dst(to),
                owner: holder(scene, to.dst, journey.start()),
            },
            Given::Reassembled { node } => Self::Reassembled { node: name(*node) },
            Given::NoAgent(node) => Self::NoAgent { node },
            Given::Route { node, way } => Self::Route(Route::new(name(*node), way)),
            Given::NotThere { home, from, to } => Self::NotThere {
                receiver: &home.name,
                node: &home.node,
                from_node: name(*from),
                to_node: to,
            },
            Given::Home(Owner { name, node, .. }) => Self::Home {
                receiver: name,
                node,
            },
            Given::Missing { leg: at, packets } => Self::Missing {
                leg: leg(at),
                packets: *packets,
            },
            Given::Between(at) => Self::Between(leg(at)),
            Given::Merged(at) => Self::Merged(leg(at)),
            Given::DeviceCounters { node, rise } => Self::DeviceCounters {
                node: name(*node),
                interface: &rise.place,
                counters: Counter::all(rise),
            },
            Given::SocketCounters { node, rise } => Self::SocketCounters {
                node: name(*node),
                netns: &rise.place,
                counters: Counter::all(rise),
            },
            Given::Pattern {
                pattern,
                sort,
                port,
                len,
            } => Self::Pattern(Vanished::new(pattern, sort, *port, *len)),
            Given::Silent { leg: at, since } => Self::Silent {
                leg: leg(at),
                since: Moment(*since),
            },
            Given::Idle(at) => Self::Idle(leg(at)),
            Given::NotItsMac { mac, node } => Self::NotItsMac(Frame { mac: *mac, node }),
            Given::NothingCame { mac, node } => Self::NothingCame(Frame { mac: *mac, node }),
            Given::SentToUnobserved { interface, node } => {
                Self::SentToUnobserved { node, interface }
            }
            Given::SentToUnknown { mac, node } => Self::SentToUnknown(Frame { mac: *mac, node }),
            Given::SentElsewhere {
                station,
                step,
                node,
            } => Self::SentElsewhere {
                from: seen(*step),
                mac: station.mac,
                address: station.address,
                owner: owner(scene, station, journey.steps[*step].time),
                node,
            },
            Given::Mismatch {
                kind,
                vni,
                port,
                node,
                devices,
            } => Self::Mismatch {
                encap: Encap {
                    kind: *kind,
                    vni: *vni,
                    port: *port,
                },
                node: name(*node),
                devices: devices.iter().map(Device::new).collect(),
            },
        }
    }
}
