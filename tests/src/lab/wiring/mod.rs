//! Makes with iproute2 what a network's daemon and CNI plugin would have made. This module has the
//! parts that all wirings share: the namespaces and the cables.

pub(super) mod calico;
mod flannel;
mod shared;
pub(super) mod tunnel;

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result};

use super::{Lab, Node, Outside, Pairs, Pod, Uplinks, netkit, uplinks};
use crate::netns::Netns;
use crate::process;

/// The middle box's bridges, one for each of a node's ways to the others.
const MIDDLE_BRIDGES: [&str; 2] = ["wire", "wire2"];

/// Makes everything that `lab` describes. After a failure, the lab's claim removes the remains.
pub(super) fn wire(lab: &Lab) -> Result<()> {
    let nodes: Vec<&Node> = lab.nodes.iter().collect();
    let pods: Vec<&Pod> = lab.pods.iter().collect();
    let own = nodes.iter().map(|node| &node.netns);
    add_namespaces([&lab.middle].into_iter().chain(own))?;
    // This comes before there are interfaces, which copy the settings of `default`.
    lab.middle
        .sysctl(&[("ipv6/conf/default/disable_ipv6", "1")])?;
    prepare(&nodes, &pods)?;
    make_cables(lab.nodes.iter().flat_map(|node| cables_of(lab, node)))?;
    set_up_middle(lab)?;
    set_up(lab, &nodes, &pods)
}

/// Makes this machine one node of `lab`, with the node's pods.
pub(super) fn wire_one(lab: &Lab, index: usize) -> Result<()> {
    let node = lab.nodes.get(index).context("there is no such node")?;
    let pods: Vec<&Pod> = lab.pods_on(node).collect();
    let own = format!("ip netns attach {} {}", node.netns.name, std::process::id());
    process::run(process::command("ip").args(own.split(' ').skip(1)), "")
        .context("cannot give this machine's own namespace a name")?;
    prepare(&[node], &pods)?;
    give_uplink(lab, node)?;
    set_up(lab, &[node], &pods)
}

/// The kernel's name of a machine's only network card.
const CARD: &str = "eth0";

/// Makes the machine's network card the node's uplink.
fn give_uplink(lab: &Lab, node: &Node) -> Result<()> {
    let Node {
        netns,
        uplink,
        uplink_mac,
        ..
    } = node;
    // The card existed before `default` was set.
    let quiet = ["accept_dad", "accept_ra", "router_solicitations"];
    for setting in quiet {
        netns.sysctl(&[(&format!("ipv6/conf/{CARD}/{setting}"), "0")])?;
    }
    let mut script = format!("link set dev {CARD} address {uplink_mac} mtu {}\n", lab.mtu);
    if uplink != CARD {
        writeln!(script, "link set dev {CARD} name {uplink}")?;
    }
    netns
        .batch("ip -batch -", &script)
        .map(drop)
        .context("cannot use the machine's network card")
}

/// Sets up nodes that have uplinks, and their pods.
fn set_up(lab: &Lab, nodes: &[&Node], pods: &[&Pod]) -> Result<()> {
    if !lab.wiring.shares_uplink() {
        pods.iter().try_for_each(|pod| connect(lab, pod))?;
    }
    for node in nodes {
        if lab.wiring.has_bridge() {
            flannel::set_up_node(lab, node)
        } else if lab.wiring.shares_uplink() {
            shared::set_up_node(lab, node)
        } else {
            calico::set_up_node(lab, node)
        }
        .and_then(|()| tunnel::set_up(lab, node))
        .and_then(|()| {
            let ends = uplinks::far_ends(lab, node);
            node.netns.batch("bridge -batch -", &ends).map(drop)
        })
        .with_context(|| format!("cannot set up {}", node.name))?;
    }
    pods.iter().try_for_each(|pod| set_up_pod(lab, pod))
}

/// Makes a pod again: its namespace, its veth peer on the host, and last its address, as a CNI
/// plugin does.
pub(super) fn make_pod(lab: &Lab, pod: &Pod) -> Result<()> {
    let node = lab.node_of(pod);
    let script = format!("netns add {}\n", pod.netns.name);
    process::run(process::command("ip").args(["-batch", "-"]), &script)
        .context("cannot make a network namespace")?;
    keep_ipv6_quiet(&pod.netns)?;
    connect(lab, pod)?;
    if lab.wiring.has_bridge() {
        flannel::attach(lab, node, [pod])?;
    } else {
        calico::attach(lab, node, [pod])?;
    }
    set_up_pod(lab, pod)
}

/// Makes a host that is the gateway of all nodes, with an address in another network.
pub(super) fn make_outside(lab: &Lab, outside: &Outside) -> Result<()> {
    let netns = &outside.netns;
    let script = format!("netns add {}\n", netns.name);
    process::run(process::command("ip").args(["-batch", "-"]), &script)
        .context("cannot make a network namespace")?;
    netns.sysctl(&[("ipv4/ip_forward", "1")])?;
    keep_ipv6_quiet(netns)?;
    make_cables([Cable {
        ends: [
            (netns, "eth0".to_owned()),
            (&lab.middle, "outside".to_owned()),
        ],
        mac: "02:00:5e:00:53:09".to_owned(),
        mtu: lab.mtu,
    }])?;
    let wire = MIDDLE_BRIDGES[0];
    let port = format!("link set dev outside master {wire} up\n");
    lab.middle.batch("ip -batch -", &port)?;
    let (gateway, gateway_v6) = lab.nodes[0].gateways();
    let ([a, b, c, _], [e, f, g, h, ..]) = (gateway.octets(), gateway_v6.segments());
    let network = Ipv4Addr::new(a, b, c, 0);
    let network_v6 = Ipv6Addr::new(e, f, g, h, 0, 0, 0, 0);
    let Outside { v4, v6, .. } = outside;
    // The kernel's own route to an IPv6 network has a metric of 256.
    let script = format!(
        "link set dev lo up
         link set dev eth0 up
         address add {gateway}/24 dev eth0
         address add {gateway_v6}/64 dev eth0 nodad
         address add {v4}/32 dev lo
         address add {v6}/128 dev lo nodad
         route replace {network}/24 dev eth0 src {v4}
         route add {network_v6}/64 dev eth0 src {v6} metric 1\n"
    );
    netns.batch("ip -batch -", &script).map(drop)
}

fn set_up_pod(lab: &Lab, pod: &Pod) -> Result<()> {
    if lab.wiring.has_bridge() {
        flannel::set_up_pod(lab, pod)
    } else if lab.wiring.shares_uplink() {
        shared::set_up_pod(lab, pod)
    } else {
        calico::set_up_pod(lab, pod)
    }
    .with_context(|| format!("cannot set up {}", pod.name))
}

fn add_namespaces<'a>(all: impl IntoIterator<Item = &'a Netns>) -> Result<()> {
    let mut script = String::new();
    for netns in all {
        writeln!(script, "netns add {}", netns.name)?;
    }
    process::run(process::command("ip").args(["-batch", "-"]), &script)
        .map(drop)
        .context("cannot make network namespaces")
}

/// Makes the namespaces of pods, and sets up the namespaces of nodes.
fn prepare(nodes: &[&Node], pods: &[&Pod]) -> Result<()> {
    add_namespaces(pods.iter().map(|pod| &pod.netns))?;
    for Node { netns, .. } in nodes {
        netns.sysctl(&[
            ("ipv4/ip_forward", "1"),
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/default/rp_filter", "0"),
            ("ipv6/conf/all/forwarding", "1"),
            ("ipv6/conf/default/forwarding", "1"),
        ])?;
        keep_ipv6_quiet(netns)?;
    }
    pods.iter().try_for_each(|pod| keep_ipv6_quiet(&pod.netns))
}

/// Makes addresses valid at once, without a second of duplicate address detection. Nothing asks for
/// routers, because there are none.
fn keep_ipv6_quiet(netns: &Netns) -> Result<()> {
    netns.sysctl(&[
        ("ipv6/conf/default/disable_ipv6", "0"),
        ("ipv6/conf/default/accept_dad", "0"),
        ("ipv6/conf/default/accept_ra", "0"),
        ("ipv6/conf/default/router_solicitations", "0"),
    ])
}

/// A veth pair: the namespace and name of each end, the MAC address of the first, and the MTU of
/// both.
struct Cable<'a> {
    ends: [(&'a Netns, String); 2],
    mac: String,
    mtu: u32,
}

/// A node's cables to the middle box.
fn cables_of<'a>(lab: &'a Lab, node: &'a Node) -> Vec<Cable<'a>> {
    let cable = |inner: &str, outer: String, mac: String| Cable {
        ends: [(&node.netns, inner.to_owned()), (&lab.middle, outer)],
        mac,
        mtu: lab.mtu,
    };
    let first = (node.middle_port.clone(), node.uplink_mac.clone());
    let mut cables = vec![cable(&node.uplink, first.0, first.1)];
    if !node.second_uplink.is_empty() {
        cables.push(cable(
            &node.second_uplink,
            second_port(node),
            second_mac(node),
        ));
    }
    cables
}

/// Gives a pod its interface, and the host its veth peer.
fn connect(lab: &Lab, pod: &Pod) -> Result<()> {
    let host = &lab.node_of(pod).netns;
    if lab.pairs == Pairs::Veth {
        let ends = [
            (&pod.netns, pod.interface.clone()),
            (host, pod.veth.clone()),
        ];
        let (mac, mtu) = (pod.mac.clone(), lab.pod_mtu);
        return make_cables([Cable { ends, mac, mtu }]);
    }
    let inside = (&pod.netns, &*pod.interface);
    netkit::add(lab.pairs, (host, &pod.veth), inside, lab.pod_mtu)?;
    if lab.pairs == Pairs::NetkitL3 {
        return Ok(());
    }
    let address = format!("ip link set dev {} address {}", pod.interface, pod.mac);
    pod.netns.run(&address).map(drop)
}

/// Makes veth pairs, each end directly in its namespace.
fn make_cables<'a>(cables: impl IntoIterator<Item = Cable<'a>>) -> Result<()> {
    let mut script = String::new();
    for Cable { ends, mac, mtu } in cables {
        let [inner, outer] = ends;
        // The first name must not exist in the namespace where `ip` runs, because old kernels look
        // there, too: a machine has its own `eth0`.
        writeln!(
            script,
            "link add name {} netns {} mtu {mtu} \
             type veth peer name {} netns {} address {mac} mtu {mtu}",
            outer.1, outer.0.name, inner.1, inner.0.name,
        )?;
    }
    process::run(process::command("ip").args(["-batch", "-"]), &script)
        .map(drop)
        .context("cannot make veth pairs")
}

/// The veth peer of a node's second uplink.
fn second_port(node: &Node) -> String {
    format!("2{}", node.middle_port)
}

/// The MAC address of the second uplink, which differs from the first one's in a bit.
fn second_mac(node: &Node) -> String {
    let flipped = match node.uplink_mac.split_at(node.uplink_mac.len() - 1) {
        (rest, "0") => (rest, "1"),
        (rest, _) => (rest, "0"),
    };
    format!("{}{}", flipped.0, flipped.1)
}

fn set_up_middle(lab: &Lab) -> Result<()> {
    let mut script = String::new();
    let bridges = 1 + usize::from(lab.uplinks == Uplinks::Two);
    let bridges = &MIDDLE_BRIDGES[..bridges];
    for bridge in bridges {
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
        for (port, bridge) in ports.iter().zip(bridges.iter().cycle()) {
            writeln!(script, "link set dev {port} master {bridge} up")?;
        }
    }
    lab.middle
        .batch("ip -batch -", &script)
        .map(drop)
        .context("cannot set up the middle box")
}
