//! Pods' packets to Services, whose addresses no interface has. A packet and its translation are
//! one journey, which ends at an endpoint. Connection tracking of the client's node knows the
//! endpoint, and the endpoints count their answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec, Pod, Proxy, Service, ServicePort,
    lab::{Translated, conntrack},
    program::{Finished, LIMIT, Tracer},
    traffic::{Served, tcp_to_service, udp_to_service},
};

use crate::{
    clean::ROOM,
    expected::{
        Point, between_pods, check_balance, is_before_start, is_neighbour, pod, point, seen,
    },
    recordings,
};

/// The number of connections for each protocol and IP version.
const COUNT: u64 = 12;

/// The ports of a Service, TCP and UDP.
fn ports() -> Vec<ServicePort> {
    vec![ServicePort::tcp(80, 8080), ServicePort::udp(53, 5353)]
}

/// Two nodes with two pods each, and a Service with these endpoints among the pods.
fn lab(proxy: Proxy, endpoints: &[usize]) -> Result<(Lab, Service)> {
    let mut lab = Lab::new(&LabSpec {
        pods_per_node: 2,
        // Flannel's CNI configuration has this. Without it, no pod reaches itself.
        hairpin: true,
        ..LabSpec::default()
    })?;
    let service = lab.add_service(proxy, ports(), endpoints)?;
    Ok((lab, service))
}

/// Uses a Service by TCP and UDP, with both IP versions, during the follow. Returns the results of
/// each, in this order.
fn use_service(lab: &Lab, client: &Pod, service: &Service) -> Result<Vec<Served>> {
    let endpoints: Vec<&Pod> = lab.endpoints_of(service).collect();
    let [tcp, udp] = [0, 1].map(|port| (&endpoints[..], service.ports[port].target));
    let mut served = Vec::new();
    for v6 in [false, true] {
        let netns = &client.netns;
        served.push(tcp_to_service(netns, service.at(v6, 0), tcp, COUNT)?);
        served.push(udp_to_service(netns, service.at(v6, 1), udp, COUNT)?);
    }
    assert!(served.iter().all(Served::is_complete), "{served:?}");
    Ok(served)
}

/// Follows a client that uses a Service. The arguments name the destination.
fn follow(
    lab: &Lab,
    client: &Pod,
    service: &Service,
    to: &[&str],
) -> Result<(Finished, Vec<Served>)> {
    let source = pod(client);
    let ends = ["--src-pod", &source].into_iter().chain(to.iter().copied());
    let mut tracer = Tracer::follow(lab, ends.chain(ROOM))?;
    tracer.wait_started(LIMIT)?;
    let served = use_service(lab, client, service)?;
    let finished = tracer.stop()?;
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    check_balance(&finished.summary);
    Ok((between_ends(finished), served))
}

/// Keeps only the journeys between the ends during the follow.
fn between_ends(mut finished: Finished) -> Finished {
    let between = |journey: &mut Value| !is_neighbour(journey) && !is_before_start(journey);
    finished.journeys = finished.journeys.extract_if(.., between).collect();
    finished
}

fn end(value: &Value) -> Result<SocketAddr> {
    let address = value["address"].as_str().context("an address")?.parse()?;
    let port = value["port"].as_u64().context("a port")?;
    Ok(SocketAddr::new(address, u16::try_from(port)?))
}

/// The first source and destination of a journey's packet.
pub(crate) fn ends(journey: &Value) -> Result<[SocketAddr; 2]> {
    let packet = &journey["packet"];
    let end = |side: &str| -> Result<SocketAddr> {
        let address = packet[side].as_str().context("an address")?.parse()?;
        let port = packet[format!("{side}_port")].as_u64().context("a port")?;
        Ok(SocketAddr::new(address, u16::try_from(port)?))
    };
    Ok([end("src")?, end("dst")?])
}

/// The translations of a journey: their kinds, and the addresses before and after.
pub(crate) fn translations(journey: &Value) -> Result<Vec<(&str, SocketAddr, SocketAddr)>> {
    let hops = journey["hops"].as_array().context("hops")?;
    let all = hops.iter().filter_map(|hop| hop["translations"].as_array());
    let all = all.flatten().map(|one| {
        let kind = one["kind"].as_str().context("a kind")?;
        Ok((kind, end(&one["from"])?, end(&one["to"])?))
    });
    all.collect()
}

/// The connections with a Service in the connection tracking of a client's node.
fn known(lab: &Lab, client: &Pod, service: &Service) -> Result<Vec<Translated>> {
    let mut all = Vec::new();
    for v6 in [false, true] {
        for port in &service.ports {
            all.extend(conntrack(lab.node_of(client), port.proto, v6)?);
        }
    }
    Ok(all)
}

/// The way of a packet to the same node, without the bridge's own device. The bridge passes a packet
/// to this device only if it does not know the new destination's neighbour entry yet
/// (net/bridge/br_netfilter_hooks.c br_nf_pre_routing_finish_bridge). With IPVS, a packet to a Service
/// enters the node by this device, and leaves by it.
fn directly(lab: &Lab, mut way: Vec<Point>) -> Vec<Point> {
    let is_bridge = |(at, name, _): &Point| {
        let mut nodes = lab.nodes.iter();
        nodes.any(|node| node.name == *at && node.bridge == *name)
    };
    match &way[..] {
        [_, bridge @ (.., "egress"), _] if is_bridge(bridge) => {
            way.remove(1);
        }
        _ if goes_by_ipvs(is_bridge, &way) => {
            way.drain(1..3);
        }
        _ => {}
    }
    way
}

/// Whether a packet to the same node goes through the bridge's own device and back.
fn goes_by_ipvs(is_bridge: impl Fn(&Point) -> bool, way: &[Point]) -> bool {
    matches!(way, [_, inlet @ (.., "ingress"), outlet @ (.., "egress"), _]
        if is_bridge(inlet) && is_bridge(outlet) && inlet.0 == outlet.0)
}

/// Checks that each packet between a client and a Service was delivered on its whole way, with one
/// translation: to the endpoint in connection tracking. Returns the number of connections of each
/// endpoint, by its address and port.
pub(crate) fn check(
    lab: &Lab,
    client: &Pod,
    service: &Service,
    journeys: &[Value],
) -> Result<BTreeMap<SocketAddr, u64>> {
    let known = known(lab, client, service)?.into_iter();
    let known: BTreeMap<_, _> = known.map(|one| (one.original, one.reply[0])).collect();
    let mut connections: BTreeMap<SocketAddr, BTreeSet<SocketAddr>> = BTreeMap::new();
    for journey in journeys {
        assert_eq!(journey["verdict"]["kind"], "delivered", "{journey:#}");
        let [(kind, from, to)] = translations(journey)?[..] else {
            panic!("one translation: {journey:#}");
        };
        let [src, dst] = ends(journey)?;
        let is_request = journey["direction"] == "request";
        let (client_end, virtual_end, endpoint) = if is_request {
            assert_eq!((kind, from), ("dnat", dst), "{journey:#}");
            (src, dst, to)
        } else {
            assert_eq!((kind, from), ("reverse-dnat", src), "{journey:#}");
            (dst, to, src)
        };
        assert_eq!(
            known.get(&[client_end, virtual_end]),
            Some(&endpoint),
            "{journey:#}"
        );
        connections.entry(endpoint).or_default().insert(client_end);
        let mut endpoints = lab.endpoints_of(service);
        let pod = endpoints.find(|pod| pod.address(endpoint.is_ipv6()) == endpoint.ip());
        let pod = pod.with_context(|| format!("{endpoint} is an endpoint"))?;
        let [from, to] = if is_request {
            [client, pod]
        } else {
            [pod, client]
        };
        assert_eq!(
            directly(lab, seen(journey)),
            between_pods(lab, from, to),
            "{journey:#}"
        );
    }
    let count = |(endpoint, clients): (_, BTreeSet<_>)| (endpoint, clients.len() as u64);
    Ok(connections.into_iter().map(count).collect())
}

/// The number of connections that endpoints counted, by address and port.
fn counted(lab: &Lab, service: &Service, served: &[Served]) -> BTreeMap<SocketAddr, u64> {
    let mut counts = BTreeMap::new();
    for (index, served) in served.iter().enumerate() {
        let (v6, port) = (index / 2 == 1, &service.ports[index % 2]);
        for (pod, count) in lab.endpoints_of(service).zip(&served.by_endpoint) {
            if *count > 0 {
                counts.insert(SocketAddr::new(pod.address(v6), port.target), *count);
            }
        }
    }
    counts
}

/// Records a little traffic with an endpoint on the other node, if the recording is wanted.
fn keep_clean(proxy: Proxy) -> Result<()> {
    let recording = recordings::fault(&format!("service-{proxy:?}-clean").to_lowercase());
    if recording.arguments().next().is_none() {
        return Ok(());
    }
    let (lab, service) = lab(proxy, &[2])?;
    let client = &lab.pods[0];
    let (source, name) = (pod(client), service.full_name());
    let ends = ["--src-pod", &source, "--dst-service", &name, "--hold", "1s"];
    let mut tracer = Tracer::follow(&lab, ends.into_iter().chain(recording.arguments()))?;
    tracer.wait_started(LIMIT)?;
    let endpoints = [&lab.pods[2]];
    for v6 in [false, true] {
        let [tcp, udp] = [0, 1].map(|port| (&endpoints[..], service.ports[port].target));
        let netns = &client.netns;
        let served = [
            tcp_to_service(netns, service.at(v6, 0), tcp, 2)?,
            udp_to_service(netns, service.at(v6, 1), udp, 2)?,
        ];
        assert!(served.iter().all(Served::is_complete), "{served:?}");
    }
    check(
        &lab,
        client,
        &service,
        &between_ends(tracer.stop()?).journeys,
    )
    .map(drop)
}

/// Endpoints on the client's node and on the other one.
fn on_both_nodes(proxy: Proxy) -> Result<()> {
    let (lab, service) = lab(proxy, &[1, 2])?;
    let client = &lab.pods[0];
    let to = ["--dst-service", &service.full_name()];
    let (finished, served) = follow(&lab, client, &service, &to)?;
    let connections = check(&lab, client, &service, &finished.journeys)?;
    assert_eq!(connections, counted(&lab, &service, &served));
    keep_clean(proxy)
}

#[test]
fn a_service_by_iptables() -> Result<()> {
    on_both_nodes(Proxy::Iptables)
}

#[test]
fn a_service_by_nftables() -> Result<()> {
    on_both_nodes(Proxy::Nftables)
}

/// With IPVS, a datagram to another node changes its sk_buff before it enters the tunnel. Then only
/// conntrack's entry joins its hops.
#[test]
fn a_service_by_ipvs() -> Result<()> {
    if Proxy::Ipvs.is_for_another_kernel()? {
        return Ok(());
    }
    let (lab, service) = lab(Proxy::Ipvs, &[1, 2])?;
    let client = &lab.pods[0];
    let to = ["--dst-service", &service.full_name()];
    let (finished, served) = follow(&lab, client, &service, &to)?;
    let connections = check(&lab, client, &service, &finished.journeys)?;
    assert_eq!(connections, counted(&lab, &service, &served));
    let bridge = &lab.nodes[0].bridge;
    let by_ipvs = |journey: &Value| goes_by_ipvs(|(_, name, _)| name == bridge, &seen(journey));
    assert!(finished.journeys.iter().any(by_ipvs));
    Ok(())
}

/// The follow selects a port by its number, and by its name. The other port is not shown.
#[test]
fn one_port_of_a_service() -> Result<()> {
    let (lab, service) = lab(Proxy::Iptables, &[2])?;
    let client = &lab.pods[0];
    for (port, proto) in [("80", "tcp"), ("udp-53", "udp")] {
        let name = format!("{}:svc/{}:{port}", service.namespace, service.name);
        let (finished, _) = follow(&lab, client, &service, &["--dst", &name])?;
        check(&lab, client, &service, &finished.journeys)?;
        assert!(finished.journeys.len() as u64 >= 4 * COUNT);
        for journey in &finished.journeys {
            assert_eq!(journey["packet"]["proto"], proto, "{journey:#}");
        }
    }
    Ok(())
}

/// A follow of a pod by its name shows packets that reach the pod by a Service, and not the packets
/// to another endpoint.
#[test]
fn a_pod_behind_a_service() -> Result<()> {
    let (lab, service) = lab(Proxy::Iptables, &[1, 2])?;
    let [client, endpoint] = [&lab.pods[0], &lab.pods[2]];
    let name = pod(endpoint);
    let (finished, served) = follow(&lab, client, &service, &["--dst-pod", &name])?;
    let connections = check(&lab, client, &service, &finished.journeys)?;
    let mut own = counted(&lab, &service, &served);
    own.retain(|end, _| end.ip() == endpoint.address(end.is_ipv6()));
    assert_eq!(connections, own);
    Ok(())
}

/// A pod is an endpoint of its own Service. Its node's address replaces the pod's.
#[test]
fn a_pod_reaches_itself() -> Result<()> {
    for proxy in [Proxy::Iptables, Proxy::Nftables] {
        let (lab, service) = lab(proxy, &[0])?;
        let client = &lab.pods[0];
        let name = pod(client);
        let (finished, _) = follow(&lab, client, &service, &["--dst-pod", &name])?;
        // This must come soon: the table forgets datagrams after half a minute.
        let known = known(&lab, client, &service)?;
        let mut connections = BTreeSet::new();
        for journey in &finished.journeys {
            assert_eq!(journey["verdict"]["kind"], "delivered", "{journey:#}");
            let node = lab.node_of(client);
            let way = ["ingress", "egress"].map(|way| point(node, &client.veth, way));
            assert_eq!(directly(&lab, seen(journey)), way, "{journey:#}");
            // The client's original address, and the node's replacement.
            let changes: BTreeSet<[SocketAddr; 2]> = translations(journey)?
                .into_iter()
                .map(|(_, from, to)| [from, to])
                .collect();
            let [src, dst] = ends(journey)?;
            let is_this = |one: &&Translated| one.original == [src, dst] || one.reply == [src, dst];
            let one = known.iter().find(is_this).context("it is translated")?;
            let [before, behind] = [one.original, [one.reply[1], one.reply[0]]];
            let ways = match one.original == [src, dst] {
                true => [[before[0], behind[0]], [before[1], behind[1]]],
                false => [[behind[0], before[0]], [behind[1], before[1]]],
            };
            assert_eq!(changes, BTreeSet::from(ways), "{journey:#}");
            connections.insert(one.original);
        }
        assert_eq!(connections.len() as u64, 4 * COUNT);
    }
    Ok(())
}

/// A node rejects packets to a Service without endpoints.
#[test]
fn a_service_without_endpoints() -> Result<()> {
    for proxy in [Proxy::Iptables, Proxy::Nftables] {
        let (lab, service) = lab(proxy, &[])?;
        let client = &lab.pods[0];
        let ends = [
            "--src-pod",
            &pod(client),
            "--dst-service",
            &service.full_name(),
        ];
        let mut tracer = Tracer::follow(&lab, ends.iter().chain(&ROOM))?;
        let started = tracer.wait_started(LIMIT)?;
        let warning = format!("service {} has no ready endpoints", service.full_name());
        assert!(
            started["warnings"].to_string().contains(&warning),
            "{started:#}"
        );
        for v6 in [false, true] {
            let served = tcp_to_service(&client.netns, service.at(v6, 0), (&[], 8080), 2)?;
            assert_eq!((served.begun, served.answered), (2, 0));
        }
        let finished = tracer.stop()?;
        check_balance(&finished.summary);
        let is_syn = |journey: &&Value| journey["packet"]["tcp"]["flags"] == "SYN";
        let syns: Vec<&Value> = finished.journeys.iter().filter(is_syn).collect();
        // The IPv6 sender tries again, in spite of the answer.
        assert!(syns.len() >= 4, "{syns:#?}");
        for journey in syns {
            assert_eq!(journey["verdict"]["kind"], "refused", "{journey:#}");
            assert_eq!(journey["dst_service"], service.full_name(), "{journey:#}");
        }
    }
    Ok(())
}

/// A node uses a Service itself, and by its own node port. Its packets are translated before they
/// are seen, and its connection tracking tells how. The packets also get the tunnel's address as
/// their source.
#[test]
fn a_node_uses_a_service() -> Result<()> {
    for proxy in [Proxy::Iptables, Proxy::Nftables] {
        let mut lab = Lab::new(&LabSpec::default())?;
        let mut ports = ports();
        ports[0].node_port = Some(30080);
        let service = lab.add_service(proxy, ports, &[1])?;
        let node = &lab.nodes[0];
        let source = format!("node/{}", node.name);
        let follow = ["--src", &source, "--dst-service", &service.full_name()];
        let mut tracer = Tracer::follow(&lab, follow.iter().chain(&ROOM))?;
        tracer.wait_started(LIMIT)?;
        let endpoint = &lab.pods[1];
        let own_port = SocketAddr::new(node.address(false), 30080);
        let far_port = SocketAddr::new(lab.nodes[1].address(false), 30080);
        let addresses = [
            service.at(false, 0),
            service.at(true, 0),
            own_port,
            far_port,
        ];
        for address in addresses {
            let served = tcp_to_service(&node.netns, address, (&[endpoint], 8080), 3)?;
            assert!(served.is_complete(), "{address}: {served:?}");
        }
        let finished = tracer.stop()?;
        check_balance(&finished.summary);
        let mut translated = BTreeMap::new();
        for journey in &finished.journeys {
            if is_neighbour(journey) || is_before_start(journey) {
                continue;
            }
            assert_eq!(journey["verdict"]["kind"], "delivered", "{journey:#}");
            let (Value::String(flags), Value::String(direction)) =
                (&journey["packet"]["tcp"]["flags"], &journey["direction"])
            else {
                panic!("{journey:#}");
            };
            if flags == "SYN" {
                assert_eq!(direction, "request", "{journey:#}");
                let [(dnat, from, to), (snat, ..)] = translations(journey)?[..] else {
                    panic!("two translations: {journey:#}");
                };
                assert_eq!((dnat, snat), ("dnat", "snat"), "{journey:#}");
                let of_pod = SocketAddr::new(endpoint.address(from.is_ipv6()), 8080);
                assert_eq!(to, of_pod, "{journey:#}");
                // The other node translates packets to its own port. This node translates all
                // others before they leave.
                let [_, first] = ends(journey)?;
                let expected = if from == far_port { far_port } else { of_pod };
                assert_eq!(first, expected, "{journey:#}");
                *translated.entry(from).or_insert(0) += 1;
            }
        }
        assert_eq!(translated, addresses.map(|address| (address, 3)).into());
    }
    Ok(())
}
