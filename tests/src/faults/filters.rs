//! Rules of nftables and iptables, at every hook that a packet passes.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};

use super::stage::UDP;
use super::{Beside, Fault, Fits, NOBODY, Stage, Traffic, in_a_tunnel, in_the_open, with_pairs};
use crate::Wiring;
use crate::netns::Netns;

/// The place of a rule.
#[derive(Clone, Copy, Debug)]
enum At {
    Near,
    Far,
    PodA,
    PodB,
}

impl At {
    fn netns(self, stage: &Stage) -> &Netns {
        match self {
            Self::Near => &stage.near().netns,
            Self::Far => &stage.far().netns,
            Self::PodA => &stage.a().netns,
            Self::PodB => &stage.b().netns,
        }
    }

    /// The wirings in which packets pass the place.
    fn fits(self) -> Fits {
        match self {
            Self::Near | Self::Far => with_pairs,
            Self::PodA | Self::PodB => |_| true,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Near => "near",
            Self::Far => "far",
            Self::PodA => "a",
            Self::PodB => "b",
        }
    }
}

/// Hooks of nftables that see the bare packet, and whether a rule may reject there.
const NFT: [(At, &str, bool); 11] = [
    (At::PodA, "output", true),
    (At::PodA, "postrouting", false),
    (At::Near, "prerouting", true),
    (At::Near, "forward", true),
    (At::Near, "postrouting", false),
    (At::Far, "prerouting", true),
    (At::Far, "forward", true),
    (At::Far, "postrouting", false),
    (At::PodB, "prerouting", true),
    (At::PodB, "input", true),
    (At::PodB, "ingress", true),
];

/// Hooks of nftables where the nodes see the outer packet, and whether a rule may reject there.
const OUTER: [(At, &str, bool); 5] = [
    (At::Near, "output", true),
    (At::Near, "postrouting", false),
    (At::Far, "prerouting", true),
    (At::Far, "input", true),
    (At::Far, "ingress", false),
];

/// Tables and chains of iptables, and whether a rule may reject there.
const IPTABLES: [(At, &str, &str, bool); 9] = [
    (At::PodA, "filter", "OUTPUT", true),
    (At::Near, "raw", "PREROUTING", false),
    (At::Near, "filter", "FORWARD", true),
    (At::Near, "mangle", "POSTROUTING", false),
    (At::Far, "raw", "PREROUTING", false),
    (At::Far, "filter", "FORWARD", true),
    (At::Far, "mangle", "POSTROUTING", false),
    (At::PodB, "mangle", "PREROUTING", false),
    (At::PodB, "filter", "INPUT", true),
];

/// See [`super`].
pub(super) fn all() -> Vec<Fault> {
    let mut all = Vec::new();
    for (at, hook, may_reject) in NFT {
        all.push(nft(at, hook, "drop"));
        if may_reject {
            all.push(nft(at, hook, "reject"));
        }
    }
    for (at, hook, may_reject) in OUTER {
        for verdict in ["drop", "reject"]
            .into_iter()
            .take(1 + usize::from(may_reject))
        {
            let name = format!("nft-outer-{hook}-{}-{verdict}", at.name());
            all.push(rule(name, at, hook, Stage::flow_on_the_wire, verdict).on(in_a_tunnel));
        }
    }
    for (at, chain) in [(At::Near, "OUTPUT"), (At::Far, "INPUT")] {
        all.push(iptables_outer(at, chain));
    }
    let (reset, tcp) = ("reject with tcp reset", Traffic::syns());
    let name = "nft-forward-far-reset";
    all.push(rule(name, At::Far, "forward", Stage::flow, reset).traffic(tcp));
    let has_tunnel: Fits = |wiring| wiring.tunnel().is_some();
    for (role, direction, fits) in [
        ("near-veth", "ingress", with_pairs as Fits),
        ("near-overlay", "egress", has_tunnel),
        ("near-uplink", "egress", in_the_open),
        ("far-uplink", "ingress", in_the_open),
        ("far-overlay", "ingress", has_tunnel),
        ("far-veth", "egress", with_pairs),
    ] {
        all.push(netdev(role, direction).on(fits));
    }
    for (at, table, chain, may_reject) in IPTABLES {
        all.push(iptables(at, table, chain, "DROP"));
        if may_reject {
            all.push(iptables(at, table, chain, "REJECT"));
        }
    }
    all.push(policy());
    all.push(prohibited());
    all.push(Fault::new("mac-spoof-check", mac_spoof_check).on(Wiring::has_bridge));
    // The rule looks at the packet's state and mark, which no header has.
    let name = "nft-forward-far-marked";
    let marked = "ct state new meta mark set 0x4000 drop";
    all.push(rule(name, At::Far, "forward", Stage::flow, marked).on(At::Far.fits()));
    all.push(Fault::new("invalid-state", invalid_state).traffic(Traffic::Stream));
    // A node that cannot add any entry drops all new connections, so only one node is undisturbed.
    all.push(Fault::new("conntrack-full", conntrack_full).beside(Beside::OnOneNode));
    all
}

fn nft(at: At, hook: &'static str, verdict: &'static str) -> Fault {
    let name = format!("nft-{hook}-{}-{verdict}", at.name());
    rule(name, at, hook, Stage::flow, verdict).on(at.fits())
}

fn rule(
    name: impl Into<String>,
    at: At,
    hook: &'static str,
    flow: fn(&Stage) -> String,
    verdict: &'static str,
) -> Fault {
    let make = move |stage: &Stage| {
        let device = match (hook, at) {
            ("ingress", At::Far) => format!("device {}", stage.far().uplink),
            ("ingress", _) => format!("device {}", stage.b().interface),
            _ => String::new(),
        };
        let rules = format!(
            "table inet fault {{ chain fault {{ \
             type filter hook {hook} {device} priority 0; {} {verdict}; }}; }}",
            flow(stage)
        );
        at.netns(stage).batch("nft -f -", &rules).map(drop)
    };
    Fault::new(name, make).undo(move |stage| {
        let rules = at.netns(stage).run("nft delete table inet fault");
        rules.map(drop)
    })
}

/// A rule at a device, before the host's own rules or after them.
fn netdev(role: &'static str, direction: &'static str) -> Fault {
    Fault::new(format!("netdev-{direction}-{role}"), move |stage| {
        let (near, far) = (stage.near(), stage.far());
        let (node, device, flow) = match role {
            "near-veth" => (near, &*stage.a().veth, stage.flow()),
            "near-overlay" => (near, stage.overlay(near), stage.flow()),
            "near-uplink" => (near, &*near.uplink, stage.flow_on_the_wire()),
            "far-uplink" => (far, &*far.uplink, stage.flow_on_the_wire()),
            "far-overlay" => (far, stage.overlay(far), stage.flow()),
            "far-veth" => (far, &*stage.b().veth, stage.flow()),
            _ => unreachable!("all roles are listed above"),
        };
        let rules = format!(
            "table netdev fault {{ chain fault {{ \
             type filter hook {direction} device {device} priority 0; {flow} drop; }}; }}"
        );
        node.netns.batch("nft -f -", &rules).map(drop)
    })
}

fn iptables(at: At, table: &'static str, chain: &'static str, target: &'static str) -> Fault {
    let name = format!("iptables-{table}-{chain}-{}-{target}", at.name()).to_lowercase();
    let change = move |stage: &Stage, verb: &str| {
        let program = stage.pick("iptables-legacy", "ip6tables-legacy");
        let (a, b) = (stage.address(stage.a()), stage.address(stage.b()));
        let line = format!("{program} -w -t {table} {verb} {chain} -s {a} -d {b} -j {target}");
        at.netns(stage).run(&line).map(drop)
    };
    Fault::new(name, move |stage| change(stage, "-A"))
        .undo(move |stage| change(stage, "-D"))
        .on(at.fits())
}

/// Docker sets this policy when it starts: the node forwards only what a rule accepts.
fn policy() -> Fault {
    let set = |stage: &Stage, policy: &str| {
        let program = stage.pick("iptables-legacy", "ip6tables-legacy");
        let line = format!("{program} -w -P FORWARD {policy}");
        stage.far().netns.run(&line).map(drop)
    };
    Fault::new("iptables-policy-forward-far-drop", move |stage| {
        set(stage, "DROP")
    })
    .undo(move |stage| set(stage, "ACCEPT"))
    .beside(Beside::OnOneNode)
    .on(At::Far.fits())
}

/// The last rule of firewalld's chain: connections fail with "no route to host", while ping works.
fn prohibited() -> Fault {
    let change = |stage: &Stage, verb: &str| {
        let (program, icmp, prohibited) = stage.pick(
            ("iptables-legacy", "icmp", "icmp-host-prohibited"),
            ("ip6tables-legacy", "ipv6-icmp", "icmp6-adm-prohibited"),
        );
        let (a, b) = (stage.address(stage.a()), stage.address(stage.b()));
        for rule in [
            format!("-p {icmp} -j ACCEPT"),
            format!("-s {a} -d {b} -j REJECT --reject-with {prohibited}"),
        ] {
            let line = format!("{program} -w {verb} FORWARD {rule}");
            stage.far().netns.run(&line)?;
        }
        Ok(())
    };
    Fault::new("iptables-filter-forward-far-prohibited", move |stage| {
        change(stage, "-A")
    })
    .undo(move |stage| change(stage, "-D"))
    .traffic(Traffic::syns())
    .on(At::Far.fits())
}

/// The check of a CNI plugin (`macspoofchk`): the pod's port takes frames from one MAC address
/// only. Here the pod gets another MAC address, and keeps its neighbour.
fn mac_spoof_check(stage: &Stage) -> Result<()> {
    let (near, a) = (stage.near(), stage.a());
    let rules = format!(
        "table bridge nat {{ \
         chain mac {{ ether saddr {} return; drop; }}; \
         chain PREROUTING {{ type filter hook prerouting priority -300; \
         iifname {} jump mac; }}; }}",
        a.mac, a.veth
    );
    near.netns.batch("nft -f -", &rules)?;
    let interface = &a.interface;
    a.netns
        .run(&format!("ip link set dev {interface} address {NOBODY}"))?;
    let gateway = stage.pick(near.bridge_v4.to_string(), near.bridge_v6.to_string());
    let entry = format!(
        "neighbour replace {gateway} lladdr {} dev {interface} nud permanent",
        near.bridge_mac
    );
    stage.ip(&a.netns, &entry)
}

/// A rule for all packets that come through the tunnel.
fn iptables_outer(at: At, chain: &'static str) -> Fault {
    let name = format!("iptables-outer-{chain}-{}-drop", at.name()).to_lowercase();
    let change = move |stage: &Stage, verb: &str| {
        let program = if stage.lab.wiring.underlay_is_v6(stage.v6) {
            "ip6tables-legacy"
        } else {
            "iptables-legacy"
        };
        let proto = match stage.tunnel().map(|tunnel| stage.outer_proto(tunnel)) {
            Some(UDP) => format!("udp --dport {}", stage.lab.port),
            proto => proto.unwrap_or_default().to_string(),
        };
        let line = format!("{program} -w {verb} {chain} -p {proto} -j DROP");
        at.netns(stage).run(&line).map(drop)
    };
    Fault::new(name, move |stage| change(stage, "-A"))
        .undo(move |stage| change(stage, "-D"))
        .beside(Beside::OnOneNode)
        .on(in_a_tunnel)
}

/// A connection whose beginning connection tracking has not seen. A strict setting calls such a
/// connection invalid.
fn invalid_state(stage: &Stage) -> Result<()> {
    let rules = format!(
        "table inet fault {{ chain fault {{ \
         type filter hook forward priority 0; {} ct state invalid drop; }}; }}",
        stage.flow()
    );
    let netns = &stage.far().netns;
    // The rules come first, because they enable connection tracking, and with it its settings.
    netns.batch("nft -f -", &rules)?;
    netns.sysctl(&[("netfilter/nf_conntrack_tcp_loose", "0")])
}

/// Limit of entries. More would take too long to add.
const MOST_ENTRIES: u32 = 1 << 20;

/// A full table of connections, whose entries are in use and make no room for others. Each
/// namespace has its own table, and the limit is the same for all.
fn conntrack_full(stage: &Stage) -> Result<()> {
    let netns = &stage.far().netns;
    // The rule enables connection tracking.
    let rules = "table inet fault { chain fault { \
                 type filter hook prerouting priority 0; ct state established accept; }; }";
    netns.batch("nft -f -", rules)?;
    let most = netns.run("cat /proc/sys/net/netfilter/nf_conntrack_max")?;
    let most: u32 = most.trim().parse().context("nf_conntrack_max")?;
    ensure!(
        (1..=MOST_ENTRIES).contains(&most),
        "nf_conntrack_max is {most}: this test fills up to {MOST_ENTRIES}"
    );
    let mut entries = String::new();
    for [_, a, b, c] in (0..most).map(u32::to_be_bytes) {
        writeln!(
            entries,
            "-A -s 10.{a}.{b}.{c} -d 198.51.100.1 -p udp --sport 1000 --dport 1000 \
             -t 600 -u SEEN_REPLY,ASSURED"
        )?;
    }
    netns.batch("conntrack -R -", &entries).map(drop)
}
