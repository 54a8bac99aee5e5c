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
    Drop(Freed<'a>),
    Fact {
        fact: &'a Fact,
    },
    Seen(Sighting<'a>),
    LastSeen(Sighting<'a>),
    NotSeen,
    FirstSeen(Sighting<'a>),
    NodeUnobserved,
    Bypassed(Place<'a>),
    Acknowledged,
    Answered {
        by: u64,
        perhaps_another: bool,
    },
    NotAnsweredYet,
    NoAnswerCame,
    ReceiverUnobserved,
    RefusedBy {
        by: u64,
    },
    PerhapsAnotherRefused,
    CopyDropped(Freed<'a>),
    PartArrived {
        arrived: i64,
        sent: u32,
    },
    NoDrop,
    DropsUnwatched {
        nodes: Vec<&'a str>,
    },
    Foreign {
        #[serde(flatten)]
        at: Place<'a>,
        programs: &'a [Foreign],
        doubt: bool,
    },
    PodUnobserved,
    StrayFrame(Freed<'a>),
    InterfaceGone(Place<'a>),
    AgentGone {
        node: &'a str,
    },
    DropsLost,
    HopsLost,
    Uneven,
    AlikeRefused(Refusal),
    Twins {
        points: Vec<Place<'a>>,
    },
    Impostor(Other<'a>),
    OtherMac,
    Identical,
    Unclear(Freed<'a>),
    NoEndpoints {
        service: &'a str,
        has_some: bool,
    },
    NotTranslated {
        node: &'a str,
        service: &'a str,
        to: IpAddr,
    },
    TargetPort {
        service: &'a str,
        port: u16,
        to: End,
    },
    NobodysEndpoint {
        service: &'a str,
        port: u16,
        to: End,
    },
    StandIn(Place<'a>),
    Redirected {
        node: &'a str,
        port: u16,
    },
    Conntrack {
        node: &'a str,
        from: End,
        to: End,
        owner: Option<&'a str>,
    },
    Reassembled {
        node: &'a str,
    },
    NoAgent {
        node: &'a str,
    },
    Route(Route<'a>),
    NotThere {
        receiver: &'a str,
        node: &'a str,
        from_node: &'a str,
        to_node: &'a str,
    },
    Home {
        receiver: &'a str,
        node: &'a str,
    },
    Missing {
        #[serde(flatten)]
        leg: Leg<'a>,
        packets: Option<u64>,
    },
    Between(Leg<'a>),
    Merged(Leg<'a>),
    DeviceCounters {
        node: &'a str,
        interface: &'a str,
        counters: Vec<Counter<'a>>,
    },
    SocketCounters {
        node: &'a str,
        netns: &'a str,
        counters: Vec<Counter<'a>>,
    },
    Pattern(Vanished<'a>),
    Silent {
        #[serde(flatten)]
        leg: Leg<'a>,
        since: Moment,
    },
    Idle(Leg<'a>),
    NotItsMac(Frame<'a>),
    NothingCame(Frame<'a>),
    SentToUnobserved {
        node: &'a str,
        interface: &'a str,
    },
    SentToUnknown(Frame<'a>),
    SentElsewhere {
        from: Sighting<'a>,
        #[serde(serialize_with = "shown")]
        #[schemars(with = "String")]
        mac: Mac,
        address: Option<IpAddr>,
        owner: Option<&'a str>,
        node: &'a str,
    },
    Mismatch {
        encap: Encap,
        node: &'a str,
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
        let end = |(address, port): (IpAddr, u16)| End { address, port };
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
            Given::TargetPort { service, port, to } => Self::TargetPort {
                service,
                port: *port,
                to: end(*to),
            },
            Given::NobodysEndpoint { service, port, to } => Self::NobodysEndpoint {
                service,
                port: *port,
                to: end(*to),
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
