//! Flannel with VXLAN. Between pod and pod on two nodes:
//!
//! ```text
//! pod eth0 ── veth ▸ cni0 ▸ flannel.1 ▸ eth0 ── to-node-a ┐
//!                                                         │ bridge in the middle box
//! pod eth0 ── veth ▸ cni0 ▸ flannel.1 ▸ eth0 ── to-node-b ┘
//! ```
//!
//! A VXLAN device that does not learn knows three things of every other node,
//! which Flannel takes from Kubernetes: the route (its pods are behind its
//! VXLAN device's address), the neighbour (the MAC address of that) and the
//! fdb entry (the node that has this MAC address). IPv6 goes through the same
//! device, inside IPv4, so that one underlay carries both.

use std::fmt::Write as _;

use anyhow::Result;

use super::super::{Lab, LabSpec, Node, Pod};

pub(super) fn set_up_node(lab: &Lab, spec: &LabSpec, node: &Node) -> Result<()> {
    let Lab {
        vni,
        port,
        mtu,
        pod_mtu,
        ..
    } = lab;
    let Node {
        underlay,
        uplink,
        bridge,
        bridge_mac,
        bridge_v4,
        bridge_v6,
        ..
    } = node;
    let Node {
        overlay,
        overlay_mac,
        overlay_v4,
        overlay_v6,
        ..
    } = node;
    let mut ip = format!(
        "link set dev lo up
         link set dev {uplink} mtu {mtu} up
         address add {underlay}/24 brd + dev {uplink}
         link add name {bridge} address {bridge_mac} mtu {pod_mtu} type bridge
         address add {bridge_v4}/24 brd + dev {bridge}
         address add {bridge_v6}/64 dev {bridge} nodad
         link set dev {bridge} up
         link add name {overlay} address {overlay_mac} mtu {pod_mtu} type vxlan \
            id {vni} dstport {port} local {underlay} dev {uplink} nolearning
         address add {overlay_v4}/32 dev {overlay}
         address add {overlay_v6}/128 dev {overlay} nodad
         link set dev {overlay} up\n"
    );
    let mut fdb = String::new();
    for Pod { veth, .. } in lab.pods_on(node) {
        writeln!(ip, "link set dev {veth} master {bridge} up")?;
        if spec.hairpin {
            writeln!(fdb, "link set dev {veth} hairpin on")?;
        }
    }
    for other in lab.nodes.iter().filter(|other| other.name != node.name) {
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
             neighbour add {overlay_v6} lladdr {overlay_mac} dev {overlay} nud permanent
             route add {pod_cidr_v4} via {overlay_v4} dev {overlay} onlink
             route add {pod_cidr_v6} via {overlay_v6} dev {overlay} onlink\n"
        )?;
        writeln!(
            fdb,
            "fdb append {overlay_mac} dev {overlay} dst {underlay} self permanent"
        )?;
    }
    node.netns.batch("ip -batch -", &ip)?;
    node.netns.batch("bridge -batch -", &fdb)?;
    Ok(())
}

pub(super) fn set_up_pod(pod: &Pod, node: &Node) -> Result<()> {
    let Pod {
        interface, v4, v6, ..
    } = pod;
    let Node {
        bridge_v4,
        bridge_v6,
        ..
    } = node;
    let script = format!(
        "link set dev lo up
         link set dev {interface} up
         address add {v4}/24 brd + dev {interface}
         address add {v6}/64 dev {interface} nodad
         route add default via {bridge_v4} dev {interface}
         route add default via {bridge_v6} dev {interface}\n"
    );
    pod.netns.batch("ip -batch -", &script).map(drop)
}
