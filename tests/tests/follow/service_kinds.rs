//! Services that lead to their endpoints in other ways than by a cluster IP and at random. Clients
//! use an external address from within the cluster, or a headless Service. Every client may get the
//! node's address, keep its endpoint, or get endpoints of its own node only.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;
use serde_json::Value;
use tracer_tests::{
    External, Lab, LabSpec, Pod, Proxy, Service, ServicePort,
    program::{LIMIT, Tracer},
    traffic::{Served, tcp_to_service, udp_to_service},
};

use crate::{
    clean::ROOM,
    expected::{between_pods, check_balance, is_before_start, is_neighbour, pod, seen},
    services::{ends, translations},
};

/// The number of connections for each protocol.
const COUNT: u64 = 6;

/// Two nodes with two pods each, and a TCP and UDP Service with an endpoint on each node.
fn lab(proxy: Proxy, alter: impl FnOnce(&mut Service)) -> Result<(Lab, Service)> {
    let mut lab = Lab::new(&LabSpec {
        pods_per_node: 2,
        ..LabSpec::default()
    })?;
    let ports = vec![ServicePort::tcp(80, 8080), ServicePort::udp(80, 8080)];
    lab.add_service(proxy, ports, &[1, 2])?;
    lab.alter_service(proxy, 0, alter)?;
    let service = lab.services[0].clone();
    Ok((lab, service))
}

/// Uses a Service at an address during a follow. Checks that all packets are delivered on their
/// whole way to the endpoints that served them. Returns the kinds of the questions' translations,
/// and what each endpoint served.
fn check(
    lab: &Lab,
    service: &Service,
    at: SocketAddr,
    warning: Option<&str>,
) -> Result<(BTreeSet<String>, [Served; 2])> {
    let client = &lab.pods[0];
    let (source, name) = (pod(client), service.full_name());
    let args = ["--src-pod", &source, "--dst-service", &name];
    let mut tracer = Tracer::follow(lab, args.iter().chain(&ROOM))?;
    let started = tracer.wait_started(LIMIT)?;
    let warnings = started["warnings"].to_string();
    match warning {
        Some(text) => assert!(warnings.contains(text), "{warnings}"),
        None => assert!(!warnings.contains(&name), "{warnings}"),
    }
    let endpoints: Vec<&Pod> = lab.endpoints_of(service).collect();
    let served = [
        tcp_to_service(&client.netns, at, (&endpoints, 8080), COUNT)?,
        udp_to_service(&client.netns, at, (&endpoints, 8080), COUNT)?,
    ];
    assert!(served.iter().all(Served::is_complete), "{served:?}");
    let finished = tracer.stop()?;
    check_balance(&finished.summary);
    let mut kinds = BTreeSet::new();
    let mut clients = [BTreeSet::new(), BTreeSet::new()];
    for journey in &finished.journeys {
        if is_neighbour(journey) || is_before_start(journey) {
            continue;
        }
        assert_eq!(journey["verdict"]["kind"], "delivered", "{journey:#}");
        let is_request = journey["direction"] == "request";
        let translations = translations(journey)?;
        let [src, dst] = ends(journey)?;
        let endpoint = match is_request {
            true => translations
                .iter()
                .find(|(kind, ..)| *kind == "dnat")
                .map_or(dst, |(.., to)| *to),
            false => src,
        };
        let index = endpoints
            .iter()
            .position(|pod| pod.address(at.is_ipv6()) == endpoint.ip());
        let index = index.unwrap_or_else(|| panic!("{endpoint} is no endpoint: {journey:#}"));
        let [from, to] = match is_request {
            true => [client, endpoints[index]],
            false => [endpoints[index], client],
        };
        // The bridge may pass a frame to its own device on the way to one of its ports.
        if from.node != to.node {
            assert_eq!(seen(journey), between_pods(lab, from, to), "{journey:#}");
        }
        if is_request {
            assert_eq!(dst, at, "{journey:#}");
            clients[index].insert(src);
            kinds.insert(kinds_of(&translations));
        }
    }
    for (index, clients) in clients.iter().take(endpoints.len()).enumerate() {
        let counted: u64 = served.iter().map(|served| served.by_endpoint[index]).sum();
        assert_eq!(clients.len() as u64, counted, "of endpoint {index}");
    }
    Ok((kinds, served))
}

fn kinds_of(translations: &[(&str, SocketAddr, SocketAddr)]) -> String {
    let kinds: Vec<&str> = translations.iter().map(|(kind, ..)| *kind).collect();
    kinds.join(" ")
}

fn only(kinds: &str) -> BTreeSet<String> {
    BTreeSet::from([kinds.to_owned()])
}

/// From a pod to an external address: the node translates it as it would for one outside.
#[test]
fn an_external_address_from_within() -> Result<()> {
    for proxy in [Proxy::Iptables, Proxy::Nftables] {
        let external = External {
            v4: Ipv4Addr::new(198, 51, 100, 7),
            v6: Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 7),
            of_balancer: proxy == Proxy::Iptables,
        };
        let (lab, service) = lab(proxy, |service| service.external = Some(external))?;
        for v6 in [false, true] {
            let at = SocketAddr::new(external.address(v6), 80);
            let (kinds, _) = check(&lab, &service, at, None)?;
            assert_eq!(kinds, only("dnat snat"));
        }
    }
    Ok(())
}

/// With kube-proxy's `--masquerade-all`, endpoints see the node.
#[test]
fn every_client_is_masqueraded() -> Result<()> {
    for proxy in [Proxy::Iptables, Proxy::Nftables] {
        let (lab, service) = lab(proxy, |service| service.masquerades_all = true)?;
        for v6 in [false, true] {
            let (kinds, _) = check(&lab, &service, service.at(v6, 0), None)?;
            assert_eq!(kinds, only("dnat snat"));
        }
    }
    Ok(())
}

/// Clients of a headless Service know its endpoints, so there is no translation.
#[test]
fn a_headless_service() -> Result<()> {
    let (lab, service) = lab(Proxy::Iptables, |service| {
        service.is_headless = true;
        service.endpoints = vec![2];
    })?;
    for v6 in [false, true] {
        let at = SocketAddr::new(lab.pods[2].address(v6), 8080);
        let (kinds, _) = check(&lab, &service, at, None)?;
        assert_eq!(kinds, only(""));
    }
    Ok(())
}

/// With `sessionAffinity: ClientIP`, one endpoint gets all of a client's connections.
#[test]
fn a_client_keeps_its_endpoint() -> Result<()> {
    let (lab, service) = lab(Proxy::Nftables, |service| service.keeps_clients = true)?;
    let warning =
        "has sessionAffinity ClientIP: all connections of a client go to the same endpoint";
    let (kinds, [tcp, _]) = check(&lab, &service, service.at(false, 0), Some(warning))?;
    assert_eq!(kinds, only("dnat"));
    assert!(tcp.by_endpoint.contains(&COUNT), "{tcp:?}");
    Ok(())
}

/// With `internalTrafficPolicy: Local`, the endpoint on the client's node gets all connections.
/// Without such an endpoint, no packet arrives.
#[test]
fn endpoints_of_the_clients_node_alone() -> Result<()> {
    for proxy in [Proxy::Iptables, Proxy::Nftables] {
        let (mut lab, service) = lab(proxy, |service| service.is_local_inside = true)?;
        let (kinds, [tcp, udp]) = check(&lab, &service, service.at(false, 0), None)?;
        assert_eq!(kinds, only("dnat"));
        assert_eq!([tcp.by_endpoint[0], udp.by_endpoint[0]], [COUNT; 2]);

        lab.alter_service(proxy, 0, |service| service.endpoints = vec![2])?;
        let (client, name) = (&lab.pods[0], service.full_name());
        let source = pod(client);
        let args = ["--src-pod", &source, "--dst-service", &name, "--hold", "1s"];
        let mut tracer = Tracer::follow(&lab, args)?;
        let started = tracer.wait_started(LIMIT)?;
        let warning = format!(
            "service {name} has internalTrafficPolicy Local and no ready endpoint on {}",
            lab.node_of(client).name
        );
        assert!(
            started["warnings"].to_string().contains(&warning),
            "{started:#}"
        );
        let endpoints = [&lab.pods[2]];
        let at = service.at(false, 0);
        let served = udp_to_service(&client.netns, at, (&endpoints, 8080), 1)?;
        assert_eq!((served.begun, served.answered), (1, 0));
        let told = tracer.wait_for(|line| line["packet"]["proto"] == "udp", LIMIT)?;
        let verdict: &Value = &told["verdict"];
        assert_eq!(
            (&verdict["kind"], &verdict["cause"]),
            (&"dropped".into(), &"netfilter".into())
        );
        tracer.stop()?;
    }
    Ok(())
}
