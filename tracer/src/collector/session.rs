//! One follow, from the first attachment to the summary.

use std::{
    io,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep_until},
};

use super::{
    Plan,
    agents::{self, Agents, Sent},
    ledger::Ledger,
    order::{Order, Sight},
    sampling::Sampling,
    witness::{Legs, Witness},
};
use crate::{
    journey::{Closed, Engine, Journey, Scene},
    link::{Batch, Command, Commander, Filter, Report},
    node::NodeError,
    verdict::{Summary, classify, explain_nothing, judge},
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Journeys shown that are more than ARP and neighbour discovery.
    pub matched: u64,
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
    let mut session = Session::start(plan).await?;
    session.arm().await?;
    let started = Started {
        time: unix_now(),
        follow: session.plan.description.clone(),
        warnings: agents::warnings(&session.plan, &session.scene),
    };
    view.started(&session.scene, &started)?;
    session.run(view, notice, stop).await?;
    session.finish(view, notice).await
}

struct Session {
    plan: Plan,
    scene: Scene,
    commands: Vec<Box<dyn Commander>>,
    /// What comes from all agents, with the agent's index.
    batches: mpsc::Receiver<(usize, Sent)>,
    order: Order,
    engine: Engine,
    ledger: Ledger,
    legs: Legs,
    /// Finished journeys on which there is no verdict until all streams have
    /// told what they lost.
    pending: Vec<Journey>,
    /// When they were last asked.
    asked: Instant,
    sampling: Sampling,
    summary: Summary,
    /// Journeys shown that are more than ARP and neighbour discovery: those
    /// are always there, and not what anybody asks for.
    matched: u64,
    /// Whether any hop of such a packet came.
    seen: bool,
    /// Whether it was said, or need not be any more, why nothing matched.
    explained: bool,
}

impl Session {
    /// Starts all agents and makes room for what they send.
    async fn start(plan: Plan) -> Result<Self, SessionError> {
        let Agents {
            hellos,
            commands,
            batches,
        } = agents::start(&plan.agents).await?;
        Ok(Self {
            engine: Engine::new(plan.limits),
            order: Order::new(hellos.iter().map(|hello| hello.streams).sum()),
            ledger: Ledger::new(&hellos, unix_now()),
            legs: Legs::default(),
            pending: Vec::new(),
            asked: Instant::now(),
            sampling: Sampling::new(Instant::now()),
            summary: Summary::default(),
            scene: Scene {
                nodes: hellos,
                owners: plan.owners.clone(),
                since: i64::MIN,
                sources: plan.sources.clone(),
            },
            plan,
            commands,
            batches,
            matched: 0,
            seen: false,
            explained: false,
        })
    }

    /// Puts the filter into force everywhere, and waits until it is.
    async fn arm(&mut self) -> Result<(), SessionError> {
        let mut next_hops: Vec<_> = self
            .scene
            .nodes
            .iter()
            .flat_map(|hello| hello.next_hops.iter().copied())
            .collect();
        next_hops.sort_unstable();
        next_hops.dedup();
        self.send(&Command::Arm(Filter {
            generation: 1,
            pairs: self.plan.pairs.clone(),
            next_hops,
            neighbours: self.plan.neighbours,
        }));
        self.send(&Command::Report);
        // Commands are carried out in order: a report says that the filter
        // before it is in force.
        self.all_report().await?;
        self.scene.since = unix_now();
        Ok(())
    }

    /// Waits for a report of every stream.
    async fn all_report(&mut self) -> Result<(), SessionError> {
        let mut reported = vec![false; self.ledger.streams()];
        while reported.contains(&false) {
            let next = self.batches.recv().await;
            let (agent, batch) = self.batch(next)?;
            if batch.report.is_some() {
                reported[self.ledger.stream(agent, batch.stream)] = true;
            }
            self.take(agent, batch);
        }
        Ok(())
    }

    fn send(&self, command: &Command) {
        for agent in &self.commands {
            agent.send(command.clone());
        }
    }

    /// A batch, where an agent must not have ended.
    fn batch(&self, next: Option<(usize, Sent)>) -> Result<(usize, Batch), SessionError> {
        match next {
            Some((agent, Sent::Batch(batch))) => Ok((agent, *batch)),
            Some((agent, Sent::Failed(source))) => Err(SessionError::Agent {
                node: self.scene.nodes[agent].node.clone(),
                source,
            }),
            Some((agent, Sent::Ended)) => Err(self.ended(agent)),
            None => Err(self.ended(0)),
        }
    }

    fn ended(&self, agent: usize) -> SessionError {
        SessionError::AgentEnded {
            node: self.scene.nodes[agent].node.clone(),
        }
    }

    /// Follows until something says stop.
    async fn run(
        &mut self,
        view: &mut impl View,
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
                    self.take(agent, batch);
                }
                _ = tick.tick(), if self.waits() => self.hurry(),
                () = sleep_until(begin + PATIENCE), if !self.explained => {
                    self.explained = true;
                    self.explain_silence(notice).await?;
                }
            }
            self.advance();
            self.show(view)?;
            if self.count_reached() {
                return Ok(());
            }
        }
    }

    /// Whether anything is under way that time alone brings to an end.
    fn waits(&self) -> bool {
        !self.order.is_empty() || self.engine.open() > 0 || !self.pending.is_empty()
    }

    /// Asks for what is waited for.
    fn hurry(&mut self) {
        if self.pending.is_empty() || self.asked.elapsed() < ASK {
            self.send(&Command::Flush);
        } else {
            self.asked = Instant::now();
            self.send(&Command::Report);
        }
    }

    fn count_reached(&self) -> bool {
        self.plan.count.is_some_and(|count| self.matched >= count)
    }

    /// Takes what an agent sent.
    fn take(&mut self, agent: usize, batch: Batch) {
        let offset = self.scene.nodes[agent].realtime_offset;
        let stream = self.ledger.stream(agent, batch.stream);
        self.ledger.hops += batch.hops.len() as u64;
        self.ledger.freed += batch.freed.len() as u64;
        if !self.seen && batch.hops.iter().any(|hop| !hop.packet.is_neighbour()) {
            self.seen = true;
            self.explained = true;
            self.send(&Command::Explain(false));
        }
        for hop in batch.hops {
            let time = unix(hop.time, offset);
            self.order.push(agent, time, Sight::Hop(hop));
        }
        for freed in batch.freed {
            let time = unix(freed.time, offset);
            self.order.push(agent, time, Sight::Freed(freed));
        }
        self.order.passed(stream, unix(batch.watermark, offset));
        if let Some(report) = batch.report {
            let made = unix(report.time, offset);
            self.ledger.report(stream, report, made);
            if let Some(bound) = self.sampling.update(self.ledger.limited(), Instant::now()) {
                self.send(&Command::Sample(bound));
            }
        }
    }

    /// Hands on what has come from everywhere, and lets as much time pass.
    fn advance(&mut self) {
        while let Some(next) = self.order.next() {
            match &next.sight {
                Sight::Hop(hop) => {
                    self.engine.push(&self.scene, next.node, next.time, hop);
                }
                Sight::Freed(freed) => {
                    let at = (next.node, next.time);
                    self.engine
                        .push_freed(&self.scene, at, freed, classify(freed));
                }
            }
        }
        // At the end nothing is behind the watermarks any more, and no time
        // has passed for that.
        let watermark = self.order.watermark();
        if watermark < i64::MAX {
            self.engine.advance(&self.scene, watermark);
        }
    }

    /// Shows the journeys that are finished, up to the count asked for.
    fn show(&mut self, view: &mut impl View) -> Result<(), SessionError> {
        let reported = self.ledger.reported();
        let mut finished = std::mem::take(&mut self.pending);
        finished.append(&mut self.engine.finished());
        for journey in finished {
            if self.count_reached() {
                break;
            }
            // What was seen to arrive needs no proof that nothing was missed.
            let arrived = journey.closed == Closed::Known && journey.drops.is_empty();
            if !arrived && journey.last() >= reported {
                self.pending.push(journey);
                continue;
            }
            if !journey.packet.is_neighbour() {
                self.matched += 1;
            }
            let witness = Witness {
                ledger: &self.ledger,
                legs: &self.legs,
                hold: self.plan.limits.hold,
            };
            let (verdict, parts) = judge(&self.scene, &journey, &witness);
            self.legs.add(&self.scene, &journey, &verdict);
            self.summary.add(&self.scene, &journey, &verdict);
            view.journey(&self.scene, &journey, &verdict, &parts)?;
        }
        Ok(())
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
        let by_agent: Vec<Vec<&Report>> = (0..self.scene.nodes.len())
            .map(|agent| self.ledger.reports(agent).collect())
            .collect();
        for line in explain_nothing(&self.scene, &by_agent) {
            notice(&line);
        }
    }

    /// Detaches everything, waits for what is left, and sums up.
    async fn finish(
        mut self,
        view: &mut impl View,
        notice: &mut impl FnMut(&str),
    ) -> Result<Outcome, SessionError> {
        self.send(&Command::Stop);
        let mut running = self.commands.len();
        while running > 0 {
            let next = self.batches.recv().await;
            if let Some((_, Sent::Ended)) = next {
                running -= 1;
                continue;
            }
            let (agent, batch) = self.batch(next)?;
            self.take(agent, batch);
        }
        self.advance();
        self.engine.end(&self.scene);
        self.show(view)?;
        let counts = self.engine.counts();
        self.summary.accounting = crate::verdict::Accounting {
            joined: counts.joined,
            late: counts.late,
            evicted: counts.evicted,
            ..self.ledger.accounting()
        };
        let drops = &mut self.summary.accounting.drops;
        drops.joined = counts.drops_joined;
        drops.late = counts.drops_late;
        drops.alone = counts.drops_alone;
        if self.matched == 0 {
            notice("nothing matched");
            self.why_nothing(notice);
        }
        view.summary(&self.scene, &self.summary)?;
        Ok(Outcome {
            matched: self.matched,
        })
    }
}

async fn until(end: Option<tokio::time::Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// An agent's monotonic time as Unix time, ns.
fn unix(time: u64, offset: i64) -> i64 {
    i64::try_from(time).map_or(i64::MAX, |time| time.saturating_add(offset))
}

fn unix_now() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
}
