//! Places and parties, in words.

use std::net::IpAddr;

use crate::{
    journey::{Drop, Journey, Refusal, Scene, Step, destination},
    model::{Direction, OwnerKind},
};

/// Where a step was.
pub(super) fn place(scene: &Scene, step: &Step) -> String {
    let point = scene.point(step);
    let way = match point.direction {
        Direction::Ingress => "coming in from",
        Direction::Egress => "going out of",
    };
    let inside = if point.netns == "host" {
        String::new()
    } else {
        format!(" in {}", point.netns)
    };
    format!(
        "{way} {}{inside} on {}",
        point.interface, scene.nodes[step.node].node
    )
}

/// Where a drop was: `at eth0 in shop/cart on node-b`.
pub(super) fn drop_place(scene: &Scene, drop: &Drop) -> String {
    let node = &scene.nodes[drop.node].node;
    let device = drop.device.as_deref();
    match (device, &*drop.netns) {
        (Some(device), "host") => format!("at {device} on {node}"),
        (Some(device), pod) => format!("at {device} in {pod} on {node}"),
        (None, "host") => format!("on {node}"),
        (None, pod) => format!("in {pod} on {node}"),
    }
}

/// Whom the packet is for.
pub(super) fn owner(scene: &Scene, journey: &Journey) -> String {
    destination(&journey.packet).map_or_else(
        || "its destination".to_owned(),
        |address| party(scene, address, journey.start()),
    )
}

/// Who has an address at a time, Unix time, ns.
pub(super) fn party(scene: &Scene, address: IpAddr, time: i64) -> String {
    if let Some(pod) = scene.pod(address, time) {
        return pod.to_owned();
    }
    if let Some(service) = scene.service(address, time) {
        return format!("Service {service} ({address})");
    }
    let node = scene
        .owner(address, time)
        .filter(|owner| owner.kind == OwnerKind::Node)
        .map(|owner| owner.name.as_str())
        .or_else(|| {
            let host = scene
                .nodes
                .iter()
                .find(|hello| hello.local.contains(&address));
            host.map(|hello| hello.node.as_str())
        });
    match node {
        Some(node) => format!("{node} ({address})"),
        None => address.to_string(),
    }
}

/// The time of day of a Unix time in ns, to the second.
pub(super) fn clock(time: i64) -> String {
    const SECOND: i64 = 1_000_000_000;
    let second = time.div_euclid(SECOND).rem_euclid(86_400);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{hour:02}:{minute:02}:{:02} UTC", second % 60)
}

/// What a refusal says: RFC 792 and 1812, RFC 4443.
pub(super) fn refusal(scene: &Scene, journey: &Journey, refusal: &Refusal) -> String {
    let from = party(scene, refusal.from, journey.start());
    let Some((kind, code)) = refusal.icmp else {
        return format!("{from} answered with a reset");
    };
    let says = match (refusal.from.is_ipv6(), kind, code) {
        (false, 3, 0) | (true, 1, 0) => "there is no route to it",
        (false, 3, 1) | (true, 1, 3) => "the host cannot be reached",
        (false, 3, 2) | (true, 4, 1) => "nobody there takes this protocol",
        (false, 3, 3) | (true, 1, 4) => "nobody listens on that port",
        (false, 3, 4) | (true, 2, _) => "it is too large for the way",
        (false, 3, 9 | 10 | 13) | (true, 1, 1 | 5 | 6) => "it is prohibited",
        (false, 11, 0) | (true, 3, 0) => "its TTL has expired",
        (false, 11, 1) | (true, 3, 1) => "fragments of it are missing",
        (false, 12, _) | (true, 4, _) => "its headers are wrong",
        _ => "it could not be delivered",
    };
    format!("{from} says that {says} (ICMP type {kind} code {code})")
}

/// Whether a refusal says that the packet was too large.
pub(super) const fn is_too_large(refusal: &Refusal) -> bool {
    matches!(
        (refusal.from.is_ipv6(), refusal.icmp),
        (false, Some((3, 4))) | (true, Some((2, _)))
    )
}
