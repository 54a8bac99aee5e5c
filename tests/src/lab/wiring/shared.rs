//! Pods on their node's uplink itself, as the CNI plugins macvlan and ipvlan make them. The node
//! has no interface for them:
//!
//! ```text
//! pod eth0 ▸ eth0 ── to-node-a ┐
//!                              │ bridge in the middle box
//! pod eth0 ▸ eth0 ── to-node-b ┘
//! ```
//!
//! All pods are on the wire, as if each was a machine. With ipvlan in mode L3, the nodes route the
//! pods' packets, and have the routes of host-gw.

use std::fmt::Write as _;

use anyhow::Result;

use super::super::{Lab, Node, Pod, Wiring, uplinks};

pub(super) fn set_up_node(lab: &Lab, node: &Node) -> Result<()> {
    let mut ip = String::from("link set dev lo up\n") + &uplinks::set_up(lab, node)?;
    for Pod {
        netns, veth, mac, ..
    } in lab.pods_on(node)
    {
        let kind = match lab.wiring {
            // The interface has the uplink's MAC address.
            Wiring::Ipvlan => "type ipvlan mode l2".to_owned(),
            Wiring::IpvlanL3 => "type ipvlan mode l3".to_owned(),
            _ => format!("address {mac} type macvlan mode bridge"),
        };
        // Kernels first make the interface here, where its name may be taken.
        let (way, netns) = (&node.way, &netns.name);
        writeln!(ip, "link add link {way} name {veth} netns {netns} {kind}")?;
    }
    node.netns.batch("ip -batch -", &ip).map(drop)
}

pub(super) fn set_up_pod(lab: &Lab, pod: &Pod) -> Result<()> {
    let Pod {
        interface,
        veth,
        v4,
        v6,
        ..
    } = pod;
    let mut script = format!(
        "link set dev lo up
         link set dev {veth} name {interface}
         link set dev {interface} mtu {} up\n",
        lab.pod_mtu
    );
    if lab.wiring == Wiring::IpvlanL3 {
        write!(
            script,
            "address add {v4}/32 dev {interface}
             address add {v6}/128 dev {interface} nodad
             route add default dev {interface}
             route add ::/0 dev {interface}\n"
        )?;
    } else {
        // The pods of all nodes share one network.
        write!(
            script,
            "address add {v4}/16 brd + dev {interface}
             address add {v6}/48 dev {interface} nodad\n"
        )?;
    }
    pod.netns.batch("ip -batch -", &script).map(drop)
}
