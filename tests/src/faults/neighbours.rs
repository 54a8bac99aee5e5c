//! Faults of neighbour tables, and of the forwarding tables of the bridge and the VXLAN device.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use super::{Beside, Fault, NOBODY, Stage, in_frames, in_the_open, with_pairs};
use crate::{Tunnel, Wiring};

/// Whether the tunnel joins two nodes only.
fn joins_two(wiring: Wiring) -> bool {
    wiring == Wiring::IpInV6
}

fn over_vxlan(wiring: Wiring) -> bool {
    wiring.tunnel() == Some(Tunnel::Vxlan)
}

/// See [`super`].
pub(super) fn all() -> Vec<Fault> {
    vec![
        Fault::new("no-fdb-entry", |stage| fdb(stage, "del"))
            .undo(|stage| fdb(stage, "append"))
            .beside(Beside::OnOneNode)
            .on(over_vxlan),
        Fault::new("fdb-dead-host", fdb_dead_host)
            .beside(Beside::OnOneNode)
            .on(over_vxlan)
            .of_neighbours(),
        Fault {
            nodes: 3,
            ..Fault::new("fdb-other-node", fdb_other_node)
                .beside(Beside::OnOneNode)
                .on(over_vxlan)
        },
        Fault {
            nodes: 3,
            alter: Some(in_another_subnet),
            ..Fault::new("pod-in-another-subnet", |_| Ok(()))
                .on(|wiring| wiring.has_bridge() && in_the_open(wiring) && !joins_two(wiring))
        },
        Fault::new("no-neighbour-on-overlay", no_neighbour)
            .beside(Beside::OnOneNode)
            .on(in_frames)
            .of_neighbours(),
        Fault::new("wrong-neighbour-on-overlay", wrong_neighbour)
            .beside(Beside::OnOneNode)
            .on(in_frames),
        Fault::new("wrong-neighbour-on-uplink", wrong_neighbour_on_uplink)
            .beside(Beside::OnOneNode)
            .on(|wiring| with_pairs(wiring) && in_the_open(wiring)),
        Fault::new("stale-mac-of-nobody", |stage| stale_mac(stage, NOBODY)),
        Fault::new("stale-mac-of-another-pod", |stage| {
            stale_mac(stage, &stage.b2().mac)
        })
        .on(Wiring::has_bridge),
        Fault::new("wrong-vni", wrong_vni)
            .undo(|stage| vxlan_anew(stage, stage.lab.vni))
            .before()
            .beside(Beside::OnOneNode)
            .on(|wiring| wiring == Wiring::Flannel),
    ]
}

fn fdb(stage: &Stage, verb: &str) -> Result<()> {
    let (near, far) = (stage.near(), stage.far());
    let entry = format!(
        "bridge fdb {verb} {} dev {} dst {} self permanent",
        far.overlay_mac,
        stage.overlay(near),
        stage.outer(far)
    );
    near.netns.run(&entry).map(drop)
}

fn fdb_replace(stage: &Stage, host: impl std::fmt::Display) -> Result<()> {
    let (near, far) = (stage.near(), stage.far());
    let entry = format!(
        "bridge fdb replace {} dev {} dst {host} self permanent",
        far.overlay_mac,
        stage.overlay(near)
    );
    near.netns.run(&entry).map(drop)
}

/// The fdb entry points to a node address that no node has: the lab assigns none below 2.
fn fdb_dead_host(stage: &Stage) -> Result<()> {
    let mut nobody = stage.near().clone();
    let [x, y, z, _] = nobody.underlay.octets();
    nobody.underlay = Ipv4Addr::new(x, y, z, 1);
    fdb_replace(stage, stage.outer(&nobody))
}

fn fdb_other_node(stage: &Stage) -> Result<()> {
    fdb_replace(stage, stage.outer(&stage.lab.nodes[2]))
}

/// Pod *b* has an address of the third node's subnet. Pods get such an address if they start before
/// their node knows its own subnet.
fn in_another_subnet(stage: &mut Stage) -> Result<()> {
    let third = &stage.lab.nodes[2];
    let (v4, v6) = (third.bridge_v4, third.bridge_v6);
    let far = stage.far().clone();
    let b = &mut stage.lab.pods[2];
    // The lab assigns pods no address above 253.
    let [x, y, z, _] = v4.octets();
    b.v4 = Ipv4Addr::new(x, y, z, 254);
    let [d, e, f, g, ..] = v6.segments();
    b.v6 = Ipv6Addr::new(d, e, f, g, 0, 0, 0, 0xffff);
    let interface = &b.interface;
    let script = format!(
        "address add {}/32 dev {interface}
         address add {}/128 dev {interface} nodad\n",
        b.v4, b.v6
    );
    b.netns.batch("ip -batch -", &script)?;
    let routes = format!(
        "route add {} dev {}\nroute add {} dev {}\n",
        b.v4, far.bridge, b.v6, far.bridge
    );
    far.netns.batch("ip -batch -", &routes).map(drop)
}

fn no_neighbour(stage: &Stage) -> Result<()> {
    let (near, far) = (stage.near(), stage.far());
    let gone = format!(
        "neighbour del {} dev {}",
        stage.vtep(far),
        stage.overlay(near)
    );
    stage.ip(&near.netns, &gone)
}

/// The far tunnel device has another MAC address. systemd may set one after the other nodes have
/// learned the first. The node still gets the packets, but as packets for another host.
fn wrong_neighbour(stage: &Stage) -> Result<()> {
    let far = stage.far();
    let address = format!("ip link set dev {} address {NOBODY}", stage.overlay(far));
    far.netns.run(&address).map(drop)
}

/// The far node has another network card, and the near node has not noticed. The bridge between
/// them floods frames to the old address.
fn wrong_neighbour_on_uplink(stage: &Stage) -> Result<()> {
    let (near, far) = (stage.near(), stage.far());
    let (address, uplink) = (stage.outer(far), &near.uplink);
    near.netns
        .run(&format!(
            "ip neighbour replace {address} lladdr {NOBODY} dev {uplink} nud permanent"
        ))
        .map(drop)
}

fn stale_mac(stage: &Stage, mac: &str) -> Result<()> {
    let far = stage.far();
    let (b, device) = (stage.address(stage.b()), stage.towards(stage.b()));
    let stale = format!("neighbour replace {b} lladdr {mac} dev {device} nud permanent");
    stage.ip(&far.netns, &stale)
}

/// Replaces the far node's VXLAN device by one that differs in its VNI only.
fn wrong_vni(stage: &Stage) -> Result<()> {
    let vni = stage.lab.vni;
    vxlan_anew(stage, if vni > 1 { vni - 1 } else { 2 })
}

/// Replaces the far node's VXLAN device by one with this VNI.
fn vxlan_anew(stage: &Stage, vni: u32) -> Result<()> {
    let (near, far) = (stage.near(), stage.far());
    let (overlay, mac, bridge_mtu) = (&far.overlay, &far.overlay_mac, stage.lab.pod_mtu);
    let script = format!(
        "link del dev {overlay}
         link add name {overlay} address {mac} mtu {bridge_mtu} type vxlan \
            id {vni} dstport {} local {} dev {} nolearning
         address add {}/32 dev {overlay}
         address add {}/128 dev {overlay} nodad
         link set dev {overlay} up
         neighbour add {} lladdr {} dev {overlay} nud permanent
         neighbour add {} lladdr {} dev {overlay} nud permanent
         route add {} via {} dev {overlay} onlink
         route add {} via {} dev {overlay} onlink\n",
        stage.lab.port,
        far.underlay,
        far.uplink,
        far.overlay_v4,
        far.overlay_v6,
        near.overlay_v4,
        near.overlay_mac,
        near.overlay_v6,
        near.overlay_mac,
        near.pod_cidr_v4,
        near.overlay_v4,
        near.pod_cidr_v6,
        near.overlay_v6,
    );
    far.netns.batch("ip -batch -", &script)?;
    let entry = format!(
        "bridge fdb append {} dev {overlay} dst {} self permanent",
        near.overlay_mac, near.underlay
    );
    far.netns.run(&entry).map(drop)
}
