//! Traffic that leaves the cluster, and traffic that comes in. Packets go to an address that no
//! agent watches, with the node's address in place of the pod's. Others come to a node's port, with
//! the client's address or without. Each packet is one journey with its translations. A packet that
//! leaves is `left`, unless an answer shows that it arrived.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tracer_tests::{
    External, Lab, LabSpec, Node, Outside, Pod, Proxy, Service, ServicePort,
    lab::{Translated, conntrack},
    program::{Finished, LIMIT, Tracer},
    traffic::{Says, Served, look_up, tcp_to, tcp_to_service, udp_to, udp_to_service},
};

use crate::{
    expected::{Point, check_balance, is_before_start, is_neighbour, pod, point, seen},
    recordings,
    services::{ends, translations},
};

/// The number of connections for each protocol and IP version.
const COUNT: u64 = 5;

/// The port of the server outside.
const PORT: u16 = 4433;

/// The Service's port at every node.
const NODE_PORT: u16 = 30080;

fn lab() -> Result<(Lab, Outside)> {
    let lab = Lab::new(&LabSpec {
        pods_per_node: 2,
        ..LabSpec::default()
    })?;
    let outside = lab.add_outside()?;
    Ok((lab, outside))
}

/// Follows during `traffic`, and returns the packets between the ends. A packet without an answer
/// gets its verdict after the hold time.
fn follow(
    lab: &Lab,
    args: &[&str],
    name: &str,
    traffic: impl FnOnce() -> Result<Vec<Served>>,
) -> Result<Finished> {
    let recording = recordings::fault(name);
    let hold = ["--hold", "1s"];
    let args = args.iter().chain(&hold).copied();
    let mut tracer = Tracer::follow(lab, args.chain(recording.arguments()))?;
    tracer.wait_started(LIMIT)?;
    let served = traffic()?;
    assert!(served.iter().all(Served::is_complete), "{served:?}");
    // No packet answers the last packet of a connection.
    tracer.wait_for(|line| line["verdict"]["kind"] == "left", LIMIT)?;
    let mut finished = tracer.stop()?;
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    check_balance(&finished.summary);
    let between = |journey: &mut Value| !is_neighbour(journey) && !is_before_start(journey);
    finished.journeys = finished.journeys.extract_if(.., between).collect();
    Ok(finished)
}

/// A node's translations, by the first packet's source and destination.
fn known(node: &Node, v6: bool) -> Result<BTreeMap<[SocketAddr; 2], Translated>> {
    let mut all = BTreeMap::new();
    for proto in ["tcp", "udp"] {
        for one in conntrack(node, proto, v6)? {
            all.insert(one.original, one);
        }
    }
    Ok(all)
}

/// Whether nothing can show that a packet arrived. A pure acknowledgement is not acknowledged, and
/// with datagrams it is unknown which answers which.
fn is_told_by_nobody(journey: &Value) -> bool {
    let tcp = &journey["packet"]["tcp"];
    tcp.is_null() || (tcp["flags"] == "ACK" && tcp["payload_len"] == 0)
}

/// The points of a pod's packets on their way out of its node without a tunnel, and the points of
/// packets on their way in.
fn out_and_in(node: &Node, pod: &Pod) -> [[Point; 3]; 2] {
    [
        [
            point(node, &pod.veth, "ingress"),
            point(node, &node.bridge, "ingress"),
            point(node, &node.uplink, "egress"),
        ],
        [
            point(node, &node.uplink, "ingress"),
            point(node, &node.bridge, "egress"),
            point(node, &pod.veth, "egress"),
        ],
    ]
}

/// A pod sends to an address outside, with the node's address.
fn check_out(v6: bool) -> Result<()> {
    let (lab, outside) = lab()?;
    let client = &lab.pods[0];
    let node = lab.node_of(client);
    let at = SocketAddr::new(outside.address(v6), PORT);
    let servers = [(&outside.netns, at)];
    let to = at.ip().to_string();
    let source = pod(client);
    let name = if v6 { "outside-v6" } else { "outside" };
    let finished = follow(&lab, &["--src-pod", &source, "--dst-ip", &to], name, || {
        // Another pod's packets are not shown.
        let other = &lab.pods[1].netns;
        let mut served = vec![tcp_to(other, at, &servers, COUNT)?];
        served.push(tcp_to(&client.netns, at, &servers, COUNT)?);
        served.push(udp_to(&client.netns, at, &servers, COUNT)?);
        Ok(served)
    })?;
    let known = known(node, v6)?;
    let [out, back] = out_and_in(node, client);
    let mut connections = BTreeMap::new();
    for journey in &finished.journeys {
        let [(kind, from, to)] = translations(journey)?[..] else {
            panic!("one translation: {journey:#}");
        };
        let is_request = journey["direction"] == "request";
        let [src, dst] = ends(journey)?;
        let original = if is_request { [src, dst] } else { [to, src] };
        let entry = known.get(&original).context("conntrack has it")?;
        let node_end = entry.reply[1];
        if is_request {
            assert_eq!((kind, from, to), ("snat", src, node_end), "{journey:#}");
            assert_eq!(seen(journey), out, "{journey:#}");
            let left = is_told_by_nobody(journey);
            let kind = if left { "left" } else { "delivered" };
            assert_eq!(journey["verdict"]["kind"], kind, "{journey:#}");
        } else {
            assert_eq!((kind, from), ("reverse-snat", node_end), "{journey:#}");
            assert_eq!(seen(journey), back, "{journey:#}");
            assert_eq!(journey["verdict"]["kind"], "delivered", "{journey:#}");
        }
        assert_eq!(original[0].ip(), client.address(v6), "{journey:#}");
        let proto = journey["packet"]["proto"].to_string();
        *connections.entry((proto, original)).or_insert(0) += 1;
    }
    assert_eq!(connections.len() as u64, 2 * COUNT);
    assert!(finished.summary["others"].as_u64() > Some(0));
    Ok(())
}

#[test]
fn from_a_pod_to_outside() -> Result<()> {
    check_out(false)
}

#[test]
fn from_a_pod_to_outside_over_ipv6() -> Result<()> {
    check_out(true)
}

/// Without an answer, it is only known that the packet has left.
#[test]
fn what_nobody_outside_answers_has_left() -> Result<()> {
    let (lab, outside) = lab()?;
    let client = &lab.pods[0];
    let node = lab.node_of(client);
    let rules = "table inet fault { chain fault { type filter hook input priority 0; \
                 udp dport 9 drop; }; }";
    outside.netns.batch("nft -f -", rules)?;
    let to = outside.v4.to_string();
    let args = ["--src-pod", &pod(client), "--dst-ip", &to];
    let finished = follow(&lab, &args, "outside-silent", || {
        let bind = || UdpSocket::bind((client.v4, 0));
        let socket = client.netns.enter(bind)?;
        socket.send_to(&[0; 64], (outside.v4, 9))?;
        Ok(Vec::new())
    })?;
    let [journey] = &finished.journeys[..] else {
        panic!("{:#?}", finished.journeys);
    };
    let text = format!(
        "left: went out of {} on {} towards {to}, which no known pod or node has",
        node.uplink, node.name
    );
    assert_eq!(journey["verdict"]["text"], text, "{journey:#}");
    Ok(())
}

/// A pod asks a resolver outside of the cluster.
#[test]
fn a_pod_asks_a_resolver_outside() -> Result<()> {
    let (lab, outside) = lab()?;
    let client = &lab.pods[0];
    let at = SocketAddr::new(outside.address(false), 53);
    let questions = [Says::NoError, Says::Nothing, Says::NxDomain];
    let args = ["--src-pod", &pod(client), "--dns"];
    let finished = follow(&lab, &args, "dns-outside", || {
        let servers = [(&outside.netns, at)];
        look_up(&lab.pods[1].netns, at, &servers, &questions[..1])?;
        look_up(&client.netns, at, &servers, &questions)?;
        Ok(Vec::new())
    })?;
    let dns = &finished.summary["dns"];
    assert_eq!((&dns["questions"], &dns["retries"]), (&3.into(), &1.into()));
    let answers = serde_json::json!({"NOERROR": 1, "NXDOMAIN": 1});
    assert_eq!(dns["answers"], answers, "{dns:#}");
    // No agent watches which queries reached the resolver.
    assert_eq!(dns["unanswered"], serde_json::json!({"left": 1}), "{dns:#}");
    for journey in &finished.journeys {
        let is_silent = journey["verdict"]["kind"] == "left";
        assert!(is_silent || journey["verdict"]["kind"] == "delivered");
        assert_eq!(translations(journey)?.len(), 1, "{journey:#}");
    }
    Ok(())
}

/// A lab with a Service at a port of every node, whose endpoint is on the second node.
fn lab_with_service() -> Result<(Lab, Outside, Service)> {
    let (mut lab, outside) = lab()?;
    let mut ports = vec![ServicePort::tcp(80, 8080), ServicePort::udp(80, 8080)];
    for port in &mut ports {
        port.node_port = Some(NODE_PORT);
    }
    let service = lab.add_service(Proxy::Iptables, ports, &[2])?;
    Ok((lab, outside, service))
}

/// A client outside uses an address of a Service or a node, by both protocols. A node translates
/// the packets, and their answers. `way` has the points of a question, and those of an answer.
/// `kinds` has the kinds of their translations.
fn check_in(
    (lab, outside, service): (&Lab, &Outside, &Service),
    (entrance, at): (&Node, SocketAddr),
    name: &str,
    [way, back]: [&[Point]; 2],
    kinds: [&[&str]; 2],
) -> Result<()> {
    let endpoint: &Pod = &lab.pods[2];
    let v6 = at.is_ipv6();
    let from = outside.address(v6).to_string();
    let service = service.full_name();
    let args = ["--src-ip", &from, "--dst-service", &service];
    let finished = follow(lab, &args, name, || {
        let (client, endpoints) = (&outside.netns, (&[endpoint][..], 8080));
        Ok(vec![
            tcp_to_service(client, at, endpoints, COUNT)?,
            udp_to_service(client, at, endpoints, COUNT)?,
        ])
    })?;
    let known = known(entrance, v6)?;
    let mut connections = BTreeMap::new();
    for journey in &finished.journeys {
        let translations = translations(journey)?;
        let is_request = journey["direction"] == "request";
        let found: Vec<&str> = translations.iter().map(|(kind, ..)| *kind).collect();
        let [src, dst] = ends(journey)?;
        let index = usize::from(!is_request);
        assert_eq!(found, kinds[index], "{journey:#}");
        assert_eq!(seen(journey), [way, back][index], "{journey:#}");
        let last = |side: usize, own: SocketAddr| {
            let to = translations
                .iter()
                .rfind(|(kind, ..)| kind.contains("snat") == (side == 0));
            to.map_or(own, |(.., to)| *to)
        };
        let original = if is_request {
            [src, dst]
        } else {
            // The packet as the client gets it.
            let dst = translations
                .iter()
                .rfind(|(kind, ..)| *kind == "reverse-snat");
            let src_now = translations
                .iter()
                .rfind(|(kind, ..)| *kind == "reverse-dnat");
            [
                dst.map_or(ends(journey)?[1], |(.., to)| *to),
                src_now.context("it is translated back")?.2,
            ]
        };
        let entry = known.get(&original).context("conntrack has it")?;
        if is_request {
            assert_eq!(last(1, dst), entry.reply[0], "{journey:#}");
            assert_eq!(last(0, src), entry.reply[1], "{journey:#}");
        }
        let left = !is_request && is_told_by_nobody(journey);
        let kind = if left { "left" } else { "delivered" };
        assert_eq!(journey["verdict"]["kind"], kind, "{journey:#}");
        let proto = journey["packet"]["proto"].to_string();
        *connections.entry((proto, original)).or_insert(0) += 1;
    }
    assert_eq!(connections.len() as u64, 2 * COUNT, "{connections:#?}");
    Ok(())
}

/// The client uses another node than the endpoint's, with that node's address. The way from the
/// endpoint's node to the client does not use the tunnel, so its device there is no point.
fn by_another_node(
    lab: &Lab,
    outside: &Outside,
    service: &Service,
    at: SocketAddr,
    name: &str,
) -> Result<()> {
    let [entrance, home] = [&lab.nodes[0], &lab.nodes[1]];
    let endpoint = &lab.pods[2];
    let [out, into] = out_and_in(home, endpoint);
    let through = |overlay| {
        [
            point(entrance, &entrance.uplink, "ingress"),
            point(entrance, &entrance.overlay, overlay),
            point(entrance, &entrance.uplink, "egress"),
        ]
    };
    let way = [through("egress"), into].concat();
    let back = [out, through("ingress")].concat();
    check_in(
        (lab, outside, service),
        (entrance, at),
        name,
        [&way, &back],
        [&["dnat", "snat"], &["reverse-snat", "reverse-dnat"]],
    )
}

#[test]
fn from_outside_to_the_port_of_another_node() -> Result<()> {
    let (lab, outside, service) = lab_with_service()?;
    let at = |v6| SocketAddr::new(lab.nodes[0].address(v6), NODE_PORT);
    by_another_node(&lab, &outside, &service, at(false), "node-port-other-node")?;
    by_another_node(&lab, &outside, &service, at(true), "node-port-other-node-6")
}

/// By an address that the Service has for clients outside, and that is routed to a node unchanged:
/// that of a load balancer, or one of its `externalIPs`.
#[test]
fn from_outside_to_an_address_of_the_service() -> Result<()> {
    for (of_balancer, names) in [
        (true, ["balancer", "balancer-6"]),
        (false, ["external", "external-6"]),
    ] {
        let (mut lab, outside, _) = lab_with_service()?;
        let external = External {
            v4: Ipv4Addr::new(198, 51, 100, 20),
            v6: Ipv6Addr::new(0x2001, 0xdb8, 0x98, 0, 0, 0, 0, 20),
            of_balancer,
        };
        lab.alter_service(Proxy::Iptables, 0, |service| {
            service.external = Some(external);
        })?;
        let service = lab.services[0].clone();
        for (v6, name) in [false, true].into_iter().zip(names) {
            let (address, entrance) = (external.address(v6), lab.nodes[0].address(v6));
            let source = outside.address(v6);
            let route = format!("ip route add {address} via {entrance} src {source}");
            outside.netns.run(&route)?;
            by_another_node(&lab, &outside, &service, SocketAddr::new(address, 80), name)?;
        }
    }
    Ok(())
}

fn on_its_own_node(name: &str, v6: bool, is_local: bool, kinds: [&[&str]; 2]) -> Result<()> {
    let (mut lab, outside, service) = lab_with_service()?;
    if is_local {
        lab.alter_service(Proxy::Iptables, 0, |service| service.is_local = true)?;
    }
    let home = &lab.nodes[1];
    let endpoint = &lab.pods[2];
    let at = SocketAddr::new(home.address(v6), NODE_PORT);
    let [back, way] = out_and_in(home, endpoint);
    check_in(
        (&lab, &outside, &service),
        (home, at),
        name,
        [&way, &back],
        kinds,
    )
}

/// The client uses the endpoint's node. The packets also get the node's address.
#[test]
fn from_outside_to_the_port_of_the_endpoints_node() -> Result<()> {
    let kinds: [&[&str]; 2] = [&["dnat", "snat"], &["reverse-snat", "reverse-dnat"]];
    on_its_own_node("node-port-own-node", false, false, kinds)?;
    on_its_own_node("node-port-own-node-6", true, false, kinds)
}

/// With `externalTrafficPolicy: Local`, the endpoint sees the client's address.
#[test]
fn from_outside_to_a_port_with_the_clients_address() -> Result<()> {
    let kinds: [&[&str]; 2] = [&["dnat"], &["reverse-dnat"]];
    on_its_own_node("node-port-local", false, true, kinds)?;
    on_its_own_node("node-port-local-6", true, true, kinds)
}
