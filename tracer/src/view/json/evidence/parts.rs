//! The parts of evidence: hops, drops, legs, counters, tunnels.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;
use tracer_core::{
    journey::{Drop, Impostor, Journey, Scene},
    model::{EncapKind, Mac, Proto, Tunnel, Way},
    verdict::{self, LegKind, Pattern, Rise, Sort, Station},
};

use crate::view::{
    json::{
        packet::{shown, shown_or_null},
        place::Place,
    },
    moment::Moment,
    places::holder,
};

/// A hop, with the fields that identify it.
#[derive(JsonSchema, Serialize)]
pub(super) struct Sighting<'a> {
    #[serde(flatten)]
    at: Place<'a>,
    time: Moment,
}

/// A drop, with the fields that identify it.
#[derive(JsonSchema, Serialize)]
pub(super) struct Freed<'a> {
    time: Moment,
    node: &'a str,
    netns: &'a str,
    interface: Option<&'a str>,
    reason: &'a str,
    function: &'a str,
    why: &'static str,
}

/// Another machine that answered in the receiver's place.
#[derive(JsonSchema, Serialize)]
pub(super) struct Other<'a> {
    by: u64,
    #[serde(flatten)]
    at: Place<'a>,
    address: Option<IpAddr>,
    #[serde(serialize_with = "shown_or_null")]
    #[schemars(with = "Option<String>")]
    mac: Option<Mac>,
    #[serde(serialize_with = "shown_or_null")]
    #[schemars(with = "Option<String>")]
    asked_mac: Option<Mac>,
}

/// The route by which a node sends packets to an address.
#[derive(JsonSchema, Serialize)]
pub(super) struct Route<'a> {
    node: &'a str,
    to: IpAddr,
    interface: &'a str,
    gateway: Option<IpAddr>,
    #[serde(serialize_with = "shown_or_null")]
    #[schemars(with = "Option<String>")]
    mac: Option<Mac>,
    default: bool,
}

/// A leg of the path, from a hop to the points that come next.
#[derive(JsonSchema, Serialize)]
pub(super) struct Leg<'a> {
    leg: LegKind,
    from: Sighting<'a>,
    to: Vec<Place<'a>>,
}

/// A counter of the kernel, and by how much it rose.
#[derive(JsonSchema, Serialize)]
pub(super) struct Counter<'a> {
    name: &'a str,
    rise: u64,
}

/// What lost packets have in common, with this packet's own values.
#[derive(JsonSchema, Serialize)]
pub(super) struct Vanished<'a> {
    pattern: &'static str,
    largest: Option<u32>,
    lost: Option<u32>,
    since: Option<Moment>,
    others: &'a [String],
    len: u32,
    encap: Option<Encap>,
    #[serde(serialize_with = "shown_or_null")]
    #[schemars(with = "Option<String>")]
    proto: Option<Proto>,
    src_port: Option<u16>,
    dst_port: Option<u16>,
}

/// The frame's destination MAC address, and the node to which the packet belongs.
#[derive(JsonSchema, Serialize)]
pub(super) struct Frame<'a> {
    #[serde(serialize_with = "shown")]
    #[schemars(with = "String")]
    pub(super) mac: Mac,
    pub(super) node: &'a str,
}

/// The parameters on which both ends of a tunnel must agree.
#[derive(JsonSchema, Serialize)]
pub(super) struct Encap {
    pub(super) kind: EncapKind,
    pub(super) vni: Option<u32>,
    pub(super) port: Option<u16>,
}

/// A tunnel device of a node.
#[derive(JsonSchema, Serialize)]
pub(super) struct Device<'a> {
    interface: &'a str,
    vni: Option<u32>,
    port: u16,
}

/// The machine to which a frame was sent at a time, Unix time, ns: a node or the owner of an
/// address.
pub(super) fn owner<'a>(scene: &'a Scene, station: &Station, time: i64) -> Option<&'a str> {
    match (station.node, station.address) {
        (Some(node), _) => Some(&scene.nodes[node].node),
        (None, Some(address)) => holder(scene, address, time),
        (None, None) => None,
    }
}

impl<'a> Sighting<'a> {
    pub(super) fn new(scene: &'a Scene, journey: &Journey, step: usize) -> Self {
        let step = &journey.steps[step];
        Self {
            at: Place::numbered(scene, step.node, step.point),
            time: Moment(step.time),
        }
    }
}

impl<'a> Freed<'a> {
    pub(super) fn new(scene: &'a Scene, drop: &'a Drop) -> Self {
        Self {
            time: Moment(drop.time),
            node: &scene.nodes[drop.node].node,
            netns: &drop.netns,
            interface: drop.device.as_deref(),
            reason: &drop.reason,
            function: &drop.function,
            why: drop.judgement.why,
        }
    }
}

impl<'a> Other<'a> {
    pub(super) fn new(scene: &'a Scene, journey: &Journey, impostor: &Impostor) -> Self {
        let (node, point) = impostor.at;
        let (mac, asked_mac) = impostor.macs.unzip();
        Self {
            by: impostor.by,
            at: Place::numbered(scene, node, point),
            address: journey.destination(),
            mac,
            asked_mac,
        }
    }
}

impl<'a> Route<'a> {
    pub(super) fn new(node: &'a str, way: &'a Way) -> Self {
        Self {
            node,
            to: way.to,
            interface: &way.interface,
            gateway: way.gateway,
            mac: way.mac,
            default: way.default,
        }
    }
}

impl<'a> Leg<'a> {
    pub(super) fn new(scene: &'a Scene, journey: &Journey, leg: &verdict::Leg) -> Self {
        let points = leg.points.iter();
        Self {
            leg: leg.kind,
            from: Sighting::new(scene, journey, leg.step),
            to: points
                .map(|point| Place::numbered(scene, leg.node, *point))
                .collect(),
        }
    }
}

impl<'a> Counter<'a> {
    pub(super) fn all(rise: &'a Rise) -> Vec<Self> {
        let counters = rise.counters.iter();
        counters
            .map(|(name, rise)| Self { name, rise: *rise })
            .collect()
    }
}

impl<'a> Vanished<'a> {
    pub(super) fn new(pattern: &'a Pattern, sort: &Sort, port: Option<u16>, len: u32) -> Self {
        let (encap, proto, ports) = match sort {
            Sort::Inside(kind, vni) => {
                let (kind, vni) = (*kind, *vni);
                (Some(Encap { kind, vni, port }), None, None)
            }
            Sort::Plain(proto, ports) => (None, Some(*proto), *ports),
        };
        let (src_port, dst_port) = ports.unzip();
        let of_sort = Self {
            pattern: "all-of-sort",
            largest: None,
            lost: None,
            since: None,
            others: &[],
            len,
            encap,
            proto,
            src_port,
            dst_port,
        };
        match pattern {
            Pattern::TooLarge(largest) => Self {
                pattern: "too-large",
                largest: Some(*largest),
                ..of_sort
            },
            Pattern::AllOfSort {
                lost,
                since,
                others,
            } => Self {
                lost: Some(*lost),
                since: Some(Moment(*since)),
                others,
                ..of_sort
            },
        }
    }
}

impl<'a> Device<'a> {
    pub(super) fn new((interface, tunnel): &'a (String, Tunnel)) -> Self {
        Self {
            interface,
            vni: tunnel.vni,
            port: tunnel.port,
        }
    }
}
