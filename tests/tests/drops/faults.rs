//! Faults, one at a time, on a lab that is otherwise without a fault.
//!
//! | fault | node | reason | function | kernel's source |
//! |---|---|---|---|---|
//! | nftables drop, forward of b | b | `NETFILTER_DROP` | `nft_do_chain` | net/netfilter/nf_tables_core.c |
//! | nftables drop, input of the pod | b | `NETFILTER_DROP` | `nft_do_chain` | the same |
//! | pod gone from its link | b | `NEIGH_FAILED` | `neigh_invalidate`, `arp_error_report` | net/core/neighbour.c, net/ipv4/arp.c |
//! | no route to b's pods | a | `IP_INNOROUTES` | `ip_error` | net/ipv4/route.c |
//! | blackhole route | a | `NOT_SPECIFIED` | `ip_error` | net/ipv4/route.c: `fib_props` has EINVAL for it |
//! | UDP receive buffer full | b | `SOCKET_RCVBUFF` | `__udp_enqueue_schedule_skb` or who it is inlined in | net/ipv4/udp.c |

use std::{fs, net::UdpSocket, time::Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::socket::{setsockopt, sockopt::RcvBuf};
use serde_json::Value;
use tracer_tests::{Lab, LabSpec, Netns, Pod, program::LIMIT, traffic::Flow};

use crate::{
    facts::keep_sending,
    watch::{Told, Watch, brief, name},
};

/// The expected drop of a fault.
struct Expected {
    /// Index of the node.
    node: usize,
    /// The namespace of the drop: the node's own, or that of the pod with this index.
    inside: Option<usize>,
    reason: &'static str,
    functions: &'static [&'static str],
}

/// The first pod of the first node, and one of the last.
fn ends(lab: &Lab) -> [&Pod; 2] {
    [&lab.pods[0], &lab.pods[lab.pods.len() - 1]]
}

/// Two nodes with a pod each.
fn lab() -> Result<Lab> {
    Lab::new(&LabSpec::default())
}

/// Whether the packet of a drop is one between these pods.
pub(crate) fn is_between(drop: &Value, pods: [&Pod; 2]) -> bool {
    let names = pods.map(name);
    let is = |key: &str, name: &str| drop[key] == *name;
    (is("src_pod", &names[0]) && is("dst_pod", &names[1]))
        || (is("src_pod", &names[1]) && is("dst_pod", &names[0]))
}

/// Checks a drop against the expected one. No other node may report drops of the two pods' packets.
fn check(lab: &Lab, told: &Told, expected: &Expected) {
    let pods = ends(lab);
    let drops: Vec<Value> = told
        .drops
        .iter()
        .filter(|drop| is_between(drop, pods))
        .cloned()
        .collect();
    assert!(!drops.is_empty(), "{:#?}", brief(&told.drops));
    for drop in &drops {
        let text = || format!("{drop:#}\namong {:#?}", brief(&told.drops));
        assert_eq!(drop["class"], "loss", "{}", text());
        assert_eq!(drop["node"], *lab.nodes[expected.node].name, "{}", text());
        let netns = match expected.inside {
            Some(pod) => name(&lab.pods[pod]),
            None => "host".to_owned(),
        };
        assert_eq!(drop["netns"], *netns, "{}", text());
        assert_eq!(drop["reason"], expected.reason, "{}", text());
        let function = drop["function"].as_str().expect("a name");
        assert!(expected.functions.contains(&function), "{}", text());
        assert_eq!(drop["src_pod"], *name(pods[0]), "{}", text());
        assert_eq!(drop["dst_pod"], *name(pods[1]), "{}", text());
    }
}

/// The number of dropped packets between the two pods.
fn packets(lab: &Lab, told: &Told) -> u64 {
    let pods = ends(lab);
    let drops = told.drops.iter().filter(|drop| is_between(drop, pods));
    drops.filter_map(|drop| drop["packets"].as_u64()).sum()
}

/// An nftables base chain that drops UDP to a port, for `nft -f -`.
fn rules(hook: &str, port: u16) -> String {
    format!(
        "table inet faults {{ chain fault {{ type filter hook {hook} priority 0; \
         udp dport {port} drop; }}; }}"
    )
}

/// Sends datagrams to a port at which all are dropped.
fn send(from: &Pod, to: &Pod, port: u16, count: usize) -> Result<()> {
    let socket = from.netns.enter(|| UdpSocket::bind((from.v4, 0)))?;
    for _ in 0..count {
        // Sending fails if the route forbids it at once. Only the sent datagrams count.
        let _ = socket.send_to(b"a datagram", (to.v4, port));
    }
    Ok(())
}

/// Starts a watch, makes the fault, sends 20 datagrams, and waits until a drop of one is shown.
fn fault(make: impl FnOnce(&Lab) -> Result<()>, expected: &Expected) -> Result<(Lab, Told)> {
    fault_in(lab()?, make, expected)
}

fn fault_in(
    lab: Lab,
    make: impl FnOnce(&Lab) -> Result<()>,
    expected: &Expected,
) -> Result<(Lab, Told)> {
    let [a, b] = ends(&lab);
    let mut watch = Watch::start(&lab, &[])?;
    assert!(Flow::new(a, b).udp_exchange(20, 64)?.is_complete());
    make(&lab)?;
    send(a, b, 9, 20)?;
    watch.wait_for(|drop| is_between(drop, [a, b]))?;
    let told = watch.stop()?;
    check(&lab, &told, expected);
    Ok((lab, told))
}

const NFTABLES: [&str; 2] = ["nft_do_chain", "nf_hook_slow"];

fn nft(netns: &Netns, hook: &str) -> Result<()> {
    netns.batch("nft -f -", &rules(hook, 9)).map(drop)
}

#[test]
fn a_rule_that_drops_what_a_node_forwards() -> Result<()> {
    let expected = Expected {
        node: 1,
        inside: None,
        reason: "NETFILTER_DROP",
        functions: &NFTABLES,
    };
    let (lab, told) = fault(|lab| nft(&lab.nodes[1].netns, "forward"), &expected)?;
    assert_eq!(packets(&lab, &told), 20);
    let overlay = &*lab.nodes[1].overlay;
    for drop in &told.drops {
        assert_eq!(drop["interface"], *overlay, "{drop:#}");
    }
    Ok(())
}

#[test]
fn a_rule_inside_a_pod() -> Result<()> {
    let expected = Expected {
        node: 1,
        inside: Some(1),
        reason: "NETFILTER_DROP",
        functions: &NFTABLES,
    };
    let (lab, told) = fault(|lab| nft(&lab.pods[1].netns, "input"), &expected)?;
    assert_eq!(packets(&lab, &told), 20);
    Ok(())
}

#[test]
fn a_pod_that_has_lost_its_link_has_no_neighbour_entry() -> Result<()> {
    let expected = Expected {
        node: 1,
        inside: None,
        reason: "NEIGH_FAILED",
        functions: &["neigh_invalidate", "arp_error_report"],
    };
    let down = |lab: &Lab| {
        let [sender, pod] = ends(lab);
        lab.take_link_down(pod)?;
        lab.forget(pod, pod.v4.into())?;
        keep_sending(sender, pod)
    };
    // A single pod would take the bridge down with it, so there is another one.
    let lab = Lab::new(&LabSpec {
        pods_per_node: 2,
        ..LabSpec::default()
    })?;
    let (lab, told) = fault_in(lab, down, &expected)?;
    let bridge = &*lab.nodes[1].bridge;
    for drop in told
        .drops
        .iter()
        .filter(|drop| drop["reason"] == "NEIGH_FAILED")
    {
        assert_eq!(drop["interface"], *bridge, "{drop:#}");
    }
    Ok(())
}

#[test]
fn no_route_to_the_other_nodes_pods() -> Result<()> {
    let expected = Expected {
        node: 0,
        inside: None,
        reason: "IP_INNOROUTES",
        functions: &["ip_error"],
    };
    let remove = |lab: &Lab| {
        let route = format!("ip route del {}", lab.nodes[1].pod_cidr_v4);
        lab.nodes[0].netns.run(&route).map(drop)
    };
    let (lab, told) = fault(remove, &expected)?;
    assert_eq!(packets(&lab, &told), 20);
    Ok(())
}

#[test]
fn a_blackhole_route() -> Result<()> {
    let expected = Expected {
        node: 0,
        inside: None,
        reason: "NOT_SPECIFIED",
        functions: &["ip_error"],
    };
    let add = |lab: &Lab| {
        let route = format!("ip route add blackhole {}/32", lab.pods[1].v4);
        lab.nodes[0].netns.run(&route).map(drop)
    };
    let (lab, told) = fault(add, &expected)?;
    assert_eq!(packets(&lab, &told), 20);
    Ok(())
}

/// The number of datagrams that found no room in the buffers of a pod's sockets, by the kernel's
/// counter (net/ipv4/proc.c).
fn without_room(pod: &Pod) -> Result<u64> {
    let read = || fs::read_to_string("/proc/thread-self/net/snmp");
    let text = pod.netns.enter(read)?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, counts) = lines.next().zip(lines.next()).context("no counts of UDP")?;
    let mut counts = names.split(' ').zip(counts.split(' '));
    let found = counts.find(|(name, _)| *name == "RcvbufErrors");
    let (_, count) = found.context("full buffers are not counted")?;
    Ok(count.parse()?)
}

#[test]
fn a_socket_that_nobody_reads() -> Result<()> {
    let lab = lab()?;
    let [a, b] = [&lab.pods[0], &lab.pods[1]];
    let mut watch = Watch::start(&lab, &[])?;
    let socket = b.netns.enter(|| UdpSocket::bind((b.v4, 0)))?;
    setsockopt(&socket, RcvBuf, &4096)?;
    let port = socket.local_addr()?.port();
    send(a, b, port, 400)?;
    watch.wait_for(|drop| is_between(drop, [a, b]))?;
    // All have arrived once the kernel has delivered or dropped as many.
    socket.set_nonblocking(true)?;
    let deadline = Instant::now() + LIMIT;
    let mut arrived = 0;
    while arrived + without_room(b)? < 400 {
        ensure!(Instant::now() < deadline, "only {arrived} arrived");
        while socket.recv(&mut [0; 64]).is_ok() {
            arrived += 1;
        }
    }
    let told = watch.stop()?;
    let expected = Expected {
        node: 1,
        inside: Some(1),
        reason: "SOCKET_RCVBUFF",
        functions: &[
            "__udp_enqueue_schedule_skb",
            "udp_queue_rcv_one_skb",
            "udp_queue_rcv_skb",
            "udp_unicast_rcv_skb",
        ],
    };
    check(&lab, &told, &expected);
    assert_eq!(packets(&lab, &told) + arrived, 400);
    Ok(())
}

#[test]
fn the_pod_and_the_node_that_were_asked_for() -> Result<()> {
    let lab = lab()?;
    let [a, b] = [&lab.pods[0], &lab.pods[1]];
    nft(&lab.nodes[1].netns, "forward")?;
    let asked = Watch::start(&lab, &["--pod", &name(a), "--count", "20"])?;
    let other_node = Watch::start(&lab, &["--node", &lab.nodes[0].name])?;
    send(a, b, 9, 20)?;
    let told = asked.ended()?;
    assert_eq!(packets(&lab, &told), 20);
    assert!(other_node.stop()?.drops.is_empty());

    let socket = lab.nodes[0].netns.enter(|| UdpSocket::bind("0.0.0.0:0"))?;
    let nobody = Watch::start(&lab, &["--pod", &name(a)])?;
    socket
        .send_to(b"not the pod's", (b.v4, 9))
        .context("a node reaches pods")?;
    let all = Watch::start(&lab, &["--count", "1"])?;
    socket.send_to(b"not the pod's", (b.v4, 9))?;
    assert_eq!(all.ended()?.drops.len(), 1);
    assert!(nobody.stop()?.drops.is_empty());
    Ok(())
}
