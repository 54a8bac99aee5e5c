//! Devices that are down, gone, blocked or slow.

use anyhow::Result;

use super::{Beside, Fault, Stage, Traffic};

/// See [`super`].
pub(super) fn all() -> Vec<Fault> {
    vec![
        // The neighbour entry would live for half a minute.
        Fault::new("pod-down", |stage| {
            pod_down(stage)?;
            forget_b(stage)
        })
        .of_neighbours(),
        Fault::new("pod-down-but-known", pod_down),
        Fault::new("sender-veth-down", |stage| {
            let (near, veth) = (stage.near(), &stage.a().veth);
            near.netns.run(&format!("ip link set {veth} down")).map(drop)
        }),
        Fault::new("bridge-port-down", |stage| {
            let (far, veth) = (stage.far(), &stage.b().veth);
            far.netns.run(&format!("ip link set {veth} down"))?;
            forget_b(stage)
        })
        .of_neighbours(),
        Fault::new("bridge-port-blocked-near", |stage| {
            port_state(stage, false, "blocking")
        })
        .undo(|stage| port_state(stage, false, "forwarding")),
        Fault::new("bridge-port-blocked-far", |stage| {
            port_state(stage, true, "blocking")
        })
        .undo(|stage| port_state(stage, true, "forwarding")),
        Fault::new("pod-gone", |stage| {
            pod_gone(stage)?;
            forget_b(stage)
        })
        .of_neighbours(),
        Fault::new("uplink-down-near", |stage| {
            let near = stage.near();
            let down = format!("ip link set {} down", near.uplink);
            near.netns.run(&down).map(drop)
        })
        .beside(Beside::OnOneNode),
        Fault::new("qdisc-limit", qdisc_limit).traffic(Traffic::many_datagrams(20, 1000)),
        Fault::new("outer-checksum", outer_checksum),
    ]
}

fn pod_down(stage: &Stage) -> Result<()> {
    let (pod, interface) = (&stage.b().netns, &stage.b().interface);
    pod.run(&format!("ip link set {interface} down")).map(drop)
}

/// Makes the far node ask anew who has the pod's address.
fn forget_b(stage: &Stage) -> Result<()> {
    let far = stage.far();
    let b = stage.address(stage.b());
    stage.ip(&far.netns, &format!("neighbour flush to {b} dev {}", far.bridge))
}

fn port_state(stage: &Stage, far: bool, state: &str) -> Result<()> {
    let (node, pod) = if far {
        (stage.far(), stage.b())
    } else {
        (stage.near(), stage.a())
    };
    let words = format!("bridge link set dev {} state {}", pod.veth, match state {
        "blocking" => 4,
        _ => 3,
    });
    node.netns.run(&words).map(drop)
}

/// Deletes the pod's namespace, sockets and all.
fn pod_gone(stage: &Stage) -> Result<()> {
    let far = stage.far();
    // The name goes; the sockets that the test has open there keep the
    // namespace itself. With its device, it is as good as gone.
    far.netns
        .run(&format!("ip link del {}", stage.b().veth))
        .map(drop)
}

/// A token bucket before the pod that lets two of the datagrams through at
/// once, keeps two, and drops the rest.
fn qdisc_limit(stage: &Stage) -> Result<()> {
    let (far, veth) = (stage.far(), &stage.b().veth);
    let words = format!("tc qdisc add dev {veth} root tbf rate 8kbit burst 2400 limit 2400");
    far.netns.run(&words).map(drop)
}

/// The middle box writes a checksum over the outer UDP header's, which was 0:
/// none. The near uplink must not leave the inner checksum to the hardware, or
/// the far node believes that all checksums are still to be made.
fn outer_checksum(stage: &Stage) -> Result<()> {
    let (near, middle) = (stage.near(), &stage.lab.middle);
    near.netns.run(&format!("ethtool -K {} tx off", near.uplink))?;
    let rules = format!(
        "table bridge fault {{ chain fault {{ type filter hook forward priority 0; \
         {} udp checksum set 0x1234; }}; }}",
        stage.flow_in_vxlan()
    );
    middle.batch("nft -f -", &rules).map(drop)
}
