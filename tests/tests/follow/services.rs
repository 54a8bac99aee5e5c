//! What pods send to Services, whose addresses no interface has: followed before the
//! translation and after it.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use anyhow::Result;
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec, Pod, Proxy, Service, ServicePort,
    lab::{Translated, conntrack},
    program::{Finished, LIMIT, Tracer},
    traffic::{Served, tcp_to_service, udp_to_service},
};

use crate::{
    clean::ROOM,
    expected::{check_balance, is_neighbour, pod},
};

/// A Service of two ports, TCP and UDP.
fn ports() -> Vec<ServicePort> {
    vec![ServicePort::tcp(80, 8080), ServicePort::udp(53, 5353)]
}

/// What a client has got from a Service by TCP and UDP, of both IP versions.
fn use_service(lab: &Lab, client: &Pod, service: &Service, count: u64) -> Result<Vec<Served>> {
    let endpoints: Vec<&Pod> = lab.endpoints_of(service).collect();
    let mut served = Vec::new();
    for v6 in [false, true] {
        let netns = &client.netns;
        served.push(tcp_to_service(
            netns,
            service.at(v6, 0),
            (&endpoints, service.ports[0].target),
            count,
        )?);
        served.push(udp_to_service(
            netns,
            service.at(v6, 1),
            (&endpoints, service.ports[1].target),
            count,
        )?);
    }
    assert!(served.iter().all(Served::is_complete), "{served:?}");
    Ok(served)
}

/// The source and destination of a hop's packet, where it says so, else of its journey's.
fn ends(value: &Value) -> Option<[SocketAddr; 2]> {
    let end = |side: &str| -> Option<SocketAddr> {
        let address = value[side].as_str()?.parse().ok()?;
        let port = value[format!("{side}_port")].as_u64()?;
        Some(SocketAddr::new(address, u16::try_from(port).ok()?))
    };
    Some([end("src")?, end("dst")?])
}

/// All ends that packets were seen with.
fn seen_ends(finished: &Finished) -> BTreeSet<[SocketAddr; 2]> {
    let journeys = finished.journeys.iter();
    let journeys = journeys.filter(|journey| !is_neighbour(journey));
    journeys
        .filter_map(|journey| ends(&journey["packet"]))
        .collect()
}

/// What a client's node translated for it, compared with what was seen: each connection with
/// the Service's address and with its endpoint's, both ways.
fn check_seen(lab: &Lab, client: &Pod, service: &Service, finished: &Finished) -> Result<usize> {
    let seen = seen_ends(finished);
    let mut connections = 0;
    for v6 in [false, true] {
        for (index, port) in service.ports.iter().enumerate() {
            let known = conntrack(lab.node_of(client), port.proto, v6)?;
            let to_service = known
                .into_iter()
                .filter(|one| one.original[1] == service.at(v6, index));
            for Translated { original, reply } in to_service {
                let [client, virtual_end] = original;
                let [endpoint, back] = reply;
                for ends in [
                    [client, virtual_end],
                    [back, endpoint],
                    [endpoint, back],
                    [virtual_end, client],
                ] {
                    assert!(seen.contains(&ends), "{ends:?} in {}", port.proto);
                }
                connections += 1;
            }
        }
    }
    Ok(connections)
}

/// How many connections each protocol and IP version has.
const COUNT: u64 = 12;

fn a_service_with_an_endpoint_on_each_node(proxy: Proxy) -> Result<()> {
    let mut lab = Lab::new(&LabSpec {
        pods_per_node: 2,
        ..LabSpec::default()
    })?;
    let service = lab.add_service(proxy, ports(), &[1, 2])?;
    let client = &lab.pods[0];
    let ends = [
        "--src-pod",
        &pod(client),
        "--dst-service",
        &service.full_name(),
    ];
    let mut tracer = Tracer::follow(&lab, ends.iter().chain(&ROOM))?;
    tracer.wait_started(LIMIT)?;
    let served = use_service(&lab, client, &service, COUNT)?;
    let finished = tracer.stop()?;
    for served in &served {
        assert!(
            served.by_endpoint.iter().all(|count| *count > 0),
            "{served:?}"
        );
    }
    check_balance(&finished.summary);
    let connections = check_seen(&lab, client, &service, &finished)?;
    assert_eq!(connections as u64, 4 * COUNT);
    Ok(())
}

#[test]
fn a_service_by_iptables() -> Result<()> {
    a_service_with_an_endpoint_on_each_node(Proxy::Iptables)
}

#[test]
fn a_service_by_nftables() -> Result<()> {
    a_service_with_an_endpoint_on_each_node(Proxy::Nftables)
}
