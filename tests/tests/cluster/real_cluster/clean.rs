//! Clean traffic between pods: everything arrives, and everything is seen on its way.

use anyhow::{Context as _, Result};
use serde_json::Value;
use tracer_tests::{
    cluster::{Agents, Cluster, Pod},
    program::{Finished, LIMIT},
};

/// Whether a packet did not arrive. What asks for a neighbour that traffic before this
/// needed may be on its way just when the follow begins.
pub(super) fn failed(journey: &Value) -> bool {
    let verdict = &journey["verdict"];
    let packet = &journey["packet"];
    let neighbour = !packet["arp"].is_null() || !packet["icmp"]["neighbour"].is_null();
    let early = neighbour && verdict["cause"] == "before-start";
    let kind = verdict["kind"].as_str();
    kind.is_some_and(|kind| kind != "delivered") && !early
}

/// Sends from one pod to another, all that a shop sends, while both are followed.
fn follow(cluster: &Cluster, agents: Agents, from: &Pod, to: &Pod) -> Result<Finished> {
    let directory = Temporary::new("objects")?;
    let objects = directory.0.join("objects.yaml");
    cluster.write_objects(&objects)?;
    let ends = ["--src-pod", &from.path(), "--dst-pod", &to.path()];
    let mut tracer = cluster.follow_file(&objects, &agents, &ends)?;
    tracer.wait_started(LIMIT)?;
    let address = &to.address;
    let script = format!(
        "set -e; ping -c 20 -i 0.02 -q {address}; \
         for i in 1 2 3 4 5; do curl -sS -m 5 {address}:8080; done; \
         for i in 1 2 3; do echo $i | socat -T 1 - UDP:{address}:5005; done"
    );
    cluster.in_pod(from, &script)?;
    // The last of them: nothing else is sent to this port.
    let marker = format!("echo | socat -u - UDP:{address}:4999");
    cluster.in_pod(from, &marker)?;
    tracer.wait_for(|value| value["packet"]["dst_port"] == 4999, LIMIT)?;
    tracer.stop()
}

fn check(finished: &Finished) {
    // Nobody listens at the marker's port, which the kernel says.
    let other = |journey: &&Value| failed(journey) && journey["packet"]["dst_port"] != 4999;
    let other: Vec<_> = finished.journeys.iter().filter(other).collect();
    assert!(other.is_empty(), "{other:#?}\n{}", finished.stderr);
    let count = |proto: &str| {
        let is = |journey: &&Value| journey["packet"]["proto"] == proto;
        finished.journeys.iter().filter(is).count()
    };
    assert!(count("icmp") >= 40, "20 questions and as many answers");
    assert!(count("tcp") >= 5 * 8, "{} packets of TCP", count("tcp"));
    assert!(count("udp") >= 6, "{} datagrams", count("udp"));
    assert!(finished.status.success(), "{}", finished.stderr);
}

#[test]
fn two_pods_on_two_nodes_by_namespaces() -> Result<()> {
    let cluster = Cluster::up()?;
    let web = cluster.pod("web", None)?;
    let cart = cluster.pod("cart-", Some("node-b"))?;
    check(&follow(&cluster, Agents::Netns, &web, &cart)?);
    Ok(())
}

#[test]
fn two_pods_on_two_nodes_by_agents_of_their_nodes() -> Result<()> {
    let cluster = Cluster::up()?;
    let web = cluster.pod("web", None)?;
    let cart = cluster.pod("cart-", Some("node-c"))?;
    check(&follow(&cluster, Agents::Exec, &web, &cart)?);
    Ok(())
}

#[test]
fn two_pods_on_the_same_node() -> Result<()> {
    let cluster = Cluster::up()?;
    let web = cluster.pod("web", None)?;
    let cart = cluster.pod("cart-", Some(&web.node))?;
    check(&follow(&cluster, Agents::Exec, &web, &cart)?);
    Ok(())
}

/// A directory that is gone afterwards.
pub(super) struct Temporary(pub(super) std::path::PathBuf);

impl Temporary {
    pub(super) fn new(name: &str) -> Result<Self> {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("test").replace("::", "-");
        let name = format!("tracer-{}-{test}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).context("cannot make a directory")?;
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Temporary files are nothing to fail for.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
