//! A network without a fault. Every sent packet arrives, is seen at every point on its way, and no
//! other packet is shown.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec, Names,
    program::{LIMIT, Tracer},
    traffic::{Flow, arp_nd},
};

use crate::expected::{
    by_protocol, check_balance, check_clean, is_before_start, is_late_close, is_neighbour, pod,
};

/// Options with room for all events: other tests check the budget.
pub(crate) const ROOM: [&str; 4] = ["--budget", "100000000", "--ring-size", "64MiB"];

/// The journeys so far. Sends one datagram of a length that no other packet has, and waits until it
/// is shown.
pub(crate) fn settled(tracer: &mut Tracer, flow: &Flow, marker: usize) -> Result<Vec<Value>> {
    assert!(flow.udp_send(1, marker)?.is_complete());
    let headers = if flow.source().is_ipv4() { 28 } else { 48 };
    let is_marker = |value: &Value| {
        let packet = &value["packet"];
        let is_datagram = packet["proto"] == "udp" && packet["fragment"].is_null();
        is_datagram && packet["len"] == marker + headers
    };
    tracer.wait_for(is_marker, LIMIT)?;
    Ok(tracer.take_journeys())
}

/// The number of `journeys` that satisfy `is`.
fn count(journeys: &[Value], is: impl Fn(&Value) -> bool) -> u64 {
    journeys.iter().filter(|journey| is(journey)).count() as u64
}

#[test]
fn a_hundred_thousand_packets_across_nodes_all_arrive() -> Result<()> {
    let lab = Lab::new(&LabSpec {
        pods_per_node: 2,
        ..LabSpec::default()
    })?;
    let [a, b] = [&lab.pods[0], &lab.pods[2]];
    let follow = ["--src-pod", &pod(a), "--dst-pod", &pod(b)];
    let mut tracer = Tracer::follow(&lab, follow.iter().chain(&ROOM))?;
    tracer.wait_started(LIMIT)?;
    flood(&lab)?;

    let (mut packets, mut early) = (0, 0);
    let mut marker = 1201;
    for v6 in [false, true] {
        let flow = Flow::new(a, b).v6(v6);
        let mut round = |tracer: &mut Tracer| -> Result<Vec<Value>> {
            marker += 1;
            let journeys = settled(tracer, &flow, marker)?;
            packets += journeys.len() as u64;
            early += count(&journeys, is_before_start);
            for journey in &journeys {
                check_clean(&lab, [a, b], journey);
            }
            Ok(journeys)
        };

        assert!(arp_nd(&lab, &flow)?.is_complete());
        let journeys = round(&mut tracer)?;
        assert!(
            count(&journeys, is_neighbour) >= 4,
            "two questions, two answers"
        );

        let pings = flow.ping_flood(12_500)?;
        assert!(pings.is_complete(), "{pings:?}");
        let journeys = round(&mut tracer)?;
        let echo = |journey: &Value| !journey["packet"]["icmp"]["id"].is_null();
        let request = |journey: &Value| echo(journey) && journey["direction"] == "request";
        let reply = |journey: &Value| echo(journey) && journey["answers"].is_u64();
        assert_eq!(count(&journeys, request), pings.sent);
        assert_eq!(count(&journeys, reply), pings.received);

        let datagrams = flow.udp_send(20_000, 200)?;
        assert!(datagrams.is_complete(), "{datagrams:?}");
        let journeys = round(&mut tracer)?;
        assert_eq!(by_protocol(&journeys)["udp"], datagrams.sent + 1);

        let connects = flow.clone().port(8080).tcp_connects(500)?;
        assert!(connects.is_complete(), "{connects:?}");
        let journeys = round(&mut tracer)?;
        let syn = |journey: &Value| journey["packet"]["tcp"]["flags"] == "SYN";
        let syn_ack = |journey: &Value| {
            journey["packet"]["tcp"]["flags"] == "SYN|ACK" && journey["answers"].is_u64()
        };
        assert_eq!(count(&journeys, syn), connects.sent);
        assert_eq!(count(&journeys, syn_ack), connects.sent);

        let bulk = flow.tcp_bulk(100_000_000)?;
        assert!(bulk.is_complete(), "{bulk:?}");
        let journeys = round(&mut tracer)?;
        let bytes: u64 = journeys
            .iter()
            .filter(|journey| journey["direction"] == "request" && journey["retransmits"].is_null())
            .filter_map(|journey| journey["packet"]["tcp"]["payload_len"].as_u64())
            .sum();
        assert_eq!(
            bytes, bulk.sent,
            "every byte is part of one first transmission"
        );
    }
    assert!(packets >= 100_000, "{packets} packets");

    let finished = tracer.stop()?;
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    for journey in &finished.journeys {
        check_clean(&lab, [a, b], journey);
    }
    check_balance(&finished.summary);
    let journeys = finished.summary["journeys"].as_object().expect("an object");
    for (kind, count) in journeys.iter().filter(|(kind, _)| *kind != "delivered") {
        let honest = if kind == "unknown" { early } else { 0 };
        assert_eq!(*count, honest, "{kind}: {:#}", finished.summary);
    }
    Ok(())
}

/// Makes all bridges flood packets, so each incoming packet is also dropped in another pod's
/// namespace.
fn flood(lab: &Lab) -> Result<()> {
    for node in &lab.nodes {
        for pod in lab.pods_on(node) {
            let line = format!("bridge link set dev {} learning off", pod.veth);
            node.netns.run(&line)?;
        }
        let flush = format!("ip link set dev {} type bridge fdb_flush", node.bridge);
        node.netns.run(&flush)?;
    }
    Ok(())
}

#[test]
fn all_traffic_on_one_node_and_with_misleading_names() -> Result<()> {
    for (names, to) in [(Names::Realistic, 1), (Names::Odd, 2)] {
        let lab = Lab::new(&LabSpec {
            pods_per_node: 2,
            names,
            ..LabSpec::default()
        })?;
        let [a, b] = [&lab.pods[0], &lab.pods[to]];
        let follow = ["--src-pod", &pod(a), "--dst-pod", &pod(b), "--proto", "any"];
        let mut tracer = Tracer::follow(&lab, follow.iter().chain(&ROOM))?;
        tracer.wait_started(LIMIT)?;
        for v6 in [false, true] {
            let flow = Flow::new(a, b).v6(v6);
            assert!(flow.ping(20, Duration::from_millis(2))?.is_complete());
            assert!(flow.udp_exchange(100, 64)?.is_complete());
            assert!(flow.udp_exchange(3, 20_000)?.is_complete(), "in fragments");
            assert!(flow.tcp_connects(20)?.is_complete());
            assert!(flow.tcp_bulk(10_000_000)?.is_complete());
        }
        let finished = tracer.stop()?;
        let between: Vec<&Value> = finished
            .journeys
            .iter()
            .filter(|journey| !is_neighbour(journey))
            .collect();
        assert!(between.len() > 500, "{} journeys", between.len());
        for journey in between {
            check_clean(&lab, [a, b], journey);
        }
        check_balance(&finished.summary);
        let early = count(&finished.journeys, is_before_start);
        assert_eq!(finished.summary["journeys"]["unknown"], early);
    }
    Ok(())
}

#[test]
fn the_pods_own_interfaces_confirm() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let [a, b] = [&lab.pods[0], &lab.pods[1]];
    let follow = [
        "--src-pod",
        &pod(a),
        "--dst-pod",
        &pod(b),
        "--pod-interfaces",
    ];
    let mut tracer = Tracer::follow(&lab, follow.iter().chain(&ROOM))?;
    tracer.wait_started(LIMIT)?;
    for v6 in [false, true] {
        let flow = Flow::new(a, b).v6(v6);
        assert!(flow.ping(50, Duration::from_millis(2))?.is_complete());
        assert!(flow.tcp_bulk(10_000_000)?.is_complete());
    }
    let finished = tracer.stop()?;
    for journey in finished
        .journeys
        .iter()
        .filter(|journey| !is_neighbour(journey) && !is_late_close(journey))
    {
        let told = || serde_json::to_string_pretty(journey).unwrap_or_default();
        assert_eq!(journey["verdict"]["kind"], "delivered", "{}", told());
        // If the kernel gives no reason for freeing the packet, a doubt remains.
        let drops = journey["drops"].as_array().expect("drops");
        let unexplained = drops.iter().any(|drop| drop["reason"] == "NO_REASON");
        let confirmed = journey["verdict"]["confidence"] == "confirmed";
        assert!(confirmed || unexplained, "{}", told());
        let hops = journey["hops"].as_array().expect("hops");
        assert_eq!(hops.len(), 10, "{}", told());
        let names = [pod(a), pod(b)];
        for end in [&hops[0], &hops[9]] {
            let netns = end["netns"].as_str().expect("a name");
            assert!(names.iter().any(|name| name == netns), "{}", told());
        }
    }
    check_balance(&finished.summary);
    let early = count(&finished.journeys, is_before_start);
    assert_eq!(finished.summary["journeys"]["unknown"], early);
    Ok(())
}
