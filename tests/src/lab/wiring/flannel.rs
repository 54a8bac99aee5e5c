//! Flannel: pods are ports of a bridge. With VXLAN, between pods on two nodes:
//!
//! ```text
//! pod eth0 ── veth ▸ cni0 ▸ flannel.1 ▸ eth0 ── to-node-a ┐
//!                                                         │ bridge in the middle box
//! pod eth0 ── veth ▸ cni0 ▸ flannel.1 ▸ eth0 ── to-node-b ┘
//! ```

use std::fmt::Write as _;

use anyhow::Result;

use super::super::{Lab, Node, Pod, uplinks};

pub(super) fn set_up_node(lab: &Lab, node: &Node) -> Result<()> {
    let pod_mtu = lab.pod_mtu;
    let Node {
        bridge,
        bridge_mac,
        bridge_v4,
        bridge_v6,
        ..
    } = node;
    let mut ip = String::from("link set dev lo up\n") + &uplinks::set_up(lab, node)?;
    write!(
        ip,
        "link add name {bridge} address {bridge_mac} mtu {pod_mtu} type bridge
         address add {bridge_v4}/24 brd + dev {bridge}\n"
    )?;
    if lab.wiring.carries_v6() {
        writeln!(ip, "address add {bridge_v6}/64 dev {bridge} nodad")?;
    }
    writeln!(ip, "link set dev {bridge} up")?;
    node.netns.batch("ip -batch -", &ip)?;
    attach(lab, node, lab.pods_on(node))
}

/// Makes the veth peers of pods ports of the bridge.
pub(super) fn attach<'a>(
    lab: &Lab,
    node: &Node,
    pods: impl IntoIterator<Item = &'a Pod>,
) -> Result<()> {
    let bridge = &node.bridge;
    let (mut ip, mut ports) = (String::new(), String::new());
    for Pod { veth, .. } in pods {
        writeln!(ip, "link set dev {veth} master {bridge} up")?;
        if lab.hairpin {
            writeln!(ports, "link set dev {veth} hairpin on")?;
        }
    }
    node.netns.batch("ip -batch -", &ip)?;
    node.netns.batch("bridge -batch -", &ports).map(drop)
}

pub(super) fn set_up_pod(lab: &Lab, pod: &Pod) -> Result<()> {
    let Pod {
        interface, v4, v6, ..
    } = pod;
    let Node {
        bridge_v4,
        bridge_v6,
        ..
    } = lab.node_of(pod);
    let mut script = format!(
        "link set dev lo up
         link set dev {interface} up
         address add {v4}/24 brd + dev {interface}
         route add default via {bridge_v4} dev {interface}\n"
    );
    if lab.wiring.carries_v6() {
        write!(
            script,
            "address add {v6}/64 dev {interface} nodad
             route add default via {bridge_v6} dev {interface}\n"
        )?;
    }
    pod.netns.batch("ip -batch -", &script).map(drop)
}
