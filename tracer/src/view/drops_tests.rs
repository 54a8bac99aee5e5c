//! Drops as views write them: text, and the examples in `docs/json.md`.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use serde_json::Value;
use tracer_common::drop::{DropCounter, DropCounters, Scope};
use tracer_core::{
    input::DropReport,
    model::{Freed, Hello, Kernel, Network, Owner, OwnerKind, Packet, Place, Transport},
    verdict::{DropKind, Tally},
};

use super::{DropScene, DropView, Json, Look, Text, fixtures::facts};

const WEB: [u8; 4] = [10, 244, 1, 5];
const CART: [u8; 4] = [10, 244, 2, 7];
/// 2026-03-01T12:34:55.289Z.
const STARTED: i64 = 1_772_368_495_289_000_000;
const NOON: i64 = 1_772_368_496_000_000_000;

fn scene() -> DropScene {
    let nodes = [("node-a", "default/web"), ("node-b", "shop/cart")];
    let owner = |(address, (node, pod)): ([u8; 4], (&str, &str))| {
        let owner = Owner {
            name: pod.to_owned(),
            kind: OwnerKind::Pod,
            node: node.to_owned(),
        };
        (IpAddr::from(address), owner)
    };
    DropScene {
        nodes: nodes
            .iter()
            .map(|(node, pod)| Hello {
                node: (*node).to_owned(),
                boot_id: String::new(),
                kernel: Some(Kernel {
                    release: "6.18.5".to_owned(),
                    architecture: "x86_64".to_owned(),
                }),
                realtime_offset: 0,
                clock_bound: 0,
                points: Vec::new(),
                streams: 1,
                next_hops: Vec::new(),
                local: Vec::new(),
                drops: Some(vec![Arc::from(*pod)]),
                drops_later: Vec::new(),
                network: Network::default(),
                snaplen: 0,
                notes: Vec::new(),
            })
            .collect(),
        owners: [WEB, CART].into_iter().zip(nodes).map(owner).collect(),
        chosen: None,
    }
}

fn freed(reason: &str, function: &str) -> Freed {
    Freed {
        time: 0,
        skb: 0,
        reason: Arc::from(reason),
        place: Place {
            function: Arc::from(function),
            offset: 1010,
        },
        netns: Some(Arc::from("host")),
        scope: Some(Scope::Device),
        device: Some(Arc::from("flannel.1")),
        dst_mac: None,
        protocol: 0x0800,
        encap: None,
        packet: Some(Packet {
            src: WEB.into(),
            dst: CART.into(),
            ttl: 63,
            ip_id: Some(7),
            fragment: None,
            len: 38,
            transport: Transport::Udp {
                src_port: 40_000,
                dst_port: 9,
                len: 18,
                dns: None,
            },
            payload_hash: Some(0),
        }),
        facts: Arc::default(),
    }
}

/// Shows the start, three drops of one kind, a drop of an unreadable frame, and the summary.
fn show(mut view: impl DropView) {
    let scene = scene();
    let mut tally = Tally::default();
    view.started(&scene, STARTED).expect("memory takes all");
    for ms in [0, 200, 400] {
        let drop = Freed {
            facts: Arc::from([facts::chain("faults", "fault")]),
            ..freed("NETFILTER_DROP", "nft_do_chain")
        };
        tally.add(1, NOON + ms * 1_000_000, drop, false);
    }
    let mut line = |kind: &DropKind| view.drop(&scene, kind);
    tally.show(true, &mut line).expect("memory takes all");
    tally.show(false, &mut line).expect("memory takes all");
    let frame = Freed {
        netns: Some(Arc::from("shop/cart")),
        device: None,
        protocol: 0x88cc,
        packet: None,
        ..freed("DEV_READY", "enqueue_to_backlog")
    };
    tally.add(1, NOON + 700_000_000, frame, false);
    tally.show(true, &mut line).expect("memory takes all");
    for _ in 0..4 {
        tally.add(0, NOON, freed("NO_SOCKET", "ping_rcv"), false);
    }
    let message = Freed {
        packet: None,
        protocol: 0,
        ..freed("NOT_SPECIFIED", "netlink_recvmsg")
    };
    tally.add(0, NOON, message, false);
    let mut counters = DropCounters::default();
    for (counter, packets) in [
        (DropCounter::Elsewhere, 40),
        (DropCounter::Unscoped, 2),
        (DropCounter::Emitted, 9),
    ] {
        counters.packets[counter as usize] = packets;
    }
    let report = DropReport {
        counters,
        ..DropReport::default()
    };
    view.summary(&scene, &tally, &report)
        .expect("memory takes all");
}

/// Lines of all kinds.
pub(super) fn lines() -> Vec<String> {
    let mut shown = Vec::new();
    show(Json::new(&mut shown));
    let text = String::from_utf8(shown).expect("text");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn text_says_where_whose_and_why() {
    let mut out = Vec::new();
    show(Text::new(&mut out, Look::plain()));
    let expected = "\
drops on node-a and 1 pod, node-b and 1 pod; times in UTC; Ctrl-C ends
12:34:56.000 node-b at flannel.1 (3 packets)
             default/web → shop/cart UDP 40000 → 9 10 bytes
             NETFILTER_DROP in nft_do_chain: an nftables rule drops or rejects
             the packet
             · chains at forward: inet faults/fault (priority 0, policy accept)
12:34:56.700 node-b inside shop/cart
             a frame of type 0x88cc
             DEV_READY in enqueue_to_backlog: the device is down
4 packets dropped:
       3 node-b at flannel.1 default/web → shop/cart UDP 40000 → 9 10 bytes
          NETFILTER_DROP nft_do_chain
       1 node-b inside shop/cart a frame of type 0x88cc DEV_READY
          enqueue_to_backlog
Freed but not dropped, not shown: 4 delivered.
2 dropped in an unknown network namespace: not shown.
";
    assert_eq!(String::from_utf8_lossy(&out), expected);
}

/// Text and JSON of drops that differ in their ports.
fn of_ports(ports: impl Iterator<Item = (u16, u16)>) -> [String; 2] {
    let scene = scene();
    let mut tally = Tally::default();
    for (src_port, dst_port) in ports {
        let mut drop = freed("NETFILTER_DROP", "nft_do_chain");
        let packet = drop.packet.as_mut().expect("it has one");
        packet.transport = Transport::Udp {
            src_port,
            dst_port,
            len: 18,
            dns: None,
        };
        tally.add(1, NOON, drop, true);
    }
    let (mut text, mut json) = (Vec::new(), Vec::new());
    for kind in tally.kinds() {
        let mut shown = Text::new(&mut text, Look::plain());
        shown.drop(&scene, kind).expect("memory takes all");
        let mut shown = Json::new(&mut json);
        shown.drop(&scene, kind).expect("memory takes all");
    }
    [text, json].map(|out| String::from_utf8(out).expect("text"))
}

#[test]
fn many_ports_are_not_shown_as_one() {
    let [text, json] = of_ports((40_000..40_100).map(|port| (port, 80)));
    assert!(text.contains("shop/cart UDP 100 ports → 80\n"), "{text}");
    assert!(
        text.contains("(100 packets)") && !text.contains("40000"),
        "{text}"
    );
    assert!(json.contains(r#""src_ports":100,"dst_ports":1}"#), "{json}");

    let [scan, json] = of_ports((0..2_000).map(|port| (40_000, port)));
    assert!(scan.contains("UDP 40000 → 1,000 ports or more"), "{scan}");
    assert!(
        json.contains(r#""src_ports":1,"dst_ports":1000}"#),
        "{json}"
    );

    let [one, _] = of_ports([(40_000, 9); 3].into_iter());
    assert!(one.contains("UDP 40000 → 9 10 bytes"), "{one}");
}

#[test]
fn documented_examples_are_real() {
    let lines = lines();
    let lines = lines.iter().map(|line| serde_json::from_str(line));
    let lines: Vec<Value> = lines.collect::<Result<_, _>>().expect("JSON");
    let document = include_str!("../../../docs/json.md");
    let documented: BTreeMap<&str, Value> = document
        .split("<!-- drops: ")
        .skip(1)
        .map(|block| {
            let (name, rest) = block.split_once(" -->").expect("the marker's end");
            let json = rest
                .split("```")
                .nth(1)
                .and_then(|json| json.strip_prefix("json"));
            let json = serde_json::from_str(json.expect("a block of JSON"));
            (name, json.expect("JSON"))
        })
        .collect();
    let mut names: Vec<&str> = documented.keys().copied().collect();
    names.sort_unstable();
    assert_eq!(names, ["drop", "started", "summary"]);
    assert_eq!(documented["started"], lines[0]);
    assert_eq!(documented["drop"], lines[1]);
    assert_eq!(Some(&documented["summary"]), lines.last());
}

#[test]
fn what_was_meant_for_a_place_is_told_by_its_addresses() {
    let scene = scene();
    let at = |netns: &str| Freed {
        netns: Some(Arc::from(netns)),
        ..freed("OTHERHOST", "ip_rcv_core")
    };
    // The packet goes from web on node-a to cart on node-b.
    assert!(scene.is_meant((1, NOON), &at("host")));
    assert!(scene.is_meant((1, NOON), &at("shop/cart")));
    assert!(
        !scene.is_meant((0, NOON), &at("host")),
        "flooded at its sender's"
    );
    assert!(!scene.is_meant((1, NOON), &at("shop/other")), "a copy");
}
