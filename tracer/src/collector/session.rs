//! One follow, from the first attachment to the summary.

use std::{
    collections::BTreeMap,
    io,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep_until, timeout_at},
};
use tracing::{debug, info};

use super::{
    Plan,
    agents::{self, Agents, Sent},
    core::Core,
    recorder::Recorder,
    sampling::Sampling,
    stalls::{self, Stalls},
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

/// How long agents have to end, all together.
const ENDING: Duration = Duration::from_secs(10);

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
    /// An agent does not do what it is told.
    #[error("the agent of {node} did not answer within {} s: is the node overloaded?", stalls::PATIENCE.as_secs())]
    Silent {
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
    let ended = session.end(followed, notice).await;
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
    /// Which agents have not ended.
    running: Vec<bool>,
    stalls: Stalls,
    /// Those of which it was said that they are not waited for.
    stalled: Vec<bool>,
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
        let core = Core::new(beginning.clone());
        let mut session = Self {
            stalls: Stalls::new(core.streams(), Instant::now()),
            stalled: vec![false; commands.len()],
            core,
            generation: plan.filter.generation,
            recorder,
            broken: None,
            plan,
            view,
            running: vec![true; commands.len()],
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
        if let Err(node) = self.all_report().await? {
            return Err(SessionError::Silent { node });
        }
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

    /// Waits for a report of every stream, but not for ever: else for that of the node
    /// which it names.
    async fn all_report(&mut self) -> Result<Result<(), String>, SessionError> {
        let mut reported = vec![false; self.core.streams()];
        let until = tokio::time::Instant::now() + stalls::PATIENCE;
        while let Some(missing) = reported.iter().position(|reported| !reported) {
            let Ok(next) = timeout_at(until, self.batches.recv()).await else {
                return Ok(Err(self.core.node_of(missing).to_owned()));
            };
            let (agent, batch) = self.batch(next)?;
            if batch.report.is_some() {
                reported[self.core.stream(agent, batch.stream)] = true;
            }
            self.take(agent, batch)?;
        }
        Ok(Ok(()))
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
                self.running[agent] = false;
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
                _ = tick.tick(), if self.core.waits() => self.hurry(notice)?,
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

    /// Asks for what is waited for, and goes on without those that do not tell.
    fn hurry(&mut self, notice: &mut impl FnMut(&str)) -> io::Result<()> {
        if self.core.waits_for_reports() && self.asked.elapsed() >= ASK {
            self.asked = Instant::now();
            self.send(&Command::Report);
        } else {
            self.send(&Command::Flush);
        }
        self.pass_stalled(notice)
    }

    /// Goes on without streams that have not told for too long.
    fn pass_stalled(&mut self, notice: &mut impl FnMut(&str)) -> io::Result<()> {
        let streams = 0..self.core.streams();
        let watermarks: Vec<(usize, i64)> = streams
            .filter_map(|stream| Some((stream, self.core.watermark_of(stream)?)))
            .collect();
        let (waiting, now) = (self.core.waiting(), Instant::now());
        let Some((late, until)) = self.stalls.overdue(&watermarks, waiting, now) else {
            return Ok(());
        };
        for stream in late {
            let (agent, batch) = self.core.without(stream, until);
            if !std::mem::replace(&mut self.stalled[agent], true) {
                let node = &self.core.scene().nodes[agent].node;
                notice(&format!(
                    "the agent of {node} does not tell what it sees, so it is not waited for: what \
                     was to be seen there meanwhile is unknown"
                ));
            }
            self.stalls.passed(stream, until);
            self.take(agent, batch)?;
        }
        Ok(())
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
        // What is known says why, even if somebody does not tell.
        let _: Result<(), String> = self.all_report().await?;
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
    async fn end(
        &mut self,
        followed: Result<(), SessionError>,
        notice: &mut impl FnMut(&str),
    ) -> Result<(), SessionError> {
        self.send(&Command::Stop);
        let mut ended = followed;
        let until = tokio::time::Instant::now() + ENDING;
        while self.running.contains(&true) {
            let Ok(next) = timeout_at(until, self.batches.recv()).await else {
                self.leave_stuck(notice);
                break;
            };
            let next = match next {
                Some((agent, Sent::Ended)) => {
                    self.running[agent] = false;
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

    /// Gives up agents that have not ended.
    fn leave_stuck(&mut self, notice: &mut impl FnMut(&str)) {
        let agents = std::mem::take(&mut self.commands).into_iter();
        for (agent, commands) in agents.enumerate().filter(|(agent, _)| self.running[*agent]) {
            let node = &self.core.scene().nodes[agent].node;
            notice(&format!(
                "the agent of {node} did not end within {} s: what it saw last is lost, and its \
                 programs go with this process",
                ENDING.as_secs()
            ));
            // To drop it would be to wait for its threads.
            std::mem::forget(commands);
        }
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
