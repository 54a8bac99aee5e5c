//! tracer shows exactly the requested packets of a node.

use std::{collections::BTreeSet, thread, time::Duration};

use anyhow::Result;
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec, Pod,
    program::{LIMIT, Tracer},
    traffic::Flow,
};

use crate::expected::{check_balance, is_neighbour};

/// A UDP exchange of five datagrams each way.
fn exchange(from: &Pod, to: &Pod, port: u16) -> Result<()> {
    let flow = Flow::new(from, to).port(port);
    assert!(flow.udp_exchange(5, 64)?.is_complete());
    Ok(())
}

fn name(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}

#[test]
fn ten_followed_flows_beside_a_hundred_others() -> Result<()> {
    let lab = Lab::new(&LabSpec {
        pods_per_node: 6,
        ..LabSpec::default()
    })?;
    let [a, b] = [&lab.pods[0], &lab.pods[6]];
    let mut tracer = Tracer::follow(&lab, ["--src-pod", &name(a), "--dst-pod", &name(b)])?;
    tracer.wait_started(LIMIT)?;
    thread::scope(|scope| -> Result<()> {
        let mut running = Vec::new();
        for flow in 0..10 {
            running.push(scope.spawn(move || exchange(a, b, 20_000 + flow)));
        }
        let mut others = 0;
        for (from, source) in lab.pods.iter().enumerate() {
            for (to, destination) in lab.pods.iter().enumerate() {
                let followed = [(0, 6), (6, 0)].contains(&(from, to));
                if from == to || followed || others == 100 {
                    continue;
                }
                others += 1;
                let port = 21_000 + others;
                running.push(scope.spawn(move || exchange(source, destination, port)));
            }
        }
        assert_eq!(others, 100);
        running
            .into_iter()
            .try_for_each(|flow| flow.join().expect("no panic"))
    })?;
    let finished = tracer.stop()?;
    let flows: BTreeSet<&str> = finished
        .journeys
        .iter()
        .filter(|journey| !is_neighbour(journey))
        .map(|journey| {
            let ends = [a.v4.to_string(), b.v4.to_string()];
            let packet = &journey["packet"];
            for end in [&packet["src"], &packet["dst"]] {
                assert!(ends.iter().any(|address| *end == **address), "{packet}");
            }
            journey["conversation"].as_str().expect("a number")
        })
        .collect();
    assert_eq!(flows.len(), 10);
    check_balance(&finished.summary);
    Ok(())
}

#[test]
fn protocol_and_port() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let [a, b] = [&lab.pods[0], &lab.pods[1]];
    let ends = [a.v4.to_string(), b.v4.to_string()];
    let follow = ["--src-ip", &ends[0], "--dst-ip", &ends[1]];
    let mut tracer = Tracer::follow(
        &lab,
        follow
            .iter()
            .chain(&["--proto", "tcp", "--dst-port", "8080"]),
    )?;
    tracer.wait_started(LIMIT)?;
    let flow = Flow::new(a, b);
    assert!(flow.ping(3, Duration::from_millis(2))?.is_complete());
    assert!(flow.clone().port(8081).tcp_connects(3)?.is_complete());
    assert!(flow.clone().port(8080).udp_exchange(3, 10)?.is_complete());
    assert!(flow.clone().port(8080).tcp_connects(3)?.is_complete());
    let finished = tracer.stop()?;
    assert!(!finished.journeys.is_empty());
    for journey in &finished.journeys {
        let packet = &journey["packet"];
        assert_eq!(packet["proto"], "tcp");
        let ports = [&packet["src_port"], &packet["dst_port"]];
        assert!(ports.iter().any(|port| **port == 8080), "{packet}");
    }
    Ok(())
}

#[test]
fn networks_stand_for_all_addresses_in_them() -> Result<()> {
    let lab = Lab::new(&LabSpec {
        pods_per_node: 2,
        ..LabSpec::default()
    })?;
    let follow = [
        "--src",
        &lab.nodes[0].pod_cidr_v4,
        "--dst",
        &lab.nodes[1].pod_cidr_v4,
    ];
    let mut tracer = Tracer::follow(&lab, follow)?;
    tracer.wait_started(LIMIT)?;
    for (from, to) in [(0, 2), (1, 3), (0, 1)] {
        let flow = Flow::new(&lab.pods[from], &lab.pods[to]);
        assert!(flow.ping(3, Duration::from_millis(2))?.is_complete());
    }
    let finished = tracer.stop()?;
    let pings: Vec<&Value> = finished
        .journeys
        .iter()
        .filter(|journey| !is_neighbour(journey))
        .collect();
    assert_eq!(pings.len(), 12, "two pairs of pods, six packets each");
    Ok(())
}
