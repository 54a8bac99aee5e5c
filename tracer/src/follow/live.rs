//! A follow that goes along with its ends: when the cluster changes, the plan changes.
//!
//! A separate thread asks the API, because the commands that give credentials block.

use std::{collections::BTreeSet, mem, net::IpAddr, thread, time::Duration};

use tokio::{sync::mpsc, time::sleep};
use tracer_common::hash::Key;
use tracer_core::{
    input::{Gained, Lost, OwnersChange},
    model::{OwnerKind, Owners},
    request::{Filter, Look, Start},
};
use tracing::info;

use super::{
    plan::{concerns, start, targets},
    runtime,
};
use crate::{
    cli::{AgentSpec, Live, Settings},
    clock::unix_now,
    cluster::{Cluster, ClusterError, Heard, Pods},
    collector::Update,
    link::Place,
    store::unwatched_end,
};

/// Limit of updates that wait for the session.
const WAITING: usize = 16;

/// The first and the longest pause before a cluster that did not answer is read again.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The changes of a follow's plan from now on, or `None` if its objects are not from the API.
pub(super) fn updates(settings: &Settings, key: Key) -> Option<mpsc::Receiver<Update>> {
    let live = settings.live.clone()?;
    let (sender, updates) = mpsc::channel(WAITING);
    let mut replan = Replan {
        settings: settings.clone(),
        key,
        live,
        watched: watched(settings),
        idle: BTreeSet::new(),
        is_stuck: false,
        is_unread: false,
    };
    // The thread ends with the process, or with the session.
    thread::spawn(move || {
        let watch = async {
            if let Err(error) = replan.watch(&sender).await {
                let update = notice(format!("changes in the cluster are not noticed: {error}"));
                // A session that is over does not need the notice.
                drop(sender.send(update).await);
            }
        };
        runtime().map(|runtime| runtime.block_on(watch))
    });
    Some(updates)
}

/// The nodes on which a plan has agents from the beginning.
fn watched(settings: &Settings) -> BTreeSet<String> {
    let agents = settings.agents.iter();
    let concerned = agents.filter(|agent| concerns(settings, agent));
    concerned.map(|agent| agent.node.clone()).collect()
}

/// The base of the present plan.
struct Replan {
    /// The settings, with the objects that are known by now.
    settings: Settings,
    key: Key,
    live: Live,
    /// The nodes that have an agent, or will get one.
    watched: BTreeSet<String>,
    /// The watched nodes where the follow has no end now.
    idle: BTreeSet<String>,
    /// Whether the user knows that an end cannot be followed for now.
    is_stuck: bool,
    /// Whether the user knows that the cluster cannot be read.
    is_unread: bool,
}

impl Replan {
    /// Sends changes until the session ends.
    async fn watch(&mut self, to: &mpsc::Sender<Update>) -> Result<(), ClusterError> {
        let cluster = self.live.access.connect().await?;
        let wanted = self.live.wanted(&cluster);
        let services = self.settings.by.clone();
        let tell = async |cluster: &Cluster, heard: Heard| {
            let update = match heard {
                Heard::Changed(pods) => self.changed(cluster, &pods, to).await,
                Heard::Lost(why) => notice(format!(
                    "the cluster does not tell of changes for now, so names and addresses are \
                     those that were known last; trying again: {why}"
                )),
                Heard::Back => notice("the cluster tells of changes again".to_owned()),
            };
            let is_empty = update.owners.is_empty()
                && update.targets.is_none()
                && update.looks.is_empty()
                && update.joins.is_empty()
                && update.idle.is_none()
                && update.notices.is_empty();
            if is_empty {
                !to.is_closed()
            } else {
                to.send(update).await.is_ok()
            }
        };
        cluster.watch(&wanted, &services, tell).await
    }

    /// The differences since the last time. If the server does not answer, asks it again.
    async fn changed(
        &mut self,
        cluster: &Cluster,
        pods: &Pods,
        to: &mpsc::Sender<Update>,
    ) -> Update {
        let wanted = self.live.wanted(cluster);
        let is_unread = &mut self.is_unread;
        let failed = async |why: &ClusterError| {
            let line = format!(
                "the cluster cannot be read for now, so names and addresses are those that were \
                 known last; trying again: {why}"
            );
            if mem::replace(is_unread, true) {
                !to.is_closed()
            } else {
                to.send(notice(line)).await.is_ok()
            }
        };
        let read = read_at_last(async || cluster.read(&wanted).await, failed).await;
        let was_unread = mem::take(&mut self.is_unread);
        let read = read.map_err(|error| error.to_string());
        let again = read.and_then(|(inventory, _)| {
            let again = self.live.resolve(inventory);
            again.map_err(|error| error.to_string())
        });
        let again = match again {
            Ok(again) => again,
            // For example, a pod is gone until another one takes its place. The watch tells of
            // that.
            Err(why) if !mem::replace(&mut self.is_stuck, true) || was_unread => {
                return notice(format!("what is followed stays as it was for now: {why}"));
            }
            Err(_) => return Update::default(),
        };
        self.is_stuck = false;
        let mut again = again;
        // A node that has no end any more stays in the settings, because an end may come back.
        let known = self.settings.agents.iter();
        let left = known.filter(|agent| again.agents.iter().all(|one| one.node != agent.node));
        again.agents.extend(left.cloned().collect::<Vec<_>>());
        let mut update = self.difference(&again, pods);
        if was_unread {
            let line = "the cluster can be read again".to_owned();
            update.notices.insert(0, line);
        }
        let joined = update.joins.iter().map(|(_, start)| start.node.clone());
        self.watched.extend(joined);
        if let Some(idle) = &update.idle {
            self.idle.clone_from(idle);
        }
        self.settings = again;
        update
    }

    fn difference(&self, again: &Settings, pods: &Pods) -> Update {
        let before = &self.settings;
        let new_targets = targets(again);
        let (watched, others): (Vec<&AgentSpec>, Vec<&AgentSpec>) = again
            .agents
            .iter()
            .partition(|agent| self.watched.contains(&agent.node));
        let without = watched.iter().filter(|agent| !concerns(again, agent));
        let idle: BTreeSet<String> = without.map(|agent| agent.node.clone()).collect();
        let joins = others.iter().filter(|agent| concerns(again, agent));
        let joins = joins.map(|agent| start(again, agent, self.key, &Filter::default()));
        let joins: Vec<(Place, Start)> = joins.collect();
        let looks = watched.iter().filter_map(|agent| {
            let look = |settings| {
                let (_, start) = start(settings, agent, self.key, &Default::default());
                Look {
                    request: start.request,
                    pods: start.pods,
                }
            };
            let (old, new) = (look(before), look(again));
            (old != new).then(|| (agent.node.clone(), new))
        });
        let ends = again.sources.iter().chain(&again.destinations);
        let notices = ends.filter(|end| end.is_real()).filter_map(|end| {
            let node = end.node.as_ref()?;
            let is_new = !before.sources.contains(end) && !before.destinations.contains(end);
            let moved = is_new.then(|| {
                let is_watched = |agent: &AgentSpec| agent.node == *node;
                if again.agents.iter().any(is_watched) {
                    format!("{end} is at {} on {node} now", end.network.addr())
                } else {
                    unwatched_end(end, node)
                }
            })?;
            info!("{moved}");
            Some(moved)
        });
        let mut owners = owners(&before.owners, &again.owners, pods);
        if new_targets.asked != targets(before).asked {
            owners.push(OwnersChange {
                time: unix_now(),
                asked: new_targets.asked.clone(),
                ..OwnersChange::default()
            });
        }
        Update {
            owners,
            targets: (new_targets != targets(before)).then_some(new_targets),
            looks: looks.collect(),
            joins,
            idle: (idle != self.idle).then_some(idle),
            notices: notices.collect(),
        }
    }
}

/// Reads until it works, as long as the reason may pass and `failed` says to go on. The pauses
/// grow. Each read gets the latest state, so no change is lost meanwhile.
async fn read_at_last<T>(
    mut read: impl AsyncFnMut() -> Result<T, ClusterError>,
    mut failed: impl AsyncFnMut(&ClusterError) -> bool,
) -> Result<T, ClusterError> {
    let mut pause = PAUSE;
    loop {
        match read().await {
            Err(error) if error.may_pass() && failed(&error).await => {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            read => return read,
        }
    }
}

fn notice(line: String) -> Update {
    Update {
        notices: vec![line],
        ..Update::default()
    }
}

/// The differences in who has which address. A lost address counts as lost now. A pod has had its
/// address since the pod was started.
fn owners(before: &Owners, after: &Owners, pods: &Pods) -> Vec<OwnersChange> {
    let now = unix_now();
    let all = |owners: &Owners| -> Vec<(IpAddr, tracer_core::model::Owner)> {
        let all = owners.all_at(Owners::LATEST);
        all.map(|(address, owner)| (address, owner.clone()))
            .collect()
    };
    let (before, after) = (all(before), all(after));
    let lost = before.iter().filter(|one| !after.contains(one));
    let lost: Vec<Lost> = lost
        .map(|(address, owner)| Lost {
            address: *address,
            name: owner.name.clone(),
            kind: owner.kind,
        })
        .collect();
    let gained = after.into_iter().filter(|one| !before.contains(one));
    let gained = gained.map(|(address, owner)| {
        let since = pods.get(&address).filter(|_| owner.kind == OwnerKind::Pod);
        OwnersChange {
            time: since.map_or(now, |since| now.min(*since)),
            lost: Vec::new(),
            gained: vec![Gained { address, owner }],
            asked: Vec::new(),
        }
    });
    let mut changes: Vec<OwnersChange> = gained.collect();
    changes.sort_by_key(|change| change.time);
    if !lost.is_empty() {
        changes.push(OwnersChange {
            time: now,
            lost,
            gained: Vec::new(),
            asked: Vec::new(),
        });
    }
    changes
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;
    use tracer_core::model::Owner;

    use super::*;

    /// Reads a server that fails `failures` times. Returns whether the read worked, the numbers of
    /// reads and of failures that were told, and the duration in seconds.
    async fn read_after(
        failures: usize,
        patience: usize,
        last: Result<(), ClusterError>,
    ) -> (bool, usize, usize, u64) {
        let begin = Instant::now();
        let (mut asked, mut told, mut last) = (0, 0, Some(last));
        let read = read_at_last(
            async || {
                asked += 1;
                if asked > failures {
                    return last.take().expect("asked once more at most");
                }
                Err(ClusterError::Unreachable {
                    server: String::new(),
                    why: String::new(),
                    origin: String::new(),
                })
            },
            async |_| {
                told += 1;
                told < patience
            },
        );
        let is_read = read.await.is_ok();
        (is_read, asked, told, begin.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_answer_is_asked_again() {
        assert_eq!(read_after(0, 99, Ok(())).await, (true, 1, 0, 0));
        // 1, 2, 4, 8, 16 and twice 30 s.
        assert_eq!(read_after(7, 99, Ok(())).await, (true, 8, 7, 91));
        // A later event tells of a missing pod, so that error ends the reads.
        let gone = Err(ClusterError::NoPods("shop/web".to_owned()));
        assert_eq!(read_after(1, 99, gone).await, (false, 2, 1, 1));
        // Nobody listens any more.
        assert_eq!(read_after(9, 2, Ok(())).await, (false, 2, 2, 1));
    }

    #[test]
    fn a_pod_that_comes_back_has_its_address_since_it_started() {
        let pod = |name: &str, node: &str| Owner {
            name: name.to_owned(),
            kind: OwnerKind::Pod,
            node: node.to_owned(),
        };
        let [old, new, same] = [[10, 1, 0, 5], [10, 2, 0, 7], [10, 1, 0, 9]].map(IpAddr::from);
        let before = [(old, pod("shop/db-0", "a")), (same, pod("shop/web", "a"))];
        let after = [(new, pod("shop/db-0", "b")), (same, pod("shop/web", "a"))];
        let (before, after) = (Owners::from_iter(before), Owners::from_iter(after));
        let started = unix_now() - 5;
        let changes = owners(&before, &after, &Pods::from([(new, started)]));
        let mut known = before;
        for change in &changes {
            change.apply(&mut known);
        }
        let name_at = |address, time| known.at(address, time).map(|owner| owner.name.as_str());
        assert_eq!(name_at(new, started - 1), None);
        assert_eq!(name_at(new, started), Some("shop/db-0"));
        assert_eq!(name_at(old, started), Some("shop/db-0"));
        assert_eq!(name_at(old, Owners::LATEST), None);
        assert_eq!(name_at(same, Owners::LATEST), Some("shop/web"));
        assert_eq!(owners(&after, &after, &Pods::new()), []);
    }
}
