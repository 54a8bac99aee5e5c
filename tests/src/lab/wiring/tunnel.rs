//! The way of a node's packets to another node's pods: the tunnel device, or none, and the routes.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use super::super::{Lab, Node, Tunnel, Wiring, ipsec, uplinks};
use crate::process;

/// The device that the kernel makes in every namespace once it has loaded IP-in-IP.
pub(in crate::lab) const IP_IN_IP: &str = "tunl0";

/// Makes the tunnel device, with its entries for the other nodes.
pub(in crate::lab) fn set_up(lab: &Lab, node: &Node) -> Result<()> {
    match lab.wiring.tunnel() {
        Some(Tunnel::Vxlan) => vxlan(lab, node),
        Some(Tunnel::IpIp) => ip_in_ip(lab, node),
        Some(Tunnel::Geneve) => frames(lab, node, &format!("geneve external dstport {}", lab.port)),
        Some(Tunnel::Gre) => plain(lab, node, "gre external"),
        Some(Tunnel::GreInV6) => plain(lab, node, "ip6gre external"),
        Some(Tunnel::GreFrames) => frames(lab, node, "gretap external"),
        Some(Tunnel::IpInV6) => ip_in_v6(lab, node),
        Some(Tunnel::IpSec) => ipsec(lab, node),
        Some(Tunnel::SixInFour) => six_in_four(lab, node),
        Some(Tunnel::WireGuard) => wireguard(lab, node),
        // With these wirings, pods need no help of their node.
        None if matches!(lab.wiring, Wiring::Macvlan | Wiring::Ipvlan) => Ok(()),
        None => gateways(lab, node),
    }
}

/// The next hop of a route from one node to the pods of another: the gateway, the device, and the
/// remote if the tunnel has no table of its own.
pub(in crate::lab) fn next_hop(lab: &Lab, node: &Node, other: &Node, v6: bool) -> String {
    let (underlay, vni) = (other.underlay, lab.vni);
    let (vtep, overlay) = (other.tunnel_address(v6), node.tunnel_device(v6));
    match lab.tunnel(node, other) {
        Some(Tunnel::Vxlan) => format!("via {vtep} dev {overlay} onlink"),
        // The next hop of a route through the device is the far node itself. For IPv6, it is
        // written as an IPv6 address.
        Some(Tunnel::SixInFour) if v6 => format!("via ::{underlay} dev {overlay} onlink"),
        Some(Tunnel::IpIp | Tunnel::SixInFour) => {
            format!("via {underlay} dev {overlay} onlink")
        }
        Some(Tunnel::Geneve) => {
            format!("encap ip id {vni} dst {underlay} via {vtep} dev {overlay} onlink")
        }
        Some(Tunnel::GreFrames) => {
            format!("encap ip id {vni} key dst {underlay} via {vtep} dev {overlay} onlink")
        }
        // A tunnel of IP packets needs no next hop.
        Some(Tunnel::Gre) => format!("encap ip id {vni} key dst {underlay} dev {overlay}"),
        Some(Tunnel::GreInV6) => {
            let end = other.underlay_v6();
            format!("encap ip6 id {vni} key dst {end} dev {overlay}")
        }
        Some(Tunnel::IpInV6 | Tunnel::WireGuard | Tunnel::IpSec) => format!("dev {overlay}"),
        None => uplinks::next_hops(node, other, v6),
    }
}

/// The routes to the pods of all other nodes.
fn routes(lab: &Lab, node: &Node) -> String {
    let mut ip = String::new();
    let has_v6 = lab.wiring.carries_v6();
    for other in others(lab, node) {
        for v6 in [false, true].into_iter().take(1 + usize::from(has_v6)) {
            let (cidr, hop) = (other.pod_cidr(v6), next_hop(lab, node, other, v6));
            ip += &format!("route add {cidr} {hop}\n");
        }
    }
    ip
}

fn others<'a>(lab: &'a Lab, node: &'a Node) -> impl Iterator<Item = &'a Node> {
    lab.nodes.iter().filter(|other| other.name != node.name)
}

/// Makes a VXLAN device that does not learn. It knows three things of every other node, which a
/// network's daemon takes from Kubernetes. The route says that the node's pods are behind its VXLAN
/// device's address. The neighbour entry has the MAC address of that device. The fdb entry has the
/// node of that MAC address. IPv6 uses the same device, over the same underlay, or a separate one.
fn vxlan(lab: &Lab, node: &Node) -> Result<()> {
    let Lab {
        vni, port, pod_mtu, ..
    } = lab;
    let Node { overlay_mac, .. } = node;
    let (mut ip, mut fdb) = (String::new(), String::new());
    for v6 in [false, true] {
        let device = node.tunnel_device(v6);
        let is_new = !v6 || lab.wiring.separates_v6();
        if is_new {
            writeln!(
                ip,
                "link add name {device} address {overlay_mac} mtu {pod_mtu} type vxlan \
                    id {vni} dstport {port} local {} nolearning{}
                 link set dev {device} up",
                node.outer(lab.wiring, v6),
                bound_to(node)
            )?;
        }
        ip += &own_address(node, v6);
        for other in others(lab, node) {
            if lab.tunnel(node, other).is_none() {
                continue;
            }
            ip += &neighbour(node, other, v6);
            if is_new {
                writeln!(
                    fdb,
                    "fdb append {} dev {device} dst {} self permanent",
                    other.overlay_mac,
                    other.outer(lab.wiring, v6)
                )?;
            }
        }
    }
    ip += &routes(lab, node);
    node.netns.batch("ip -batch -", &ip)?;
    node.netns.batch("bridge -batch -", &fdb).map(drop)
}

/// Gives a node's tunnel device its address of an IP version.
fn own_address(node: &Node, v6: bool) -> String {
    let bits = if v6 { "128" } else { "32" };
    let (vtep, device) = (node.tunnel_address(v6), node.tunnel_device(v6));
    format!("address add {vtep}/{bits} dev {device}\n")
}

/// Tells a node the MAC address of another node's device, for tunnels that carry frames.
fn neighbour(node: &Node, other: &Node, v6: bool) -> String {
    let (vtep, mac, device) = (
        other.tunnel_address(v6),
        &other.overlay_mac,
        node.tunnel_device(v6),
    );
    format!("neighbour add {vtep} lladdr {mac} dev {device} nud permanent\n")
}

/// Binds a VXLAN device to the way between the nodes, if there is only one.
fn bound_to(node: &Node) -> String {
    if node.has_two_ways() {
        String::new()
    } else {
        format!(" dev {}", node.way)
    }
}

/// One device for all nodes, without an Ethernet header. It does not carry IPv6.
fn ip_in_ip(lab: &Lab, node: &Node) -> Result<()> {
    let Node {
        underlay,
        overlay,
        overlay_v4,
        ..
    } = node;
    let mut ip = String::new();
    if overlay != IP_IN_IP {
        writeln!(ip, "link add name {overlay} type ipip local {underlay}")?;
    }
    write!(
        ip,
        "link set dev {overlay} mtu {} up
         address add {overlay_v4}/32 dev {overlay}\n",
        lab.pod_mtu
    )?;
    ip += &routes(lab, node);
    node.netns.batch("ip -batch -", &ip).map(drop)
}

/// Makes a device that knows no other nodes. Each route has the remote of its packets, and their
/// VNI or key. The device carries frames, so the MAC address of the next hop has to be known, as
/// with VXLAN.
fn frames(lab: &Lab, node: &Node, kind: &str) -> Result<()> {
    let options = format!("address {} type {kind}", node.overlay_mac);
    let mut ip = device(node, &options, lab.pod_mtu);
    for other in others(lab, node) {
        ip += &neighbour(node, other, false);
        ip += &neighbour(node, other, true);
    }
    ip += &routes(lab, node);
    node.netns.batch("ip -batch -", &ip).map(drop)
}

/// As [`frames`], for IP packets of either version.
fn plain(lab: &Lab, node: &Node, kind: &str) -> Result<()> {
    let ip = device(node, &format!("type {kind}"), lab.pod_mtu) + &routes(lab, node);
    node.netns.batch("ip -batch -", &ip).map(drop)
}

/// The commands for a device with its addresses.
fn device(node: &Node, options: &str, mtu: u32) -> String {
    let device = &node.overlay;
    let [v4, v6] = [false, true].map(|v6| own_address(node, v6));
    format!(
        "link add name {device} mtu {mtu} {options}
         {v4}{v6}link set dev {device} up\n"
    )
}

/// As [`ip_in_ip`], and it also carries IPv6.
fn six_in_four(lab: &Lab, node: &Node) -> Result<()> {
    plain(lab, node, &format!("sit mode any local {}", node.underlay))
}

/// Makes a device with one remote. By default, its packets carry a limit to further tunnels.
fn ip_in_v6(lab: &Lab, node: &Node) -> Result<()> {
    let mut ends = others(lab, node).map(Node::underlay_v6);
    let end = ends.next().context("there is another node")?;
    let local = node.underlay_v6();
    let kind = format!("ip6tnl mode any local {local} remote {end}");
    plain(lab, node, &kind)
}

/// Makes an XFRM device with the number that the policies use.
fn ipsec(lab: &Lab, node: &Node) -> Result<()> {
    let number = 1 + (lab.vni >> 8);
    for other in others(lab, node) {
        ipsec::encrypt(node, other, Some(number))?;
    }
    plain(lab, node, &format!("xfrm dev {} if_id {number}", node.way))
}

/// Makes a WireGuard device, with the key, the address and the allowed addresses of each other
/// node.
fn wireguard(lab: &Lab, node: &Node) -> Result<()> {
    let mut ip = device(node, "type wireguard", lab.pod_mtu);
    let mut peers = format!(
        "[Interface]\nPrivateKey = {}\nListenPort = {}\n",
        private_key(node),
        lab.port
    );
    for other in others(lab, node) {
        let Node {
            underlay,
            overlay_v4,
            overlay_v6,
            pod_cidr_v4,
            pod_cidr_v6,
            ..
        } = other;
        let key = process::run(process::command("wg").arg("pubkey"), &private_key(other))?;
        write!(
            peers,
            "[Peer]\nPublicKey = {}\nEndpoint = {underlay}:{}\n\
             AllowedIPs = {pod_cidr_v4}, {pod_cidr_v6}, {overlay_v4}/32, {overlay_v6}/128\n",
            key.trim(),
            lab.port
        )?;
    }
    ip += &routes(lab, node);
    node.netns.batch("ip -batch -", &ip)?;
    let configure = format!("wg setconf {} /proc/self/fd/0", node.overlay);
    node.netns.batch(&configure, &peers).map(drop)
}

/// 32 bytes in base64, which only have to differ between nodes.
fn private_key(node: &Node) -> String {
    format!("{:A<43}=", node.overlay_mac.replace(':', ""))
}

/// Makes the other nodes gateways on the same link, without a tunnel. The underlay has IPv4 only.
fn gateways(lab: &Lab, node: &Node) -> Result<()> {
    node.netns
        .batch("ip -batch -", &routes(lab, node))
        .map(drop)
}
