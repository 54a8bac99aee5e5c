//! Drops of a cluster whose pods change while `tracer drops` runs.

use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tracer_tests::{
    Netns,
    cluster::{Cluster, Pod},
    program::{LIMIT, Tracer, is},
};

use super::{
    agents::{IMAGE, wait_gone},
    api::{Placed, SOON, is_ready, third_node},
};

/// The UDP port whose packets a node drops.
const PORT: u16 = 4998;

/// The time limit for an agent that leaves its node half a minute after the last pod.
const LEAVING: Duration = Duration::from_secs(120);

/// A rule by which a node drops what it forwards to [`PORT`], until this value is dropped.
struct Rule(Netns);

impl Rule {
    fn on(cluster: &Cluster, node: &str) -> Result<Self> {
        let rule = Self(cluster.machine(node));
        let rules = format!(
            "add table inet drops\n\
             add chain inet drops forward {{ type filter hook forward priority 0; }}\n\
             add rule inet drops forward udp dport {PORT} drop\n"
        );
        rule.0.batch("nft -f -", &rules)?;
        Ok(rule)
    }
}

impl Drop for Rule {
    fn drop(&mut self) {
        // A test that failed has printed the reason.
        let _ = self.0.run("nft delete table inet drops");
    }
}

/// A pod of the shop that is deleted with this value.
struct Late<'a>(&'a Cluster);

const LATE: &str = "late";

impl<'a> Late<'a> {
    fn begin(cluster: &'a Cluster, node: &str) -> Result<Self> {
        let late = Self(cluster);
        let container = json!({
            "name": "shell", "image": IMAGE, "imagePullPolicy": "Never",
            "command": ["sleep", "infinity"],
        });
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": LATE, "namespace": "shop"},
            "spec": {
                "terminationGracePeriodSeconds": 1, "nodeName": node, "containers": [container],
            },
        });
        cluster.apply(&pod.to_string())?;
        Ok(late)
    }
}

impl Drop for Late<'_> {
    fn drop(&mut self) {
        // A test that failed has printed the reason.
        let _ = self.0.kubectl(["delete", "pod", "-n", "shop", LATE]);
    }
}

/// Shows drops, with names and agents from the cluster alone.
fn watch(cluster: &Cluster, args: &[&str]) -> Result<Tracer> {
    let mut tracer = cluster.tracer()?;
    tracer.args(["drops", "-o", "json", "--agent-image", IMAGE]);
    let mut tracer = Tracer::start(tracer.args(args))?;
    tracer.wait_for(|value| is(value, "tracer.drops_started/1"), LIMIT)?;
    Ok(tracer)
}

/// Sends datagrams from one pod to another until one is shown as dropped on the way to the other,
/// by its name. The cluster's API tells of a pod some time after the pod has its address.
fn wait_named(cluster: &Cluster, tracer: &mut Tracer, [from, to]: [&Pod; 2]) -> Result<Value> {
    let mut found = None;
    cluster.until("the drop is shown with the pod's name", || {
        let script = format!("echo lost | socat -u - UDP:{}:{PORT}", to.address);
        cluster.in_pod(from, &script)?;
        let named = |value: &Value| {
            is(value, "tracer.drop/2")
                && value["packet"]["dst_port"] == PORT
                && value["packet"]["dst"] == to.address.as_str()
                && value["dst_pod"] == to.path()
        };
        found = tracer.wait_for(named, SOON).ok();
        Ok(found.is_some())
    })?;
    found.context("it is there after the wait")
}

fn stop(tracer: Tracer, cluster: &Cluster) -> Result<()> {
    tracer.signal(Signal::SIGINT)?;
    let finished = tracer.finish(LIMIT)?;
    assert!(finished.status.success(), "{}", finished.stderr);
    wait_gone(cluster)
}

#[test]
fn a_pod_that_appears_is_named_in_later_drops() -> Result<()> {
    let cluster = Cluster::up()?;
    let web = cluster.pod("web", None)?;
    let to = "node-b";
    let mut tracer = watch(&cluster, &["-n", "shop"])?;
    let _rule = Rule::on(&cluster, to)?;
    let _late = Late::begin(&cluster, to)?;
    let mut late = None;
    cluster.until("the pod has an address", || {
        late = cluster.pod(LATE, Some(to)).ok();
        Ok(late.as_ref().is_some_and(|late| is_ready(&cluster, late)))
    })?;
    let late = late.context("it is there after the wait")?;
    let shown = wait_named(&cluster, &mut tracer, [&web, &late])?;
    assert_eq!(shown["node"], to, "{shown:#}");
    assert_eq!(shown["reason"], "NETFILTER_DROP", "{shown:#}");
    stop(tracer, &cluster)
}

/// A node without an agent gets one with the pod, and loses it some time after the pod has gone.
#[test]
fn agents_for_drops_come_and_go_with_a_pod() -> Result<()> {
    let cluster = Cluster::up()?;
    let web = cluster.pod("web", None)?;
    let db = cluster.pod("db-0", None)?;
    let other = third_node(&cluster, [&web, &db])?;
    let mut tracer = watch(&cluster, &["--pod", &db.path()])?;
    let _rules = [Rule::on(&cluster, &db.node)?, Rule::on(&cluster, &other)?];
    let shown = wait_named(&cluster, &mut tracer, [&web, &db])?;
    assert_eq!(shown["node"], db.node.as_str(), "{shown:#}");

    let placed = Placed::on(&cluster, &db, &other)?;
    let joined = format!("drops on {other} are seen from now on");
    tracer.wait_for_stderr(|said| said.contains(&joined), LIMIT)?;
    cluster.until("its successor is ready", || Ok(is_ready(&cluster, &db)))?;
    let after = cluster.pod(&db.name, None)?;
    assert_eq!(after.node, other);
    let shown = wait_named(&cluster, &mut tracer, [&web, &after])?;
    assert_eq!(shown["node"], other.as_str(), "{shown:#}");
    let left = format!("drops on {} are not watched any more", db.node);
    tracer.wait_for_stderr(|said| said.contains(&left), LEAVING)?;

    drop(placed);
    let again = format!("drops on {} are seen again", db.node);
    tracer.wait_for_stderr(|said| said.contains(&again), LIMIT)?;
    cluster.until("the pod is back", || Ok(is_ready(&cluster, &db)))?;
    let back = cluster.pod(&db.name, None)?;
    let shown = wait_named(&cluster, &mut tracer, [&web, &back])?;
    assert_eq!(shown["node"], db.node.as_str(), "{shown:#}");
    stop(tracer, &cluster)
}
