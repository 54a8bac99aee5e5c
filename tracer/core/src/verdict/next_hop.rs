//! The machine that a frame went to, if the frame left its node without a tunnel. The destination
//! MAC names that machine; the IP address inside does not.
//!
//! A gateway's MAC does not prove that the packet went astray: in a cloud, every frame has that
//! MAC. If other packets to the same MAC came in at the destination's node, the gateway does lead
//! there.

use std::net::IpAddr;

use super::{
    Circumstances, Confidence, Evidence, Kind, Outcome, Station, Verdict, case::Case, rest::Gone,
};
use crate::{
    journey::{Scene, Step},
    model::{Cause, Direction, Mac, Role, Way},
};

/// Whether a frame's destination MAC leads to the destination's node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leads {
    /// The MAC leads to that node.
    There,
    /// The MAC leads to another node, with this index. Its agent observes what comes in.
    By(usize),
    /// The MAC leads to another machine, which has forwarded nothing to that node.
    Elsewhere(Mac),
    /// It is not known where the MAC leads.
    Unknown,
}

/// Where the frame that `gone` describes leads. `to` is the index of the destination's node.
pub(super) fn leads(
    case: &Case<'_>,
    gone: &Gone<'_>,
    to: usize,
    circumstances: &impl Circumstances,
) -> Leads {
    let Gone {
        step, tunnelled, ..
    } = *gone;
    if tunnelled {
        return Leads::There;
    }
    let owners = step
        .dst_mac
        .map_or_else(Vec::new, |mac| nodes_with(case.scene, mac, step.time));
    if let ([node], Some(mac)) = (&*owners, step.dst_mac)
        && *node != to
        && *node != step.node
        && comes_in_observed(case, *node, mac)
    {
        return Leads::By(*node);
    }
    let came_in = circumstances.came_in(step, to);
    if came_in == Some(true) {
        return Leads::There;
    }
    let Some(mac) = step.dst_mac else {
        return Leads::Unknown;
    };
    // A multicast frame is for all machines on the link.
    if mac.0[0] & 1 == 1 {
        return Leads::There;
    }
    let devices = &case.scene.nodes[to].network.devices;
    if devices.iter().any(|device| device.mac == Some(mac)) {
        return if *owners == [to] && comes_in_observed(case, to, mac) {
            Leads::There
        } else {
            Leads::Unknown
        };
    }
    // Two nodes with one MAC: which of them the network gave the frame is not known.
    if owners.len() > 1 {
        return Leads::Unknown;
    }
    if came_in.is_none() {
        return Leads::Unknown;
    }
    if devices.is_empty() {
        return Leads::Unknown;
    }
    // A pod that is on the wire itself (macvlan) has a MAC that its node does not know. So an
    // unknown MAC alone does not show that the frame went elsewhere.
    if is_behind(case, to) || is_gateway(case, step, mac) || !owners.is_empty() {
        Leads::Elsewhere(mac)
    } else {
        Leads::Unknown
    }
}

/// Whether a device of the node with this MAC is an uplink, and packets that come in there are
/// observed.
fn comes_in_observed(case: &Case<'_>, node: usize, mac: Mac) -> bool {
    let devices = &case.scene.nodes[node].network.devices;
    let mut its = devices.iter().filter(|device| device.mac == Some(mac));
    its.any(|device| {
        let mut points = case.scene.nodes.of_node(node);
        points.any(|(_, point)| {
            (point.role, point.direction) == (Role::Uplink, Direction::Ingress)
                && point.interface == device.interface
        })
    })
}

/// Whether the packet's destination is an address of the node, or of a pod behind a veth there.
/// Frames to such a destination carry a MAC of the node.
fn is_behind(case: &Case<'_>, node: usize) -> bool {
    let hello = &case.scene.nodes[node];
    let is_at = |address| {
        let mut points = case.scene.nodes.of_pod(address);
        hello.local.contains(&address)
            || points.any(|(of, _, point)| of == node && point.role == Role::Veth)
    };
    case.journey.destination().is_some_and(is_at)
}

/// Whether a frame was sent to the gateway of the packet's route.
fn is_gateway(case: &Case<'_>, step: &Step, mac: Mac) -> bool {
    way(case, step).is_some_and(|way| way.gateway.is_some() && way.mac == Some(mac))
}

/// Indexes of the agents of all nodes that have a MAC at `time`, Unix time, ns.
fn nodes_with(scene: &Scene, mac: Mac, time: i64) -> Vec<usize> {
    let has_it = |node: &usize| {
        let mut devices = scene.nodes[*node].network.devices.iter();
        devices.any(|device| {
            let until = device
                .until
                .map_or(i64::MAX, |until| scene.unix(*node, until));
            device.mac == Some(mac) && time < until
        })
    };
    (0..scene.nodes.len()).filter(has_it).collect()
}

/// The route that a packet took out of its node, if the agent there knows it.
fn way<'a>(case: &Case<'a>, step: &Step) -> Option<&'a Way> {
    let to = case.journey.destination()?;
    let interface = &case.scene.point(step).interface;
    let mut ways = case.scene.nodes[step.node].network.routes.iter();
    ways.find(|way| {
        // If the MAC of the route's next hop was not known yet, the frame's MAC may be the one.
        let same = way.mac.is_none() || way.mac == step.dst_mac;
        way.to == to && way.interface == *interface && same
    })
}

/// The machine that has the MAC to which a frame was sent. `way` is the route of the packet.
fn station(scene: &Scene, way: Option<&Way>, step: &Step, mac: Mac) -> Station {
    let way = way.filter(|way| way.mac == Some(mac));
    let node = match *nodes_with(scene, mac, step.time) {
        [node] => Some(node),
        _ => None,
    };
    Station {
        mac,
        node,
        address: way.map(|way| way.gateway.unwrap_or(way.to)),
    }
}

/// The verdict on a frame that went to another machine than the destination's node.
pub(super) fn astray(case: &Case<'_>, gone: &Gone<'_>, mac: Mac) -> Option<Verdict> {
    let (scene, step) = (case.scene, gone.step);
    if step.seen < case.journey.size() {
        return None;
    }
    let way = way(case, step);
    let (index, node) = (case.index(step), gone.to.to_owned());
    let mut evidence = vec![
        Evidence::LastSeen(index),
        Evidence::NotItsMac {
            mac,
            node: node.clone(),
        },
        Evidence::NothingCame {
            mac,
            node: node.clone(),
        },
    ];
    evidence.extend(way.map(|way| Evidence::Route {
        node: step.node,
        way: way.clone(),
    }));
    let default = way.is_some_and(|way| way.default);
    Some(Verdict {
        kind: Kind::Left,
        confidence: Confidence::High,
        cause: Some(if default {
            Cause::DefaultRoute
        } else {
            Cause::NextHop
        }),
        drop: None,
        outcome: Outcome::Astray {
            step: index,
            station: station(scene, way, step, mac),
            node,
        },
        waits: None,
        evidence,
    })
}

/// The route of a packet that left without a tunnel for a node without an agent, and the route's
/// gateway. `None` if the gateway is that node itself.
pub(super) fn next_hop<'a>(case: &Case<'a>, gone: &Gone<'_>) -> Option<(&'a Way, IpAddr)> {
    let (scene, step) = (case.scene, gone.step);
    let way = way(case, step).filter(|_| !gone.tunnelled)?;
    let gateway = way.gateway?;
    let is_node = scene
        .owner(gateway, step.time)
        .is_some_and(|owner| owner.node == gone.to);
    (!is_node).then_some((way, gateway))
}

/// Evidence why a frame that left without a tunnel may not have reached the packet's node. `None`
/// if its MAC leads there, or if the frame has no MAC.
pub(super) fn no_next_hop(
    case: &Case<'_>,
    gone: &Gone<'_>,
    circumstances: &impl Circumstances,
) -> Option<Evidence> {
    let (scene, to) = (case.scene, gone.to);
    let node = scene.nodes.iter().position(|hello| hello.node == *to)?;
    let leads = leads(case, gone, node, circumstances);
    let mac = gone.step.dst_mac.filter(|_| leads != Leads::There)?;
    let mut devices = scene.nodes[node].network.devices.iter();
    let node = to.to_owned();
    Some(match devices.find(|device| device.mac == Some(mac)) {
        Some(device) => Evidence::SentToUnobserved {
            interface: device.interface.clone(),
            node,
        },
        None if leads == Leads::Unknown => Evidence::SentToUnknown { mac, node },
        None => Evidence::SentElsewhere {
            station: station(scene, way(case, gone.step), gone.step, mac),
            step: case.index(gone.step),
            node,
        },
    })
}
