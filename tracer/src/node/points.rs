//! The points of an interface, and attaching to them.

use std::borrow::Cow;

use tracer_core::model::{Direction, Point, Role};

use super::{NodeError, hook, probe::Probe, task::Task};
use crate::interfaces::{self, PodNamespace};

/// The result of attaching to an interface.
pub(super) struct Attached {
    /// Points, in the order in which an incoming packet passes them.
    pub(super) points: Vec<Point>,
    /// Notes for the user.
    pub(super) notes: Vec<String>,
}

/// Attaches to both directions of an interface, and to XDP if that is requested. `l2` says
/// whether the interface's packets begin with an Ethernet header. The returned points name the
/// hooks and the foreign programs there.
pub(super) fn attach(
    probe: &mut Probe,
    first: usize,
    point: &Point,
    l2: bool,
) -> Result<Attached, NodeError> {
    let mut attached = Attached {
        points: Vec::new(),
        notes: Vec::new(),
    };
    match probe.attach_xdp(point, l2, first) {
        Some(Ok(hook)) => {
            attached.points.push(Point {
                hook: hook.into(),
                ..point.clone()
            });
            attached
                .notes
                .extend(hook::changes(&point.interface, &point.kind, hook));
        }
        Some(Err(why)) => attached.notes.push(why),
        None => {}
    }
    for direction in [Direction::Ingress, Direction::Egress] {
        let l2 = l2 || hook::shows_outer_frame(&point.kind, direction);
        let next = first + attached.points.len();
        attached
            .points
            .push(probe.attach(point, direction, l2, next)?);
    }
    Ok(attached)
}

/// A point at an interface of the node's host namespace, before the agent attaches.
pub(super) fn host_point(interface: &interfaces::Interface) -> Point {
    let (role, addresses) = match interface.role {
        interfaces::Role::PodVeth => (Role::Veth, &interface.pods),
        interfaces::Role::Bridge => (Role::Bridge, &interface.addresses),
        interfaces::Role::Overlay => (Role::Overlay, &interface.addresses),
        interfaces::Role::Uplink => (Role::Uplink, &interface.addresses),
    };
    Point {
        netns: "host".to_owned(),
        interface: interface.name.clone(),
        ifindex: interface.ifindex,
        direction: Direction::Ingress,
        hook: Cow::default(),
        role,
        kind: interface.link_kind.clone(),
        addresses: addresses.clone(),
        why: interface.why.clone(),
        foreign: Vec::new(),
        since: 0,
        until: None,
    }
}

/// A point at a pod's own interface, before the agent attaches.
pub(super) fn pod_point(start: &Task, pod: &PodNamespace) -> Point {
    let name = start.pod_name(pod.pod);
    let same_pod = start
        .pods
        .iter()
        .filter(|(_, other)| *other == name)
        .map(|(address, _)| *address);
    let mut addresses: Vec<_> = same_pod.collect();
    if !addresses.contains(&pod.pod) {
        addresses.push(pod.pod);
    }
    Point {
        netns: name,
        interface: pod.name.clone(),
        ifindex: pod.ifindex,
        direction: Direction::Ingress,
        hook: Cow::default(),
        role: Role::Pod,
        kind: pod.kind.clone(),
        addresses,
        why: "the pod's own interface".to_owned(),
        foreign: Vec::new(),
        since: 0,
        until: None,
    }
}
