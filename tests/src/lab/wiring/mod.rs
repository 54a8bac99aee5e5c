//! What the daemon and the CNI plugin of a network would have made, made by
//! hand with iproute2: here what all wirings have in common, the namespaces
//! and the cables.

mod calico;
mod flannel;
pub(super) mod tunnel;

use std::fmt::Write;

use anyhow::{Context, Result};

use super::{Lab, Node, Pod};
use crate::netns::Netns;
use crate::process;

/// The middle box's bridge.
const MIDDLE_BRIDGE: &str = "wire";

/// Makes all that `lab` describes. What exists after a failure, the lab's
/// claim removes.
pub(super) fn wire(lab: &Lab) -> Result<()> {
    make_namespaces(lab)?;
    let uplinks = lab.nodes.iter().map(|node| uplink(lab, node));
    let pods = lab.pods.iter().map(|pod| pod_cable(lab, pod));
    make_cables(uplinks.chain(pods))?;
    set_up_middle(lab)?;
    for node in &lab.nodes {
        if lab.wiring.has_bridge() {
            flannel::set_up_node(lab, node)
        } else {
            calico::set_up_node(lab, node)
        }
        .and_then(|()| tunnel::set_up(lab, node))
        .with_context(|| format!("cannot set up {}", node.name))?;
    }
    lab.pods.iter().try_for_each(|pod| set_up_pod(lab, pod))
}

/// Makes a pod anew: its namespace, the host's end of its interface, and last,
/// as a CNI plugin does, its address.
pub(super) fn make_pod(lab: &Lab, pod: &Pod) -> Result<()> {
    let node = lab.node_of(pod);
    let script = format!("netns add {}\n", pod.netns.name);
    process::run(process::command("ip").args(["-batch", "-"]), &script)
        .context("cannot make a network namespace")?;
    keep_ipv6_quiet(&pod.netns)?;
    make_cables([pod_cable(lab, pod)])?;
    if lab.wiring.has_bridge() {
        flannel::attach(lab, node, [pod])?;
    } else {
        calico::attach(node, [pod])?;
    }
    set_up_pod(lab, pod)
}

fn set_up_pod(lab: &Lab, pod: &Pod) -> Result<()> {
    if lab.wiring.has_bridge() {
        flannel::set_up_pod(lab, pod)
    } else {
        calico::set_up_pod(pod)
    }
    .with_context(|| format!("cannot set up {}", pod.name))
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

/// A veth pair: the namespace and name of either end, the MAC address of the
/// first, and the MTU of both.
struct Cable<'a> {
    ends: [(&'a Netns, &'a str); 2],
    mac: &'a str,
    mtu: u32,
}

fn uplink<'a>(lab: &'a Lab, node: &'a Node) -> Cable<'a> {
    Cable {
        ends: [
            (&node.netns, &*node.uplink),
            (&lab.middle, &*node.middle_port),
        ],
        mac: &node.uplink_mac,
        mtu: lab.mtu,
    }
}

fn pod_cable<'a>(lab: &'a Lab, pod: &'a Pod) -> Cable<'a> {
    let host = &lab.nodes[pod.node].netns;
    Cable {
        ends: [(&pod.netns, &*pod.interface), (host, &*pod.veth)],
        mac: &pod.mac,
        mtu: lab.pod_mtu,
    }
}

/// Lays veth pairs, each end right where it belongs.
fn make_cables<'a>(cables: impl IntoIterator<Item = Cable<'a>>) -> Result<()> {
    let mut script = String::new();
    for Cable { ends, mac, mtu } in cables {
        let [inner, outer] = ends;
        writeln!(
            script,
            "link add name {} netns {} address {mac} mtu {mtu} \
             type veth peer name {} netns {} mtu {mtu}",
            inner.1, inner.0.name, outer.1, outer.0.name,
        )?;
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
