//! Traffic between a pod and a node: the pod's own, and another.

use std::net::Ipv4Addr;

use anyhow::Result;
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec, Netns,
    program::{LIMIT, Tracer},
};

use crate::expected::{Point, between_pods, check_balance, is_neighbour, pod, point, seen};

const IN: &str = "ingress";
const OUT: &str = "egress";

/// Follows pings between two ends, and checks the ways there and back.
struct Case<'a> {
    lab: &'a Lab,
    /// The arguments that name the ends.
    ends: [&'a str; 4],
    /// The namespace that pings.
    from: &'a Netns,
    /// The address that it pings.
    to: Ipv4Addr,
    there: &'a [Point],
    back: &'a [Point],
}

fn check(case: &Case<'_>) -> Result<()> {
    let mut tracer = Tracer::follow(case.lab, case.ends)?;
    tracer.wait_started(LIMIT)?;
    let to = case.to.to_string();
    case.from.run(&format!("ping -n -q -i 0.002 -c 10 {to}"))?;
    let finished = tracer.stop()?;
    let journeys: Vec<_> = finished
        .journeys
        .iter()
        .filter(|journey| !is_neighbour(journey))
        .collect();
    assert_eq!(journeys.len(), 20, "{}", finished.stderr);
    let there = |journey: &Value| journey["packet"]["dst"] == *to;
    let requests = journeys.iter().filter(|journey| there(journey)).count();
    assert_eq!(requests, 10, "{}", finished.stderr);
    for journey in journeys {
        assert_eq!(journey["verdict"]["kind"], "delivered", "{journey:#}");
        let way = if there(journey) {
            case.there
        } else {
            case.back
        };
        assert_eq!(seen(journey), way, "{journey:#}");
    }
    check_balance(&finished.summary);
    Ok(())
}

#[test]
fn a_pod_and_its_own_node() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let (a, node) = (&lab.pods[0], &lab.nodes[0]);
    let there = [point(node, &a.veth, IN), point(node, &node.bridge, IN)];
    let back = [point(node, &node.bridge, OUT), point(node, &a.veth, OUT)];
    let to = node.underlay;
    check(&Case {
        lab: &lab,
        ends: ["--src-pod", &pod(a), "--dst-ip", &to.to_string()],
        from: &a.netns,
        to,
        there: &there,
        back: &back,
    })
}

/// On the way there, no packet is in a tunnel, because a node's address is no pod's. On the way
/// back, the far node has its route to the pod.
#[test]
fn a_pod_and_another_node() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let (a, near, far) = (&lab.pods[0], &lab.nodes[0], &lab.nodes[1]);
    let there = [
        point(near, &a.veth, IN),
        point(near, &near.bridge, IN),
        point(near, &near.uplink, OUT),
        point(far, &far.uplink, IN),
    ];
    let to = far.underlay;
    check(&Case {
        lab: &lab,
        ends: ["--src-pod", &pod(a), "--dst-ip", &to.to_string()],
        from: &a.netns,
        to,
        there: &there,
        // The way is a pod's way, from the bridge's outgoing side on.
        back: &between_pods(&lab, &lab.pods[1], a)[2..],
    })
}

/// A pod in its node's own namespace, such as kube-proxy, has the tunnel's address as its source.
#[test]
fn a_node_and_a_pod_of_another() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let [a, b] = [&lab.pods[0], &lab.pods[1]];
    let near = &lab.nodes[0];
    check(&Case {
        lab: &lab,
        ends: [
            "--src-ip",
            &near.overlay_v4.to_string(),
            "--dst-pod",
            &pod(b),
        ],
        from: &near.netns,
        to: b.v4,
        // The way is a pod's way, without the bridge and the pod's veth.
        there: &between_pods(&lab, a, b)[2..],
        back: &between_pods(&lab, b, a)[..6],
    })
}
