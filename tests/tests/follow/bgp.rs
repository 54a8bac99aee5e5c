//! Routes to other nodes' pods that come and go with a daemon: BIRD announces them by BGP, as in
//! Calico without a tunnel.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;
use tracer_tests::{Lab, LabSpec, Node, Process, Wiring, program::LIMIT, traffic::Flow};

use crate::{
    expected::check_stopped,
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
        for v6 in [false, true] {
            let gone = format!("ip route del {}", lab.nodes[other].pod_cidr(v6));
            lab.nodes[node].netns.run(&gone)?;
        }
    }
    Ok(lab)
}

/// Starts the daemon of a node, which announces the networks of the node's bridge.
fn start(lab: &Lab, node: &Node) -> Result<Process> {
    let mut config = format!(
        "router id {};
         protocol device {{ scan time 1; }}
         protocol direct {{ ipv4; ipv6; interface \"{}\"; }}\n",
        node.underlay, node.bridge
    );
    for (v6, version) in [(false, "ipv4"), (true, "ipv6")] {
        config += &format!(
            "protocol kernel {{ {version} {{ import none; export where source = RTS_BGP; }}; }}\n"
        );
        for (index, other) in lab.nodes.iter().enumerate() {
            if other.name != node.name {
                config += &format!(
                    "protocol bgp {version}_peer{index} {{
                        local {} as {AUTONOMOUS_SYSTEM};
                        neighbor {} as {AUTONOMOUS_SYSTEM};
                        direct;
                        connect delay time 1;
                        connect retry time 1;
                        error wait time 1, 2;
                        {version} {{
                            import all;
                            export where source = RTS_DEVICE;
                            next hop self;
                        }};
                     }}\n",
                    node.address(v6),
                    other.address(v6)
                );
            }
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

/// Waits until a node has routes to another node's pods, or has none.
fn wait_for_routes(from: &Node, to: &Node, there: bool) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    for (v6, flag) in [(false, "-4"), (true, "-6")] {
        let shown = format!("ip {flag} route show {}", to.pod_cidr(v6));
        while from.netns.run(&shown)?.contains("via") != there {
            ensure!(
                Instant::now() < deadline,
                "not in time: a route ({flag}) from {} to {} (that it is there: {there})",
                from.name,
                to.name
            );
            std::thread::yield_now();
        }
    }
    Ok(())
}

#[test]
fn routes_of_a_daemon_and_that_it_stopped() -> Result<()> {
    let lab = lab()?;
    let [near, far] = [&lab.nodes[0], &lab.nodes[1]];
    let _near_daemon = start(&lab, near)?;
    let far_daemon = start(&lab, far)?;
    wait_for_routes(near, far, true)?;
    wait_for_routes(far, near, true)?;
    let [a, b] = [&lab.pods[0], &lab.pods[2]];
    let plan = plan_of(&lab, [a, b])?;
    assert!(plan.contains(&near.uplink), "{plan}");
    check_flows(&lab, [a, b])?;
    keep_clean(&lab, [a, b], "bgp")?;

    let (mut tracer, _) = recordings::follow(&lab, [a, b], &[], "bgp-daemon-stopped")?;
    drop(far_daemon);
    wait_for_routes(near, far, false)?;
    for (v6, echo_request) in [(false, 8), (true, 128)] {
        let pings = Flow::new(a, b).v6(v6).ping(1, Duration::from_millis(2))?;
        assert_eq!(pings.received, 0);
        let told = |value: &Value| value["packet"]["icmp"]["type"] == echo_request;
        let journey = tracer.wait_for(told, LIMIT)?;
        let verdict = &journey["verdict"];
        check_stopped(&journey);
        assert_eq!(verdict["cause"], "no-route", "{journey:#}");
        assert_eq!(verdict["drop"]["node"], *near.name, "{journey:#}");
    }
    tracer.stop()?;
    Ok(())
}
