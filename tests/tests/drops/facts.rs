//! The facts that `--explain` adds to a drop. They are compared with the state of the kernel that
//! the test has set.

use std::{
    net::{IpAddr, UdpSocket},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::sys::socket::{setsockopt, sockopt::RcvBuf};
use serde_json::Value;
use tracer_tests::{Lab, LabSpec, Node, Pod};

use crate::{
    faults::is_between,
    watch::{Watch, brief},
};

/// Makes a fault, sends from the first pod to the last, and returns the facts of the first drop
/// between the two with this reason.
fn facts(
    spec: &LabSpec,
    reason: &str,
    fault: impl FnOnce(&Lab) -> Result<()>,
    traffic: impl FnOnce(&Pod, &Pod) -> Result<()>,
) -> Result<(Lab, Vec<String>)> {
    let lab = Lab::new(spec)?;
    let pods = [&lab.pods[0], &lab.pods[lab.pods.len() - 1]];
    let mut watch = Watch::start(&lab, &["--explain"])?;
    fault(&lab)?;
    traffic(pods[0], pods[1])?;
    let drop = watch.wait_for(|drop| is_between(drop, pods) && drop["reason"] == reason)?;
    let told = watch.stop()?;
    // Reading the facts drops nothing.
    let strangers: Vec<Value> = told
        .drops
        .iter()
        .filter(|drop| !is_between(drop, pods) && drop["class"] == "unknown")
        .cloned()
        .collect();
    assert!(strangers.is_empty(), "{:#?}", brief(&strangers));
    let facts = drop["facts"].as_array().context("a list")?;
    let facts = facts
        .iter()
        .filter_map(|fact| Some(fact["text"].as_str()?.to_owned()));
    Ok((lab, facts.collect()))
}

/// Sends datagrams to a port at which none arrives.
fn send(from: &Pod, to: IpAddr, bytes: usize) -> Result<()> {
    let socket = from.netns.enter(|| match to {
        IpAddr::V4(_) => UdpSocket::bind((from.v4, 0)),
        IpAddr::V6(_) => UdpSocket::bind((from.v6, 0)),
    })?;
    for _ in 0..5 {
        // Sending fails if the route forbids it at once. Only the sent datagrams count.
        let _ = socket.send_to(&vec![0; bytes], (to, 9));
    }
    Ok(())
}

/// Sends a datagram twice a second for a while, or until the pod's interface is gone. The first
/// datagrams may be lost while the kernel still forgets the way.
pub(crate) fn keep_sending(from: &Pod, to: &Pod) -> Result<()> {
    let socket = from.netns.enter(|| UdpSocket::bind((from.v4, 0)))?;
    let to = (to.v4, 9);
    thread::spawn(move || {
        for _ in 0..40 {
            if socket.send_to(&[0; 10], to).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(500));
        }
    });
    Ok(())
}

fn small(from: &Pod, to: &Pod) -> Result<()> {
    send(from, to.v4.into(), 10)
}

/// Two nodes with a pod each.
fn usual() -> LabSpec {
    LabSpec::default()
}

/// The facts in the sk_buff of a routed packet, without connection tracking.
fn routed(device: &str) -> String {
    format!("the packet had mark 0x0, no tracked connection, and a route out of {device}")
}

#[test]
fn no_route() -> Result<()> {
    let remove = |lab: &Lab| {
        let route = format!("ip route del {}", lab.nodes[1].pod_cidr_v4);
        lab.nodes[0].netns.run(&route).map(drop)
    };
    let (lab, facts) = facts(&usual(), "IP_INNOROUTES", remove, small)?;
    assert_eq!(facts, [format!("no route to {}", lab.pods[1].v4)]);
    Ok(())
}

#[test]
fn a_blackhole_route_of_both_families() -> Result<()> {
    let add = |lab: &Lab| {
        let v4 = format!("ip route add blackhole {}/32", lab.pods[1].v4);
        lab.nodes[0].netns.run(&v4)?;
        let v6 = format!("ip route add prohibit {}/128", lab.pods[1].v6);
        lab.nodes[0].netns.run(&v6).map(drop)
    };
    let (lab, told) = facts(&usual(), "NOT_SPECIFIED", add, small)?;
    let route = format!("route to {}: blackhole", lab.pods[1].v4);
    assert!(told.contains(&route), "{told:?}");
    let bridge = format!("{} is up, MTU {}", lab.nodes[0].bridge, lab.pod_mtu);
    assert!(told.contains(&bridge), "{told:?}");
    Ok(())
}

#[test]
fn the_neighbour_entry_of_a_silent_pod() -> Result<()> {
    let down = |lab: &Lab| {
        lab.take_link_down(&lab.pods[3])?;
        lab.forget(&lab.pods[3], lab.pods[3].v4.into())
    };
    // A single pod would take the bridge down with it, so there is another one.
    let spec = LabSpec {
        pods_per_node: 2,
        ..usual()
    };
    let (lab, facts) = facts(&spec, "NEIGH_FAILED", down, keep_sending)?;
    let Node { bridge, .. } = &lab.nodes[1];
    let pod = lab.pods[3].v4;
    assert_eq!(facts, [format!("neighbour {pod} on {bridge}: FAILED")]);
    Ok(())
}

#[test]
fn the_chain_on_the_way_and_no_other() -> Result<()> {
    let rules = |lab: &Lab| {
        let rules = "table inet faults { \
             chain fault { type filter hook forward priority -7; udp dport 9 drop; }; \
             chain other { type filter hook input priority 0; tcp dport 9 drop; }; \
             chain open { type filter hook forward priority 1; }; }";
        lab.nodes[1].netns.batch("nft -f -", rules).map(drop)
    };
    let (lab, facts) = facts(&usual(), "NETFILTER_DROP", rules, small)?;
    let chain = "chains at forward: inet faults/fault (priority -7, policy accept)";
    assert_eq!(facts, [routed(&lab.nodes[1].bridge), chain.to_owned()]);
    Ok(())
}

#[test]
fn the_chain_inside_a_pod() -> Result<()> {
    let rules = |lab: &Lab| {
        let rules = "table ip inside { \
             chain gate { type filter hook input priority 3; policy drop; }; }";
        lab.pods[1].netns.batch("nft -f -", rules).map(drop)
    };
    let (_, facts) = facts(&usual(), "NETFILTER_DROP", rules, small)?;
    assert_eq!(
        facts,
        ["chains at input: ip inside/gate (priority 3, policy drop)"]
    );
    Ok(())
}

#[test]
fn the_setting_of_rp_filter_and_the_way_back() -> Result<()> {
    let strict = |lab: &Lab| {
        let node = &lab.nodes[1];
        let setting = format!("ipv4/conf/{}/rp_filter", node.overlay);
        node.netns
            .sysctl(&[(&setting, "1"), ("ipv4/conf/all/rp_filter", "0")])?;
        // The sender's packets now come from another interface than the route back.
        let back = format!("ip route add {}/32 dev {}", lab.pods[0].v4, node.uplink);
        node.netns.run(&back).map(drop)
    };
    let (lab, facts) = facts(&usual(), "IP_RPFILTER", strict, small)?;
    let Node {
        overlay, uplink, ..
    } = &lab.nodes[1];
    let sender = lab.pods[0].v4;
    assert_eq!(
        facts,
        [
            format!("rp_filter is 1 on {overlay} (all 0, {overlay} 1)"),
            format!("route back to {sender}: dev {uplink}"),
        ]
    );
    Ok(())
}

#[test]
fn what_a_socket_that_nobody_reads_holds() -> Result<()> {
    let lab = Lab::new(&usual())?;
    let pods = [&lab.pods[0], &lab.pods[1]];
    let mut watch = Watch::start(&lab, &["--explain"])?;
    let receiver = pods[1].netns.enter(|| UdpSocket::bind((pods[1].v4, 0)))?;
    setsockopt(&receiver, RcvBuf, &4096)?;
    let port = receiver.local_addr()?.port();
    let sender = pods[0].netns.enter(|| UdpSocket::bind((pods[0].v4, 0)))?;
    for _ in 0..100 {
        sender.send_to(b"a datagram", (pods[1].v4, port))?;
    }
    let drop = watch.wait_for(|drop| is_between(drop, pods))?;
    watch.stop()?;
    let fact = drop["facts"][0]["text"].as_str().context("a fact")?;
    let held = fact
        .strip_prefix(&format!("the UDP socket on port {port} holds "))
        .and_then(|rest| rest.split_once(" bytes unread and has dropped "))
        .with_context(|| format!("{drop:#}"))?;
    // The kernel doubles the requested size, and accepts one packet beyond it.
    let bytes: u32 = held.0.parse()?;
    assert!((4096..=16_384).contains(&bytes), "{fact}");
    let dropped: u32 = held.1.trim_end_matches(" packets").parse()?;
    assert!((1..=100).contains(&dropped), "{fact}");
    Ok(())
}

#[test]
fn without_explain_there_are_none() -> Result<()> {
    let lab = Lab::new(&usual())?;
    let pods = [&lab.pods[0], &lab.pods[1]];
    let route = format!("ip route del {}", lab.nodes[1].pod_cidr_v4);
    lab.nodes[0].netns.run(&route)?;
    for args in [&[][..], &["--explain=false"]] {
        let mut watch = Watch::start(&lab, args)?;
        small(pods[0], pods[1])?;
        let drop = watch.wait_for(|drop| is_between(drop, pods))?;
        assert_eq!(drop["facts"], Value::Array(Vec::new()), "{drop:#}");
        watch.stop()?;
    }
    Ok(())
}

#[test]
fn the_mtu_that_a_packet_exceeds() -> Result<()> {
    let narrow = |lab: &Lab| {
        let node = &lab.nodes[0];
        let set = format!("ip link set {} mtu 1280", node.overlay);
        node.netns.run(&set).map(drop)
    };
    let large = |from: &Pod, to: &Pod| {
        // The datagram has DF, as with path MTU discovery.
        send(from, to.v4.into(), 1300)
    };
    let (lab, facts) = facts(&usual(), "PKT_TOO_BIG", narrow, large)?;
    let overlay = &lab.nodes[0].overlay;
    let mtu = format!("{overlay}: MTU 1280, packet has 1328 bytes");
    assert_eq!(facts, [routed(overlay), mtu]);
    Ok(())
}
