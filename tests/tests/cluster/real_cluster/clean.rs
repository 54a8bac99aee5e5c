//! Clean traffic between pods: everything arrives, and is seen on its whole way.

use std::{
    panic::resume_unwind,
    path::Path,
    thread::{self, ScopedJoinHandle},
};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tracer_tests::{
    cluster::{Agents, Cluster, Pod},
    program::{Finished, LIMIT},
};

/// Whether a packet looks for a neighbour, or answers that.
pub(super) fn is_neighbour(journey: &Value) -> bool {
    let packet = &journey["packet"];
    !packet["arp"].is_null() || !packet["icmp"]["neighbour"].is_null()
}

/// Whether a packet did not arrive. Other traffic needs neighbour discovery, which may be on its
/// way when the follow begins or ends.
pub(super) fn failed(journey: &Value) -> bool {
    let verdict = &journey["verdict"];
    let neighbour = is_neighbour(journey);
    let mut causes = ["before-start", "still-open"].into_iter();
    let cut_off = neighbour && causes.any(|cause| verdict["cause"] == cause);
    let kind = verdict["kind"].as_str();
    // A node also looks for neighbours on a node without an agent of this follow.
    let elsewhere = neighbour && kind == Some("left");
    kind.is_some_and(|kind| kind != "delivered") && !cut_off && !elsewhere
}

/// Sends a shop's traffic from one pod to another, while both are followed.
fn follow(cluster: &Cluster, agents: Agents, from: &Pod, to: &Pod) -> Result<Finished> {
    let directory = Temporary::new("objects")?;
    let objects = directory.0.join("objects.yaml");
    cluster.write_objects(&objects)?;
    let mut tracer = cluster.follow_file(&objects, agents, [from, to])?;
    tracer.wait_started(LIMIT)?;
    let address = &to.address;
    let script = format!(
        "set -e; ping -c 20 -i 0.02 -q {address}; \
         for i in 1 2 3 4 5; do curl -sS -m 5 {address}:8080; done; \
         for i in 1 2 3; do echo $i | socat -T 1 - UDP:{address}:5005; done"
    );
    cluster.in_pod(from, &script)?;
    // This is the last packet: no other packet goes to this port.
    let marker = format!("echo | socat -u - UDP:{address}:4999");
    cluster.in_pod(from, &marker)?;
    tracer.wait_for(|value| value["packet"]["dst_port"] == 4999, LIMIT)?;
    tracer.stop()
}

fn check(finished: &Finished) {
    // Nobody listens on the marker's port, and the kernel says so.
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

/// All pairs of the pods, in rounds. In each round, each pod has at most one partner.
fn rounds(pods: &[Pod]) -> Vec<Vec<[&Pod; 2]>> {
    // For an odd number, the partner of one pod does not exist.
    let count = pods.len().next_multiple_of(2);
    let round = |round: usize| {
        // The last pod stays in its place, and the others rotate.
        let at = |place: usize| (round + place) % (count - 1);
        let others = (1..count / 2).map(|place| [at(place), at(count - 1 - place)]);
        let pairs = others.chain([[at(0), count - 1]]);
        let both = pairs.filter_map(|[one, other]| Some([pods.get(one)?, pods.get(other)?]));
        both.collect()
    };
    (0..count - 1).map(round).collect()
}

/// Follows two pods until both have got answers from each other.
fn greet(cluster: &Cluster, objects: &Path, [one, other]: [&Pod; 2]) -> Result<()> {
    const PINGS: usize = 5;
    let mut tracer = cluster.follow_file(objects, Agents::Netns, [one, other])?;
    tracer.wait_started(LIMIT)?;
    for [from, to] in [[one, other], [other, one]] {
        let ping = format!("ping -c {PINGS} -i 0.05 -q {}", to.address);
        cluster.in_pod(from, &ping)?;
    }
    // Requests and replies, in both directions.
    let mut echoes = 0;
    let last = |value: &Value| {
        echoes += usize::from(!value["packet"]["icmp"]["id"].is_null());
        echoes == 4 * PINGS
    };
    tracer.wait_for(last, LIMIT)?;
    let finished = tracer.stop()?;
    let other: Vec<_> = finished.journeys.iter().filter(|one| failed(one)).collect();
    assert!(other.is_empty(), "{other:#?}\n{}", finished.stderr);
    Ok(())
}

#[test]
fn every_pod_to_every_pod() -> Result<()> {
    let cluster = Cluster::up()?;
    let directory = Temporary::new("objects")?;
    let objects = directory.0.join("objects.yaml");
    cluster.write_objects(&objects)?;
    let mut pods = cluster.pods("shop")?;
    // Packets of a host network pod have the address of their outgoing device.
    pods.retain(|pod| !pod.host_network);
    assert!(pods.len() > 4, "{pods:?}");
    let mut pairs = 0;
    for round in rounds(&pods) {
        pairs += round.len();
        let greeted = thread::scope(|scope| {
            let greet = |pair| greet(&cluster, &objects, pair);
            let threads: Vec<_> = round
                .into_iter()
                .map(|pair| scope.spawn(move || greet(pair)))
                .collect();
            let joined = threads.into_iter().map(ScopedJoinHandle::join);
            let joined = joined.map(|joined| joined.unwrap_or_else(|panic| resume_unwind(panic)));
            joined.collect::<Result<Vec<()>>>()
        });
        greeted?;
    }
    assert_eq!(pairs, pods.len() * (pods.len() - 1) / 2);
    Ok(())
}

/// A directory that is removed at the end.
pub(super) struct Temporary(pub(super) std::path::PathBuf);

impl Temporary {
    pub(super) fn new(name: &str) -> Result<Self> {
        let thread = thread::current();
        let test = thread.name().unwrap_or("test").replace("::", "-");
        let name = format!("tracer-{}-{test}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).context("cannot make a directory")?;
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // A temporary file that stays is no failure.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
