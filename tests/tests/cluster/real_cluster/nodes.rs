//! Programs of a node that are stopped for a while. They carry the stream of the node's agent.

use std::time::Duration;

use anyhow::Result;
use tracer_tests::cluster::Cluster;

use super::agents::{check_gap, ends, follow};

/// The time limit for an agent's pod to come again, on a busy machine.
const AGAIN: Duration = Duration::from_secs(120);

/// Follows while a program of the destination's node is stopped and started.
fn follow_through_a_stop_of(program: &str) -> Result<()> {
    let cluster = Cluster::up()?;
    let (web, cart) = ends(&cluster)?;
    let tracer = follow(&cluster, &web, &cart)?;
    let stopped = cluster.service(&cart.node, program);
    stopped.stop()?;
    check_gap(&cluster, tracer, [&web, &cart], AGAIN, || stopped.start())
}

#[test]
fn the_kubelet_is_restarted_in_mid_follow() -> Result<()> {
    follow_through_a_stop_of("kubelet")
}

#[test]
fn the_container_runtime_is_restarted_in_mid_follow() -> Result<()> {
    follow_through_a_stop_of("containerd")
}
