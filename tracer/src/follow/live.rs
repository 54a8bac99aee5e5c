//! A follow that goes along with its ends: when the cluster changes, the plan changes.

use std::{collections::BTreeSet, mem, time::Duration};

use tokio::{sync::mpsc, time::sleep};
use tracer_common::hash::Key;
use tracer_core::{
    input::OwnersChange,
    request::{Filter, Look, Start},
};
use tracing::info;

use super::{
    plan::{concerns, start, targets},
    runtime,
};
use crate::{
    changes::{self, Losses},
    cli::{AgentSpec, Failure, Live, Settings},
    clock::unix_now,
    cluster::{Cluster, ClusterError, Known, Leading, Pods, Subject, Wanted, Watch},
    collector::Update,
    link::Place,
    pauses::Pauses,
    store::unwatched_end,
};

/// The first and the longest pause before a cluster that did not answer is read again.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The changes of a follow's plan from now on, or `None` if its objects are not from the API.
///
/// # Errors
/// If the thread that asks the API cannot begin.
pub(super) fn updates(
    settings: &Settings,
    key: Key,
) -> Result<Option<mpsc::Receiver<Update>>, Failure> {
    let Some(live) = settings.live.clone() else {
        return Ok(None);
    };
    let mut replan = Replan {
        settings: settings.clone(),
        key,
        live,
        watched: watched(settings),
        idle: BTreeSet::new(),
        losses: Losses::default(),
        is_stuck: false,
        is_unread: false,
    };
    let work = async move |to: mpsc::Sender<Update>| replan.watch(&to).await;
    Ok(Some(changes::begin(runtime()?, work)))
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
    losses: Losses,
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
        let mut watch = Watch::new(cluster);
        for subject in subjects(&wanted, &self.settings.by) {
            watch.add(&subject, &Known::default()).await?;
        }
        let changed = async |watch: &mut Watch| {
            let since = watch.since();
            self.changed(watch.cluster(), &since, to).await
        };
        changes::send(watch, to, changed).await;
        Ok(())
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
                to.send(Update::notice(line)).await.is_ok()
            }
        };
        let read = read_at_last(
            async || cluster.read(&wanted, Leading::Services).await,
            failed,
        )
        .await;
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
                return Update::notice(format!("what is followed stays as it was for now: {why}"));
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

    fn difference(&mut self, again: &Settings, pods: &Pods) -> Update {
        let before = &self.settings;
        let mut owners = self.losses.differences(&before.owners, &again.owners, pods);
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

/// What a follow watches: its pods, and the Services by which packets come to them. Of these
/// objects, each change leads to a read.
fn subjects(wanted: &[Wanted], services: &[(String, String)]) -> Vec<Subject> {
    let pods = wanted.iter().filter_map(|one| match one.clone() {
        Wanted::Pod { namespace, name } => Some(Subject::Pod { namespace, name }),
        Wanted::Group(group) => Some(Subject::Group(group)),
        Wanted::Node(_)
        | Wanted::AllNodes
        | Wanted::Address(_)
        | Wanted::Service { .. }
        | Wanted::Dns => None,
    });
    let services = services.iter().cloned();
    let services = services.map(|(namespace, name)| Subject::Service { namespace, name });
    pods.chain(services).collect()
}

/// Reads until it works, as long as the reason may pass and `failed` says to go on. The pauses
/// grow. Each read gets the latest state, so no change is lost meanwhile.
async fn read_at_last<T>(
    mut read: impl AsyncFnMut() -> Result<T, ClusterError>,
    mut failed: impl AsyncFnMut(&ClusterError) -> bool,
) -> Result<T, ClusterError> {
    let mut pauses = Pauses::new(PAUSE, LONGEST_PAUSE);
    loop {
        match read().await {
            Err(error) if error.may_pass() && failed(&error).await => {
                sleep(pauses.grow()).await;
            }
            read => return read,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

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
}
