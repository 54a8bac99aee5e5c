//! Faults of a node's routing.

use anyhow::Result;

use super::{Beside, Fault, NOBODY, Stage, Traffic};
use crate::{Node, Wiring};

/// See [`super`].
pub(super) fn all() -> Vec<Fault> {
    let mut all: Vec<Fault> = ["blackhole", "unreachable", "prohibit"]
        .into_iter()
        .map(route_type)
        .collect();
    all.extend([
        // Nodes without a bridge have a default route.
        Fault::new("no-route", no_route)
            .undo(with_route)
            .on(Wiring::has_bridge),
        Fault::new("default-route-only", default_route_only),
        Fault::new("not-forwarding-near", |stage| {
            forward(stage, stage.near(), "0")
        })
        .undo(|stage| forward(stage, stage.near(), "1"))
        .beside(Beside::OnOneNode)
        // Without a bridge, pods of one node need forwarding to reach each other, too.
        .on(Wiring::has_bridge),
        Fault::new("not-forwarding-far", |stage| {
            forward(stage, stage.far(), "0")
        })
        .undo(|stage| forward(stage, stage.far(), "1"))
        .beside(Beside::OnOneNode),
        Fault::new("not-forwarding-far-inlet", |stage| {
            forward_from_inlet(stage, ["0", "1"])
        })
        .undo(|stage| forward_from_inlet(stage, ["1", "1"]))
        .beside(Beside::OnOneNode),
        // IPv6 has no such setting, only a match of nftables.
        Fault::new("rp-filter", rp_filter).v4_only(),
        Fault::new("martian", martian).v4_only(),
        Fault::new("ttl-near", |_| Ok(())).traffic(Traffic::datagrams_with_ttl(1)),
        Fault::new("ttl-far", |_| Ok(())).traffic(Traffic::datagrams_with_ttl(2)),
        Fault::new("too-big", |stage| narrow(stage, "lock")).traffic(Traffic::large_datagrams()),
        // A forwarding IPv6 node uses such a route when it sends.
        Fault {
            v6: &[true],
            ..Fault::new("too-big-to-send", |stage| narrow(stage, ""))
                .traffic(Traffic::large_datagrams())
        },
    ]);
    all
}

fn route_type(kind: &'static str) -> Fault {
    Fault::new(format!("{kind}-route"), move |stage| {
        let b = stage.host_route(stage.b());
        stage.ip(&stage.near().netns, &format!("route add {kind} {b}"))
    })
    .undo(move |stage| {
        let b = stage.host_route(stage.b());
        stage.ip(&stage.near().netns, &format!("route del {kind} {b}"))
    })
}

/// Only the second pod of the far node stays reachable.
fn no_route(stage: &Stage) -> Result<()> {
    let (near, far) = (stage.near(), stage.far());
    let other = stage.host_route(stage.b2());
    let via = stage.next_hop();
    stage.ip(&near.netns, &format!("route add {other} {via}"))?;
    stage.ip(&near.netns, &format!("route del {}", stage.pods_of(far)))
}

fn with_route(stage: &Stage) -> Result<()> {
    let (near, far) = (stage.near(), stage.far());
    let via = stage.next_hop();
    let pods = stage.pods_of(far);
    stage.ip(&near.netns, &format!("route add {pods} {via}"))
}

/// Removes the route to the far node's pods. The restart of a network service does this to routes
/// that others have made. The default route leads to the gateway, which knows no pods.
fn default_route_only(stage: &Stage) -> Result<()> {
    let (near, middle) = (stage.near(), &stage.lab.middle);
    middle.run(&format!("ip link set dev wire address {NOBODY}"))?;
    let (gateway, way) = (stage.pick("192.0.2.1", "fe80::1"), &near.way);
    let known = format!("neighbour replace {gateway} lladdr {NOBODY} dev {way} nud permanent");
    stage.ip(&near.netns, &known)?;
    let default = format!("route replace default via {gateway} dev {way} onlink");
    stage.ip(&near.netns, &default)?;
    no_route(stage)
}

/// The interface and the node have different forwarding settings. IPv4 uses the setting of the
/// incoming interface, and IPv6 the setting of the node. `asked` is for the one in use, and `other`
/// for the other.
fn forward_from_inlet(stage: &Stage, [asked, other]: [&str; 2]) -> Result<()> {
    let far = stage.far();
    let (family, node) = stage.pick(
        ("ipv4", "ipv4/ip_forward"),
        ("ipv6", "ipv6/conf/all/forwarding"),
    );
    let inlet = format!("{family}/conf/{}/forwarding", stage.inlet(far));
    let (of_node, of_inlet) = stage.pick((other, asked), (asked, other));
    // The kernel writes the node's value to all interfaces.
    far.netns.sysctl(&[(node, of_node), (&inlet, of_inlet)])
}

fn forward(stage: &Stage, node: &Node, value: &str) -> Result<()> {
    let setting = stage.pick("ipv4/ip_forward", "ipv6/conf/all/forwarding");
    node.netns.sysctl(&[(setting, value)])
}

/// The far node would answer the sender by its bridge, so its reverse path filter drops packets
/// from the tunnel.
fn rp_filter(stage: &Stage) -> Result<()> {
    let far = stage.far();
    let setting = format!("ipv4/conf/{}/rp_filter", stage.inlet(far));
    far.netns.sysctl(&[(&setting, "1")])?;
    let a = stage.host_route(stage.a());
    stage.ip(
        &far.netns,
        &format!("route add {a} dev {}", stage.towards(stage.b())),
    )
}

/// The far node has the sender's address itself.
fn martian(stage: &Stage) -> Result<()> {
    let far = stage.far();
    let a = stage.host_route(stage.a());
    stage.ip(&far.netns, &format!("address add {a} dev lo"))
}

/// A route with an MTU that is too small for the datagrams. With `lock`, the MTU also counts for
/// forwarded packets.
fn narrow(stage: &Stage, lock: &str) -> Result<()> {
    let near = stage.near();
    let b = stage.host_route(stage.b());
    let via = stage.next_hop();
    stage.ip(&near.netns, &format!("route add {b} {via} mtu {lock} 1280"))
}
