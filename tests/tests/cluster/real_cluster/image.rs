//! Agents in pods of the project's own image, which has the agent, under the name `tracer`, and nothing else.

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use tracer_tests::{
    cluster::{Cluster, Pod},
    program::{self, LIMIT, Tracer},
};

use super::agents::{NAMESPACE, ends, follow_by, wait_gone};

/// The image's name by `cargo xtask image`.
const IMAGE: &str = concat!("localhost/tracer:", env!("CARGO_PKG_VERSION"));

/// Imports the image on the nodes of these pods.
fn give(cluster: &Cluster, pods: [&Pod; 2]) -> Result<()> {
    let archive = program::binary()?.with_file_name("tracer.oci.tar");
    ensure!(
        archive.is_file(),
        "there is no image {}: `cargo xtask cluster test` makes it",
        archive.display()
    );
    for pod in pods {
        cluster.give_image(&pod.node, &archive, IMAGE)?;
    }
    Ok(())
}

/// Checks that a ping is seen on both nodes.
fn ping(cluster: &Cluster, tracer: &mut Tracer, from: &Pod, to: &Pod) -> Result<()> {
    cluster.in_pod(from, &format!("ping -c 3 -q {}", to.address))?;
    let arrived = |value: &serde_json::Value| {
        value["packet"]["proto"] == "icmp" && value["verdict"]["kind"] == "delivered"
    };
    let journey = tracer.wait_for(arrived, LIMIT)?;
    let hops = journey["hops"].as_array().context("a journey has hops")?;
    for pod in [from, to] {
        let seen = hops.iter().any(|hop| hop["node"] == pod.node.as_str());
        ensure!(seen, "it was not seen on {}: {journey:#}", pod.node);
    }
    Ok(())
}

/// The commands of the agents' running pods. A pod that did not start may not be gone yet.
fn commands(cluster: &Cluster) -> Result<Vec<String>> {
    let path = "jsonpath={.items[*].spec.containers[0].command[0]}";
    let running = "--field-selector=status.phase=Running";
    let said = cluster.kubectl(["get", "pods", "-n", NAMESPACE, running, "-o", path])?;
    Ok(said.split_whitespace().map(str::to_owned).collect())
}

/// The agent ends with its stream. `tracer`, which keeps the pod alive, ends with the agent.
#[test]
fn an_image_without_a_shell_has_the_agent_and_holds_its_pod() -> Result<()> {
    let cluster = Cluster::up()?;
    let (web, cart) = ends(&cluster)?;
    give(&cluster, [&web, &cart])?;
    let mut tracer = follow_by(&cluster, IMAGE, &web, &cart)?;
    assert_eq!(commands(&cluster)?, ["tracer", "tracer"]);
    ping(&cluster, &mut tracer, &web, &cart)?;
    tracer.signal(Signal::SIGKILL)?;
    wait_gone(&cluster)
}

/// The cluster does not tell an image's content, so the name only decides what tracer tries first.
#[test]
fn what_an_image_does_not_have_is_not_needed() -> Result<()> {
    let cluster = Cluster::up()?;
    let (web, cart) = ends(&cluster)?;
    give(&cluster, [&web, &cart])?;
    for (image, other, has) in [
        (IMAGE, "local.test/agent:1", "tracer"),
        ("local.test/tools:1", "local.test/tracer:1", "sh"),
    ] {
        for pod in [&web, &cart] {
            cluster.name_image(&pod.node, image, other)?;
        }
        let mut tracer = follow_by(&cluster, other, &web, &cart)?;
        assert_eq!(commands(&cluster)?, [has, has], "{other}");
        ping(&cluster, &mut tracer, &web, &cart)?;
        let finished = tracer.stop()?;
        assert!(finished.status.success(), "{}", finished.stderr);
        wait_gone(&cluster)?;
    }
    Ok(())
}
