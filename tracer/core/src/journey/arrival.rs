//! The last point that sees a packet if nothing goes wrong.

use std::net::IpAddr;

use super::{Scene, destination::destination};
use crate::model::{Direction, Hop, Point, Role};

/// How near a point is to the packet's destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arrival {
    /// The packet is still on its way.
    No,
    /// The last observed point before the destination. For a pod, that is the host's side of its
    /// veth pair. For a node's own address, it is where the packet enters the node, before NAT and
    /// firewall.
    HostSide,
    /// The pod's own interface.
    There,
}

/// How near a packet to `address` is to its destination when `point` of `node` sees the packet.
/// `wrapped`: whether the packet is in a tunnel at that point, so it has not arrived yet.
#[must_use]
pub fn arrival(
    scene: &Scene,
    node: usize,
    point: &Point,
    address: IpAddr,
    wrapped: bool,
) -> Arrival {
    // A packet at XDP has not come to the node's tc yet.
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

/// The point that counts as arrival for a packet to `address` at `time`. This is the pod's own
/// interface if that is observed, else the last point on the host.
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

/// Whether `address` belongs to this agent's node, or to a pod there, at `time`: Unix time, ns.
pub(crate) fn is_at_home(scene: &Scene, node: usize, address: IpAddr, time: i64) -> bool {
    let hello = &scene.nodes[node];
    let owner = scene.owner(address, time);
    // An interface that is gone may have led to the pod before. If the address has an owner, that
    // owner counts instead.
    let counts = |point: &Point| owner.is_none() || time < scene.until(node, point);
    let mut pods = scene.nodes.of_pod(address);
    hello.local.contains(&address)
        || owner.is_some_and(|owner| owner.node == hello.node)
        || pods.any(|(of, _, point)| of == node && counts(point))
}

/// Whether a hop is at the last point of its packet's path.
pub(super) fn arrives(scene: &Scene, (node, time): (usize, i64), hop: &Hop) -> bool {
    let Some(address) = destination(&hop.packet) else {
        return false;
    };
    let point = &scene.nodes[node].points[hop.point];
    let arrival = arrival(scene, node, point, address, hop.encap.is_some());
    arrival != Arrival::No && arrival >= expected(scene, address, time)
}
