//! `tracer drops`: shows the packets that the nodes' kernels drop, as it happens.
//!
//! Agents send every packet that a kernel freed in their namespaces. Here each gets a class.
//! Harmless ones are only counted, and the others are summed up by kind. A new kind is shown at
//! once, and a known one at most once a second.

mod live;
mod nodes;
mod plan;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::Duration,
};

use tokio::time::Instant;
use tracer_common::{drop::DropCounter, hash::Key};
use tracer_core::{
    input::{Batch, DropReport},
    model::Hello,
    request::{Command, Start},
    verdict::Tally,
};

use crate::{
    cli::{DropsSettings, Failure, Outcome, Output, look_of_stdout},
    clock::unix_now,
    collector::{Agents, Begun, SessionError, Update, Work, run as run_session},
    follow::{interrupted, runtime},
    link::Place,
    terminal::tell,
    view::{Chosen, DropScene, DropView, Json, Text},
};

/// How often a known kind of drop is shown again.
const EVERY: Duration = Duration::from_secs(1);

/// Watches until its end.
///
/// # Errors
/// [`Failure`], in one sentence.
pub fn run(settings: DropsSettings) -> Result<Outcome, Failure> {
    let stdout = io::stdout();
    let look = look_of_stdout(settings.utc);
    runtime()?.block_on(async {
        match settings.output {
            Output::Text => watch(settings, Text::new(stdout.lock(), look)).await,
            Output::Json => watch(settings, Json::new(stdout.lock())).await,
        }
    })
}

async fn watch(settings: DropsSettings, mut view: impl DropView) -> Result<Outcome, Failure> {
    let stop = interrupted()?;
    let key = Key([crate::random(), crate::random()]);
    let starts = plan::starts(&settings, key);
    tokio::pin!(stop);
    let Begun {
        agents,
        hellos: nodes,
        late,
    } = tokio::select! {
        begun = begin(starts, settings.live.is_some()) => begun.map_err(Failure::new)?,
        () = &mut stop => return Err(Failure::new(SessionError::Stopped)),
    };
    if let Some(updates) = live::updates(&settings, key)? {
        agents.hear(updates);
    }
    let notes = nodes.iter().flat_map(|hello| &hello.notes);
    for note in settings.warnings.iter().chain(notes) {
        tell(note);
    }
    for node in &late {
        tell(&format!(
            "drops on {node} are not seen yet: its agent is still starting"
        ));
    }
    let mut watch = Watching {
        reports: vec![DropReport::default(); nodes.len()],
        before: vec![DropReport::default(); nodes.len()],
        scene: DropScene {
            nodes,
            owners: settings.owners,
            chosen: settings.chosen,
        },
        all_nodes: settings.all_nodes,
        unreached: BTreeSet::new(),
        tally: Tally::default(),
        count: settings.count,
        end: settings.duration.map(|duration| Instant::now() + duration),
        next: Instant::now() + EVERY,
        view: &mut view,
    };
    watch.view.started(&watch.scene, unix_now())?;
    run_session(agents, &mut watch, stop)
        .await
        .map_err(Failure::new)?;
    watch.show(false)?;
    watch
        .view
        .summary(&watch.scene, &watch.tally, &watch.sum())?;
    Ok(if watch.tally.suspects() == 0 {
        Outcome::NothingMatched
    } else {
        Outcome::Done
    })
}

/// Starts the agents. With nodes from the API, which come and go, one that takes no agent does not
/// stop the others.
async fn begin(starts: Vec<(Place, Start)>, is_live: bool) -> Result<Begun, SessionError> {
    if is_live {
        return Agents::start_some(starts).await;
    }
    let (agents, hellos) = Agents::start(starts).await?;
    Ok(Begun {
        agents,
        hellos,
        late: Vec::new(),
    })
}

/// The state of the watch.
struct Watching<'a, V> {
    scene: DropScene,
    /// Whether agents watch all nodes of the cluster, whatever pods these have.
    all_nodes: bool,
    /// Nodes of which it was said that they have no agent yet.
    unreached: BTreeSet<String>,
    tally: Tally,
    reports: Vec<DropReport>,
    /// Last reports of agents from before they began anew, by node.
    before: Vec<DropReport>,
    /// Number of shown drops after which the watch ends; `None`: no limit.
    count: Option<u64>,
    /// Time when the watch ends; `None`: no limit.
    end: Option<Instant>,
    /// Time when known kinds are shown next.
    next: Instant,
    view: &'a mut V,
}

impl<V: DropView> Work for Watching<'_, V> {
    fn take(&mut self, _: &mut Agents, agent: usize, batch: Batch) -> Result<(), SessionError> {
        if batch.begins_anew() {
            // The agent's counters begin anew.
            let report = std::mem::take(&mut self.reports[agent]);
            let before = &mut self.before[agent];
            before.counters.add(&report.counters);
            before.malformed += report.malformed;
            before.missed += report.missed;
            let node = &self.scene.nodes[agent].node;
            self.unreached.remove(node);
            tell(&format!("drops on {node} are seen again"));
        }
        if batch.change.as_ref().is_some_and(|change| change.leaves) {
            let node = &self.scene.nodes[agent].node;
            let why = match &self.scene.chosen {
                _ if self.all_nodes => "the node has left the cluster".to_owned(),
                Some(Chosen::Pod(name)) => format!("{name} is not there any more"),
                Some(namespace) => format!("no pod of {namespace} is there any more"),
                None => "the node has left the cluster".to_owned(),
            };
            tell(&format!("drops on {node} are not watched any more: {why}"));
        }
        if let Some(report) = batch.report.and_then(|report| report.drops) {
            self.reports[agent] = report;
        }
        let offset = self.scene.nodes[agent].realtime_offset;
        for freed in batch.freed {
            let time = i64::try_from(freed.time).unwrap_or(i64::MAX);
            let time = time.saturating_add(offset);
            if self.scene.concerns(&freed, time) {
                let meant = self.scene.is_meant((agent, time), &freed);
                self.tally.add(agent, time, freed, meant);
            }
        }
        Ok(self.show(true)?)
    }

    fn gone(&mut self, agent: usize, why: &str) -> Result<(), SessionError> {
        let node = &self.scene.nodes[agent].node;
        tell(&format!(
            "lost the agent of {node}, so drops there are not seen; trying again: {why}"
        ));
        Ok(())
    }

    fn update(&mut self, agents: &mut Agents, update: Update) -> Result<(), SessionError> {
        let Update {
            owners,
            // Drops are watched whatever addresses they have.
            targets: _,
            looks,
            joins,
            idle,
            notices,
        } = update;
        notices.iter().for_each(|line| tell(line));
        for change in owners {
            change.apply(&mut self.scene.owners);
        }
        for (node, look) in &looks {
            agents.look(node, look);
        }
        for start in joins {
            agents.join(start);
        }
        if let Some(idle) = idle {
            // Nothing waits for what passed an agent before it leaves.
            agents.set_idle(idle, Duration::ZERO);
        }
        Ok(())
    }

    fn joined(&mut self, _: &mut Agents, hello: Hello) -> Result<(), SessionError> {
        let node = &hello.node;
        let pods = hello.drops.iter().flatten().count();
        let end = if pods == 1 { "" } else { "s" };
        tell(&format!(
            "drops on {node} are seen from now on, and inside {pods} pod{end} there"
        ));
        hello.notes.iter().for_each(|note| tell(note));
        self.unreached.remove(node);
        self.scene.nodes.push(hello);
        self.reports.push(DropReport::default());
        self.before.push(DropReport::default());
        Ok(())
    }

    fn unreached(&mut self, node: &str, why: &str) {
        if self.unreached.insert(node.to_owned()) {
            tell(&format!(
                "drops on {node} cannot be seen yet; trying again: {why}"
            ));
        }
    }

    fn due(&self) -> Option<Instant> {
        self.end.into_iter().chain([self.next]).min()
    }

    fn wake(&mut self, agents: &mut Agents) -> Result<(), SessionError> {
        self.next = Instant::now() + EVERY;
        // Lost events are reported, too.
        agents.send(&Command::Report);
        Ok(self.show(false)?)
    }

    fn is_done(&self) -> bool {
        let counted = self
            .count
            .is_some_and(|count| self.tally.suspects() >= count);
        counted || self.end.is_some_and(|end| end <= Instant::now())
    }

    fn keep(&mut self, _: usize, _: &Batch) {}

    fn notice(&mut self, line: &str) {
        tell(line);
    }
}

impl<V: DropView> Watching<'_, V> {
    fn show(&mut self, new: bool) -> io::Result<()> {
        let (scene, view) = (&self.scene, &mut *self.view);
        self.tally.show(new, |kind| view.drop(scene, kind))
    }

    /// The sum of all agents' reports. Agents on one kernel all count drops in an unknown
    /// namespace, so only the highest of their counters is used.
    fn sum(&self) -> DropReport {
        const UNSCOPED: usize = DropCounter::Unscoped as usize;
        let mut sum = DropReport::default();
        let mut unscoped: BTreeMap<&str, u64> = BTreeMap::new();
        let reports = self.reports.iter().zip(&self.before);
        for ((report, before), hello) in reports.zip(&self.scene.nodes) {
            let mut counters = report.counters;
            counters.add(&before.counters);
            let most = unscoped.entry(&hello.boot_id).or_default();
            *most = (*most).max(std::mem::take(&mut counters.packets[UNSCOPED]));
            sum.counters.add(&counters);
            sum.malformed += report.malformed + before.malformed;
            sum.missed += report.missed + before.missed;
        }
        sum.counters.packets[UNSCOPED] = unscoped.values().sum();
        sum
    }
}

#[cfg(test)]
mod tests;
