//! Devices that are down, gone, blocked or slow.

use anyhow::Result;

use super::traffic::Receiver;
use super::{Beside, Fault, Stage, Traffic, in_udp};
use crate::netns::Netns;
use crate::process::until;
use crate::{Node, Pod, Wiring};

/// See [`super`].
pub(super) fn all() -> Vec<Fault> {
    vec![
        // Otherwise the neighbour entry would stay valid for half a minute.
        Fault::new("pod-down", |stage| {
            pod_down(stage)?;
            forget_b(stage)
        })
        .of_neighbours(),
        Fault::new("pod-down-but-known", pod_down).on(Wiring::has_bridge),
        Fault::new("sender-veth-down", sender_veth_down).of_neighbours(),
        Fault::new("bridge-port-down", |stage| {
            let (far, veth) = (stage.far(), &stage.b().veth);
            far.netns.run(&format!("ip link set {veth} down"))?;
            forget_b(stage)
        })
        .of_neighbours()
        .on(Wiring::has_bridge),
        // The state is LISTENING, in which nothing passes either. The bridge would set a BLOCKING
        // port to FORWARDING at once.
        Fault::new("bridge-port-blocked-near", |stage| {
            port_state(stage.near(), stage.a(), LISTENING)
        })
        .undo(|stage| port_state(stage.near(), stage.a(), FORWARDING))
        .on(Wiring::has_bridge),
        Fault::new("bridge-port-blocked-far", |stage| {
            port_state(stage.far(), stage.b(), LISTENING)
        })
        .undo(|stage| port_state(stage.far(), stage.b(), FORWARDING))
        .on(Wiring::has_bridge),
        Fault::new("pod-device-gone", |stage| {
            let (far, veth) = (stage.far(), &stage.b().veth);
            far.netns.run(&format!("ip link del {veth}"))?;
            forget_b(stage)
        })
        .of_neighbours(),
        // There is no receiver, because its socket would keep the namespace alive.
        Fault::new("pod-gone", pod_gone)
            .traffic(Traffic::datagrams_to(Receiver::Nobody, 10))
            .of_neighbours(),
        Fault::new("uplink-down-near", |stage| {
            let near = stage.near();
            let down = format!("ip link set {} down", near.uplink);
            near.netns.run(&down).map(drop)
        })
        .beside(Beside::OnOneNode),
        Fault::new("qdisc-limit", qdisc_limit).traffic(Traffic::many_datagrams(20, 1000)),
        // In IPv6, not every tunnel accepts a checksum of 0.
        Fault::new("outer-checksum", outer_checksum)
            .on(|wiring| in_udp(wiring) && !wiring.underlay_is_v6(true)),
    ]
}

fn pod_down(stage: &Stage) -> Result<()> {
    let b = stage.b();
    if stage.lab.wiring.has_bridge() {
        return stage.lab.take_link_down(b);
    }
    b.netns.run(&format!("ip link set {} down", b.interface))?;
    without_carrier(&stage.far().netns, &b.veth)
}

/// Takes the pod's carrier away, and waits until the kernel has noticed and has forgotten the pod's
/// neighbours. Until then, packets still reach the dead end of the pair.
fn sender_veth_down(stage: &Stage) -> Result<()> {
    let (near, a) = (stage.near(), stage.a());
    near.netns.run(&format!("ip link set {} down", a.veth))?;
    without_carrier(&a.netns, &a.interface)
}

/// Waits until this end of a pair has noticed that its peer is down.
fn without_carrier(netns: &Netns, device: &str) -> Result<()> {
    until("there is no carrier", || {
        let link = netns.run(&format!("ip -o link show dev {device}"))?;
        Ok(link.contains("state DOWN") || link.contains("state LOWERLAYERDOWN"))
    })
}

/// Makes the far node ask again who has the pod's address. Without a bridge, the node has forgotten
/// the neighbour when the carrier went.
fn forget_b(stage: &Stage) -> Result<()> {
    if !stage.lab.wiring.has_bridge() {
        return Ok(());
    }
    let b = stage.b();
    stage.lab.forget(b, stage.address(b))
}

/// `BR_STATE_LISTENING`, linux/if_bridge.h.
const LISTENING: u8 = 1;
/// `BR_STATE_FORWARDING`.
const FORWARDING: u8 = 3;

fn port_state(node: &Node, pod: &Pod, state: u8) -> Result<()> {
    let words = format!("bridge link set dev {} state {state}", pod.veth);
    node.netns.run(&words).map(drop)
}

/// Deletes the pod's namespace, and with it its device.
fn pod_gone(stage: &Stage) -> Result<()> {
    let (far, b) = (&stage.far().netns, stage.b());
    far.run(&format!("ip netns del {}", b.netns.name))?;
    until("the pod's device is gone", || {
        let links = far.run("ip -o link show")?;
        Ok(!links.contains(&b.veth))
    })?;
    forget_b(stage)
}

/// Puts a token bucket before the pod. It lets two of the datagrams through at once, keeps two, and
/// drops the rest.
fn qdisc_limit(stage: &Stage) -> Result<()> {
    let (far, veth) = (stage.far(), &stage.b().veth);
    let words = format!("tc qdisc add dev {veth} root tbf rate 8kbit burst 2400 limit 2400");
    far.netns.run(&words).map(drop)
}

/// The middle box overwrites the outer UDP header's checksum, which was 0, for "none". The near
/// uplink must not offload the inner checksum. Otherwise the far node assumes that all checksums
/// are still missing.
fn outer_checksum(stage: &Stage) -> Result<()> {
    let (near, middle) = (stage.near(), &stage.lab.middle);
    near.netns
        .run(&format!("ethtool -K {} tx off", near.uplink))?;
    let rules = format!(
        "table bridge fault {{ chain fault {{ type filter hook forward priority 0; \
         {} udp checksum set 0x1234; }}; }}",
        stage.flow_on_the_wire()
    );
    middle.batch("nft -f -", &rules).map(drop)
}
