//! The network that Flannel's daemon and its CNI plugin would have made, made
//! by hand with iproute2. Between pod and pod on two nodes:
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

use std::fmt::Write;

use anyhow::{Context, Result};

use super::{Lab, LabSpec, Node, Pod};
use crate::netns::Netns;
use crate::process;

/// The middle box's bridge.
const MIDDLE_BRIDGE: &str = "wire";

/// Makes all that `lab` describes. What exists after a failure, the lab's
/// claim removes.
pub(super) fn wire(lab: &Lab, spec: &LabSpec) -> Result<()> {
    make_namespaces(lab)?;
    make_cables(lab)?;
    set_up_middle(lab)?;
    for node in &lab.nodes {
        set_up_node(lab, spec, node).with_context(|| format!("cannot set up {}", node.name))?;
    }
    for pod in &lab.pods {
        set_up_pod(pod, &lab.nodes[pod.node])
            .with_context(|| format!("cannot set up {}", pod.name))?;
    }
    Ok(())
}

fn make_namespaces(lab: &Lab) -> Result<()> {
    let nodes = lab.nodes.iter().map(|node| &node.netns);
    let pods = lab.pods.iter().map(|pod| &pod.netns);
    let mut script = String::new();
    for netns in [&lab.middle]
        .into_iter()
        .chain(nodes.clone())
        .chain(pods.clone())
    {
        writeln!(script, "netns add {}", netns.name)?;
    }
    process::run(process::command("ip").args(["-batch", "-"]), &script)
        .context("cannot make network namespaces")?;

    // Before there are interfaces, which take over what `default` says.
    lab.middle
        .sysctl(&[("ipv6/conf/default/disable_ipv6", "1")])?;
    for netns in nodes {
        netns.sysctl(&[
            ("ipv4/ip_forward", "1"),
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/default/rp_filter", "0"),
            ("ipv6/conf/all/forwarding", "1"),
            ("ipv6/conf/default/forwarding", "1"),
        ])?;
        keep_ipv6_quiet(netns)?;
    }
    pods.into_iter().try_for_each(keep_ipv6_quiet)
}

/// Addresses count at once, without a second of duplicate detection, and
/// nobody asks for routers that are not there.
fn keep_ipv6_quiet(netns: &Netns) -> Result<()> {
    netns.sysctl(&[
        ("ipv6/conf/default/disable_ipv6", "0"),
        ("ipv6/conf/default/accept_dad", "0"),
        ("ipv6/conf/default/accept_ra", "0"),
        ("ipv6/conf/default/router_solicitations", "0"),
    ])
}

/// Lays the veth pairs, each end right where it belongs.
fn make_cables(lab: &Lab) -> Result<()> {
    let mut script = String::new();
    let mut cable = |[inner, outer]: [(&Netns, &str); 2], mac: &str, mtu: u32| {
        writeln!(
            script,
            "link add name {} netns {} address {mac} mtu {mtu} \
             type veth peer name {} netns {} mtu {mtu}",
            inner.1, inner.0.name, outer.1, outer.0.name,
        )
    };
    for node in &lab.nodes {
        let ends = [
            (&node.netns, &*node.uplink),
            (&lab.middle, &*node.middle_port),
        ];
        cable(ends, &node.uplink_mac, lab.mtu)?;
    }
    for pod in &lab.pods {
        let host = &lab.nodes[pod.node].netns;
        let ends = [(&pod.netns, &*pod.interface), (host, &*pod.veth)];
        cable(ends, &pod.mac, lab.pod_mtu)?;
    }
    process::run(process::command("ip").args(["-batch", "-"]), &script)
        .map(drop)
        .context("cannot make veth pairs")
}

fn set_up_middle(lab: &Lab) -> Result<()> {
    let mut script = format!(
        "link add name {MIDDLE_BRIDGE} mtu {} type bridge\n\
         link set dev {MIDDLE_BRIDGE} up\n",
        lab.mtu
    );
    for Node { middle_port, .. } in &lab.nodes {
        writeln!(
            script,
            "link set dev {middle_port} master {MIDDLE_BRIDGE} up"
        )?;
    }
    lab.middle
        .batch("ip -batch -", &script)
        .map(drop)
        .context("cannot set up the middle box")
}

fn set_up_node(lab: &Lab, spec: &LabSpec, node: &Node) -> Result<()> {
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

fn set_up_pod(pod: &Pod, node: &Node) -> Result<()> {
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
