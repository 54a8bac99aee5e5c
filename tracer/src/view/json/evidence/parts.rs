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
    /// When the point saw the packet, or its first piece.
    time: Moment,
}

/// A drop, with the fields that identify it.
#[derive(JsonSchema, Serialize)]
pub(super) struct Freed<'a> {
    /// When the kernel freed the packet.
    time: Moment,
    /// Name of the node, as the cluster knows it.
    node: &'a str,
    /// `host`, or `namespace/name` of the pod in whose network namespace the drop was.
    netns: &'a str,
    /// Interface of the drop; null if the kernel no longer knows the interface.
    interface: Option<&'a str>,
    /// The kernel's name of the drop reason; `NO_REASON` before Linux 5.17.
    reason: &'a str,
    /// Kernel function that freed the packet; the raw address without CAP_SYSLOG.
    function: &'a str,
    /// What reason and function mean, in a phrase.
    why: &'static str,
}

/// Another machine that answered in the receiver's place.
#[derive(JsonSchema, Serialize)]
pub(super) struct Other<'a> {
    /// `id` of the answer's journey.
    by: u64,
    #[serde(flatten)]
    at: Place<'a>,
    /// Address that two interfaces have; null if unknown.
    address: Option<IpAddr>,
    /// Source MAC address of the answer; null if unknown.
    #[serde(serialize_with = "shown_or_null")]
    #[schemars(with = "Option<String>")]
    mac: Option<Mac>,
    /// Destination MAC address of the question; null if unknown.
    #[serde(serialize_with = "shown_or_null")]
    #[schemars(with = "Option<String>")]
    asked_mac: Option<Mac>,
}

/// The route by which a node sends packets to an address.
#[derive(JsonSchema, Serialize)]
pub(super) struct Route<'a> {
    /// Name of the node.
    node: &'a str,
    /// Destination address.
    to: IpAddr,
    /// Name of the interface that the route leads out of.
    interface: &'a str,
    /// Address of the gateway; null if the destination is on the link.
    gateway: Option<IpAddr>,
    /// MAC address of the gateway, or else of the destination; null if unknown.
    #[serde(serialize_with = "shown_or_null")]
    #[schemars(with = "Option<String>")]
    mac: Option<Mac>,
    /// Whether this is the default route.
    default: bool,
}

/// A leg of the path, from a hop to the points that come next.
#[derive(JsonSchema, Serialize)]
pub(super) struct Leg<'a> {
    /// What lies between the two ends.
    leg: LegKind,
    /// The last hop before the gap.
    from: Sighting<'a>,
    /// Points behind the gap, one of which the packet had to pass.
    to: Vec<Place<'a>>,
}

/// A counter of the kernel, and by how much it rose.
#[derive(JsonSchema, Serialize)]
pub(super) struct Counter<'a> {
    /// Name of the counter.
    name: &'a str,
    /// By how much the counter rose.
    rise: u64,
}

/// What lost packets have in common, with this packet's own values.
#[derive(JsonSchema, Serialize)]
pub(super) struct Vanished<'a> {
    /// `too-large` if only smaller packets arrive, `all-of-sort` if no packet of this sort arrives.
    pattern: &'static str,
    /// Bytes of the largest packet that arrives; null unless `pattern` is `too-large`.
    largest: Option<u32>,
    /// Number of lost packets of this sort; null unless `pattern` is `all-of-sort`.
    lost: Option<u32>,
    /// When the first of the lost packets was sent; null unless `pattern` is `all-of-sort`.
    since: Option<Moment>,
    /// Sorts of packets that arrive; empty unless `pattern` is `all-of-sort`.
    others: &'a [String],
    /// Bytes of this packet on the wire.
    len: u32,
    /// Tunnel around this packet; null outside a tunnel.
    encap: Option<Encap>,
    /// Protocol of this packet, as in `packet`; null in a tunnel.
    #[serde(serialize_with = "shown_or_null")]
    #[schemars(with = "Option<String>")]
    proto: Option<Proto>,
    /// Source port of this packet; null in a tunnel, or without ports.
    src_port: Option<u16>,
    /// Destination port of this packet; null in a tunnel, or without ports.
    dst_port: Option<u16>,
}

/// The frame's destination MAC address, and the node to which the packet belongs.
#[derive(JsonSchema, Serialize)]
pub(super) struct Frame<'a> {
    /// Destination MAC address of the frame.
    #[serde(serialize_with = "shown")]
    #[schemars(with = "String")]
    pub(super) mac: Mac,
    /// Name of the node that the packet is for.
    pub(super) node: &'a str,
}

/// The parameters on which both ends of a tunnel must agree.
#[derive(JsonSchema, Serialize)]
pub(super) struct Encap {
    /// Protocol of the tunnel.
    pub(super) kind: EncapKind,
    /// VNI of VXLAN or Geneve, or key of GRE; null without one.
    pub(super) vni: Option<u32>,
    /// UDP destination port; null if unknown, or for a tunnel without UDP.
    pub(super) port: Option<u16>,
}

/// A tunnel device of a node.
#[derive(JsonSchema, Serialize)]
pub(super) struct Device<'a> {
    /// Name of the device.
    interface: &'a str,
    /// VNI of the device; null if the device takes any VNI.
    vni: Option<u32>,
    /// UDP port of the device.
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
            Sort::Inside(kind, vni, _) => {
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
