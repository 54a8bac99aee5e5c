//! Calico with IP-in-IP. Between pod and pod on two nodes:
//!
//! ```text
//! pod eth0 ── cali… ▸ tunl0 ▸ eth0 ── to-node-a ┐
//!                                               │ bridge in the middle box
//! pod eth0 ── cali… ▸ tunl0 ▸ eth0 ── to-node-b ┘
//! ```
//!
//! There is no bridge: each pod has a route of its own to its end of the pair.
//! All pods have the same gateway, which nobody owns: the node answers ARP for
//! it, and for everything else it has a route to, on the pods' interfaces.
//! The tunnel device is one for all nodes and has no Ethernet header; the next
//! hop of a route through it is the far node itself. IPv6 is not carried.

use std::fmt::Write as _;
use std::thread;

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, unshare};

use super::super::{Lab, Node, Pod};
use crate::process;

/// The device that the kernel makes in every namespace once it knows IP-in-IP.
pub(in crate::lab) const TUNNEL: &str = "tunl0";

/// The pods' gateway.
const GATEWAY: &str = "169.254.1.1";
/// The host's ends of the pods' interfaces all have this MAC address.
const HOST_MAC: &str = "ee:ee:ee:ee:ee:ee";

/// Whether this kernel has IP-in-IP. Asking for a device loads the module, if
/// it is one.
pub(in crate::lab) fn is_possible() -> Result<bool> {
    let ask = || -> Result<bool> {
        unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
        let add = [
            "link",
            "add",
            "name",
            "probe",
            "type",
            "ipip",
            "local",
            "192.0.2.1",
        ];
        Ok(process::run(process::command("ip").args(add), "").is_ok())
    };
    thread::spawn(ask).join().expect("asking does not panic")
}

pub(super) fn set_up_node(lab: &Lab, node: &Node) -> Result<()> {
    let Lab { mtu, pod_mtu, .. } = lab;
    let Node {
        underlay,
        uplink,
        overlay,
        overlay_v4,
        pod_cidr_v4,
        ..
    } = node;
    let mut ip = String::from("link set dev lo up\n");
    if overlay != TUNNEL {
        writeln!(ip, "link add name {overlay} type ipip local {underlay}")?;
    }
    // A proxy answers only for what it has a route to, so there is a default
    // one, to a router that no packet of a test goes to.
    let [a, b, c, _] = underlay.octets();
    write!(
        ip,
        "link set dev {uplink} mtu {mtu} up
         address add {underlay}/24 brd + dev {uplink}
         route add default via {a}.{b}.{c}.1 dev {uplink}
         link set dev {overlay} mtu {pod_mtu} up
         address add {overlay_v4}/32 dev {overlay}
         route add blackhole {pod_cidr_v4}\n"
    )?;
    for Pod { veth, v4, .. } in lab.pods_on(node) {
        write!(
            ip,
            "link set dev {veth} address {HOST_MAC} up
             route add {v4}/32 dev {veth} scope link\n"
        )?;
        node.netns.sysctl(&[
            (&format!("ipv4/conf/{veth}/proxy_arp"), "1"),
            (&format!("ipv4/neigh/{veth}/proxy_delay"), "0"),
        ])?;
    }
    for other in lab.nodes.iter().filter(|other| other.name != node.name) {
        let Node {
            underlay,
            pod_cidr_v4,
            ..
        } = other;
        writeln!(
            ip,
            "route add {pod_cidr_v4} via {underlay} dev {overlay} onlink"
        )?;
    }
    node.netns.batch("ip -batch -", &ip).map(drop)
}

pub(super) fn set_up_pod(pod: &Pod) -> Result<()> {
    let Pod { interface, v4, .. } = pod;
    let script = format!(
        "link set dev lo up
         link set dev {interface} up
         address add {v4}/32 dev {interface}
         route add {GATEWAY} dev {interface} scope link
         route add default via {GATEWAY} dev {interface}\n"
    );
    pod.netns.batch("ip -batch -", &script).map(drop)
}
