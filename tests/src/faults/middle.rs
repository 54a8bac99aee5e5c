//! The box between the nodes, which no agent watches. No observed kernel drops the packets that are
//! lost there.

use anyhow::Result;

use super::{Beside, Fault, Stage, Traffic, in_the_open, in_udp};

/// See [`super`].
pub(super) fn all() -> Vec<Fault> {
    let rule = |name: &str, rule: fn(&Stage) -> String| {
        Fault::new(name, move |stage| middle(stage, &rule(stage)))
            .undo(|stage| {
                let netns = &stage.lab.middle;
                netns.run("nft delete table bridge fault").map(drop)
            })
            .on(in_the_open)
    };
    vec![
        rule("middle-loses-all", |stage| {
            let (there, back) = (stage.flow_on_the_wire(), stage.answers_on_the_wire());
            format!("{there} counter drop; {back} counter drop")
        }),
        rule("middle-loses-one-direction", |stage| {
            format!("{} counter drop", stage.flow_on_the_wire())
        })
        .beside(Beside::Back),
        rule("middle-loses-some", |stage| {
            format!(
                "{} numgen random mod 100 < 1 counter drop",
                stage.flow_on_the_wire()
            )
        })
        .traffic(Traffic::many_datagrams(1000, 100)),
        rule("middle-loses-large", |stage| {
            format!(
                "meta length > 1000 {} counter drop",
                stage.flow_on_the_wire()
            )
        })
        .beside(Beside::Along)
        .traffic(Traffic::large_datagrams()),
        Fault::new("middle-blocks-tunnel", blocks_tunnel)
            .before()
            .beside(Beside::OnOneNode)
            .on(in_udp),
        Fault::new("uplink-down-in-the-middle", |stage| {
            let port = &stage.far().middle_port;
            let down = format!("ip link set {port} down");
            stage.lab.middle.run(&down).map(drop)
        })
        .beside(Beside::OnOneNode)
        .on(|_| true),
    ]
}

/// A cloud's network blocks the tunnel's UDP port, from the beginning. ARP passes: a node asks for
/// its neighbour as soon as it sends, and nodes send all the time.
fn blocks_tunnel(stage: &Stage) -> Result<()> {
    middle(stage, &format!("udp dport {} counter drop", stage.lab.port))?;
    let (near, far) = (stage.near(), stage.far());
    let family = if stage.lab.wiring.underlay_is_v6(stage.v6) {
        "ipv6"
    } else {
        "ipv4"
    };
    let uplink = &near.uplink;
    let delay = format!("{family}/neigh/{uplink}/delay_first_probe_time");
    near.netns.sysctl(&[(&delay, "0")])?;
    let (address, mac) = (stage.outer(far), &far.uplink_mac);
    let stale = format!("ip neighbour replace {address} lladdr {mac} dev {uplink} nud stale");
    near.netns.run(&stale).map(drop)
}

/// A rule of the middle box's bridge.
fn middle(stage: &Stage, rule: &str) -> Result<()> {
    let rules = format!(
        "table bridge fault {{ chain fault {{ type filter hook forward priority 0; {rule}; }}; }}"
    );
    stage.lab.middle.batch("nft -f -", &rules).map(drop)
}
