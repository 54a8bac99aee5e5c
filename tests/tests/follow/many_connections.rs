//! Many connections with a Service whose endpoints are on three nodes. tracer shows all packets of
//! each connection, with the endpoint that answered.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Write as _, stderr};
use std::net::SocketAddr;

use anyhow::Result;
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec, Proxy, ServicePort,
    program::{LIMIT, Tracer},
    traffic::{packets_from_environment, tcp_to_service, udp_to_service},
};

use crate::{
    clean::ROOM,
    expected::{check_all_told, check_balance, is_before_start, is_neighbour, pod},
    services::{check, ends},
};

/// Minimum number of packets, unless `TRACER_PACKETS` gives one. A connection has about ten.
const FEW: u64 = 2_500;
/// Number of connections before the test compares them.
const ROUND: u64 = 125;
/// Minimum number of packets of a connection: its handshake, a question, an answer, its end.
const LEAST: u64 = 7;

#[test]
fn each_of_many_connections_to_a_service_has_its_endpoint() -> Result<()> {
    let enough = packets_from_environment()?.map_or(FEW, u64::from);
    let mut lab = Lab::new(&LabSpec {
        nodes: 3,
        pods_per_node: 2,
        ..LabSpec::default()
    })?;
    // One endpoint is on the client's node, and one on each of the other nodes.
    let ports = vec![ServicePort::tcp(80, 8080), ServicePort::udp(53, 5353)];
    let service = lab.add_service(Proxy::Iptables, ports, &[1, 3, 5])?;
    let client = &lab.pods[0];
    let endpoints: Vec<_> = lab.endpoints_of(&service).collect();
    let follow = [
        "--src-pod",
        &pod(client),
        "--dst-service",
        &service.full_name(),
    ];
    let mut tracer = Tracer::follow(&lab, follow.iter().chain(&ROOM))?;
    tracer.wait_started(LIMIT)?;

    let mut counted: BTreeMap<SocketAddr, u64> = BTreeMap::new();
    let mut told: BTreeMap<SocketAddr, u64> = BTreeMap::new();
    let (mut packets, mut connections) = (0, 0);
    while packets < enough {
        let to = (&endpoints[..], service.ports[0].target);
        let served = tcp_to_service(&client.netns, service.at(false, 0), to, ROUND)?;
        assert!(served.is_complete(), "{served:?}");
        for (endpoint, count) in endpoints.iter().zip(&served.by_endpoint) {
            let end = SocketAddr::new(endpoint.address(false), service.ports[0].target);
            *counted.entry(end).or_default() += count;
        }
        // The round is over once tracer shows a datagram that was sent after the connections.
        let to = (&endpoints[..], service.ports[1].target);
        let marker = udp_to_service(&client.netns, service.at(false, 1), to, 1)?;
        assert!(marker.is_complete(), "{marker:?}");
        let is_answer =
            |value: &Value| value["packet"]["proto"] == "udp" && value["direction"] == "reply";
        tracer.wait_for(is_answer, LIMIT)?;
        let mut journeys = tracer.take_journeys();
        journeys.retain(|journey| {
            let is_tcp = journey["packet"]["proto"] == "tcp";
            is_tcp && !is_neighbour(journey) && !is_before_start(journey)
        });
        for (end, count) in check(&lab, client, &service, &journeys)? {
            *told.entry(end).or_default() += count;
        }
        let mut of_connection: BTreeMap<BTreeSet<SocketAddr>, u64> = BTreeMap::new();
        for journey in &journeys {
            let client = ends(journey)?.into_iter();
            let client = client.filter(|end| end.ip() == lab.pods[0].address(false));
            *of_connection.entry(client.collect()).or_default() += 1;
        }
        let least = of_connection.values().min();
        assert!(
            least.is_some_and(|least| *least >= LEAST),
            "{of_connection:?}"
        );
        assert_eq!(of_connection.len() as u64, ROUND);
        packets += journeys.len() as u64;
        connections += ROUND;
    }
    assert_eq!(told, counted);
    assert_eq!(told.len(), 3, "{told:?}");

    let finished = tracer.stop()?;
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    check_balance(&finished.summary);
    check_all_told(&finished.summary["accounting"]);
    writeln!(
        stderr(),
        "{connections} connections of {packets} packets: {told:?}"
    )?;
    Ok(())
}
