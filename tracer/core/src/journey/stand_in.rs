//! Answers that a proxy makes in a pod's place: a proxy to which a node's rules or programs lead
//! packets (TPROXY, SYNPROXY), or a rule that refuses them.
//!
//! Such an answer has the pod's address. But the pod is on another node, so its own packets come
//! in at an interface first. The proxy's answers are first seen going out of an interface. Such an
//! answer does not show that the packet arrived at the pod.

use std::net::IpAddr;

use super::{Scene, StandIn};
use crate::model::{Direction, Hop, OwnerKind, Role};

/// Where a proxy made an answer from `src` that was first seen at this hop; `None` if the answer
/// may be the pod's own.
///
/// Only a pod's home is known well enough. Another tool's program may have redirected the pod's
/// answer past the points where the answer would have come in.
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
    let is_elsewhere = owner.kind == OwnerKind::Pod
        && !owner.node.is_empty()
        && owner.node != hello.node
        && !hello.local.contains(&src);
    let mut here = scene.nodes.of_pod(src).filter(|(on, ..)| *on == node);
    (is_elsewhere && here.next().is_none()).then_some(StandIn {
        node,
        point: hop.point,
    })
}
