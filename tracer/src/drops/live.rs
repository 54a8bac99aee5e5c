//! Drops of a cluster that changes: pods get their names, and nodes their agents.
//!
//! The watches tell the whole state of every pod that matters, so nothing is read again but the
//! nodes that come. Until a watch has told its state, what the start has read counts. From that state, the settings are made as at the start, and the differences
//! go to the session.

use std::{collections::BTreeSet, mem};

use tokio::sync::mpsc;
use tracer_common::hash::Key;
use tracer_core::{
    model::{OwnerKind, Owners},
    request::{Look, Request},
};
use tracing::info;

use super::{
    nodes::Nodes,
    plan::{pods_by_node, start},
};
use crate::{
    changes::{self, Losses},
    cli::{DropsLive, DropsSettings, Failure},
    cluster::{Cluster, ClusterError, Known, PodPlace, Pods, Subject, Watch},
    collector::Update,
    follow::runtime,
    inventory::{self, Group},
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
    nodes: Nodes,
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
            nodes: Nodes::new(live.nodes.clone(), settings.all_nodes),
            settings,
            live,
            key,
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
        let known = Known::of(&self.settings.owners, self.nodes.known.node_names());
        for subject in self.subjects() {
            watch.add(&subject, &known).await?;
        }
        drop(known);
        let changed = async |watch: &mut Watch| {
            let homes = self.homes(watch.pods());
            self.nodes.learn(watch, homes).await;
            self.replan(watch.pods(), &watch.since())
        };
        changes::send(watch, to, changed).await;
        Ok(())
    }

    /// What is watched: the chosen pods, which may move, and the known nodes with their pods.
    fn subjects(&self) -> Vec<Subject> {
        let chosen = self.settings.chosen.as_ref();
        let chosen = chosen.filter(|_| !self.settings.all_nodes);
        let chosen = chosen.map(|chosen| match chosen {
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
        chosen.into_iter().chain(self.nodes.subjects()).collect()
    }

    /// The nodes of the chosen pods. A pod on the host network has no address of its own.
    fn homes<'a>(&self, pods: impl Iterator<Item = &'a PodPlace>) -> BTreeSet<String> {
        let chosen = pods.filter(|place| {
            place.pod.has_own_addresses() && self.is_chosen(&place.namespace, &place.name)
        });
        let homes = chosen.filter_map(|place| place.pod.home());
        homes.map(str::to_owned).collect()
    }

    /// The differences since the last time.
    fn replan<'a>(&mut self, places: impl Iterator<Item = &'a PodPlace>, since: &Pods) -> Update {
        let mut inventory = self.nodes.known.clone();
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
            let is_known = |node| self.nodes.known.node(node).is_ok();
            if pod.home().is_none_or(is_known) {
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
