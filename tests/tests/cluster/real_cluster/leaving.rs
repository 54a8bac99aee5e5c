//! Agents leave a node after its last followed pod is gone, and come back with the next one.

use anyhow::{Context as _, Result};
use tracer_tests::{
    cluster::{Cluster, Pod},
    program::{LIMIT, Tracer},
};

use super::{
    agents::{NAMESPACE, follow, wait_gone},
    api::{Placed, SOON, is_told, stop},
};

/// The nodes that have an agent's pod.
fn watched(cluster: &Cluster) -> Result<String> {
    let nodes = "-o=jsonpath={.items[*].spec.nodeName}";
    cluster.kubectl(["get", "pods", "-n", NAMESPACE, nodes])
}

/// Waits until `db-0` is ready on `node`, and tracer shows packets to it.
fn wait_followed(cluster: &Cluster, tracer: &mut Tracer, web: &Pod, node: &str) -> Result<()> {
    cluster.until("the pod is followed on its node", || {
        let ready = "--for=condition=Ready";
        let wait = ["wait", "-n", "shop", ready, "pod/db-0", "--timeout=5s"];
        // Between two pods of a StatefulSet there is none of the name.
        if cluster.kubectl(wait).is_err() {
            return Ok(false);
        }
        let Ok(db) = cluster.pod("db-0", None) else {
            return Ok(false);
        };
        Ok(db.node == node && is_told(cluster, tracer, [web, &db], SOON)?)
    })
}

#[test]
fn an_agent_leaves_with_the_last_pod_of_its_node_and_comes_back() -> Result<()> {
    let cluster = Cluster::up()?;
    let web = cluster.pod("web", None)?;
    let db = cluster.pod("db-0", None)?;
    assert_ne!(web.node, db.node);
    let nodes = cluster.nodes()?;
    let mut others = nodes
        .iter()
        .filter(|node| ![&web.node, &db.node].contains(node));
    let other = others.next().context("there is a third node")?;
    let mut tracer = follow(&cluster, &web, &db)?;
    assert!(is_told(&cluster, &mut tracer, [&web, &db], LIMIT)?);

    let placed = Placed::on(&cluster, &db, other)?;
    let joined = format!("{other} is watched from now on");
    tracer.wait_for_stderr(|said| said.contains(&joined), LIMIT)?;
    wait_followed(&cluster, &mut tracer, &web, other)?;
    let leaves = |value: &serde_json::Value| value["leaves"] == true;
    let left = tracer.wait_for(leaves, LIMIT)?;
    assert_eq!(left["gone"][0]["node"], db.node.as_str());
    cluster.until("the agent has left", || {
        let watched = watched(&cluster)?;
        Ok(watched.contains(other.as_str()) && !watched.contains(&db.node))
    })?;
    // tracer still shows packets to the pod on its new node.
    wait_followed(&cluster, &mut tracer, &web, other)?;

    drop(placed);
    // What is sent before has left for a node without an agent.
    let again = format!("{} is watched again", db.node);
    tracer.wait_for_stderr(|said| said.contains(&again), LIMIT)?;
    assert!(watched(&cluster)?.contains(&db.node));
    wait_followed(&cluster, &mut tracer, &web, &db.node)?;
    stop(tracer)?;
    wait_gone(&cluster)
}
