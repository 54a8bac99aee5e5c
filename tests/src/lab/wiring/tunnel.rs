//! How a node's packets get to the pods of another: the tunnel device, or none,
//! and the routes.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use super::super::{Lab, Node, Tunnel, Wiring, ipsec, uplinks};
use crate::process;

/// The device that the kernel makes in every namespace once it knows IP-in-IP.
pub(in crate::lab) const IP_IN_IP: &str = "tunl0";

/// Makes the device, and what it has to know of the other nodes.
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
        // There, pods need no node's help.
        None if matches!(lab.wiring, Wiring::Macvlan | Wiring::Ipvlan) => Ok(()),
        None => gateways(lab, node),
    }
}

/// What a route from one node to the pods of another says: the gateway, the
/// device, and where the tunnel has no table of its own, the far end.
pub(in crate::lab) fn next_hop(lab: &Lab, node: &Node, other: &Node, v6: bool) -> String {
    let (underlay, vni) = (other.underlay, lab.vni);
    let (vtep, overlay) = (other.tunnel_address(v6), node.tunnel_device(v6));
    match lab.tunnel(node, other) {
        Some(Tunnel::Vxlan) => format!("via {vtep} dev {overlay} onlink"),
        // The next hop of a route through it is the far node itself, for IPv6
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
        // IP packets need no next hop.
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

/// A VXLAN device that does not learn knows three things of every other node,
/// which a network's daemon takes from Kubernetes: the route (its pods are
/// behind its VXLAN device's address), the neighbour (the MAC address of that)
/// and the fdb entry (the node that has this MAC address). IPv6 goes through
/// the same device, so that one underlay carries both, or through one of its own.
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

/// Where tunnels carry frames: tells a node the MAC address of another's device.
fn neighbour(node: &Node, other: &Node, v6: bool) -> String {
    let (vtep, mac, device) = (
        other.tunnel_address(v6),
        &other.overlay_mac,
        node.tunnel_device(v6),
    );
    format!("neighbour add {vtep} lladdr {mac} dev {device} nud permanent\n")
}

/// A VXLAN device is bound to the way between the nodes, if there is but one.
fn bound_to(node: &Node) -> String {
    if node.has_two_ways() {
        String::new()
    } else {
        format!(" dev {}", node.way)
    }
}

/// One device for all nodes, without an Ethernet header. IPv6 is not carried.
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

/// A device that knows nothing of other nodes: each route has the far end of its
/// packets, and their network identifier or key. They are frames, so the next hop's
/// MAC address has to be known, as with VXLAN.
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

/// The same for IP packets of either version.
fn plain(lab: &Lab, node: &Node, kind: &str) -> Result<()> {
    let ip = device(node, &format!("type {kind}"), lab.pod_mtu) + &routes(lab, node);
    node.netns.batch("ip -batch -", &ip).map(drop)
}

/// A device with its addresses.
fn device(node: &Node, options: &str, mtu: u32) -> String {
    let device = &node.overlay;
    let [v4, v6] = [false, true].map(|v6| own_address(node, v6));
    format!(
        "link add name {device} mtu {mtu} {options}
         {v4}{v6}link set dev {device} up\n"
    )
}

/// As IP-in-IP, and for IPv6.
fn six_in_four(lab: &Lab, node: &Node) -> Result<()> {
    plain(lab, node, &format!("sit mode any local {}", node.underlay))
}

/// A device with one far end. By default, its packets say how many more tunnels
/// they may enter.
fn ip_in_v6(lab: &Lab, node: &Node) -> Result<()> {
    let mut ends = others(lab, node).map(Node::underlay_v6);
    let end = ends.next().context("there is another node")?;
    let local = node.underlay_v6();
    let kind = format!("ip6tnl mode any local {local} remote {end}");
    plain(lab, node, &kind)
}

/// A device whose number the policies have.
fn ipsec(lab: &Lab, node: &Node) -> Result<()> {
    let number = 1 + (lab.vni >> 8);
    for other in others(lab, node) {
        ipsec::encrypt(node, other, Some(number))?;
    }
    plain(lab, node, &format!("xfrm dev {} if_id {number}", node.way))
}

/// The device knows of each node its key, where it is, and which addresses are
/// behind it.
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

/// 32 bytes in base 64, of which nothing is asked but that no other node has
/// the same.
fn private_key(node: &Node) -> String {
    format!("{:A<43}=", node.overlay_mac.replace(':', ""))
}

/// No tunnel: the other nodes are gateways, on the same link. The underlay has
/// IPv4 only.
fn gateways(lab: &Lab, node: &Node) -> Result<()> {
    node.netns
        .batch("ip -batch -", &routes(lab, node))
        .map(drop)
}
