//! Names from the Kubernetes API, while objects and the API server itself change.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tracer_tests::{
    cluster::{Agents, Cluster, Pod},
    process,
    program::{LIMIT, Tracer},
};

use super::clean::failed;

/// The time within which a packet must be shown.
pub(super) const SOON: Duration = Duration::from_secs(3);

/// Follows two pods by name. Their nodes are reached without the API.
fn follow(cluster: &Cluster, from: &Pod, to: &Pod) -> Result<Tracer> {
    let mut tracer = cluster.tracer()?;
    tracer.args(["follow", "-o", "json"]);
    tracer.args(["--src-pod", &from.path(), "--dst-pod", &to.path()]);
    for node in [&from.node, &to.node] {
        tracer.args(["--agent", &cluster.agent(node, Agents::Netns)?]);
    }
    let mut tracer = Tracer::start(&mut tracer)?;
    tracer.wait_started(LIMIT)?;
    Ok(tracer)
}

/// Whether a packet did not arrive. A pod may get packets before the agent of its node observes it.
fn went_wrong(journey: &Value) -> bool {
    failed(journey) && journey["verdict"]["cause"] != "before-start"
}

/// Sends one HTTP request. Returns whether it was shown within `limit`.
pub(super) fn is_told(
    cluster: &Cluster,
    tracer: &mut Tracer,
    [from, to]: [&Pod; 2],
    limit: Duration,
) -> Result<bool> {
    // Journeys from before the request do not count.
    let before = tracer.take_journeys();
    let failed: Vec<_> = before.iter().filter(|one| went_wrong(one)).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let address = &to.address;
    cluster.in_pod(from, &format!("curl -sS -m 5 {address}:8080"))?;
    let asked = |value: &Value| {
        let packet = &value["packet"];
        packet["dst"] == address.as_str() && packet["dst_port"] == 8080
    };
    Ok(tracer.wait_for(asked, limit).is_ok())
}

/// Whether a pod with the name of this one is ready within some seconds.
pub(super) fn is_ready(cluster: &Cluster, pod: &Pod) -> bool {
    let (ready, name) = ("--for=condition=Ready", format!("pod/{}", pod.name));
    let wait = ["wait", "-n", &pod.namespace, ready, &name, "--timeout=5s"];
    cluster.kubectl(wait).is_ok()
}

/// The node that has none of these pods.
pub(super) fn third_node(cluster: &Cluster, pods: [&Pod; 2]) -> Result<String> {
    let mut nodes = cluster.nodes()?.into_iter();
    let other = nodes.find(|node| pods.iter().all(|pod| pod.node != *node));
    other.context("there is a third node")
}

/// Deletes the pod, and waits until a new pod with its name is followed.
fn replace(cluster: &Cluster, tracer: &mut Tracer, from: &Pod, db: &Pod) -> Result<()> {
    cluster.kubectl(["delete", "pod", "-n", &db.namespace, &db.name])?;
    cluster.until("its successor is ready", || Ok(is_ready(cluster, db)))?;
    let after = cluster.pod(&db.name, None)?;
    assert_ne!(db.address, after.address);
    cluster.until("its successor is followed", || {
        is_told(cluster, tracer, [from, &after], SOON)
    })
}

pub(super) fn stop(tracer: Tracer) -> Result<()> {
    let finished = tracer.stop()?;
    let other: Vec<_> = finished
        .journeys
        .iter()
        .filter(|one| went_wrong(one))
        .collect();
    assert!(other.is_empty(), "{other:#?}\n{}", finished.stderr);
    assert!(finished.status.success(), "{}", finished.stderr);
    Ok(())
}

#[test]
fn a_pod_of_a_stateful_set_comes_back_with_another_address() -> Result<()> {
    let cluster = Cluster::up()?;
    let web = cluster.pod("web", None)?;
    let db = cluster.pod("db-0", None)?;
    let mut tracer = follow(&cluster, &web, &db)?;
    assert!(is_told(&cluster, &mut tracer, [&web, &db], LIMIT)?);
    replace(&cluster, &mut tracer, &web, &db)?;
    stop(tracer)
}

/// Moves a StatefulSet's pods to a node, until this value is dropped.
pub(super) struct Placed<'a>(&'a Cluster, String);

impl<'a> Placed<'a> {
    pub(super) fn on(cluster: &'a Cluster, db: &Pod, node: &str) -> Result<Self> {
        let placed = Self(cluster, db.node.clone());
        placed.set(node)?;
        Ok(placed)
    }

    fn set(&self, node: &str) -> Result<()> {
        let selector = json!({"kubernetes.io/hostname": node});
        let patch = json!({"spec": {"template": {"spec": {"nodeSelector": selector}}}});
        let patch = patch.to_string();
        let patch = [
            "patch",
            "statefulset",
            "-n",
            "shop",
            "db",
            "--type=merge",
            "-p",
            &patch,
        ];
        self.0.kubectl(patch).map(drop)
    }
}

impl Drop for Placed<'_> {
    fn drop(&mut self) {
        // A test that failed has printed the reason.
        let back = self.set(&self.1);
        let _ = back.and_then(|()| {
            let status = [
                "rollout",
                "status",
                "-n",
                "shop",
                "statefulset/db",
                "--timeout=60s",
            ];
            self.0.kubectl(status)
        });
    }
}

/// A node without an agent gets one with the pod, and the node's hops are in the journeys.
#[test]
fn a_pod_moves_to_a_node_that_was_not_watched() -> Result<()> {
    let cluster = Cluster::up()?;
    let web = cluster.pod("web", None)?;
    let db = cluster.pod("db-0", None)?;
    let other = third_node(&cluster, [&web, &db])?;
    let mut tracer = cluster.tracer()?;
    tracer.args(["follow", "-o", "json", "--src-pod", &web.path()]);
    tracer.args(["--dst-pod", &db.path()]);
    for node in cluster.nodes()? {
        tracer.args(["--agent", &cluster.agent(&node, Agents::Netns)?]);
    }
    let mut tracer = Tracer::start(&mut tracer)?;
    tracer.wait_started(LIMIT)?;
    assert!(is_told(&cluster, &mut tracer, [&web, &db], LIMIT)?);
    let _placed = Placed::on(&cluster, &db, &other)?;
    let watched = format!("{other} is watched from now on");
    let moved = Duration::from_secs(60);
    tracer.wait_for_stderr(|said| said.contains(&watched), moved)?;
    cluster.until("its successor is ready", || Ok(is_ready(&cluster, &db)))?;
    let after = cluster.pod(&db.name, None)?;
    assert_eq!(after.node, other);
    cluster.in_pod(&web, &format!("curl -sS -m 5 {}:8080", after.address))?;
    let arrived = |journey: &Value| {
        let hops = journey["hops"].as_array().into_iter().flatten();
        let there = hops.filter(|hop| hop["node"] == other.as_str()).count();
        journey["packet"]["dst"] == after.address.as_str()
            && journey["verdict"]["kind"] == "delivered"
            && there > 2
    };
    tracer.wait_for(arrived, LIMIT)?;
    stop(tracer)
}

#[test]
fn the_api_server_is_restarted_in_mid_follow() -> Result<()> {
    let cluster = Cluster::up()?;
    let web = cluster.pod("web", None)?;
    let db = cluster.pod("db-0", None)?;
    let mut tracer = follow(&cluster, &web, &db)?;
    assert!(is_told(&cluster, &mut tracer, [&web, &db], LIMIT)?);
    let server = cluster.service("control", "kube-apiserver");
    server.stop()?;
    server.start()?;
    cluster.until("the API server answers", || {
        Ok(cluster.kubectl(["get", "--raw", "/readyz"]).is_ok())
    })?;
    assert!(is_told(&cluster, &mut tracer, [&web, &db], LIMIT)?);
    // The follow also learns of later changes.
    replace(&cluster, &mut tracer, &web, &db)?;
    stop(tracer)
}

/// Completion as a shell's script asks for it.
#[test]
fn names_are_completed_from_the_cluster() -> Result<()> {
    let cluster = Cluster::up()?;
    let offered = |words: &[&str]| -> Result<Vec<String>> {
        let mut tracer = cluster.tracer()?;
        tracer
            .env("COMPLETE", "bash")
            .env("_CLAP_IFS", "\n")
            .env("_CLAP_COMPLETE_INDEX", words.len().to_string())
            .args(["--", "tracer"])
            .args(words);
        let offered = process::run(&mut tracer, "")?;
        Ok(offered.lines().map(str::to_owned).collect())
    };
    let web = cluster.pod("web", None)?.path();
    assert_eq!(offered(&["follow", "--src-pod", "shop/we"])?, [web]);
    assert_eq!(
        offered(&["follow", "-n", "shop", "--dst-service", "cart-h"])?,
        ["cart-headless"]
    );
    assert_eq!(
        offered(&["drops", "--node", "node-"])?,
        ["node-a", "node-b", "node-c"]
    );
    assert_eq!(offered(&["follow", "-n", "sho"])?, ["shop"]);
    let both = offered(&["follow", "--dst-pod", "sho"])?;
    assert!(both.contains(&"shop/".to_owned()), "{both:?}");
    Ok(())
}
