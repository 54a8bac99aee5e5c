//! Calico: each pod has a route. With IP-in-IP, between pods on two nodes:
//!
//! ```text
//! pod eth0 ── cali… ▸ tunl0 ▸ eth0 ── to-node-a ┐
//!                                               │ bridge in the middle box
//! pod eth0 ── cali… ▸ tunl0 ▸ eth0 ── to-node-b ┘
//! ```
//!
//! There is no bridge: each pod has a route to its veth peer. All pods have the same gateway, which
//! no device has. The node answers ARP for the gateway, and for every address with a route, on the
//! pods' interfaces.

use std::fmt::Write as _;

use anyhow::Result;

use super::super::{Lab, Node, Pairs, Pod, uplinks};

/// The pods' gateway.
const GATEWAY: &str = "169.254.1.1";
/// The MAC address of all veth peers on the host.
pub(in crate::lab) const HOST_MAC: &str = "ee:ee:ee:ee:ee:ee";
/// The link-local address of that MAC address, which is the pods' IPv6 gateway.
const GATEWAY_V6: &str = "fe80::ecee:eeff:feee:eeee";

pub(super) fn set_up_node(lab: &Lab, node: &Node) -> Result<()> {
    let Node {
        underlay,
        way,
        pod_cidr_v4,
        pod_cidr_v6,
        ..
    } = node;
    let mut ip = String::from("link set dev lo up\n") + &uplinks::set_up(lab, node)?;
    // An ARP proxy answers only for addresses with a route. So there is a default route, to a
    // router that no packet of a test goes to.
    let [a, b, c, _] = underlay.octets();
    write!(
        ip,
        "route add default via {a}.{b}.{c}.1 dev {way} onlink
         route add blackhole {pod_cidr_v4}\n"
    )?;
    if lab.wiring.carries_v6() {
        writeln!(ip, "route add blackhole {pod_cidr_v6}")?;
    }
    node.netns.batch("ip -batch -", &ip)?;
    attach(lab, node, lab.pods_on(node))
}

/// Makes routes to pods through their veth peers.
pub(super) fn attach<'a>(
    lab: &Lab,
    node: &Node,
    pods: impl IntoIterator<Item = &'a Pod>,
) -> Result<()> {
    let mut ip = String::new();
    for Pod { veth, v4, v6, .. } in pods {
        if lab.pairs != Pairs::NetkitL3 {
            writeln!(ip, "link set dev {veth} address {HOST_MAC}")?;
        }
        write!(
            ip,
            "link set dev {veth} up
             route add {v4}/32 dev {veth} scope link\n"
        )?;
        if lab.wiring.carries_v6() {
            writeln!(ip, "route add {v6}/128 dev {veth}")?;
        }
        node.netns.sysctl(&[
            (&format!("ipv4/conf/{veth}/proxy_arp"), "1"),
            (&format!("ipv4/neigh/{veth}/proxy_delay"), "0"),
        ])?;
    }
    node.netns.batch("ip -batch -", &ip).map(drop)
}

pub(super) fn set_up_pod(lab: &Lab, pod: &Pod) -> Result<()> {
    let Pod {
        interface, v4, v6, ..
    } = pod;
    let mut script = format!(
        "link set dev lo up
         link set dev {interface} up
         address add {v4}/32 dev {interface}
         route add {GATEWAY} dev {interface} scope link
         route add default via {GATEWAY} dev {interface}\n"
    );
    if lab.wiring.carries_v6() {
        write!(
            script,
            "address add {v6}/128 dev {interface} nodad
             route add default via {GATEWAY_V6} dev {interface}\n"
        )?;
    }
    pod.netns.batch("ip -batch -", &script).map(drop)
}
