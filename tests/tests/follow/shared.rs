//! Pods whose interfaces have no peer on their node.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec, Names, Wiring,
    program::{LIMIT, Tracer},
    traffic::Flow,
};

use crate::{
    expected::{pod, point, seen},
    recordings::{self, keep_clean},
    wirings::{check_flows, in_each_lab, plan_of},
};

fn check(wiring: Wiring) -> Result<()> {
    in_each_lab(wiring, |lab, ends, names| {
        let on_one_node = ends[0].node == ends[1].node;
        let plan = plan_of(lab, ends)?;
        for end in ends {
            let inside = format!("the interface of pod {}", end.v4);
            assert!(plan.contains(&inside), "{plan}");
            let below = format!("pod {} sends by it", end.v4);
            assert!(plan.contains(&below) || on_one_node, "{plan}");
        }
        let is_said = plan.contains("the node's Services and policies do not apply");
        assert_eq!(is_said, wiring != Wiring::IpvlanL3, "{plan}");
        check_flows(lab, ends)?;
        if names == Names::Realistic {
            keep_clean(lab, ends, &recordings::name(wiring, ends))?;
        }
        Ok(())
    })
}

#[test]
fn pods_with_macvlan() -> Result<()> {
    check(Wiring::Macvlan)
}

#[test]
fn pods_with_ipvlan() -> Result<()> {
    check(Wiring::Ipvlan)
}

#[test]
fn pods_with_ipvlan_that_nodes_route_for() -> Result<()> {
    check(Wiring::IpvlanL3)
}

/// In mode private, pods of one node do not hear each other, so no pod answers ARP.
#[test]
fn pods_with_macvlan_that_must_not_hear_each_other() -> Result<()> {
    let lab = Lab::new(&LabSpec {
        pods_per_node: 2,
        wiring: Wiring::Macvlan,
        ..LabSpec::default()
    })?;
    let [a, b, other] = [&lab.pods[0], &lab.pods[1], &lab.pods[2]];
    for pod in [a, b] {
        let private = format!(
            "ip link set dev {} type macvlan mode private",
            pod.interface
        );
        pod.netns.run(&private)?;
        pod.netns
            .run(&format!("ip neighbour flush dev {}", pod.interface))?;
    }
    let (mut tracer, _) = recordings::follow(&lab, [a, b], &[], "macvlan-private")?;
    assert_eq!(
        Flow::new(a, b).ping(1, Duration::from_millis(2))?.received,
        0
    );
    let told = |value: &Value| value["packet"]["proto"] == "icmp";
    let journey = tracer.wait_for(told, LIMIT)?;
    assert_eq!(journey["verdict"]["kind"], "dropped", "{journey:#}");
    assert_eq!(journey["verdict"]["cause"], "neighbour", "{journey:#}");
    assert_eq!(journey["verdict"]["drop"]["netns"], pod(a), "{journey:#}");
    // A pod of the other node still answers.
    assert!(
        Flow::new(a, other)
            .ping(1, Duration::from_millis(2))?
            .is_complete()
    );
    tracer.stop()?;
    Ok(())
}

/// The wire between two such pods dies.
#[test]
fn pods_with_macvlan_whose_wire_is_dead() -> Result<()> {
    let lab = Lab::new(&LabSpec {
        wiring: Wiring::Macvlan,
        ..LabSpec::default()
    })?;
    let [a, b] = [&lab.pods[0], &lab.pods[1]];
    let ends = ["--src-pod", &pod(a), "--dst-pod", &pod(b), "--hold", "1s"];
    let mut tracer = Tracer::follow(&lab, ends)?;
    tracer.wait_started(LIMIT)?;
    for v6 in [false, true] {
        let flow = Flow::new(a, b).v6(v6);
        assert!(flow.udp_send(1, 64)?.is_complete());
    }
    let rule = "table bridge fault { chain fault { type filter hook forward priority 0; \
                meta l4proto udp drop; }; }";
    lab.middle.batch("nft -f -", rule)?;
    let near = &lab.nodes[0];
    for (v6, headers) in [(false, 28), (true, 48)] {
        let flow = Flow::new(a, b).v6(v6);
        assert_eq!(flow.udp_send(1, 165)?.received, 0);
        let is_it = |value: &Value| value["packet"]["len"] == 165 + headers;
        let journey = tracer.wait_for(is_it, LIMIT)?;
        assert_eq!(journey["verdict"]["kind"], "lost", "{journey:#}");
        let out = [
            point(near, &a.interface, "egress"),
            point(near, &near.uplink, "egress"),
        ];
        assert_eq!(seen(&journey), out, "{journey:#}");
    }
    Ok(())
}
