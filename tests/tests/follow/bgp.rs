//! Routes to other nodes' pods that come and go with a daemon: BIRD, which tells
//! them by BGP, as in Calico without a tunnel.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec, Node, Process, Wiring,
    program::{LIMIT, Tracer},
    traffic::Flow,
};

use crate::{
    expected::pod,
    recordings::{self, keep_clean},
    wirings::{check_flows, plan_of},
};

const AUTONOMOUS_SYSTEM: u16 = 64_512;

/// A lab without routes to other nodes' pods.
fn lab() -> Result<Lab> {
    let lab = Lab::new(&LabSpec {
        pods_per_node: 2,
        wiring: Wiring::FlannelHostGw,
        ..LabSpec::default()
    })?;
    for (node, other) in [(0, 1), (1, 0)] {
        let gone = format!("ip route del {}", lab.nodes[other].pod_cidr_v4);
        lab.nodes[node].netns.run(&gone)?;
    }
    Ok(lab)
}

/// Starts the daemon of a node, which tells the network of the node's bridge.
fn start(lab: &Lab, node: &Node) -> Result<Process> {
    let own = node.underlay;
    let mut config = format!(
        "router id {own};
         protocol device {{ scan time 1; }}
         protocol direct {{ ipv4; interface \"{}\"; }}
         protocol kernel {{ ipv4 {{ import none; export where source = RTS_BGP; }}; }}\n",
        node.bridge
    );
    for (index, other) in lab.nodes.iter().enumerate() {
        if other.name != node.name {
            config += &format!(
                "protocol bgp peer{index} {{
                    local {own} as {AUTONOMOUS_SYSTEM};
                    neighbor {} as {AUTONOMOUS_SYSTEM};
                    direct;
                    connect delay time 1;
                    connect retry time 1;
                    error wait time 1, 2;
                    ipv4 {{ import all; export where source = RTS_DEVICE; next hop self; }};
                 }}\n",
                other.underlay
            );
        }
    }
    let path = |what: &str| -> Result<String> {
        let path = lab.directory()?.join(format!("{}.{what}", node.name));
        Ok(path.display().to_string())
    };
    let (file, socket) = (path("conf")?, path("ctl")?);
    std::fs::write(&file, config)?;
    let mut bird = node.netns.command("bird");
    Process::start(bird.args(["-f", "-c", &file, "-s", &socket]), "")
}

/// Waits until a node has a route to another one's pods, or has none.
fn wait_for_route(from: &Node, to: &Node, there: bool) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    let shown = format!("ip route show {}", to.pod_cidr_v4);
    while from.netns.run(&shown)?.contains("via") != there {
        ensure!(
            Instant::now() < deadline,
            "not in time: a route from {} to {} (that it is there: {there})",
            from.name,
            to.name
        );
        std::thread::yield_now();
    }
    Ok(())
}

#[test]
fn routes_of_a_daemon_and_that_it_stopped() -> Result<()> {
    let lab = lab()?;
    let [near, far] = [&lab.nodes[0], &lab.nodes[1]];
    let _near_daemon = start(&lab, near)?;
    let far_daemon = start(&lab, far)?;
    wait_for_route(near, far, true)?;
    wait_for_route(far, near, true)?;
    let [a, b] = [&lab.pods[0], &lab.pods[2]];
    let plan = plan_of(&lab, [a, b])?;
    assert!(plan.contains(&near.uplink), "{plan}");
    check_flows(&lab, [a, b])?;
    keep_clean(&lab, [a, b], "bgp")?;

    let ends = ["--src-pod", &pod(a), "--dst-pod", &pod(b)];
    let file = recordings::fault("bgp-daemon-stopped");
    let mut tracer = Tracer::follow(&lab, ends.iter().copied().chain(file.arguments()))?;
    tracer.wait_started(LIMIT)?;
    drop(far_daemon);
    wait_for_route(near, far, false)?;
    let pings = Flow::new(a, b).ping(1, Duration::from_millis(2))?;
    assert_eq!(pings.received, 0);
    let told = |value: &Value| value["verdict"]["cause"] == "no-route";
    let journey = tracer.wait_for(told, LIMIT)?;
    // The kernel limits how many errors it sends.
    let kinds = ["refused", "dropped"];
    let kind = &journey["verdict"]["kind"];
    assert!(kinds.iter().any(|one| kind == one), "{journey:#}");
    assert_eq!(
        journey["verdict"]["drop"]["node"], *near.name,
        "{journey:#}"
    );
    tracer.stop()?;
    Ok(())
}
