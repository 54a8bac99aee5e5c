//! Agents leave a node after its last followed pod is gone, and come back with the next one.

use anyhow::Result;
use tracer_tests::{
    cluster::{Cluster, Pod},
    program::{LIMIT, Tracer},
};

use super::{
    agents::{NAMESPACE, follow, wait_gone},
    api::{Placed, SOON, is_ready, is_told, stop, third_node},
};

/// The nodes that have an agent's pod.
fn watched(cluster: &Cluster) -> Result<String> {
    let nodes = "-o=jsonpath={.items[*].spec.nodeName}";
    cluster.kubectl(["get", "pods", "-n", NAMESPACE, nodes])
}

/// Waits until a pod with the name of `db` is ready on `node`, and tracer shows packets from `web`
/// to it.
fn wait_followed(
    cluster: &Cluster,
    tracer: &mut Tracer,
    [web, db]: [&Pod; 2],
    node: &str,
) -> Result<()> {
    cluster.until("the pod is followed on its node", || {
        // Between two pods of a StatefulSet there is none of the name.
        if !is_ready(cluster, db) {
            return Ok(false);
        }
        let Ok(db) = cluster.pod(&db.name, None) else {
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
    let other = third_node(&cluster, [&web, &db])?;
    let mut tracer = follow(&cluster, &web, &db)?;
    assert!(is_told(&cluster, &mut tracer, [&web, &db], LIMIT)?);

    let placed = Placed::on(&cluster, &db, &other)?;
    let joined = format!("{other} is watched from now on");
    tracer.wait_for_stderr(|said| said.contains(&joined), LIMIT)?;
    wait_followed(&cluster, &mut tracer, [&web, &db], &other)?;
    let leaves = |value: &serde_json::Value| value["leaves"] == true;
    let left = tracer.wait_for(leaves, LIMIT)?;
    assert_eq!(left["gone"][0]["node"], db.node.as_str());
    cluster.until("the agent has left", || {
        let watched = watched(&cluster)?;
        Ok(watched.contains(&other) && !watched.contains(&db.node))
    })?;
    // tracer still shows packets to the pod on its new node.
    wait_followed(&cluster, &mut tracer, [&web, &db], &other)?;

    drop(placed);
    // What is sent before has left for a node without an agent.
    let again = format!("{} is watched again", db.node);
    tracer.wait_for_stderr(|said| said.contains(&again), LIMIT)?;
    assert!(watched(&cluster)?.contains(&db.node));
    wait_followed(&cluster, &mut tracer, [&web, &db], &db.node)?;
    stop(tracer)?;
    wait_gone(&cluster)
}
