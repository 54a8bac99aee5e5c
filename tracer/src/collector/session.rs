//! One follow, from the first attachment to the summary.

use std::{
    collections::BTreeMap,
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout_at},
};
use tracer_core::{
    collect::Core,
    input::Batch,
    journal::{Started, View},
    model::Hello,
    verdict::{Kind, explain_nothing},
};
use tracing::{debug, info};

use super::{
    Plan,
    agents::{self, Agents, Sent},
    recorder::Recorder,
    sampling::Sampling,
    stalls::{self, Stalls},
};
use crate::{
    link::{Command, Commander, Filter},
    node::NodeError,
    store::RecordError,
};

/// How often streams that hold others up are asked for their watermark, and
/// open journeys looked after. Only while there are any.
const TICK: Duration = Duration::from_millis(25);

/// How often streams are asked what they lost, while a verdict waits for that.
const ASK: Duration = Duration::from_millis(200);

/// How long without a match until it is said why.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long agents have to end, all together.
pub(super) const ENDING: Duration = Duration::from_secs(10);

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
    // A file that cannot be written is known before anything is attached.
    let recorder = plan.write.as_ref().map(Recorder::create).transpose()?;
    let agents = agents::start(&plan.agents).await?;
    follow_agents(plan, recorder, agents, view, notice, stop).await
}

/// The same, with agents that have started.
pub(super) async fn follow_agents(
    plan: Plan,
    recorder: Option<Recorder>,
    agents: Agents,
    view: &mut impl View,
    notice: &mut impl FnMut(&str),
    stop: impl Future<Output = ()>,
) -> Result<Outcome, SessionError> {
    let mut session = Session::new(plan, recorder, agents, view)?;
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
    /// Streams that do not tell what they saw.
    stalls: Stalls,
    /// Streams that do not report what they lost.
    silences: Stalls,
    /// Those of which it was said that they are not waited for.
    stalled: Vec<bool>,
    /// Those of which it was said that they have too many points.
    crowded: Vec<bool>,
    /// Those of which a report is awaited, which was asked of all.
    awaited: Vec<bool>,
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
    /// Makes room for what agents send, and begins to record.
    fn new(
        plan: Plan,
        recorder: Option<Recorder>,
        agents: Agents,
        view: &'a mut V,
    ) -> Result<Self, SessionError> {
        let Agents {
            mut hellos,
            commands,
            batches,
        } = agents;
        let crowded = hellos.iter_mut().map(Hello::leave_out).collect();
        let beginning = plan.beginning(hellos, unix_now());
        let core = Core::new(beginning.clone());
        let mut session = Self {
            stalls: Stalls::new(core.streams(), Instant::now()),
            silences: Stalls::new(core.streams(), Instant::now()),
            awaited: vec![false; core.streams()],
            stalled: vec![false; commands.len()],
            crowded,
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
        tokio::pin!(stop);
        tokio::select! {
            biased;
            () = &mut stop => {
                // All that was seen was on its way before the start, which never came.
                self.begin(i64::MAX, unix_now())?;
                return Ok(());
            }
            armed = self.arm() => armed?,
        }
        let now = unix_now();
        if let Some(recorder) = &mut self.recorder {
            recorder.armed(now);
        }
        info!("all points are observed");
        self.begin(now, now)?;
        self.run(notice, stop).await
    }

    /// Waits until all points are observed, with the filter that knows of all next
    /// hops. Programs see packets since they were attached: what passed before this
    /// moment was on its way before the start.
    async fn arm(&mut self) -> Result<(), SessionError> {
        self.send_filter();
        // Commands are carried out in order: a report says that the filter
        // before it is in force.
        self.ask_all();
        let until = Instant::now() + stalls::PATIENCE;
        while let Some(missing) = self.awaited.iter().position(|awaited| *awaited) {
            let Ok(next) = timeout_at(until, self.batches.recv()).await else {
                let node = self.core.node_of(missing).to_owned();
                return Err(SessionError::Silent { node });
            };
            let (agent, batch) = self.batch(next)?;
            self.take(agent, batch)?;
        }
        Ok(())
    }

    /// Says that all points are observed from `since` on, Unix time, ns.
    fn begin(&mut self, since: i64, now: i64) -> io::Result<()> {
        self.core.armed(since);
        self.armed = true;
        let started = Started {
            time: now,
            follow: self.plan.description.clone(),
            warnings: agents::warnings(&self.plan, self.core.scene()),
        };
        self.view.started(self.core.scene(), &started)
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

    /// Asks every stream for a report.
    fn ask_all(&mut self) {
        self.send(&Command::Report);
        self.awaited.fill(true);
    }

    fn send(&self, command: &Command) {
        for agent in &self.commands {
            agent.send(command.clone());
        }
    }

    /// A batch, where an agent must not have ended.
    fn batch(&mut self, next: Option<(usize, Sent)>) -> Result<(usize, Batch), SessionError> {
        match next {
            Some((agent, Sent::Batch(mut batch))) => {
                let known = self.core.scene().nodes[agent].points.len();
                self.crowded[agent] |= batch.leave_out(known, !self.crowded[agent]);
                Ok((agent, *batch))
            }
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
        let begin = Instant::now();
        let end = self.plan.duration.map(|duration| begin + duration);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut wonder, mut asked) = (begin + PATIENCE, false);
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
                () = sleep_until(wonder), if !self.explained => {
                    if asked {
                        // What is known says why, even if somebody does not tell.
                        self.explain_silence(notice);
                    } else {
                        self.ask_all();
                        asked = true;
                        wonder += stalls::PATIENCE;
                    }
                }
            }
            if asked && !self.explained && !self.awaited.contains(&true) {
                self.explain_silence(notice);
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
        let (waiting, now) = (self.core.waiting(), Instant::now());
        let told = self.by_stream(Core::watermark_of);
        let late = self.stalls.overdue(&told, waiting, now);
        self.pass(late, notice)?;
        // Nobody is asked for reports before a verdict waits for them.
        if self.core.waits_for_reports() {
            let told = self.by_stream(Core::reported_of);
            let late = self.silences.overdue(&told, 0, now);
            self.pass(late, notice)?;
        }
        Ok(())
    }

    /// What is known of streams that have not ended.
    fn by_stream(&self, what: impl Fn(&Core, usize) -> Option<i64>) -> Vec<(usize, i64)> {
        let streams = 0..self.core.streams();
        streams
            .filter_map(|stream| Some((stream, what(&self.core, stream)?)))
            .collect()
    }

    /// Goes on without these streams until a time, Unix time, ns.
    fn pass(
        &mut self,
        late: Option<(Vec<usize>, i64)>,
        notice: &mut impl FnMut(&str),
    ) -> io::Result<()> {
        let Some((late, until)) = late else {
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
            self.silences.passed(stream, until);
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
        if reports {
            self.awaited[self.core.stream(agent, batch.stream)] = false;
        }
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
    fn explain_silence(&mut self, notice: &mut impl FnMut(&str)) {
        self.explained = true;
        notice("nothing matched yet; still waiting");
        self.why_nothing(notice);
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
        let until = Instant::now() + ENDING;
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

async fn until(end: Option<Instant>) {
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
