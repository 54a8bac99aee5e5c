//! Answers of a proxy in a pod's place. A node's rules or programs lead packets to a proxy
//! (`REDIRECT`, `TPROXY`, `SYNPROXY`), or a rule refuses the packets.
//!
//! Such an answer has the pod's address. But the pod's own packets first come in at an interface:
//! at the pod's veth, or at the uplink of another node. The proxy's answers are first seen going
//! out of an interface. Such an answer does not show that the packet arrived at the pod.

use std::net::IpAddr;

use super::{Scene, StandIn};
use crate::model::{Direction, Hop, OwnerKind, Point, Role};

/// The point where a proxy's answer from `src` was first seen. `None` if the answer may be the
/// pod's own.
///
/// Only for a pod is it known where its packets come in. Another tool's program may have redirected
/// the pod's answer past these points: at tc, or at the hooks of netkit, which run before tc.
pub(super) fn stand_in(
    scene: &Scene,
    (node, time): (usize, i64),
    hop: &Hop,
    src: IpAddr,
) -> Option<StandIn> {
    let hello = &scene.nodes[node];
    let point = &hello.points[hop.point];
    let comes_out = point.role != Role::Pod && point.direction == Direction::Egress;
    if !comes_out || hop.encap.is_some() || time < scene.since || !point.foreign.is_empty() {
        return None;
    }
    let owner = scene.owner(src, time)?;
    if owner.kind != OwnerKind::Pod || owner.node.is_empty() || hello.local.contains(&src) {
        return None;
    }
    let here = || scene.nodes.of_pod(src).filter(|(on, ..)| *on == node);
    let comes_in_first = if owner.node == hello.node {
        let sends = |(_, _, point): (usize, usize, &Point)| {
            point.role == Role::Veth
                && point.kind == "veth"
                && point.direction == Direction::Ingress
                && point.foreign.is_empty()
                && scene.observes(node, point, time)
        };
        here().any(sends)
    } else {
        here().next().is_none()
    };
    comes_in_first.then_some(StandIn {
        node,
        point: hop.point,
    })
}
