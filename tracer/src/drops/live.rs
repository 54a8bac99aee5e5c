//! Drops of a cluster that changes: pods get their names, and nodes their agents.
//!
//! The watches tell the whole state of every pod that matters, so nothing is read again but the
//! nodes that come. From that state, the settings are made as at the start, and the differences
//! go to the session.

use std::{collections::BTreeSet, mem};

use tokio::sync::mpsc;
use tracer_common::hash::Key;
use tracer_core::{
    model::{OwnerKind, Owners},
    request::{Look, Request},
};
use tracing::info;

use super::plan::{pods_by_node, start};
use crate::{
    changes::{self, Losses},
    cli::{DropsLive, DropsSettings, Failure},
    cluster::{Cluster, ClusterError, PodPlace, Pods, Subject, Watch},
    collector::Update,
    follow::runtime,
    inventory::{self, Group, Inventory},
    view::Chosen,
};

/// The changes from now on, or `None` if the objects are not from the API.
///
/// # Errors
/// If the thread that asks the API cannot begin.
pub(super) fn updates(
    settings: &DropsSettings,
    key: Key,
) -> Result<Option<mpsc::Receiver<Update>>, Failure> {
    let Some(live) = settings.live.clone() else {
        return Ok(None);
    };
    let mut replan = Replan::new(settings.clone(), live, key);
    let work = async move |to: mpsc::Sender<Update>| {
        let cluster = replan.live.access.connect().await?;
        replan.watch(cluster, &to).await
    };
    Ok(Some(changes::begin(runtime()?, work)))
}

/// The base of the present plan.
struct Replan {
    /// The settings, with the objects that are known by now.
    settings: DropsSettings,
    live: DropsLive,
    key: Key,
    /// The known nodes, with their addresses.
    nodes: Inventory,
    /// Nodes that were read, or may not be read. None of them is asked for again.
    answered: BTreeSet<String>,
    /// The nodes that have an agent, or will get one.
    watched: BTreeSet<String>,
    /// The watched nodes that need no agent now.
    idle: BTreeSet<String>,
    losses: Losses,
    /// Whether the user knows that the chosen pods cannot be found for now.
    is_stuck: bool,
}

impl Replan {
    fn new(settings: DropsSettings, live: DropsLive, key: Key) -> Self {
        let agents = settings.agents.iter();
        Self {
            watched: agents.map(|agent| agent.node.clone()).collect(),
            nodes: live.nodes.clone(),
            settings,
            live,
            key,
            answered: BTreeSet::new(),
            idle: BTreeSet::new(),
            losses: Losses::default(),
            is_stuck: false,
        }
    }

    /// Sends changes until the session ends.
    async fn watch(
        &mut self,
        cluster: Cluster,
        to: &mpsc::Sender<Update>,
    ) -> Result<(), ClusterError> {
        let mut watch = Watch::new(cluster);
        for subject in self.subjects() {
            watch.add(&subject).await?;
        }
        let changed = async |watch: &mut Watch| {
            // Until each watch has told its state, pods seem to be gone that are there.
            if !watch.is_complete() {
                return Update::default();
            }
            self.learn_nodes(watch).await;
            self.replan(watch.pods(), &watch.since())
        };
        changes::send(watch, to, changed).await;
        Ok(())
    }

    /// What is watched: the chosen pods, which may move, and the pods on the known nodes.
    fn subjects(&self) -> Vec<Subject> {
        if self.settings.all_nodes {
            return vec![Subject::AllNodes, Subject::AllPods];
        }
        let chosen = self.settings.chosen.as_ref().map(|chosen| match chosen {
            Chosen::Pod(full_name) => {
                let (namespace, name) = full_name.split_once('/').unwrap_or_default();
                Subject::Pod {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                }
            }
            Chosen::Namespace(namespace) => Subject::Group(Group {
                namespace: namespace.clone(),
                pods: inventory::Pods::All,
            }),
        });
        let nodes = self.nodes.node_names().into_iter();
        chosen
            .into_iter()
            .chain(nodes.map(Subject::PodsOn))
            .collect()
    }

    /// Takes in the nodes that are new, and forgets those that have left the cluster.
    async fn learn_nodes(&mut self, watch: &mut Watch) {
        let (new, left) = match self.settings.all_nodes {
            true => self.differing(watch.nodes()),
            false => (self.new_nodes(watch.pods()), Vec::new()),
        };
        for name in left {
            self.nodes.forget_node(&name);
            self.answered.remove(&name);
        }
        for name in &new {
            self.nodes.expect_node(name);
            if !self.settings.all_nodes {
                let added = watch.add(&Subject::PodsOn(name.clone())).await;
                // Only a group of pods may be missing.
                added.expect("a node's pods can be watched");
            }
        }
        for name in self.nodes.unread_nodes() {
            if self.answered.contains(&name) {
                continue;
            }
            let known = match watch.cluster().read_node(&name).await {
                Ok(node) => self.nodes.take_node(&node),
                // The next change may find an answer. Meanwhile, the watches must not wait for more.
                Err(error) if error.may_pass() => break,
                Err(_) => Ok(()),
            };
            if let Err(error) = known {
                info!("{error}");
            }
            self.answered.insert(name);
        }
    }

    /// The nodes that are new, and those that have left the cluster. A cluster without any node is
    /// one whose nodes may not be read any more.
    fn differing<'a>(&self, now: impl Iterator<Item = &'a str>) -> (Vec<String>, Vec<String>) {
        let now: BTreeSet<String> = now.map(str::to_owned).collect();
        let known = BTreeSet::from_iter(self.nodes.node_names());
        if now.is_empty() {
            return (Vec::new(), Vec::new());
        }
        let without = |one: &BTreeSet<String>, other| one.difference(other).cloned().collect();
        (without(&now, &known), without(&known, &now))
    }

    /// The nodes of pods that are not known yet.
    fn new_nodes<'a>(&self, pods: impl Iterator<Item = &'a PodPlace>) -> Vec<String> {
        let nodes: BTreeSet<&str> = pods.filter_map(|place| place.pod.home()).collect();
        let new = nodes.into_iter();
        new.filter(|node| self.nodes.node(node).is_err())
            .map(str::to_owned)
            .collect()
    }

    /// The differences since the last time.
    fn replan<'a>(&mut self, places: impl Iterator<Item = &'a PodPlace>, since: &Pods) -> Update {
        let mut inventory = self.nodes.clone();
        let mut is_there = false;
        for PodPlace {
            namespace,
            name,
            pod,
            since: _,
        } in places
        {
            is_there |= self.is_chosen(namespace, name);
            // Pods may outlive the object of their node for a while.
            if pod.home().is_none_or(|node| self.nodes.node(node).is_ok()) {
                inventory.take_watched(namespace, name, pod.clone());
            }
        }
        let owners = inventory.owners();
        let mut notices = Vec::new();
        let again = match self.live.resolve(inventory) {
            Ok(again) => {
                self.is_stuck = false;
                again
            }
            // For example, a pod is gone until another one takes its place. Names are right all the
            // same.
            Err(why) => {
                if !mem::replace(&mut self.is_stuck, true) {
                    let why = match &self.settings.chosen {
                        Some(Chosen::Pod(name)) if !is_there => format!("there is no pod {name}"),
                        _ => why.to_string(),
                    };
                    notices.push(format!("the same nodes are watched for now: {why}"));
                }
                DropsSettings {
                    owners,
                    ..self.settings.clone()
                }
            }
        };
        notices.extend(self.moved(&again));
        let update = Update {
            notices,
            ..self.difference(&again, since)
        };
        let joined = update.joins.iter().map(|(_, start)| start.node.clone());
        self.watched.extend(joined);
        if let Some(idle) = &update.idle {
            self.idle.clone_from(idle);
        }
        self.settings = again;
        update
    }

    fn is_chosen(&self, namespace: &str, name: &str) -> bool {
        let chosen = self.settings.chosen.as_ref();
        chosen.is_some_and(|chosen| chosen.has(&format!("{namespace}/{name}")))
    }

    /// Says where the only chosen pod is now, if it is elsewhere than before.
    fn moved(&self, again: &DropsSettings) -> Option<String> {
        let Some(Chosen::Pod(name)) = &self.settings.chosen else {
            return None;
        };
        let place = |settings: &DropsSettings| {
            let all = settings.owners.all_at(Owners::LATEST);
            let mut its =
                all.filter(|(_, owner)| owner.kind == OwnerKind::Pod && owner.name == *name);
            its.next()
                .map(|(address, owner)| (address, owner.node.clone()))
        };
        let now = place(again).filter(|now| place(&self.settings).as_ref() != Some(now));
        now.map(|(address, node)| format!("{name} is at {address} on {node} now"))
    }

    fn difference(&mut self, again: &DropsSettings, since: &Pods) -> Update {
        let known = &self.settings.owners;
        let owners = self.losses.differences(known, &again.owners, since);
        let before = pods_by_node(known);
        let pods = pods_by_node(&again.owners);
        let looks = self.watched.iter().filter_map(|node| {
            let is_new = pods.get(node) != before.get(node);
            let look = || Look {
                request: Request::default(),
                pods: pods.get(node).cloned().unwrap_or_default(),
            };
            is_new.then(|| (node.clone(), look()))
        });
        let is_wanted = |node: &String| again.agents.iter().any(|agent| agent.node == *node);
        let idle = self.watched.iter().filter(|node| !is_wanted(node));
        let idle: BTreeSet<String> = idle.cloned().collect();
        let others = again.agents.iter();
        let others = others.filter(|agent| !self.watched.contains(&agent.node));
        let joins: Vec<_> = others
            .map(|agent| start(again, agent, self.key, &pods))
            .collect();
        for (_, start) in &joins {
            info!("{} gets an agent for drops", start.node);
        }
        Update {
            owners,
            looks: looks.collect(),
            joins,
            idle: (idle != self.idle).then_some(idle),
            ..Update::default()
        }
    }
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
