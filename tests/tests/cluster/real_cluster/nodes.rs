//! Programs of a node that are away for a while. They carry the streams of the agent there.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tracer_tests::{cluster::Cluster, program::LIMIT};

use super::agents::{ends, follow, wait_gone};

/// More than an agent's pod needs to come again, on a busy machine.
const AGAIN: Duration = Duration::from_secs(120);

/// Follows while a program of the destination's node is stopped and started: what passes
/// meanwhile is delivered or unknown, and all that comes after is seen.
fn follow_through_a_stop_of(program: &str) -> Result<()> {
    let cluster = Cluster::up()?;
    let (web, cart) = ends(&cluster)?;
    let mut tracer = follow(&cluster, &web, &cart)?;
    let (node, address) = (&cart.node, &cart.address);
    let ping = |size: u32| cluster.in_pod(&web, &format!("ping -c 3 -s {size} -q {address}"));
    let stopped = cluster.service(node, program);
    stopped.stop()?;
    let gone = format!("{node} is not watched for now");
    tracer.wait_for_stderr(|said| said.contains(&gone), AGAIN)?;
    // Its pods run on, and so does what they say to each other.
    ping(333)?;
    stopped.start()?;
    let again = format!("{node} is watched again");
    tracer.wait_for_stderr(|said| said.contains(&again), AGAIN)?;
    ping(222)?;
    let after = |value: &Value| {
        value["packet"]["len"] == 222 + 28 && value["verdict"]["kind"] == "delivered"
    };
    tracer.wait_for(after, LIMIT)?;
    let finished = tracer.stop()?;
    assert!(finished.status.success(), "{}", finished.stderr);
    for journey in finished.journeys {
        let kind = journey["verdict"]["kind"].as_str();
        let known = matches!(kind, Some("delivered" | "unknown"));
        assert!(known, "{journey:#}");
    }
    wait_gone(&cluster)
}

#[test]
fn the_kubelet_is_restarted_in_mid_follow() -> Result<()> {
    follow_through_a_stop_of("kubelet")
}

#[test]
fn the_container_runtime_is_restarted_in_mid_follow() -> Result<()> {
    follow_through_a_stop_of("containerd")
}
