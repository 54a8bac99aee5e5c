//! The nodes of a session that watches drops: which ones there are, and their addresses.
//!
//! A node's name counts for its addresses until the node leaves the cluster. A node that was created
//! again has another UID, and its addresses are read again.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    time::Duration,
};

use tokio::time::Instant;
use tracing::info;

use crate::{
    cluster::{FEW_NODES, Known, Subject, Watch},
    inventory::Inventory,
    pauses::Pauses,
};

/// The first and the longest pause before a node without an address is read again.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The known nodes.
pub(super) struct Nodes {
    /// The nodes, with their addresses.
    pub(super) known: Inventory,
    /// Whether all nodes of the cluster are to be known.
    all: bool,
    /// Whether the watches tell of the whole cluster.
    is_wide: bool,
    /// The nodes that are or were known.
    wanted: BTreeSet<String>,
    /// UIDs of the nodes that the watches told of last; empty where it is not known.
    there: BTreeMap<String, String>,
    /// Nodes that have left the cluster. Pods may outlive the object of their node for a while.
    gone: BTreeSet<String>,
    /// Nodes that cannot be read. None of them is read again, unless it comes later.
    unreadable: BTreeSet<String>,
    /// When nodes that have no address yet are read again.
    tries: BTreeMap<String, Try>,
}

/// The next read of a node.
struct Try {
    at: Instant,
    /// The pauses after it.
    pauses: Pauses,
}

impl Nodes {
    pub(super) fn new(known: Inventory, all: bool) -> Self {
        let names = known.node_names();
        Self {
            is_wide: all || names.len() > FEW_NODES,
            wanted: names.into_iter().collect(),
            known,
            all,
            there: BTreeMap::new(),
            gone: BTreeSet::new(),
            unreadable: BTreeSet::new(),
            tries: BTreeMap::new(),
        }
    }

    /// What is watched from the beginning: the nodes and their pods.
    pub(super) fn subjects(&self) -> Vec<Subject> {
        match self.is_wide {
            true => vec![Subject::AllNodes, Subject::AllPods],
            false => self
                .known
                .node_names()
                .iter()
                .flat_map(|name| of(name))
                .collect(),
        }
    }

    /// Takes in the nodes that are new, and forgets those that have left the cluster. `homes` are
    /// the nodes of the chosen pods.
    pub(super) async fn learn(&mut self, watch: &mut Watch, homes: BTreeSet<String>) {
        let told: Vec<(String, String)> = watch
            .nodes()
            .map(|(name, uid)| (name.to_owned(), uid.to_owned()))
            .collect();
        for subject in self.update(told, &homes) {
            let added = watch.add(&subject, &Known::default()).await;
            // Only a group of pods may be missing.
            added.expect("a node and its pods can be watched");
        }
        self.read(watch).await;
    }

    /// Updates the nodes, and returns what is to be watched besides.
    pub(super) fn update(
        &mut self,
        told: Vec<(String, String)>,
        homes: &BTreeSet<String>,
    ) -> Vec<Subject> {
        let mut now: BTreeMap<String, String> = BTreeMap::new();
        for (name, uid) in told {
            let known = now.entry(name).or_default();
            if !uid.is_empty() {
                *known = uid;
            }
        }
        // A cluster without any node is one whose nodes may not be read any more.
        if self.all && now.is_empty() {
            return Vec::new();
        }
        let come = now.keys().filter(|name| !self.there.contains_key(*name));
        for name in come {
            self.unreadable.remove(name);
        }
        for (name, before) in mem::take(&mut self.there) {
            let is_same = |uid: &String| before.is_empty() || uid.is_empty() || *uid == before;
            let is_there = now.get(&name).is_some_and(is_same);
            if is_there || self.known.node(&name).is_err() {
                continue;
            }
            self.known.forget_node(&name);
            self.unreadable.remove(&name);
            self.tries.remove(&name);
            self.gone.insert(name);
        }
        self.gone.retain(|name| !now.contains_key(name));
        let told = now.keys();
        let again = told.filter(|name| self.all || self.wanted.contains(*name));
        let homes = homes.iter().filter(|name| !self.gone.contains(*name));
        let new: BTreeSet<String> = again
            .chain(homes)
            .filter(|name| self.known.node(name).is_err())
            .cloned()
            .collect();
        self.there = now;
        let mut subjects = Vec::new();
        for name in new {
            self.known.expect_node(&name);
            let is_first = self.wanted.insert(name.clone());
            if self.is_wide || !is_first {
                continue;
            }
            self.is_wide = self.wanted.len() > FEW_NODES;
            match self.is_wide {
                true => subjects.extend([Subject::AllNodes, Subject::AllPods]),
                false => subjects.extend(of(&name)),
            }
        }
        subjects
    }

    /// Reads the nodes whose addresses are not known. A new node has none for a while.
    async fn read(&mut self, watch: &mut Watch) {
        for name in self.known.unread_nodes() {
            let next = self.tries.get(&name);
            let is_early = next.is_some_and(|next| next.at > Instant::now());
            if is_early || self.unreadable.contains(&name) {
                continue;
            }
            match watch.cluster().read_node(&name).await {
                Ok(node) => match self.known.take_node(&node) {
                    Ok(()) if self.known.addresses_of_node(&name).is_ok() => {
                        self.tries.remove(&name);
                    }
                    Ok(()) => self.read_later(name),
                    Err(error) => {
                        info!("{error}");
                        self.unreadable.insert(name);
                    }
                },
                // Meanwhile, the watches must not wait for more.
                Err(error) if error.may_pass() => {
                    self.read_later(name);
                    break;
                }
                Err(_) => {
                    self.unreadable.insert(name);
                }
            }
        }
        if let Some(at) = self.tries.values().map(|next| next.at).min() {
            watch.remind(at);
        }
    }

    fn read_later(&mut self, name: String) {
        let last = self.tries.get(&name);
        let mut pauses = last.map_or(Pauses::new(PAUSE, LONGEST_PAUSE), |last| last.pauses);
        let at = Instant::now() + pauses.grow();
        self.tries.insert(name, Try { at, pauses });
    }
}

/// What is watched of one of few nodes.
fn of(name: &str) -> [Subject; 2] {
    [
        Subject::PodsOn(name.to_owned()),
        Subject::Node(name.to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
        names.map(str::to_owned).into()
    }

    fn told<const N: usize>(nodes: [(&str, &str); N]) -> Vec<(String, String)> {
        let owned = |(name, uid): (&str, &str)| (name.to_owned(), uid.to_owned());
        nodes.map(owned).into()
    }

    fn nodes(all: bool, count: usize) -> Nodes {
        let mut known = Inventory::of_cluster("https://192.168.7.9", "default");
        for index in 0..count {
            let node = serde_json::from_value(serde_json::json!({
                "metadata": {"name": format!("node-{index}")},
                "status": {"addresses": [
                    {"type": "InternalIP", "address": format!("192.168.7.{index}")},
                ]},
            }));
            let node = node.expect("a node");
            known.take_node(&node).expect("an address");
        }
        Nodes::new(known, all)
    }

    /// The node whose name an address has.
    fn owner(nodes: &Nodes, address: &str) -> Option<String> {
        let address = address.parse().expect("an address");
        nodes.known.owner(address).map(|owner| owner.name.clone())
    }

    #[test]
    fn a_node_that_has_left_or_was_created_again_loses_its_addresses() {
        let own = |name: &str| Some(name.to_owned());
        for all in [true, false] {
            let mut nodes = nodes(all, 2);
            // What was read before is known without UIDs.
            let homes = &names(["node-0", "node-1"]);
            nodes.update(told([("node-0", ""), ("node-1", "")]), homes);
            nodes.update(told([("node-0", "a"), ("node-1", "b")]), homes);
            assert_eq!(owner(&nodes, "192.168.7.0"), own("node-0"));
            assert_eq!(owner(&nodes, "192.168.7.1"), own("node-1"));
            nodes.update(told([("node-0", "c")]), homes);
            assert_eq!(owner(&nodes, "192.168.7.0"), None);
            assert_eq!(nodes.known.unread_nodes(), ["node-0"]);
            assert_eq!(owner(&nodes, "192.168.7.1"), None);
            // The node comes back.
            assert_eq!(nodes.known.node_names(), ["node-0"]);
            nodes.update(told([("node-0", "c"), ("node-1", "d")]), &names([]));
            assert_eq!(nodes.known.unread_nodes(), ["node-0", "node-1"]);
        }
    }

    #[test]
    fn a_node_of_a_chosen_pod_is_watched_with_its_pods() {
        let mut nodes = nodes(false, 1);
        let new = nodes.update(told([("node-0", "a")]), &names(["node-0", "node-9"]));
        assert_eq!(new, of("node-9"));
        assert_eq!(nodes.known.unread_nodes(), ["node-9"]);
        let again = nodes.update(
            told([("node-0", "a"), ("node-9", "b")]),
            &names(["node-0", "node-9"]),
        );
        assert_eq!(again, []);
    }

    /// A pod may be bound to a node before the node registers, or outlive it.
    #[test]
    fn a_node_that_was_missing_is_read_once_it_registers() {
        let mut nodes = nodes(false, 1);
        let homes = &names(["node-0", "node-9"]);
        nodes.update(told([("node-0", "a")]), homes);
        nodes.unreadable.insert("node-9".to_owned());
        nodes.update(told([("node-0", "a")]), homes);
        assert!(nodes.unreadable.contains("node-9"));
        nodes.update(told([("node-0", "a"), ("node-9", "b")]), homes);
        assert_eq!(nodes.unreadable, names([]));
        assert_eq!(nodes.known.unread_nodes(), ["node-9"]);
    }

    #[test]
    fn many_nodes_share_the_watches_of_the_whole_cluster() {
        let wide = [Subject::AllNodes, Subject::AllPods];
        assert_eq!(nodes(false, FEW_NODES).subjects().len(), 2 * FEW_NODES);
        assert_eq!(nodes(false, FEW_NODES + 1).subjects(), wide);
        let mut nodes = nodes(false, FEW_NODES);
        let all: Vec<(String, String)> = nodes
            .known
            .node_names()
            .into_iter()
            .map(|name| (name.clone(), name))
            .collect();
        let more = |name: &str| BTreeSet::from([name.to_owned()]);
        assert_eq!(nodes.update(all.clone(), &more("node-x")), wide);
        // Nodes without a chosen pod are no concern.
        let other = [all, told([("node-y", "y")])].concat();
        assert_eq!(nodes.update(other, &more("node-z")), []);
        assert!(nodes.known.node("node-z").is_ok());
        assert!(nodes.known.node("node-y").is_err());
    }

    /// As with rights that were taken away.
    #[test]
    fn a_cluster_that_tells_of_no_node_keeps_its_nodes() {
        let mut nodes = nodes(true, 2);
        nodes.update(told([("node-0", "a"), ("node-1", "b")]), &names([]));
        nodes.update(Vec::new(), &names([]));
        assert_eq!(nodes.known.node_names(), ["node-0", "node-1"]);
    }
}
