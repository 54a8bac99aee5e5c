//! `tracer drops`: what the nodes' kernels give up, as it happens.
//!
//! Agents send every packet that was freed in their namespaces; here they are
//! judged, those that concern nobody are only counted, and the others are
//! added up by kind. A kind is shown at once when it is new, later at most
//! once a second.

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::time::{MissedTickBehavior, interval, sleep_until};
use tracer_common::{drop::DropCounter, hash::Key};
use tracer_core::{
    input::{Batch, DropReport},
    model::Freed,
    verdict::Tally,
};

use crate::{
    cli::{AgentSpec, DropsSettings, Failure, Outcome, Output, Place},
    collector::{self, Agents, Sent},
    follow::{interrupted, runtime},
    link::{Command, Filter, Start, Watch},
    node::{NodeError, discover::Request},
    terminal::{look_of_stdout, tell},
    view::{DropScene, DropView, Json, Text},
};

/// How often a kind of drop that is known is shown again.
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
    let agents: Vec<Start> = settings
        .agents
        .iter()
        .map(|agent| start(&settings, agent, key))
        .collect();
    let Agents {
        hellos: nodes,
        commands,
        batches: mut inbox,
    } = collector::start_agents(&agents)
        .await
        .map_err(Failure::new)?;
    for note in nodes.iter().flat_map(|hello| &hello.notes) {
        tell(note);
    }

    let mut session = Session {
        reports: vec![DropReport::default(); nodes.len()],
        scene: DropScene {
            nodes,
            owners: settings.owners,
            pod: settings.pod.as_ref().map(|(name, _)| name.clone()),
        },
        pod: settings.pod,
        tally: Tally::default(),
    };
    view.started(&session.scene, unix_now())?;
    let deadline = settings.duration.map(|duration| Instant::now() + duration);
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ended = async {
        match deadline {
            Some(deadline) => sleep_until(deadline.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(stop, ended);
    loop {
        tokio::select! {
            () = &mut stop => break,
            () = &mut ended => break,
            _ = tick.tick() => {
                session.show(&mut view, false)?;
                // Losses are told, too.
                commands.iter().for_each(|agent| agent.send(Command::Report));
            }
            sent = inbox.recv() => match sent {
                Some((node, Sent::Batch(batch))) => {
                    session.take(node, *batch);
                    session.show(&mut view, true)?;
                }
                Some((node, Sent::Failed(error))) => return Err(session.failure(node, &error)),
                Some((_, Sent::Ended)) | None => return Err(Failure::new(
                    "an agent ended unexpectedly: what it saw last is lost",
                )),
            },
        }
        if settings
            .count
            .is_some_and(|count| session.tally.suspects() >= count)
        {
            break;
        }
    }
    commands.iter().for_each(|agent| agent.send(Command::Stop));
    let mut running = commands.len();
    while running > 0 {
        match inbox.recv().await {
            Some((node, Sent::Batch(batch))) => session.take(node, *batch),
            Some((node, Sent::Failed(error))) => return Err(session.failure(node, &error)),
            Some((_, Sent::Ended)) => running -= 1,
            None => break,
        }
    }
    session.show(&mut view, false)?;
    view.summary(&session.scene, &session.tally, &session.sum())?;
    Ok(if session.tally.suspects() == 0 {
        Outcome::NothingMatched
    } else {
        Outcome::Done
    })
}

/// What has come so far.
struct Session {
    scene: DropScene,
    pod: Option<(String, Vec<IpAddr>)>,
    tally: Tally,
    reports: Vec<DropReport>,
}

impl Session {
    fn failure(&self, node: usize, error: &NodeError) -> Failure {
        Failure::new(format!("{}: {error}", self.scene.nodes[node].node))
    }

    fn take(&mut self, node: usize, batch: Batch) {
        if let Some(report) = batch.report.and_then(|report| report.drops) {
            self.reports[node] = report;
        }
        let offset = self.scene.nodes[node].realtime_offset;
        for freed in batch.freed {
            if self.concerns(&freed) {
                let time = i64::try_from(freed.time).unwrap_or(i64::MAX);
                let time = time.saturating_add(offset);
                let meant = self.scene.is_meant((node, time), &freed);
                self.tally.add(node, time, freed, meant);
            }
        }
    }

    /// Whether a packet is the asked pod's, or was dropped inside it.
    fn concerns(&self, freed: &Freed) -> bool {
        let Some((name, addresses)) = &self.pod else {
            return true;
        };
        let packet = freed.packet.as_ref();
        freed.netns.as_deref() == Some(name)
            || packet.is_some_and(|packet| {
                addresses.contains(&packet.src) || addresses.contains(&packet.dst)
            })
    }

    fn show(&mut self, view: &mut impl DropView, new: bool) -> io::Result<()> {
        let scene = &self.scene;
        self.tally.show(new, |kind| view.drop(scene, kind))
    }

    /// All agents' reports in one. What nobody can place is everybody's: of
    /// agents on one kernel, only the one that saw most of it counts.
    fn sum(&self) -> DropReport {
        const UNSCOPED: usize = DropCounter::Unscoped as usize;
        let mut sum = DropReport::default();
        let mut unscoped: BTreeMap<&str, u64> = BTreeMap::new();
        for (report, hello) in self.reports.iter().zip(&self.scene.nodes) {
            let mut counters = report.counters;
            let most = unscoped.entry(&hello.boot_id).or_default();
            *most = (*most).max(std::mem::take(&mut counters.packets[UNSCOPED]));
            sum.counters.add(&counters);
            sum.malformed += report.malformed;
            sum.missed += report.missed;
        }
        sum.counters.packets[UNSCOPED] = unscoped.values().sum();
        sum
    }
}

fn start(settings: &DropsSettings, agent: &AgentSpec, key: Key) -> Start {
    Start {
        node: agent.node.clone(),
        netns: match &agent.place {
            Place::Local => None,
            Place::Netns(path) => Some(path.clone()),
        },
        watch: Watch::Drops,
        filter: Filter::default(),
        request: Request::default(),
        pods: settings.pods_on(&agent.node),
        bystanders: Vec::new(),
        vxlan_ports: settings.vxlan_ports.clone(),
        key,
        ring_size: settings.ring_size,
        budget: settings.budget,
        explain: settings.explain,
    }
}

fn unix_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| {
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    })
}
