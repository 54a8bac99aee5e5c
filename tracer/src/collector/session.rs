//! One follow, from the first attachment to the summary.

use std::{
    collections::BTreeMap,
    io,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep_until},
};
use tracing::{debug, info};

use super::{
    Plan,
    agents::{self, Agents, Sent},
    core::Core,
    recorder::Recorder,
    sampling::Sampling,
};
use crate::{
    link::{Batch, Command, Commander, Filter},
    node::NodeError,
    store::RecordError,
    verdict::{Kind, explain_nothing},
    view::{Started, View},
};

/// How often streams that hold others up are asked for their watermark, and
/// open journeys looked after. Only while there are any.
const TICK: Duration = Duration::from_millis(25);

/// How often streams are asked what they lost, while a verdict waits for that.
const ASK: Duration = Duration::from_millis(200);

/// How long without a match until it is said why.
const PATIENCE: Duration = Duration::from_secs(5);

/// What came of a follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Journeys shown that are more than ARP and neighbour discovery.
    pub matched: u64,
    /// The same by verdict, without those that the follow's beginning or end
    /// has cut off.
    pub fates: BTreeMap<Kind, u64>,
}

/// Why a follow ended early.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// An agent could not start.
    #[error("{node}: {source}")]
    Agent {
        /// Its node.
        node: String,
        /// Why.
        source: NodeError,
    },
    /// An agent ended by itself.
    #[error("the agent of {node} ended unexpectedly: what it saw last is lost")]
    AgentEnded {
        /// Its node.
        node: String,
    },
    /// The recording cannot be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The view cannot write.
    #[error("cannot write the output: {0}")]
    View(#[from] io::Error),
}

/// Runs a follow until `stop`, its duration, or its count is reached, and
/// detaches everything. `notice` takes lines that are not data.
///
/// # Errors
/// [`SessionError`]; everything is detached then, too.
pub async fn follow(
    plan: Plan,
    view: &mut impl View,
    notice: &mut impl FnMut(&str),
    stop: impl Future<Output = ()>,
) -> Result<Outcome, SessionError> {
    let mut session = Session::start(plan, view).await?;
    let followed = session.follow(notice, stop).await;
    let ended = session.end(followed).await;
    // Whatever happened, what was recorded can be read to its end.
    session.record(|recorder| recorder.end(unix_now()));
    ended?;
    session.sum_up(notice)
}

struct Session<'a, V> {
    plan: Plan,
    core: Core,
    recorder: Option<Recorder>,
    /// Why the recording ended early.
    broken: Option<RecordError>,
    view: &'a mut V,
    commands: Vec<Box<dyn Commander>>,
    /// What comes from all agents, with the agent's index.
    batches: mpsc::Receiver<(usize, Sent)>,
    /// How many agents have not ended.
    running: usize,
    /// Whether all points are observed, so that journeys can be shown.
    armed: bool,
    /// That of the filter in force.
    generation: u32,
    /// When streams were last asked what they lost.
    asked: Instant,
    sampling: Sampling,
    /// Whether any hop came that is more than ARP and neighbour discovery.
    seen: bool,
    /// Whether it was said, or need not be any more, why nothing matched.
    explained: bool,
}

impl<'a, V: View> Session<'a, V> {
    /// Starts all agents and makes room for what they send.
    async fn start(plan: Plan, view: &'a mut V) -> Result<Self, SessionError> {
        // A file that cannot be written is known before anything is attached.
        let recorder = plan.write.as_ref().map(Recorder::create).transpose()?;
        let Agents {
            hellos,
            commands,
            batches,
        } = agents::start(&plan.agents).await?;
        let beginning = plan.beginning(hellos, unix_now());
        let mut session = Self {
            core: Core::new(beginning.clone()),
            generation: plan.filter.generation,
            recorder,
            broken: None,
            plan,
            view,
            running: commands.len(),
            commands,
            batches,
            armed: false,
            asked: Instant::now(),
            sampling: Sampling::new(Instant::now()),
            seen: false,
            explained: false,
        };
        let warnings = agents::warnings(&session.plan, session.core.scene());
        if let Some(recorder) = &mut session.recorder {
            recorder.begin(&session.plan, beginning, warnings)?;
        }
        Ok(session)
    }

    /// Follows until something says stop, or goes wrong.
    async fn follow(
        &mut self,
        notice: &mut impl FnMut(&str),
        stop: impl Future<Output = ()>,
    ) -> Result<(), SessionError> {
        self.arm().await?;
        self.run(notice, stop).await
    }

    /// Waits until all points are observed, with the filter that knows of all next
    /// hops, and says so. Programs see packets since they were attached: what passed
    /// before this moment was on its way before the start.
    async fn arm(&mut self) -> Result<(), SessionError> {
        self.send_filter();
        self.send(&Command::Report);
        // Commands are carried out in order: a report says that the filter
        // before it is in force.
        self.all_report().await?;
        let now = unix_now();
        self.core.armed(now);
        if let Some(recorder) = &mut self.recorder {
            recorder.armed(now);
        }
        self.armed = true;
        info!("all points are observed");
        let started = Started {
            time: now,
            follow: self.plan.description.clone(),
            warnings: agents::warnings(&self.plan, self.core.scene()),
        };
        self.view.started(self.core.scene(), &started)?;
        Ok(())
    }

    /// Puts the filter into force, with all next hops that are known by now.
    fn send_filter(&mut self) {
        let nodes = self.core.scene().nodes.iter();
        let mut next_hops: Vec<_> = nodes
            .flat_map(|hello| hello.next_hops.iter().copied())
            .collect();
        next_hops.sort_unstable();
        next_hops.dedup();
        self.generation += 1;
        info!(
            "filter {}: {} pairs of addresses, ARP and ND of {} next hops",
            self.generation,
            self.plan.filter.pairs.len(),
            next_hops.len()
        );
        self.send(&Command::Arm(Filter {
            generation: self.generation,
            next_hops,
            ..self.plan.filter.clone()
        }));
    }

    /// Waits for a report of every stream.
    async fn all_report(&mut self) -> Result<(), SessionError> {
        let mut reported = vec![false; self.core.streams()];
        while reported.contains(&false) {
            let next = self.batches.recv().await;
            let (agent, batch) = self.batch(next)?;
            if batch.report.is_some() {
                reported[self.core.stream(agent, batch.stream)] = true;
            }
            self.take(agent, batch)?;
        }
        Ok(())
    }

    fn send(&self, command: &Command) {
        for agent in &self.commands {
            agent.send(command.clone());
        }
    }

    /// A batch, where an agent must not have ended.
    fn batch(&mut self, next: Option<(usize, Sent)>) -> Result<(usize, Batch), SessionError> {
        match next {
            Some((agent, Sent::Batch(batch))) => Ok((agent, *batch)),
            Some((agent, Sent::Failed(source))) => Err(SessionError::Agent {
                node: self.core.scene().nodes[agent].node.clone(),
                source,
            }),
            Some((agent, Sent::Ended)) => {
                self.running -= 1;
                Err(self.ended(agent))
            }
            None => Err(self.ended(0)),
        }
    }

    fn ended(&self, agent: usize) -> SessionError {
        SessionError::AgentEnded {
            node: self.core.scene().nodes[agent].node.clone(),
        }
    }

    /// Follows until something says stop.
    async fn run(
        &mut self,
        notice: &mut impl FnMut(&str),
        stop: impl Future<Output = ()>,
    ) -> Result<(), SessionError> {
        let begin = tokio::time::Instant::now();
        let end = self.plan.duration.map(|duration| begin + duration);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(stop);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return Ok(()),
                () = until(end) => return Ok(()),
                next = self.batches.recv() => {
                    let (agent, batch) = self.batch(next)?;
                    self.take(agent, batch)?;
                }
                _ = tick.tick(), if self.core.waits() => self.hurry(),
                () = until(self.recorder.as_ref().and_then(Recorder::due)) => {
                    self.record(Recorder::flush);
                }
                () = sleep_until(begin + PATIENCE), if !self.explained => {
                    self.explained = true;
                    self.explain_silence(notice).await?;
                }
            }
            if self.core.count_reached() || self.broken.is_some() {
                return Ok(());
            }
        }
    }

    /// Asks for what is waited for.
    fn hurry(&mut self) {
        if self.core.waits_for_reports() && self.asked.elapsed() >= ASK {
            self.asked = Instant::now();
            self.send(&Command::Report);
        } else {
            self.send(&Command::Flush);
        }
    }

    /// Takes what an agent sent, and shows what that brought to an end.
    fn take(&mut self, agent: usize, batch: Batch) -> io::Result<()> {
        if !self.seen && batch.hops.iter().any(|hop| !hop.packet.is_neighbour()) {
            self.seen = true;
            self.explained = true;
            self.send(&Command::Explain(false));
        }
        debug!(
            "{}: {} hops and {} drops in a batch of stream {}, all until {} ns",
            self.core.scene().nodes[agent].node,
            batch.hops.len(),
            batch.freed.len(),
            batch.stream,
            batch.watermark
        );
        self.record(|recorder| recorder.batch(agent, &batch));
        let reports = batch.report.is_some();
        let change = batch.change.as_ref();
        let new_next_hops = change.is_some_and(|change| !change.next_hops.is_empty());
        self.core.take(agent, batch);
        if new_next_hops {
            self.send_filter();
        }
        if reports && let Some(bound) = self.sampling.update(self.core.limited(), Instant::now()) {
            info!("sampling: {bound} of {} packets by their content", u32::MAX);
            self.send(&Command::Sample(bound));
        }
        if self.armed {
            self.core.show(self.view)?;
        }
        Ok(())
    }

    /// Records something; where that fails, what was recorded stays, and the
    /// follow is to end.
    fn record(&mut self, what: impl FnOnce(&mut Recorder) -> Result<(), RecordError>) {
        if let Some(recorder) = &mut self.recorder
            && let Err(error) = what(recorder)
        {
            self.recorder = None;
            self.broken = Some(error);
        }
    }

    /// Says why nothing matched yet.
    async fn explain_silence(&mut self, notice: &mut impl FnMut(&str)) -> Result<(), SessionError> {
        self.send(&Command::Report);
        self.all_report().await?;
        if !self.seen {
            notice("nothing matched yet; still waiting");
            self.why_nothing(notice);
        }
        Ok(())
    }

    fn why_nothing(&self, notice: &mut impl FnMut(&str)) {
        for line in explain_nothing(self.core.scene(), &self.core.reports()) {
            notice(&line);
        }
    }

    /// Detaches everything and takes what is left. What went wrong before, or
    /// does so here, is told once that is done.
    async fn end(&mut self, followed: Result<(), SessionError>) -> Result<(), SessionError> {
        self.send(&Command::Stop);
        let mut ended = followed;
        while self.running > 0 {
            let next = match self.batches.recv().await {
                Some((_, Sent::Ended)) => {
                    self.running -= 1;
                    continue;
                }
                None => {
                    ended = ended.and(Err(self.ended(0)));
                    break;
                }
                next => self.batch(next),
            };
            let taken = match next {
                Ok((agent, batch)) if ended.is_ok() => {
                    self.take(agent, batch).map_err(SessionError::from)
                }
                Ok((agent, batch)) => {
                    self.record(|recorder| recorder.batch(agent, &batch));
                    Ok(())
                }
                Err(error) => Err(error),
            };
            ended = ended.and(taken);
        }
        ended?;
        Ok(self.core.end(self.view)?)
    }

    /// Shows what it adds up to.
    fn sum_up(self, notice: &mut impl FnMut(&str)) -> Result<Outcome, SessionError> {
        if self.core.matched() == 0 {
            notice("nothing matched");
            self.why_nothing(notice);
        }
        self.core.sum_up(self.view)?;
        if let Some(recorder) = &self.recorder {
            notice(&recorder.to_string());
        }
        if let Some(error) = self.broken {
            return Err(error.into());
        }
        Ok(Outcome {
            matched: self.core.matched(),
            fates: self.core.fates().clone(),
        })
    }
}

async fn until(end: Option<tokio::time::Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}

fn unix_now() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
}
