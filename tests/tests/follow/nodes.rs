//! Between a pod and a node: its own, and another.

use anyhow::Result;
use tracer_tests::{
    Lab, LabSpec,
    program::{LIMIT, Tracer},
};

use crate::expected::{Point, check_balance, is_neighbour, pod, point, seen};

const IN: &str = "ingress";
const OUT: &str = "egress";

/// Follows pings of a pod to a node, and checks both ways.
fn check(lab: &Lab, to: usize, there: &[Point], back: &[Point]) -> Result<()> {
    let (a, node) = (&lab.pods[0], &lab.nodes[to]);
    let address = node.underlay.to_string();
    let follow = ["--src-pod", &pod(a), "--dst-ip", &address];
    let mut tracer = Tracer::follow(lab, follow)?;
    tracer.wait_started(LIMIT)?;
    let ping = format!("ping -n -q -i 0.002 -c 10 {address}");
    a.netns.run(&ping)?;
    let finished = tracer.stop()?;
    let journeys: Vec<_> = finished
        .journeys
        .iter()
        .filter(|journey| !is_neighbour(journey))
        .collect();
    assert_eq!(journeys.len(), 20, "{}", finished.stderr);
    for journey in journeys {
        assert_eq!(journey["verdict"]["kind"], "delivered", "{journey:#}");
        let way = if journey["packet"]["dst"] == *address {
            there
        } else {
            back
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
    check(&lab, 0, &there, &back)
}

/// There, nothing is in a tunnel: a node's address is no pod's. Back, the far
/// node has its route to the pod.
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
    let back = [
        point(far, &far.overlay, OUT),
        point(far, &far.uplink, OUT),
        point(near, &near.uplink, IN),
        point(near, &near.overlay, IN),
        point(near, &near.bridge, OUT),
        point(near, &a.veth, OUT),
    ];
    check(&lab, 1, &there, &back)
}

/// A pod in its node's own namespace, as kube-proxy is: the source is the
/// tunnel's address.
#[test]
fn a_node_and_a_pod_of_another() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let (near, far, b) = (&lab.nodes[0], &lab.nodes[1], &lab.pods[1]);
    let from = near.overlay_v4.to_string();
    let follow = ["--src-ip", &from, "--dst-pod", &pod(b)];
    let mut tracer = Tracer::follow(&lab, follow)?;
    tracer.wait_started(LIMIT)?;
    near.netns
        .run(&format!("ping -n -q -i 0.002 -c 10 {}", b.v4))?;
    let finished = tracer.stop()?;
    let there = [
        point(near, &near.overlay, OUT),
        point(near, &near.uplink, OUT),
        point(far, &far.uplink, IN),
        point(far, &far.overlay, IN),
        point(far, &far.bridge, OUT),
        point(far, &b.veth, OUT),
    ];
    let mut requests = 0;
    for journey in finished.journeys.iter().filter(|one| !is_neighbour(one)) {
        assert_eq!(journey["verdict"]["kind"], "delivered", "{journey:#}");
        if journey["packet"]["src"] == *from {
            requests += 1;
            assert_eq!(seen(journey), there, "{journey:#}");
        }
    }
    assert_eq!(requests, 10, "{}", finished.stderr);
    check_balance(&finished.summary);
    Ok(())
}
