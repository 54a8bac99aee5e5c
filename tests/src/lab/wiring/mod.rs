//! What the daemon and the CNI plugin of a network would have made, made by
//! hand with iproute2: here what all wirings have in common, the namespaces
//! and the cables.

mod calico;
mod flannel;
mod shared;
pub(super) mod tunnel;

use std::fmt::Write;

use anyhow::{Context, Result};

use super::{Lab, LabSpec, Node, Pairs, Uplinks, netkit, uplinks};
use crate::netns::Netns;
use crate::process;

/// The middle box's bridges: one for each of a node's cables.
const MIDDLE_BRIDGES: [&str; 2] = ["wire", "wire2"];

/// Makes all that `lab` describes. What exists after a failure, the lab's
/// claim removes.
pub(super) fn wire(lab: &Lab, spec: &LabSpec) -> Result<()> {
    make_namespaces(lab)?;
    make_cables(lab, spec)?;
    set_up_middle(lab)?;
    for node in &lab.nodes {
        if lab.wiring.has_bridge() {
            flannel::set_up_node(lab, spec, node)
        } else if lab.wiring.shares_uplink() {
            shared::set_up_node(lab, node)
        } else {
            calico::set_up_node(lab, spec, node)
        }
        .and_then(|()| tunnel::set_up(lab, node))
        .and_then(|()| {
            let ends = uplinks::far_ends(lab, node);
            node.netns.batch("bridge -batch -", &ends).map(drop)
        })
        .with_context(|| format!("cannot set up {}", node.name))?;
    }
    for pod in &lab.pods {
        if lab.wiring.has_bridge() {
            flannel::set_up_pod(lab, pod)
        } else if lab.wiring.shares_uplink() {
            shared::set_up_pod(lab, pod)
        } else {
            calico::set_up_pod(pod)
        }
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
fn make_cables(lab: &Lab, spec: &LabSpec) -> Result<()> {
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
        if !node.second_uplink.is_empty() {
            let port = second_port(node);
            let ends = [(&node.netns, &*node.second_uplink), (&lab.middle, &*port)];
            cable(ends, &second_mac(node), lab.mtu)?;
        }
    }
    for pod in lab.pods.iter().filter(|_| !lab.wiring.shares_uplink()) {
        let host = &lab.nodes[pod.node].netns;
        if spec.pairs != Pairs::Veth {
            let inside = (&pod.netns, &*pod.interface);
            netkit::add(spec.pairs, (host, &pod.veth), inside, lab.pod_mtu)?;
            if spec.pairs == Pairs::NetkitL3 {
                continue;
            }
            let address = format!("ip link set dev {} address {}", pod.interface, pod.mac);
            pod.netns.run(&address)?;
            continue;
        }
        let ends = [(&pod.netns, &*pod.interface), (host, &*pod.veth)];
        cable(ends, &pod.mac, lab.pod_mtu)?;
    }
    process::run(process::command("ip").args(["-batch", "-"]), &script)
        .map(drop)
        .context("cannot make veth pairs")
}

/// The other end of a node's second uplink.
fn second_port(node: &Node) -> String {
    format!("2{}", node.middle_port)
}

/// That of the first, but for a bit.
fn second_mac(node: &Node) -> String {
    let flipped = match node.uplink_mac.split_at(node.uplink_mac.len() - 1) {
        (rest, "0") => (rest, "1"),
        (rest, _) => (rest, "0"),
    };
    format!("{}{}", flipped.0, flipped.1)
}

fn set_up_middle(lab: &Lab) -> Result<()> {
    let mut script = String::new();
    let cables = 1 + usize::from(lab.uplinks == Uplinks::Two);
    for bridge in &MIDDLE_BRIDGES[..cables] {
        write!(
            script,
            "link add name {bridge} mtu {} type bridge
             link set dev {bridge} up\n",
            lab.mtu
        )?;
    }
    for node in &lab.nodes {
        let mut ports = vec![node.middle_port.clone()];
        if !node.second_uplink.is_empty() {
            ports.push(second_port(node));
        }
        for (port, bridge) in ports.iter().zip(MIDDLE_BRIDGES) {
            writeln!(script, "link set dev {port} master {bridge} up")?;
        }
    }
    lab.middle
        .batch("ip -batch -", &script)
        .map(drop)
        .context("cannot set up the middle box")
}
