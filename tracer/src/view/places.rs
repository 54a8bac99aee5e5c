//! Places and owners of addresses, in words.

use std::net::IpAddr;

use tracer_core::{
    journey::{Drop, Journey, Scene, Step},
    model::{Direction, OwnerKind},
    verdict::Station,
};

use super::HOST;

/// The place of a step: `coming in from eth0 on node-b`.
pub(super) fn place(scene: &Scene, step: &Step) -> String {
    let point = scene.point(step);
    let way = match point.direction {
        _ if point.is_xdp() => "at XDP, coming in from",
        Direction::Ingress => "coming in from",
        Direction::Egress => "going out of",
    };
    format!("{way} {}", spot(scene, step))
}

/// The interface of a step: `eth0 on node-b`, `eth0 in shop/cart on node-b`.
pub(super) fn spot(scene: &Scene, step: &Step) -> String {
    let point = scene.point(step);
    let inside = if point.netns == HOST {
        String::new()
    } else {
        format!(" in {}", point.netns)
    };
    let node = &scene.nodes[step.node].node;
    format!("{}{inside} on {node}", point.interface)
}

/// The place of a drop: `at eth0 in shop/cart on node-b`.
pub(crate) fn drop_place(scene: &Scene, drop: &Drop) -> String {
    let node = &scene.nodes[drop.node].node;
    let device = drop.device.as_deref();
    match (device, &*drop.netns) {
        (Some(device), HOST) => format!("at {device} on {node}"),
        (Some(device), pod) => format!("at {device} in {pod} on {node}"),
        (None, HOST) => format!("on {node}"),
        (None, pod) => format!("in {pod} on {node}"),
    }
}

/// The owner of the packet's destination.
pub(super) fn owner(scene: &Scene, journey: &Journey) -> String {
    journey.destination().map_or_else(
        || "its destination".to_owned(),
        |address| party(scene, address, journey.start()),
    )
}

/// The owner of an address at a time: Unix time, ns. Without a known owner, the address, with the
/// name that DNS gave to it.
pub(crate) fn party(scene: &Scene, address: IpAddr, time: i64) -> String {
    if let Some(pod) = scene.pod(address, time) {
        return pod.to_owned();
    }
    if let Some(service) = scene.service(address, time) {
        return format!("Service {service} ({address})");
    }
    match node(scene, address, time).or_else(|| scene.dns_name(address, time)) {
        Some(name) => format!("{name} ({address})"),
        None => address.to_string(),
    }
}

/// The name of an address's owner at a time (Unix time, ns): a pod, Service or node.
pub(super) fn holder(scene: &Scene, address: IpAddr, time: i64) -> Option<&str> {
    let pod = scene.pod(address, time);
    pod.or_else(|| scene.service(address, time))
        .or_else(|| node(scene, address, time))
}

fn node(scene: &Scene, address: IpAddr, time: i64) -> Option<&str> {
    let owner = scene.owner(address, time);
    let node = owner.filter(|owner| owner.kind == OwnerKind::Node);
    node.map(|owner| owner.name.as_str()).or_else(|| {
        let mut nodes = scene.nodes.iter();
        let host = nodes.find(|hello| hello.local.contains(&address));
        host.map(|hello| hello.node.as_str())
    })
}

/// The time of day of a Unix time in ns, to the second.
pub(super) fn clock(time: i64) -> String {
    const SECOND: i64 = 1_000_000_000;
    let second = time.div_euclid(SECOND).rem_euclid(86_400);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{hour:02}:{minute:02}:{:02} UTC", second % 60)
}

/// The interfaces of a node's points: `eth0, eth1 or bond0`.
pub(super) fn interfaces(scene: &Scene, node: usize, points: &[usize]) -> String {
    listed(scene, node, points, "or")
}

/// All interfaces of a node's points: `eth0, eth1 and bond0`.
pub(super) fn all_interfaces(scene: &Scene, node: usize, points: &[usize]) -> String {
    listed(scene, node, points, "and")
}

fn listed(scene: &Scene, node: usize, points: &[usize], conjunction: &str) -> String {
    let hello = &scene.nodes[node];
    let names = points.iter().map(|at| hello.points[*at].interface.as_str());
    let names: Vec<&str> = names.collect();
    match names.as_slice() {
        [before @ .., last] if !before.is_empty() => {
            format!("{} {conjunction} {last}", before.join(", "))
        }
        names => names.concat(),
    }
}

/// The interface of a point: `veth5 on node-b`.
pub(super) fn point(scene: &Scene, node: usize, point: usize) -> String {
    let hello = &scene.nodes[node];
    format!("{} on {}", hello.points[point].interface, hello.node)
}

/// The machine that a frame was sent to at a time: Unix time, ns.
pub(super) fn station(scene: &Scene, station: Station, time: i64) -> String {
    let Station { mac, node, address } = station;
    match (node, address) {
        (Some(node), _) => format!("{} ({mac})", scene.nodes[node].node),
        (None, Some(address)) => format!("{} ({mac})", party(scene, address, time)),
        (None, None) => mac.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use tracer_core::model::Owner;

    use super::*;

    /// An address that another pod gets later has each pod's name at its time.
    #[test]
    fn an_address_is_named_by_who_has_it_then() {
        let address = IpAddr::from([10, 244, 2, 7]);
        let pod = |name: &str| Owner {
            name: name.to_owned(),
            kind: OwnerKind::Pod,
            node: "node-b".to_owned(),
        };
        let mut scene = Scene::default();
        scene.owners.insert(address, pod("shop/cart"));
        scene.owners.lost(address, "shop/cart", OwnerKind::Pod, 100);
        scene.owners.gained(address, pod("shop/till"), 150);
        assert_eq!(party(&scene, address, 0), "shop/cart");
        assert_eq!(party(&scene, address, 120), "10.244.2.7");
        assert_eq!(party(&scene, address, 150), "shop/till");
    }

    #[test]
    fn only_an_address_outside_has_a_name_from_dns() {
        let [inside, outside] = [[10, 244, 2, 7], [192, 0, 2, 1]].map(IpAddr::from);
        let mut scene = Scene::default();
        let pod = Owner {
            name: "shop/cart".to_owned(),
            kind: OwnerKind::Pod,
            node: "node-b".to_owned(),
        };
        scene.owners.insert(inside, pod);
        for address in [inside, outside] {
            scene.names.learn(address, "api.example.com", 100);
        }
        assert_eq!(party(&scene, inside, 100), "shop/cart");
        assert_eq!(party(&scene, outside, 99), "192.0.2.1");
        assert_eq!(party(&scene, outside, 100), "api.example.com (192.0.2.1)");
    }

    #[test]
    fn times_of_day_are_in_utc() {
        assert_eq!(clock(43_264_000_000_000), "12:01:04 UTC");
    }
}
