//! Containers behind a bridge of their node, as Docker makes them. Their packets leave with the
//! node's address, and the node publishes a port of theirs. These follows name one side of the
//! translation only, and the verdicts must still be true.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec, Node, Pod,
    program::{Finished, LIMIT, Tracer, evidence},
    traffic::Flow,
};

use crate::{
    expected::{check_balance, is_neighbour, pod, point, seen},
    recordings::{self, keep_clean},
    wirings::{check_flows, plan_of},
};

const PUBLISHED: u16 = 8080;
const PORT: u16 = 80;

/// Two containers on the first node, one of them with a published port.
fn lab() -> Result<Lab> {
    let lab = Lab::new(&LabSpec {
        pods_per_node: 2,
        ..LabSpec::default()
    })?;
    let Node {
        netns,
        bridge,
        pod_cidr_v4,
        pod_cidr_v6,
        ..
    } = &lab.nodes[0];
    let server = &lab.pods[0];
    for (family, v6, cidr) in [("ip", false, pod_cidr_v4), ("ip6", true, pod_cidr_v6)] {
        let rules = format!(
            "table {family} docker {{
                chain prerouting {{
                    type nat hook prerouting priority dstnat;
                    fib daddr type local tcp dport {PUBLISHED} dnat to {};
                }}
                chain postrouting {{
                    type nat hook postrouting priority srcnat;
                    {family} saddr {cidr} oifname != \"{bridge}\" masquerade;
                }}
            }}",
            SocketAddr::new(server.address(v6), PORT)
        );
        netns.batch("nft -f -", &rules)?;
    }
    // With netfilter, a bridge reassembles fragments for connection tracking, and at some MTUs
    // cannot send them again.
    netns.bridge_without_netfilter()?;
    Ok(lab)
}

#[test]
fn from_one_container_to_another() -> Result<()> {
    let lab = lab()?;
    let ends = [&lab.pods[0], &lab.pods[1]];
    plan_of(&lab, ends)?;
    check_flows(&lab, ends)?;
    keep_clean(&lab, ends, "docker")
}

/// The node itself is the client, and its address on the bridge is the gateway.
#[test]
fn from_the_node_to_a_container() -> Result<()> {
    let lab = lab()?;
    let (node, server) = (&lab.nodes[0], &lab.pods[0]);
    let from = node.bridge_v4.to_string();
    let ends = ["--src-ip", &from, "--dst-pod", &pod(server)];
    let mut tracer = Tracer::follow(&lab, ends)?;
    tracer.wait_started(LIMIT)?;
    node.netns
        .run(&format!("ping -n -q -i 0.002 -c 10 {}", server.v4))?;
    let finished = tracer.stop()?;
    let journeys = told(&finished);
    assert_eq!(journeys.len(), 20, "{}", finished.stderr);
    for journey in journeys {
        assert_eq!(journey["verdict"]["kind"], "delivered", "{journey:#}");
    }
    check_balance(&finished.summary);
    Ok(())
}

/// A client outside uses the node's published port. The follow goes as far as the node, which
/// translates the address.
fn to_the_published_port(
    name: &str,
    v6: bool,
    serve: impl FnOnce(&Pod) -> Result<Option<TcpListener>>,
) -> Result<Finished> {
    let lab = lab()?;
    let [node, outside] = [&lab.nodes[0], &lab.nodes[1]];
    let listener = serve(&lab.pods[0])?;
    let [from, to] = [outside, node].map(|node| node.address(v6).to_string());
    let port = PUBLISHED.to_string();
    let ends = ["--src-ip", &from, "--dst-ip", &to];
    let of_port = ["--proto", "tcp", "--dst-port", &port, "--hold", "500ms"];
    let file = recordings::fault(name);
    let args = ends.iter().chain(&of_port).copied();
    let mut tracer = Tracer::follow(&lab, args.chain(file.arguments()))?;
    tracer.wait_started(LIMIT)?;
    let server = thread::spawn(move || {
        let mut accepted = listener.map(|listener| listener.accept()).transpose()?;
        if let Some((connection, _)) = &mut accepted {
            connection.read_exact(&mut [0; 5])?;
            connection.write_all(b"world")?;
        }
        std::io::Result::Ok(())
    });
    let address = SocketAddr::new(node.address(v6), PUBLISHED);
    let patience = Duration::from_millis(700);
    let connect = || TcpStream::connect_timeout(&address, patience);
    if let Ok(mut connection) = outside.netns.enter(connect) {
        connection.write_all(b"hello")?;
        connection.read_exact(&mut [0; 5])?;
    }
    server.join().expect("no panic")?;
    let syn = |value: &Value| value["packet"]["tcp"]["flags"] == "SYN";
    tracer.wait_for(syn, LIMIT)?;
    let finished = tracer.stop()?;
    for journey in told(&finished) {
        let points = seen(journey);
        let way = [
            point(outside, &outside.uplink, "egress"),
            point(node, &node.uplink, "ingress"),
        ];
        let back = [
            point(node, &node.uplink, "egress"),
            point(outside, &outside.uplink, "ingress"),
        ];
        assert!(points == way || points == back, "{journey:#}");
    }
    Ok(finished)
}

fn told(finished: &Finished) -> Vec<&Value> {
    let journeys = finished.journeys.iter();
    journeys.filter(|journey| !is_neighbour(journey)).collect()
}

fn listen(server: &Pod, v6: bool) -> Result<TcpListener> {
    let bind = || TcpListener::bind((server.address(v6), PORT));
    let bound = server.netns.enter(bind);
    bound.context("cannot listen in the container")
}

fn check_published(name: &str, v6: bool) -> Result<()> {
    let finished = to_the_published_port(name, v6, |server| listen(server, v6).map(Some))?;
    let journeys = told(&finished);
    assert!(journeys.len() >= 6, "{}", finished.stderr);
    for journey in journeys {
        // Only the node's table knows the further destination, which nothing observes. A pure
        // acknowledgement is not acknowledged.
        let entries = evidence(journey, "conntrack").count();
        let is_told = journey["verdict"]["kind"] == "unknown" && entries == 1;
        let is_request = journey["direction"] == "request";
        let is_unsure = is_told && is_request && journey["packet"]["tcp"]["flags"] == "ACK";
        let kind = &journey["verdict"]["kind"];
        assert!(is_unsure || kind == "delivered", "{journey:#}");
        if is_request && journey["packet"]["tcp"]["flags"] == "SYN" {
            // The agent read the entry after the SYN, so the entry tells who answers.
            let text = journey["verdict"]["text"].as_str().unwrap_or_default();
            assert!(text.starts_with("delivered: reached "), "{journey:#}");
            assert_eq!(journey["verdict"]["confidence"], "confirmed", "{journey:#}");
        }
    }
    Ok(())
}

#[test]
fn to_a_published_port() -> Result<()> {
    check_published("docker-published", false)
}

#[test]
fn to_a_published_port_over_ipv6() -> Result<()> {
    check_published("docker-published-v6", true)
}

fn check_not_served(name: &str, v6: bool) -> Result<()> {
    let finished = to_the_published_port(name, v6, |_| Ok(None))?;
    let journeys = told(&finished);
    let [question, answer] = journeys.as_slice() else {
        panic!("{journeys:#?}");
    };
    assert_eq!(question["verdict"]["kind"], "refused", "{question:#}");
    assert_eq!(question["verdict"]["cause"], "reset", "{question:#}");
    assert_eq!(answer["verdict"]["kind"], "delivered", "{answer:#}");
    Ok(())
}

#[test]
fn to_a_published_port_that_nobody_serves() -> Result<()> {
    check_not_served("docker-no-listener", false)
}

#[test]
fn to_a_published_port_that_nobody_serves_over_ipv6() -> Result<()> {
    check_not_served("docker-no-listener-v6", true)
}

/// The unobserved container drops the packet silently. Only the node's table shows that the packet
/// was forwarded to the container.
#[test]
fn to_a_published_port_that_does_not_answer() -> Result<()> {
    let finished = to_the_published_port("docker-silent", false, |server| {
        let rules = "table ip fault { chain fault { type filter hook input priority 0; \
                     tcp dport 80 drop; }; }";
        server.netns.batch("nft -f -", rules)?;
        Ok(None)
    })?;
    for journey in told(&finished) {
        assert_eq!(journey["verdict"]["kind"], "unknown", "{journey:#}");
        assert_eq!(evidence(journey, "conntrack").count(), 1, "{journey:#}");
    }
    Ok(())
}

/// A container sends to another node, with its own node's address. Each packet is one journey, on
/// both sides of the translation and on both nodes.
fn check_masqueraded(name: &str, v6: bool) -> Result<()> {
    let lab = lab()?;
    let (client, outside) = (&lab.pods[1], &lab.nodes[1]);
    let to = outside.address(v6).to_string();
    let ends = ["--src-pod", &pod(client), "--dst-ip", &to];
    let file = recordings::fault(name);
    let args = ends.iter().chain(&["--hold", "500ms"]).copied();
    let mut tracer = Tracer::follow(&lab, args.chain(file.arguments()))?;
    tracer.wait_started(LIMIT)?;
    client
        .netns
        .run(&format!("ping -n -q -i 0.002 -c 5 {to}"))?;
    // Nobody listens, and a rule suppresses the ICMP error.
    let rules = "table inet fault { chain fault { type filter hook input priority 0; \
                 meta l4proto udp drop; }; }";
    outside.netns.batch("nft -f -", rules)?;
    let bind = || UdpSocket::bind((client.address(v6), 0));
    let socket = client.netns.enter(bind)?;
    socket.send_to(&[0; 64], (outside.address(v6), 9))?;
    let unanswered = |value: &Value| value["packet"]["proto"] == "udp";
    let journey = tracer.wait_for(unanswered, LIMIT)?;
    assert_eq!(journey["verdict"]["kind"], "dropped", "{journey:#}");
    assert_eq!(journey["verdict"]["drop"]["node"], *outside.name);
    let finished = tracer.stop()?;
    let pings = told(&finished)
        .into_iter()
        .filter(|journey| !journey["packet"]["icmp"].is_null());
    let mut count = 0;
    for journey in pings {
        count += 1;
        assert_eq!(journey["verdict"]["kind"], "delivered", "{journey:#}");
    }
    assert_eq!(count, 10);
    Ok(())
}

#[test]
fn from_a_container_with_the_nodes_address() -> Result<()> {
    check_masqueraded("docker-masqueraded", false)
}

#[test]
fn from_a_container_with_the_nodes_address_over_ipv6() -> Result<()> {
    check_masqueraded("docker-masqueraded-v6", true)
}

/// A rule of the node drops packets to a container.
#[test]
fn a_rule_of_the_node_drops_what_is_for_a_container() -> Result<()> {
    let lab = lab()?;
    let (client, server, node) = (&lab.pods[2], &lab.pods[0], &lab.nodes[0]);
    let rules = format!(
        "table ip fault {{ chain fault {{ type filter hook forward priority 0; \
         oifname \"{}\" drop; }}; }}",
        node.bridge
    );
    node.netns.batch("nft -f -", &rules)?;
    let ends = ["--src-pod", &pod(client), "--dst-pod", &pod(server)];
    let mut tracer = Tracer::follow(&lab, ends)?;
    tracer.wait_started(LIMIT)?;
    let pings = Flow::new(client, server).ping(1, Duration::from_millis(2))?;
    assert_eq!(pings.received, 0);
    let journey = tracer.wait_for(|value| value["packet"]["proto"] == "icmp", LIMIT)?;
    assert_eq!(journey["verdict"]["kind"], "dropped", "{journey:#}");
    assert_eq!(journey["verdict"]["cause"], "netfilter", "{journey:#}");
    assert_eq!(
        journey["verdict"]["drop"]["node"], *node.name,
        "{journey:#}"
    );
    Ok(())
}
