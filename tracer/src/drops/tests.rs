//! A watch for drops that goes along with its cluster, with agents that nobody runs.

use std::net::IpAddr;

use serde_json::Value;
use tracer_common::drop::{DropCounters, Scope};
use tracer_core::{
    input::{Change, Gained, OwnersChange, Report},
    model::{Freed, Network, Owner, OwnerKind, Owners, Packet, Place, Transport},
};

use super::*;

const WEB: [u8; 4] = [10, 244, 1, 5];
const CART: [u8; 4] = [10, 244, 2, 7];

fn hello(node: &str) -> Hello {
    Hello {
        node: node.to_owned(),
        boot_id: node.to_owned(),
        kernel: None,
        realtime_offset: 0,
        clock_bound: 0,
        points: Vec::new(),
        streams: 1,
        next_hops: Vec::new(),
        local: Vec::new(),
        drops: Some(Vec::new()),
        drops_later: Vec::new(),
        network: Network::default(),
        snaplen: 0,
        notes: Vec::new(),
    }
}

/// A packet to a port that was dropped at a time, ns.
fn dropped(time: u64, port: u16) -> Batch {
    let freed = Freed {
        time,
        skb: 0,
        reason: "NETFILTER_DROP".into(),
        place: Place {
            function: "nft_do_chain".into(),
            offset: 0,
        },
        netns: Some("host".into()),
        scope: Some(Scope::Device),
        device: Some(format!("eth{port}").into()),
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
                dst_port: port,
                len: 18,
                dns: None,
            },
            payload_hash: Some(0),
        }),
        facts: Vec::new().into(),
    };
    Batch {
        freed: vec![freed],
        ..Batch::default()
    }
}

/// An agent's report that this many packets found its ring buffer full.
fn full(packets: u64) -> Batch {
    let mut counters = DropCounters::default();
    counters.packets[DropCounter::RingFull as usize] = packets;
    let drops = DropReport {
        counters,
        ..DropReport::default()
    };
    Batch {
        report: Some(Report {
            drops: Some(drops),
            ..Report::default()
        }),
        ..Batch::default()
    }
}

/// What an agent says when it leaves, or begins anew.
fn said(change: Change) -> Batch {
    Batch {
        change: Some(change),
        ..Batch::default()
    }
}

/// A watch of one node. Its view writes into `out`.
fn watching<'a>(
    view: &'a mut Json<&'a mut Vec<u8>>,
    chosen: Option<Chosen>,
) -> Watching<'a, Json<&'a mut Vec<u8>>> {
    Watching {
        scene: DropScene {
            nodes: vec![hello("node-b")],
            owners: Owners::default(),
            chosen,
        },
        all_nodes: false,
        unreached: BTreeSet::new(),
        tally: Tally::default(),
        reports: vec![DropReport::default()],
        before: vec![DropReport::default()],
        count: None,
        end: None,
        next: Instant::now(),
        view,
    }
}

/// An update by which `address` belongs to a pod from a time on.
fn gained(address: [u8; 4], name: &str, time: i64) -> Update {
    let owner = Owner {
        name: name.to_owned(),
        kind: OwnerKind::Pod,
        node: "node-b".to_owned(),
    };
    let address = IpAddr::from(address);
    Update {
        owners: vec![OwnersChange {
            time,
            gained: vec![Gained { address, owner }],
            ..OwnersChange::default()
        }],
        ..Update::default()
    }
}

/// The names of both ends and the node of each drop that was shown.
fn shown(out: &[u8]) -> Vec<[Value; 3]> {
    let lines = out.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    let values = lines.map(|line| -> Value { serde_json::from_slice(line).expect("JSON") });
    values
        .map(|drop| ["node", "src_pod", "dst_pod"].map(|key| drop[key].clone()))
        .collect()
}

#[tokio::test]
async fn a_pod_that_comes_is_named_in_later_drops() {
    let mut out = Vec::new();
    let mut view = Json::new(&mut out);
    let mut agents = Agents::nobody();
    let mut watch = watching(&mut view, None);
    let taken = watch.take(&mut agents, 0, dropped(100, 1));
    taken.expect("memory");
    let updated = watch.update(&mut agents, gained(CART, "shop/cart", 150));
    updated.expect("memory");
    // The kernel dropped this one before the pod was started.
    watch.take(&mut agents, 0, dropped(149, 2)).expect("memory");
    watch.take(&mut agents, 0, dropped(151, 3)).expect("memory");
    let null = Value::Null;
    let unnamed = ["node-b".into(), null.clone(), null.clone()];
    let named = ["node-b".into(), null, "shop/cart".into()];
    assert_eq!(shown(&out), [unnamed.clone(), unnamed, named]);
}

#[tokio::test]
async fn drops_of_a_namespace_are_those_of_its_present_pods() {
    let mut out = Vec::new();
    let mut view = Json::new(&mut out);
    let mut agents = Agents::nobody();
    let chosen = Chosen::Namespace("shop".to_owned());
    let mut watch = watching(&mut view, Some(chosen));
    let of_others = gained(WEB, "shopping/web", 0);
    watch.update(&mut agents, of_others).expect("memory");
    watch.take(&mut agents, 0, dropped(100, 1)).expect("memory");
    let updated = watch.update(&mut agents, gained(CART, "shop/cart", 150));
    updated.expect("memory");
    watch.take(&mut agents, 0, dropped(151, 2)).expect("memory");
    // Wherever it comes from: a packet that is dropped inside a pod is the pod's.
    let mut inside = dropped(100, 3);
    inside.freed[0].netns = Some("shop/db-0".into());
    watch.take(&mut agents, 0, inside).expect("memory");
    assert_eq!(watch.tally.suspects(), 2);
    assert_eq!(shown(&out).len(), 2);
}

#[tokio::test]
async fn a_node_that_joins_counts_like_the_others() {
    let mut out = Vec::new();
    let mut view = Json::new(&mut out);
    let mut agents = Agents::nobody();
    let mut watch = watching(&mut view, None);
    watch.unreached("node-c", "it has no image yet");
    watch.unreached("node-c", "it has no image yet");
    assert_eq!(watch.unreached.len(), 1, "it is told once");
    watch.take(&mut agents, 0, full(3)).expect("memory");
    watch.joined(&mut agents, hello("node-c")).expect("memory");
    assert!(watch.unreached.is_empty());
    watch.take(&mut agents, 1, full(4)).expect("memory");
    watch.take(&mut agents, 1, dropped(100, 1)).expect("memory");
    assert_eq!(watch.sum().counters.get(DropCounter::RingFull), 7);
    assert_eq!(shown(&out)[0][0], "node-c");
}

#[tokio::test]
async fn what_an_agent_counted_before_it_left_still_counts_when_it_is_back() {
    let mut out = Vec::new();
    let mut view = Json::new(&mut out);
    let mut agents = Agents::nobody();
    let mut watch = watching(&mut view, None);
    watch.take(&mut agents, 0, full(3)).expect("memory");
    let leaves = said(Change {
        leaves: true,
        ..Change::default()
    });
    watch.take(&mut agents, 0, leaves).expect("memory");
    // Its last report comes when it has detached its program.
    watch.take(&mut agents, 0, full(4)).expect("memory");
    assert_eq!(watch.sum().counters.get(DropCounter::RingFull), 4);
    let anew = said(Change {
        streams: 1,
        ..Change::default()
    });
    watch.take(&mut agents, 0, anew).expect("memory");
    watch.take(&mut agents, 0, full(2)).expect("memory");
    assert_eq!(watch.sum().counters.get(DropCounter::RingFull), 6);
}
