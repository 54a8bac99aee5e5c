//! A node that is drained during a follow.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;
use tracer_tests::{
    cluster::{Cluster, Pod},
    program::{LIMIT, Tracer},
};

use super::{
    agents::{IMAGE, wait_gone},
    api::{SOON, is_ready, is_told, stop, third_node},
};

/// The Deployment whose pod has to go.
const NAME: &str = "moved";

/// The time limit for the pod and an agent on another node, on a busy machine.
const MOVING: Duration = Duration::from_secs(60);

/// A Deployment of one pod, on another node than `web`. It is deleted with this value.
struct Moved<'a>(&'a Cluster);

impl<'a> Moved<'a> {
    fn begin(cluster: &'a Cluster, web: &Pod) -> Result<Self> {
        let moved = Self(cluster);
        let serve = "mkdir -p /www; echo moved > /www/index.html; exec httpd -f -p 8080 -h /www";
        let container = json!({
            "name": "http", "image": IMAGE, "imagePullPolicy": "Never",
            "command": ["sh", "-c", serve],
            "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        });
        let elsewhere = json!({
            "key": "kubernetes.io/hostname", "operator": "NotIn", "values": [web.node],
        });
        let terms = json!([{"matchExpressions": [elsewhere]}]);
        let required = json!({"nodeSelectorTerms": terms});
        let affinity = json!({"requiredDuringSchedulingIgnoredDuringExecution": required});
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": NAME, "namespace": "shop"},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": NAME}},
                "template": {
                    "metadata": {"labels": {"app": NAME}},
                    "spec": {
                        "terminationGracePeriodSeconds": 1,
                        "affinity": {"nodeAffinity": affinity},
                        "containers": [container],
                    },
                },
            },
        });
        cluster.apply(&deployment.to_string())?;
        Ok(moved)
    }

    /// The Deployment's pod, once it is ready on a node.
    fn pod(&self, is_there: impl Fn(&str) -> bool) -> Result<Pod> {
        let mut found = None;
        self.0.until("the pod is ready", || {
            let pods = self.0.pods("shop")?.into_iter();
            let mut its = pods.filter(|pod| pod.name.starts_with(NAME) && is_there(&pod.node));
            found = its.next();
            Ok(found.as_ref().is_some_and(|pod| is_ready(self.0, pod)))
        })?;
        found.context("it is there after the wait")
    }
}

impl Drop for Moved<'_> {
    fn drop(&mut self) {
        // A test that failed has printed the reason.
        let _ = self.0.kubectl(["delete", "deployment", "-n", "shop", NAME]);
    }
}

/// A node without the Deployment's pods, which takes no new ones until this value is dropped.
struct Drained<'a>(&'a Cluster, &'a str);

impl<'a> Drained<'a> {
    fn begin(cluster: &'a Cluster, node: &'a str) -> Result<Self> {
        let drained = Self(cluster, node);
        let its = format!("--pod-selector=app={NAME}");
        // This cordons the node, and evicts the pods.
        cluster.kubectl(["drain", node, &its, "--timeout=60s"])?;
        Ok(drained)
    }
}

impl Drop for Drained<'_> {
    fn drop(&mut self) {
        // A test that failed has printed the reason.
        let _ = self.0.kubectl(["uncordon", self.1]);
    }
}

#[test]
fn the_node_of_a_followed_deployment_is_drained() -> Result<()> {
    let cluster = Cluster::up()?;
    let web = cluster.pod("web", None)?;
    let moved = Moved::begin(&cluster, &web)?;
    let before = moved.pod(|_| true)?;
    let other = third_node(&cluster, [&web, &before])?;
    let mut tracer = cluster.tracer()?;
    tracer
        .args(["follow", "-o", "json", "--hold", "1s"])
        .args(["--agent-image", IMAGE, "--src-pod", &web.path()])
        .args(["--dst", &format!("shop:deployment/{NAME}")]);
    let mut tracer = Tracer::start(&mut tracer)?;
    tracer.wait_started(LIMIT)?;
    assert!(is_told(&cluster, &mut tracer, [&web, &before], LIMIT)?);

    let drained = Drained::begin(&cluster, &before.node)?;
    let after = moved.pod(|node| node == other)?;
    // What is sent before has left for a node without an agent.
    let watched = format!("{other} is watched from now on");
    tracer.wait_for_stderr(|said| said.contains(&watched), MOVING)?;
    cluster.until("the new pod is followed", || {
        is_told(&cluster, &mut tracer, [&web, &after], SOON)
    })?;
    drop(drained);
    stop(tracer)?;
    wait_gone(&cluster)
}
