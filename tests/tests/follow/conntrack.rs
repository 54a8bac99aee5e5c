//! Connection tracking besides translation: it reassembles fragments, keeps connections apart in
//! zones, and lets packets pass untracked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec, Pod, Proxy, Service, ServicePort,
    program::{LIMIT, Tracer},
    traffic::{Flow, tcp_to_service},
};

use crate::{
    expected::{check_balance, is_before_start, is_neighbour, pod},
    recordings,
    services::{ends, translations},
};

/// A payload that needs fragments, bytes.
const LARGE: usize = 3000;

/// The MTU between nodes. A bridge that reassembles fragments cuts them again for an MTU of 1500,
/// whatever its own MTU is. It drops datagrams that came in larger fragments (`br_nf_ip_fragment`
/// in net/bridge/br_netfilter_hooks.c).
const MTU: u32 = 1500;

fn lab(endpoint: usize) -> Result<(Lab, Service)> {
    let mut lab = Lab::new(&LabSpec {
        pods_per_node: 2,
        mtu: Some(MTU),
        ..LabSpec::default()
    })?;
    let ports = vec![ServicePort::tcp(80, 8080), ServicePort::udp(80, 8080)];
    let service = lab.add_service(Proxy::Iptables, ports, &[endpoint])?;
    Ok((lab, service))
}

/// Follows the first pod and a Service, or another destination.
fn follow(
    lab: &Lab,
    to: &[&str],
    name: &str,
    traffic: impl FnOnce(&mut Tracer) -> Result<()>,
) -> Result<Vec<Value>> {
    let recording = recordings::fault(name);
    let source = pod(&lab.pods[0]);
    let args = ["--src-pod", &source, "--hold", "1s"];
    let args = args.iter().chain(to).copied();
    let mut tracer = Tracer::follow(lab, args.chain(recording.arguments()))?;
    tracer.wait_started(LIMIT)?;
    traffic(&mut tracer)?;
    let mut finished = tracer.stop()?;
    check_balance(&finished.summary);
    let is_shown = |journey: &mut Value| !is_neighbour(journey) && !is_before_start(journey);
    let journeys: Vec<Value> = finished.journeys.extract_if(.., is_shown).collect();
    assert!(!journeys.is_empty(), "{}", finished.stderr);
    Ok(journeys)
}

/// Sends a large datagram to a Service and back, twice. The follow does not know the flow's
/// translation when the first one comes.
fn exchange(tracer: &mut Tracer, client: &Pod, server: &Pod, at: SocketAddr) -> Result<()> {
    let any: IpAddr = match at.is_ipv6() {
        true => Ipv6Addr::UNSPECIFIED.into(),
        false => Ipv4Addr::UNSPECIFIED.into(),
    };
    let own = SocketAddr::new(server.address(at.is_ipv6()), 8080);
    let server = server.netns.enter(|| UdpSocket::bind(own))?;
    let client = client.netns.enter(|| UdpSocket::bind((any, 0)))?;
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    }
    client.connect(at)?;
    let mut datagram = [0; LARGE];
    for number in 0..2 {
        client.send(&[number; LARGE])?;
        let (len, from) = server.recv_from(&mut datagram).context("the question")?;
        server.send_to(&datagram[..len], from)?;
        assert_eq!(client.recv(&mut datagram).context("the answer")?, LARGE);
        let is_answer =
            |value: &Value| value["direction"] == "reply" && !value["packet"]["fragment"].is_null();
        tracer.wait_for(is_answer, LIMIT)?;
    }
    Ok(())
}

/// Fragments arrive that a node reassembles, translates and cuts again, and no other verdict
/// appears. IPv4 fragments are one journey across the translation, from the first datagram on.
/// IPv6 gives a datagram that it cuts again another identification, so nothing joins the two
/// (`ip6_fragment` in net/ipv6/ip6_output.c).
#[test]
fn fragments_through_a_service() -> Result<()> {
    for endpoint in [1, 2] {
        let (lab, service) = lab(endpoint)?;
        let [client, server] = [&lab.pods[0], &lab.pods[endpoint]];
        let name = service.full_name();
        for v6 in [false, true] {
            let place = if endpoint == 1 {
                "one-node"
            } else {
                "two-nodes"
            };
            let recording = format!("service-fragments-{place}-{}", if v6 { 6 } else { 4 });
            let at = service.at(v6, 1);
            let journeys = follow(&lab, &["--dst-service", &name], &recording, |tracer| {
                exchange(tracer, client, server, at)
            })?;
            let mut whole = 0;
            for journey in &journeys {
                let kind = &journey["verdict"]["kind"];
                assert!(kind == "delivered" || kind == "unknown", "{journey:#}");
                let is_whole = translations(journey)?.len() == 1 && kind == "delivered";
                whole += u32::from(is_whole);
            }
            // Two datagrams in each direction.
            assert_eq!(whole, if v6 { 0 } else { 4 }, "{journeys:#?}");
        }
    }
    Ok(())
}

/// Connections in a zone are translated like others. The journeys show the translation, and tracer
/// takes no entry of another zone for theirs.
#[test]
fn connections_in_a_zone() -> Result<()> {
    let (lab, service) = lab(2)?;
    let [client, server] = [&lab.pods[0], &lab.pods[2]];
    let node = lab.node_of(client);
    let zones = "table inet zones { chain in { type filter hook prerouting priority raw; ct zone \
                 set 7; }; chain out { type filter hook output priority raw; ct zone set 7; }; }";
    node.netns.batch("nft -f -", zones)?;
    // An entry without a zone leads elsewhere.
    let entry = format!(
        "conntrack -I -p tcp -s {} -d {} --sport 40000 --dport 80 -g {} --reply-port-src 8080 \
         --state ESTABLISHED -t 600",
        client.v4, service.v4, lab.pods[1].v4
    );
    node.netns.run(&entry)?;
    let name = service.full_name();
    let at = service.at(false, 0);
    let journeys = follow(&lab, &["--dst-service", &name], "service-zone", |_| {
        let served = tcp_to_service(&client.netns, at, (&[server], 8080), 3)?;
        assert!(served.is_complete(), "{served:?}");
        Ok(())
    })?;
    for journey in &journeys {
        assert_eq!(journey["verdict"]["kind"], "delivered", "{journey:#}");
        let [(_, from, to)] = translations(journey)?[..] else {
            panic!("one translation: {journey:#}");
        };
        let endpoint = SocketAddr::new(server.address(false), 8080);
        let [src, _] = ends(journey)?;
        let is_right = match journey["direction"] == "request" {
            true => (from, to) == (at, endpoint),
            false => (src, to) == (endpoint, at),
        };
        assert!(is_right, "{journey:#}");
    }
    Ok(())
}

/// Untracked packets arrive as usual. A bridge still reassembles datagrams.
#[test]
fn packets_that_are_not_tracked() -> Result<()> {
    let (lab, _) = lab(2)?;
    let [client, server] = [&lab.pods[0], &lab.pods[2]];
    for node in &lab.nodes {
        let rules = "table inet untracked { chain in { type filter hook prerouting priority raw;
                     notrack
                     }; chain out { type filter hook output priority raw;
                     notrack
                     }; }";
        node.netns.batch("nft -f -", rules)?;
    }
    let journeys = follow(&lab, &["--dst-pod", &pod(server)], "untracked", |_| {
        for v6 in [false, true] {
            let flow = Flow::new(client, server).v6(v6);
            assert!(flow.tcp_connects(2)?.is_complete());
            assert!(flow.udp_exchange(2, LARGE)?.is_complete());
        }
        Ok(())
    })?;
    let mut datagrams = 0;
    for journey in &journeys {
        let packet = &journey["packet"];
        let is_v6 = packet["src"].as_str().context("an address")?.contains(':');
        // Nothing joins IPv6 fragments that a node has cut again.
        if !(is_v6 && packet["proto"] == "udp" && journey["verdict"]["kind"] == "unknown") {
            assert_eq!(journey["verdict"]["kind"], "delivered", "{journey:#}");
        }
        // The reassembled datagram at the bridge device is no separate packet.
        datagrams += u64::from(packet["proto"] == "udp" && packet["fragment"].is_null());
    }
    assert_eq!(datagrams, 0);
    Ok(())
}

/// What nothing tracks is not translated either: a packet to a Service is dropped, or leaves the
/// node as it is.
#[test]
fn untracked_packets_to_a_service() -> Result<()> {
    let (lab, service) = lab(2)?;
    let client = &lab.pods[0];
    let rules = "table inet untracked { chain in { type filter hook prerouting priority raw; \
                 notrack; }; chain out { type filter hook output priority raw; notrack; }; }";
    lab.node_of(client).netns.batch("nft -f -", rules)?;
    let name = service.full_name();
    let at = service.at(false, 1);
    let journeys = follow(&lab, &["--dst-service", &name], "untracked-service", |_| {
        let socket = client.netns.enter(|| UdpSocket::bind((client.v4, 0)))?;
        socket.send_to(&[7; 64], at)?;
        socket.set_read_timeout(Some(Duration::from_secs(4)))?;
        assert!(socket.recv(&mut [0; 64]).is_err());
        Ok(())
    })?;
    let mut told = 0;
    // The node answers with an ICMP error.
    let requests = journeys
        .iter()
        .filter(|journey| journey["direction"] == "request");
    for journey in requests {
        let verdict = &journey["verdict"];
        // One that waited for the neighbour may be freed as another one.
        let is_known = verdict["kind"] == "dropped" && verdict["cause"] == "not-translated";
        assert!(is_known || verdict["kind"] == "unknown", "{journey:#}");
        told += u64::from(is_known);
    }
    assert!(told > 0, "{journeys:#?}");
    Ok(())
}
