//! Where a packet is seen last, if all goes well.

use std::net::IpAddr;

use super::Scene;
use crate::model::{Direction, Hop, Packet, Point, Role, Transport};

/// The address whose owner is to have the packet in the end; `None` for a
/// packet to a group.
#[must_use]
pub fn destination(packet: &Packet) -> Option<IpAddr> {
    let address = match &packet.transport {
        Transport::Icmp(icmp) => match &icmp.neighbour {
            Some(neighbour) if !neighbour.advertisement => neighbour.target,
            _ => packet.dst,
        },
        _ => packet.dst,
    };
    (!address.is_multicast()).then_some(address)
}

/// How near to its destination a point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arrival {
    /// On its way.
    No,
    /// The last point that is observed: the host's side of a pod's interface;
    /// of a node's own address, where it comes in, before NAT and firewall.
    HostSide,
    /// The pod's own interface.
    There,
}

/// What it means for a packet to `address` to be seen at `point` of `node`.
/// `wrapped`: inside a tunnel at that point, so that it has still to come out
/// of it.
#[must_use]
pub fn arrival(
    scene: &Scene,
    node: usize,
    point: &Point,
    address: IpAddr,
    wrapped: bool,
) -> Arrival {
    // From XDP on, it has still to come to the node's tc.
    if wrapped || point.is_xdp() {
        return Arrival::No;
    }
    match (point.role, point.direction) {
        (Role::Pod, Direction::Ingress) if point.addresses.contains(&address) => Arrival::There,
        (Role::Veth, Direction::Egress) if point.addresses.contains(&address) => Arrival::HostSide,
        (Role::Bridge | Role::Overlay | Role::Uplink, Direction::Ingress)
            if scene.nodes[node].local.contains(&address) =>
        {
            Arrival::HostSide
        }
        _ => Arrival::No,
    }
}

/// What counts as arrived for a packet to `address` that is on its way at
/// `time`: its pod's own interface where that is observed, else the last point
/// on the host.
pub(crate) fn expected(scene: &Scene, address: IpAddr, time: i64) -> Arrival {
    let mut points = scene.nodes.of_pod(address);
    let observed = |(node, _, point): (usize, usize, &Point)| {
        point.role == Role::Pod && scene.observes(node, point, time)
    };
    if points.any(observed) {
        Arrival::There
    } else {
        Arrival::HostSide
    }
}

/// Whether `address` belongs to this agent's node at `time`, Unix time, ns: to
/// itself, or to a pod on it.
pub(crate) fn is_at_home(scene: &Scene, node: usize, address: IpAddr, time: i64) -> bool {
    let hello = &scene.nodes[node];
    let owner = scene.owner(address, time);
    // Behind an interface that is gone may have been the pod before: its address is
    // another's by now, if that is known.
    let counts = |point: &Point| owner.is_none() || time < scene.until(node, point);
    let mut pods = scene.nodes.of_pod(address);
    hello.local.contains(&address)
        || owner.is_some_and(|owner| owner.node == hello.node)
        || pods.any(|(of, _, point)| of == node && counts(point))
}

/// Whether a hop completes its packet's way.
pub(super) fn arrives(scene: &Scene, (node, time): (usize, i64), hop: &Hop) -> bool {
    let Some(address) = destination(&hop.packet) else {
        return false;
    };
    let point = &scene.nodes[node].points[hop.point];
    let arrival = arrival(scene, node, point, address, hop.encap.is_some());
    arrival != Arrival::No && arrival >= expected(scene, address, time)
}
