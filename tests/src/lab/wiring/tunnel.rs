//! How a node's packets get to the pods of another: the tunnel device, or none,
//! and the routes.

use std::fmt::Write as _;

use anyhow::Result;

use super::super::{Lab, Node, Tunnel};

/// The device that the kernel makes in every namespace once it knows IP-in-IP.
pub(in crate::lab) const IP_IN_IP: &str = "tunl0";

/// Makes the device, and what it has to know of the other nodes.
pub(in crate::lab) fn set_up(lab: &Lab, node: &Node) -> Result<()> {
    match lab.wiring.tunnel() {
        Some(Tunnel::Vxlan) => vxlan(lab, node),
        Some(Tunnel::IpIp) => ip_in_ip(lab, node),
        None => gateways(lab, node),
    }
}

fn others<'a>(lab: &'a Lab, node: &'a Node) -> impl Iterator<Item = &'a Node> {
    lab.nodes.iter().filter(|other| other.name != node.name)
}

/// A VXLAN device that does not learn knows three things of every other node,
/// which a network's daemon takes from Kubernetes: the route (its pods are
/// behind its VXLAN device's address), the neighbour (the MAC address of that)
/// and the fdb entry (the node that has this MAC address). IPv6 goes through
/// the same device, inside IPv4, so that one underlay carries both.
fn vxlan(lab: &Lab, node: &Node) -> Result<()> {
    let Lab {
        vni, port, pod_mtu, ..
    } = lab;
    let Node {
        underlay,
        uplink,
        overlay,
        overlay_mac,
        overlay_v4,
        overlay_v6,
        ..
    } = node;
    let has_v6 = lab.wiring.carries_v6();
    let mut ip = format!(
        "link add name {overlay} address {overlay_mac} mtu {pod_mtu} type vxlan \
            id {vni} dstport {port} local {underlay} dev {uplink} nolearning
         address add {overlay_v4}/32 dev {overlay}\n"
    );
    if has_v6 {
        writeln!(ip, "address add {overlay_v6}/128 dev {overlay} nodad")?;
    }
    writeln!(ip, "link set dev {overlay} up")?;
    let mut fdb = String::new();
    for other in others(lab, node) {
        let Node {
            underlay,
            overlay_mac,
            overlay_v4,
            overlay_v6,
            ..
        } = other;
        let Node {
            pod_cidr_v4,
            pod_cidr_v6,
            ..
        } = other;
        write!(
            ip,
            "neighbour add {overlay_v4} lladdr {overlay_mac} dev {overlay} nud permanent
             route add {pod_cidr_v4} via {overlay_v4} dev {overlay} onlink\n"
        )?;
        if has_v6 {
            write!(
                ip,
                "neighbour add {overlay_v6} lladdr {overlay_mac} dev {overlay} nud permanent
                 route add {pod_cidr_v6} via {overlay_v6} dev {overlay} onlink\n"
            )?;
        }
        writeln!(
            fdb,
            "fdb append {overlay_mac} dev {overlay} dst {underlay} self permanent"
        )?;
    }
    node.netns.batch("ip -batch -", &ip)?;
    node.netns.batch("bridge -batch -", &fdb).map(drop)
}

/// One device for all nodes, without an Ethernet header: the next hop of a
/// route through it is the far node itself. IPv6 is not carried.
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
    for other in others(lab, node) {
        let (cidr, via) = (&other.pod_cidr_v4, other.underlay);
        writeln!(ip, "route add {cidr} via {via} dev {overlay} onlink")?;
    }
    node.netns.batch("ip -batch -", &ip).map(drop)
}

/// No tunnel: the other nodes are gateways, on the same link. The underlay has
/// IPv4 only.
fn gateways(lab: &Lab, node: &Node) -> Result<()> {
    let mut ip = String::new();
    for other in others(lab, node) {
        let (cidr, via) = (&other.pod_cidr_v4, other.underlay);
        writeln!(ip, "route add {cidr} via {via} dev {}", node.uplink)?;
    }
    node.netns.batch("ip -batch -", &ip).map(drop)
}
