//! The expected way of a packet, by the wiring of the lab. Nothing here comes from the program's
//! output.

use std::{collections::BTreeMap, env};

use serde_json::Value;
use tracer_tests::{Lab, Node, Pod, Tunnel, Uplinks, Wiring, lab::MACHINE_VARIABLE};

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
    if lab.wiring.shares_uplink() {
        let mut way = vec![
            point(a, &from.interface, OUT),
            point(a, &a.uplink, OUT),
            point(b, &b.uplink, IN),
            point(b, &to.interface, IN),
        ];
        if from.node == to.node {
            way.remove(1);
            // With macvlan, the packet comes in at the receiver, though it never went out
            // (drivers/net/macvlan.c macvlan_queue_xmit).
            if lab.wiring != Wiring::Macvlan {
                way.remove(1);
            }
        }
        return way;
    }
    if from.node == to.node {
        // The packet goes from port to port of the bridge, without entering the bridge device
        // itself; or it is routed.
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
    if lab.wiring.tunnel().is_some_and(Tunnel::encrypts) {
        let encrypted = [point(a, &a.uplink, OUT), point(b, &b.uplink, IN)];
        way.retain(|point| !encrypted.contains(point));
    }
    if lab.tunnel(a, b).is_none() {
        let tunnels = [point(a, &a.overlay, OUT), point(b, &b.overlay, IN)];
        way.retain(|point| !tunnels.contains(point));
    }
    if a.way != a.uplink {
        let uplink = way.iter().position(|point| point.1 == a.uplink);
        let uplink = uplink.expect("it leaves the node");
        way.insert(uplink + 2, point(b, &b.way, IN));
        way.insert(uplink, point(a, &a.way, OUT));
    }
    way
}

/// The ways of ARP and neighbour discovery in a follow of the two pods: between each pod and its
/// node, and between the nodes.
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
    if !lab.wiring.has_bridge() {
        let bridges = [&a.bridge, &b.bridge];
        let is_bridge = |point: &Point| bridges.contains(&&point.1);
        ways.iter_mut()
            .for_each(|way| way.retain(|point| !is_bridge(point)));
    }
    for (from, to) in [(a, b), (b, a)] {
        let mut way = vec![point(from, &from.uplink, OUT), point(to, &to.uplink, IN)];
        if from.way != from.uplink {
            way.insert(0, point(from, &from.way, OUT));
            way.push(point(to, &to.way, IN));
        }
        ways.push(way);
    }
    ways
}

/// The points of a journey, in order.
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

/// Whether the packet is neighbour discovery from before all points were observed. The kernel asks
/// again at any time, also while a follow starts.
pub(crate) fn is_before_start(journey: &Value) -> bool {
    is_neighbour(journey) && journey["verdict"]["cause"] == "before-start"
}

/// The points of a journey, as if it used the first of two uplinks. Packets that leave by the
/// second uplink arrive by the second.
fn seen_by_first_uplink(lab: &Lab, journey: &Value) -> Vec<Point> {
    let mut points = seen(journey);
    let mut seconds = 0;
    for (at, interface, _) in &mut points {
        let node = lab.nodes.iter().find(|node| node.name == *at);
        let node = node.expect("a node of the lab");
        if *interface == node.second_uplink {
            interface.clone_from(&node.uplink);
            seconds += 1;
        }
    }
    assert!(seconds == 0 || seconds == 2, "{journey:#}");
    points
}

/// Checks that a journey between two pods was delivered along the wiring's way, with a tunnel
/// header exactly where the wiring has one.
pub(crate) fn check_clean(lab: &Lab, pods: [&Pod; 2], journey: &Value) {
    let told = || serde_json::to_string_pretty(journey).unwrap_or_default();
    if is_late_close(journey) || is_before_start(journey) {
        return;
    }
    assert_eq!(journey["verdict"]["kind"], "delivered", "{}", told());
    if is_neighbour(journey) {
        let ways = of_neighbours(lab, pods);
        let seen = seen_by_first_uplink(lab, journey);
        assert!(ways.contains(&seen), "{}", told());
        return;
    }
    let [a, b] = pods;
    let from_a = [a.v4.to_string(), a.v6.to_string()]
        .iter()
        .any(|address| journey["packet"]["src"] == **address);
    let (from, to) = if from_a { (a, b) } else { (b, a) };
    let mut way = between_pods(lab, from, to);
    // Before Linux 5.14, a 6in4 device shows the outer frame. An IPv4 packet's frame begins with
    // the outer Ethernet header, which the program for IP packets cannot parse. An IPv6 packet's
    // begins with the outer IPv4 header.
    let v4 = journey["packet"]["src"] == *from.v4.to_string();
    if !v4 {
        for (at, interface, _) in &mut way {
            let mut nodes = lab.nodes.iter();
            let node = nodes.find(|node| node.name == *at && node.overlay == *interface);
            if let Some(node) = node {
                interface.clone_from(&node.overlay_of_v6);
            }
        }
    }
    let node = lab.node_of(to);
    let is_old = node.netns.kernel_is_before((5, 14));
    if v4 && is_old && lab.wiring.tunnel() == Some(Tunnel::SixInFour) {
        way.retain(|seen| *seen != point(node, &node.overlay, IN));
    }
    assert_eq!(seen_by_first_uplink(lab, journey), way, "{}", told());
    let direction = if from_a { "request" } else { "reply" };
    assert_eq!(journey["direction"], direction, "{}", told());
    let tunnel = lab.tunnel(lab.node_of(a), lab.node_of(b));
    for hop in journey["hops"].as_array().expect("hops") {
        let layer = layer(lab, hop);
        let in_cloud = layer == Layer::Uplink && lab.uplinks == Uplinks::InVxlan;
        let outside = layer != Layer::Inside || shows_outer_frame(lab, hop);
        let wrapped = outside && tunnel.is_some();
        let outer = match tunnel {
            Some(Tunnel::Vxlan) if wrapped => ("vxlan", Value::from(lab.vni)),
            Some(Tunnel::IpIp | Tunnel::SixInFour | Tunnel::IpInV6) if wrapped => {
                ("ipip", Value::Null)
            }
            Some(Tunnel::Geneve) if wrapped => ("geneve", Value::from(lab.vni)),
            Some(Tunnel::Gre | Tunnel::GreFrames | Tunnel::GreInV6) if wrapped => {
                ("gre", Value::from(lab.vni))
            }
            Some(Tunnel::WireGuard | Tunnel::IpSec) if wrapped => panic!("seen: {}", told()),
            _ => ("vxlan", Value::from(lab.vni ^ 1)),
        };
        let levels = u64::from(wrapped) + u64::from(in_cloud);
        let encap = &hop["encap"];
        assert_eq!(encap.is_object(), levels > 0, "{}", told());
        if levels > 0 {
            assert_eq!(encap["levels"], levels, "{}", told());
            let (kind, vni) = outer;
            assert_eq!(encap["kind"], kind, "{}", told());
            assert_eq!(encap["vni"], vni, "{}", told());
        }
        if wrapped {
            let outer = |node: &Node| node.outer(lab.wiring, !v4).to_string();
            let mut ends = [a, b].map(|pod| outer(lab.node_of(pod)));
            if !from_a {
                ends.reverse();
            }
            let [from, to] = ends;
            assert_eq!(encap["outer_src"], from, "{}", told());
            assert_eq!(encap["outer_dst"], to, "{}", told());
        }
        let tagged = layer == Layer::Uplink && lab.uplinks == Uplinks::Vlan;
        let vlan = if tagged {
            Value::from(lab.vlan)
        } else {
            Value::Null
        };
        assert_eq!(hop["vlan"], vlan, "{}", told());
    }
    let parts = &journey["parts"];
    assert_eq!(parts["delivered"], parts["sent"], "{}", told());
}

/// The distance of an interface from the wire.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layer {
    /// On a node's side of the tunnel, if there is one.
    Inside,
    /// A device on top of the uplink.
    Way,
    Uplink,
}

fn layer(lab: &Lab, hop: &Value) -> Layer {
    let mut nodes = lab.nodes.iter();
    let node = nodes.find(|node| hop["node"] == *node.name);
    let node = node.expect("a node of the lab");
    let interface = &hop["interface"];
    if *interface == *node.uplink || *interface == *node.second_uplink {
        Layer::Uplink
    } else if *interface == *node.way {
        Layer::Way
    } else {
        Layer::Inside
    }
}

/// Whether the packet comes in from an IP tunnel's device, which showed the outer frame before
/// Linux 5.14.
fn shows_outer_frame(lab: &Lab, hop: &Value) -> bool {
    let tunnel = lab.wiring.tunnel();
    matches!(
        tunnel,
        Some(Tunnel::IpIp | Tunnel::SixInFour | Tunnel::GreInV6 | Tunnel::IpInV6)
    ) && hop["direction"] == "ingress"
        && lab.nodes.iter().any(|node| {
            hop["node"] == *node.name
                && hop["interface"] == *node.overlay
                && node.netns.kernel_is_before((5, 14))
        })
}

/// Whether the packet comes after the end of a connection. A slow, emulated machine sends a FIN
/// twice. The packet is an acknowledgement whose socket has gone, as the kernel says, or a reset.
pub(crate) fn is_late_close(journey: &Value) -> bool {
    let packet = &journey["packet"]["tcp"];
    let refused = packet["flags"] == "ACK" && journey["verdict"]["cause"] == "no-listener";
    env::var_os(MACHINE_VARIABLE).is_some()
        && packet["payload_len"] == 0
        && (refused || packet["flags"] == "RST")
}

/// The number of journeys of each protocol.
pub(crate) fn by_protocol(journeys: &[Value]) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    for journey in journeys {
        let proto = journey["packet"]["proto"].as_str().expect("a protocol");
        *counts.entry(proto).or_default() += 1;
    }
    counts
}

/// Checks that something stopped a packet. The kernel limits the rate of its ICMP errors, so the
/// sender may not know.
pub(crate) fn check_stopped(journey: &Value) {
    let kind = &journey["verdict"]["kind"];
    let kinds = ["refused", "dropped"];
    assert!(kinds.iter().any(|one| kind == one), "{journey:#}");
}

/// Checks that the programs told of every packet that belongs to the follow.
pub(crate) fn check_all_told(accounting: &Value) {
    for counts in [&accounting["packets"], &accounting["drops"]] {
        for untold in ["ring_full", "rate_limited", "sampled_out", "unparsed"] {
            assert_eq!(counts[untold], 0, "{accounting}");
        }
    }
}

/// Checks that nothing was lost and that the sums balance.
pub(crate) fn check_balance(summary: &Value) {
    let accounting = &summary["accounting"];
    assert_eq!(accounting["balances"], true, "{accounting}");
    assert_eq!(accounting["lost"], 0, "{accounting}");
    assert_eq!(accounting["late"], 0, "{accounting}");
    assert_eq!(accounting["evicted"], 0, "{accounting}");
}
