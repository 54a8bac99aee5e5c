//! Agents in pods: nothing is installed on the nodes, and nothing stays there.

use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use serde_json::Value;
use tracer_tests::{
    cluster::{Cluster, Pod},
    process::Process,
    program::{LIMIT, Tracer},
};

use super::clean::{failed, is_neighbour};

/// The namespace of the agents' pods.
pub(super) const NAMESPACE: &str = "tracer-agents";

/// An image with a shell on the cluster's nodes. It is not in the list of known images.
pub(super) const IMAGE: &str = "local.test/tools:1";

/// A follow from `web` to a pod of another node, with names and agents from the cluster alone.
pub(super) fn follow(cluster: &Cluster, from: &Pod, to: &Pod) -> Result<Tracer> {
    follow_by(cluster, IMAGE, from, to)
}

/// As [`follow`], with agents in pods of an image.
pub(super) fn follow_by(cluster: &Cluster, image: &str, from: &Pod, to: &Pod) -> Result<Tracer> {
    let mut tracer = cluster.tracer()?;
    let ends = ["--src-pod", &from.path(), "--dst-pod", &to.path()];
    tracer
        .args(["follow", "-o", "json", "--hold", "1s"])
        .args(["--agent-image", image])
        .args(ends);
    let mut tracer = Tracer::start(&mut tracer)?;
    tracer.wait_started(LIMIT)?;
    Ok(tracer)
}

/// The names of the agents' Jobs and pods, one per line.
fn agents(cluster: &Cluster) -> Result<String> {
    cluster.kubectl(["get", "jobs,pods", "-n", NAMESPACE, "-o", "name"])
}

pub(super) fn wait_gone(cluster: &Cluster) -> Result<()> {
    cluster.until("no agent is left", || Ok(agents(cluster)?.is_empty()))
}

pub(super) fn ends(cluster: &Cluster) -> Result<(Pod, Pod)> {
    Ok((
        cluster.pod("web", None)?,
        cluster.pod("cart-", Some("node-b"))?,
    ))
}

#[test]
fn pods_are_followed_by_agents_in_pods() -> Result<()> {
    let cluster = Cluster::up()?;
    let (web, cart) = ends(&cluster)?;
    let mut tracer = follow(&cluster, &web, &cart)?;
    let address = &cart.address;
    let script = format!("ping -c 5 -q {address}; curl -sS -m 5 {address}:8080");
    cluster.in_pod(&web, &script)?;
    let arrived = |proto: &'static str| {
        move |value: &Value| {
            value["packet"]["proto"] == proto && value["verdict"]["kind"] == "delivered"
        }
    };
    tracer.wait_for(arrived("icmp"), LIMIT)?;
    tracer.wait_for(arrived("tcp"), LIMIT)?;
    let finished = tracer.stop()?;
    assert!(finished.status.success(), "{}", finished.stderr);
    let other: Vec<_> = finished.journeys.iter().filter(|one| failed(one)).collect();
    assert!(other.is_empty(), "{other:#?}\n{}", finished.stderr);
    // The pods end with the follow.
    wait_gone(&cluster)
}

/// The agent ends with its stream, the pod with its agent, and the Job with its pod.
#[test]
fn a_follow_that_is_killed_leaves_no_pod() -> Result<()> {
    let cluster = Cluster::up()?;
    let (web, cart) = ends(&cluster)?;
    let tracer = follow(&cluster, &web, &cart)?;
    assert_eq!(agents(&cluster)?.lines().count(), 4);
    tracer.signal(Signal::SIGKILL)?;
    wait_gone(&cluster)
}

#[test]
fn an_agents_pod_that_is_deleted_leaves_a_gap_and_is_made_again() -> Result<()> {
    let cluster = Cluster::up()?;
    let (web, cart) = ends(&cluster)?;
    let tracer = follow(&cluster, &web, &cart)?;
    let wide = ["get", "pods", "-n", NAMESPACE, "-o", "wide", "--no-headers"];
    let pods = cluster.kubectl(wide)?;
    let of_cart = pods.lines().find(|line| line.contains(&cart.node));
    let of_cart = of_cart.and_then(|line| line.split_whitespace().next());
    let pod = of_cart.context("the node of the destination has an agent")?;
    cluster.kubectl(["delete", "pod", "-n", NAMESPACE, pod, "--wait=false"])?;
    check_gap(&cluster, tracer, [&web, &cart], LIMIT, || Ok(()))
}

/// Like a laptop that sleeps: all agents end after a long silence, and the follow reaches them
/// again.
#[test]
fn a_client_that_is_stopped_goes_on_behind_a_gap() -> Result<()> {
    let cluster = Cluster::up()?;
    let (web, cart) = ends(&cluster)?;
    let tracer = follow(&cluster, &web, &cart)?;
    tracer.signal(Signal::SIGSTOP)?;
    // The process must continue in any case, because a stopped process cannot end.
    let left = wait_gone(&cluster);
    tracer.signal(Signal::SIGCONT)?;
    left?;
    check_gap(&cluster, tracer, [&web, &cart], LIMIT, || Ok(()))
}

/// Waits until the agent of the second pod's node is away, and lets it come again. Checks that
/// packets meanwhile are delivered or unknown, and that all later packets are seen. `limit` is for
/// each wait.
pub(super) fn check_gap(
    cluster: &Cluster,
    mut tracer: Tracer,
    [web, cart]: [&Pod; 2],
    limit: Duration,
    mend: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let (node, address) = (&cart.node, &cart.address);
    let ping = |size: u32| cluster.in_pod(web, &format!("ping -c 3 -s {size} -q {address}"));
    let gone = format!("lost the agent of {node};");
    tracer.wait_for_stderr(|said| said.contains(&gone), limit)?;
    // The pods still run, and so does their traffic. Only the test sends packets of this size.
    ping(333)?;
    mend()?;
    let again = format!("{node} is watched again");
    tracer.wait_for_stderr(|said| said.contains(&again), limit)?;
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
        // A node also looks for neighbours on a node without an agent of this follow.
        let elsewhere = kind == Some("left") && is_neighbour(&journey);
        assert!(known || elsewhere, "{journey:#}");
    }
    wait_gone(cluster)
}

/// A part of an image's name must not decide what runs as root on a node.
#[test]
fn an_image_that_no_list_knows_has_to_be_named() -> Result<()> {
    let cluster = Cluster::up()?;
    let (web, cart) = ends(&cluster)?;
    let mut tracer = cluster.tracer()?;
    tracer.args([
        "follow",
        "--src-pod",
        &web.path(),
        "--dst-pod",
        &cart.path(),
    ]);
    let ended = Process::start(&mut tracer, "")?.finish(LIMIT)?;
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    let sentence = "has no image of a repository that is known to have a shell";
    assert!(ended.stderr.contains(sentence), "{}", ended.stderr);
    assert!(ended.stderr.contains("--agent-image"), "{}", ended.stderr);
    Ok(())
}

/// A user without rights learns each missing rule, and nothing was made.
#[test]
fn missing_rights_are_named_before_anything_is_made() -> Result<()> {
    let cluster = Cluster::up()?;
    let mut tracer = cluster.tracer()?;
    let (web, cart) = ends(&cluster)?;
    let directory = std::env::temp_dir().join(format!("tracer-rights-{}", std::process::id()));
    cluster.write_objects(&directory)?;
    tracer.args(["follow", "--agent", "node-a=pod", "--inventory"]);
    tracer.arg(&directory);
    tracer.args(["--src-pod", &web.path(), "--dst-pod", &cart.path()]);
    tracer.env("KUBECONFIG", cluster.kubeconfig("someone"));
    let ended = Process::start(&mut tracer, "")?.finish(LIMIT)?;
    std::fs::remove_file(&directory)?;
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    let rule = "add {apiGroups: [\"batch\"], resources: [\"jobs\"], verbs: [\"create\"]} to a Role \
                in tracer-agents";
    assert!(ended.stderr.contains(rule), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("deploy/agents.yaml"),
        "{}",
        ended.stderr
    );
    assert_eq!(agents(&cluster)?, "");
    Ok(())
}
