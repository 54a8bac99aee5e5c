//! Removes Flannel's entries for a node, and checks the verdicts.

use anyhow::{Context as _, Result};
use serde_json::Value;
use tracer_tests::{
    cluster::{Agents, Cluster, Pod},
    program::LIMIT,
};

use super::clean::{Temporary, failed};

/// The entries of a node's VXLAN device for another node.
struct Way<'a> {
    cluster: &'a Cluster,
    node: &'a str,
    /// The MAC address of the other node's device, and the address of that node.
    to: [String; 2],
}

impl<'a> Way<'a> {
    fn new(cluster: &'a Cluster, node: &'a str, other: &str) -> Result<Self> {
        let links = cluster.run_on(other, "ip -json link show dev flannel.1")?;
        let links: Value = serde_json::from_str(&links)?;
        let mac = links[0]["address"].as_str().context("a device has one")?;
        let address = "jsonpath={.status.addresses[?(@.type==\"InternalIP\")].address}";
        let address = cluster.kubectl(["get", "node", other, "-o", address])?;
        let to = [mac.to_owned(), address];
        Ok(Self { cluster, node, to })
    }

    fn fdb(&self, verb: &str) -> Result<()> {
        let [mac, address] = &self.to;
        let line = format!("bridge fdb {verb} {mac} dev flannel.1 dst {address} self permanent");
        self.cluster.run_on(self.node, &line).map(drop)
    }
}

/// The first verdict on a packet of `from` that is not `delivered`.
fn first_failure(cluster: &Cluster, from: &Pod, to: &Pod) -> Result<Value> {
    let directory = Temporary::new("objects")?;
    let objects = directory.0.join("objects.yaml");
    cluster.write_objects(&objects)?;
    let mut tracer = cluster.follow_file(&objects, Agents::Exec, [from, to])?;
    tracer.wait_started(LIMIT)?;
    let script = format!("ping -c 5 -i 0.1 -W 1 -q {}; true", to.address);
    cluster.in_pod(from, &script)?;
    let failure = tracer.wait_for(failed, LIMIT)?;
    tracer.stop()?;
    Ok(failure)
}

#[test]
fn without_flanneld_its_entries_stay_and_a_deleted_one_is_named() -> Result<()> {
    let cluster = Cluster::up()?;
    let web = cluster.pod("web", None)?;
    let cart = cluster.pod("cart-", Some("node-b"))?;
    let flanneld = cluster.service(&web.node, "flanneld");
    flanneld.stop()?;
    // Without flanneld alone, no packet is lost.
    cluster.in_pod(&web, &format!("curl -sS -m 5 {}:8080", cart.address))?;
    let way = Way::new(&cluster, &web.node, &cart.node)?;
    way.fdb("del")?;
    let failure = first_failure(&cluster, &web, &cart);
    way.fdb("append")?;
    flanneld.start()?;
    let verdict = &failure?["verdict"];
    assert_eq!(verdict["cause"], "no-fdb", "{verdict:#}");
    cluster.in_pod(&web, &format!("curl -sS -m 5 {}:8080", cart.address))?;
    Ok(())
}
