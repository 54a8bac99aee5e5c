//! What the wiring of the lab says of a packet's way. Nothing here comes from
//! the program's output.

use std::collections::BTreeMap;

use serde_json::Value;
use tracer_tests::{Lab, Node, Pod, Tunnel};

/// A pod's name, as `tracer` takes it.
pub(crate) fn pod(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}

/// A point: node, interface, direction.
pub(crate) type Point = (String, String, &'static str);

const IN: &str = "ingress";
const OUT: &str = "egress";

pub(crate) fn point(node: &Node, interface: &str, direction: &'static str) -> Point {
    (node.name.clone(), interface.to_owned(), direction)
}

/// The way of an IP packet from pod to pod.
pub(crate) fn between_pods(lab: &Lab, from: &Pod, to: &Pod) -> Vec<Point> {
    let (a, b) = (lab.node_of(from), lab.node_of(to));
    if from.node == to.node {
        // From port to port of the bridge, without entering the bridge
        // device itself; or routed.
        return vec![point(a, &from.veth, IN), point(b, &to.veth, OUT)];
    }
    let mut way = vec![
        point(a, &from.veth, IN),
        point(a, &a.bridge, IN),
        point(a, &a.overlay, OUT),
        point(a, &a.uplink, OUT),
        point(b, &b.uplink, IN),
        point(b, &b.overlay, IN),
        point(b, &b.bridge, OUT),
        point(b, &to.veth, OUT),
    ];
    if !lab.wiring.has_bridge() {
        let bridges = [point(a, &a.bridge, IN), point(b, &b.bridge, OUT)];
        way.retain(|point| !bridges.contains(point));
    }
    if lab.wiring.tunnel() == Some(Tunnel::WireGuard) {
        let encrypted = [point(a, &a.uplink, OUT), point(b, &b.uplink, IN)];
        way.retain(|point| !encrypted.contains(point));
    }
    if lab.wiring.tunnel().is_none() {
        let tunnels = [point(a, &a.overlay, OUT), point(b, &b.overlay, IN)];
        way.retain(|point| !tunnels.contains(point));
    }
    way
}

/// The ways of ARP and neighbour discovery that belongs to a follow of the
/// two pods: each pod with its node, and the nodes with each other.
pub(crate) fn of_neighbours(lab: &Lab, pods: [&Pod; 2]) -> Vec<Vec<Point>> {
    let mut ways = Vec::new();
    for pod in pods {
        let node = lab.node_of(pod);
        ways.push(vec![
            point(node, &pod.veth, IN),
            point(node, &node.bridge, IN),
        ]);
        ways.push(vec![
            point(node, &node.bridge, OUT),
            point(node, &pod.veth, OUT),
        ]);
    }
    let [a, b] = pods.map(|pod| lab.node_of(pod));
    for (from, to) in [(a, b), (b, a)] {
        ways.push(vec![
            point(from, &from.uplink, OUT),
            point(to, &to.uplink, IN),
        ]);
    }
    ways
}

/// The points that a journey shows, in order.
pub(crate) fn seen(journey: &Value) -> Vec<Point> {
    let hops = journey["hops"].as_array().expect("hops");
    hops.iter()
        .map(|hop| {
            let text = |key: &str| hop[key].as_str().expect("text").to_owned();
            let direction = if hop["direction"] == IN { IN } else { OUT };
            (text("node"), text("interface"), direction)
        })
        .collect()
}

/// Whether the packet is ARP or neighbour discovery.
pub(crate) fn is_neighbour(journey: &Value) -> bool {
    let packet = &journey["packet"];
    packet["proto"] == "arp" || !packet["icmp"]["neighbour"].is_null()
}

/// Checks that a journey between two pods was delivered, along the way that
/// the wiring says, wrapped just where it must be.
pub(crate) fn check_clean(lab: &Lab, pods: [&Pod; 2], journey: &Value) {
    let told = || serde_json::to_string_pretty(journey).unwrap_or_default();
    assert_eq!(journey["verdict"]["kind"], "delivered", "{}", told());
    if is_neighbour(journey) {
        let ways = of_neighbours(lab, pods);
        assert!(ways.contains(&seen(journey)), "{}", told());
        return;
    }
    let [a, b] = pods;
    let from_a = [a.v4.to_string(), a.v6.to_string()]
        .iter()
        .any(|address| journey["packet"]["src"] == **address);
    let way = if from_a {
        between_pods(lab, a, b)
    } else {
        between_pods(lab, b, a)
    };
    assert_eq!(seen(journey), way, "{}", told());
    let direction = if from_a { "request" } else { "reply" };
    assert_eq!(journey["direction"], direction, "{}", told());
    let uplinks: Vec<&str> = lab.nodes.iter().map(|node| node.uplink.as_str()).collect();
    for hop in journey["hops"].as_array().expect("hops") {
        let on_uplink = uplinks.contains(&hop["interface"].as_str().expect("a name"))
            && a.node != b.node
            && is_uplink(lab, hop)
            && lab.wiring.tunnel().is_some();
        assert_eq!(hop["encap"].is_object(), on_uplink, "{}", told());
        if on_uplink {
            let (kind, vni) = match lab.wiring.tunnel() {
                Some(Tunnel::Vxlan) => ("vxlan", Value::from(lab.vni)),
                Some(Tunnel::IpIp | Tunnel::SixInFour) => ("ipip", Value::Null),
                Some(Tunnel::Geneve) => ("geneve", Value::from(lab.vni)),
                Some(Tunnel::Gre) => ("gre", Value::from(lab.vni)),
                Some(Tunnel::WireGuard) | None => panic!("seen there: {}", told()),
            };
            assert_eq!(hop["encap"]["kind"], kind, "{}", told());
            assert_eq!(hop["encap"]["vni"], vni, "{}", told());
            let outer = |node: &Node| node.outer(lab.wiring).to_string();
            let mut ends = [a, b].map(|pod| outer(lab.node_of(pod)));
            if !from_a {
                ends.reverse();
            }
            let [from, to] = ends;
            assert_eq!(hop["encap"]["outer_src"], from, "{}", told());
            assert_eq!(hop["encap"]["outer_dst"], to, "{}", told());
        }
    }
    let parts = &journey["parts"];
    assert_eq!(parts["delivered"], parts["sent"], "{}", told());
}

fn is_uplink(lab: &Lab, hop: &Value) -> bool {
    lab.nodes
        .iter()
        .any(|node| hop["node"] == *node.name && hop["interface"] == *node.uplink)
}

/// How many journeys of each protocol there are.
pub(crate) fn by_protocol(journeys: &[Value]) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    for journey in journeys {
        let proto = journey["packet"]["proto"].as_str().expect("a protocol");
        *counts.entry(proto).or_default() += 1;
    }
    counts
}

/// Checks that nothing was lost and everything is accounted for.
pub(crate) fn check_balance(summary: &Value) {
    let accounting = &summary["accounting"];
    assert_eq!(accounting["balances"], true, "{accounting}");
    assert_eq!(accounting["lost"], 0, "{accounting}");
    assert_eq!(accounting["late"], 0, "{accounting}");
    assert_eq!(accounting["evicted"], 0, "{accounting}");
}
