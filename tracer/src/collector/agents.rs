//! The agents of a session: starts them, sends commands, receives batches, and ends them.

mod begin;
pub(super) mod join;
pub(super) mod leave;
pub(super) mod reach;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tracer_core::{
    input::{Batch, Epoch},
    model::Hello,
    request::{Command, Commander, Look, Start},
};
use tracing::info;

pub(crate) use self::begin::Begun;
use self::{join::Joining, leave::Stay};
use super::{SessionError, Update};
use crate::{
    link::{Link, LinkError, Place},
    pauses::Pauses,
};

/// How long all agents together may take to end.
pub(super) const ENDING: Duration = Duration::from_secs(10);

/// Pause before an agent is reached again: the first one and the longest. Each attempt doubles
/// it.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How long a session continues while none of its agents runs. A laptop that slept, or a
/// process that was stopped, loses all agents at once, and reaches them again.
pub(super) const ALONE: Duration = Duration::from_secs(30);

/// All agents of a session.
pub(crate) struct Agents {
    agents: Vec<Agent>,
    /// Messages from all agents, with the agent's index.
    inbox: mpsc::Receiver<(usize, Sent)>,
    /// Sender for agents that begin anew.
    sender: mpsc::Sender<(usize, Sent)>,
    /// Nodes that will get an agent and have none yet.
    joining: BTreeMap<String, Joining>,
    /// Nodes where the follow has no end now.
    idle: BTreeSet<String>,
    /// How long an agent that leaves still runs.
    departure: Duration,
    /// Time since which no agent runs; `None` while one does.
    alone: Option<Instant>,
}

/// An agent of the session.
struct Agent {
    /// How the agent can be reached again, and its task; `None` for an agent in this process.
    again: Option<(Place, Start)>,
    /// The agent's present description.
    hello: Hello,
    commands: Option<Box<dyn Commander>>,
    running: bool,
    stay: Stay,
    /// Watermark of the agent's first stream, ns.
    watermark: u64,
    /// Translates the agent's indexes and clock into the known ones.
    epoch: Epoch,
    /// Whether a note said that the agent has too many points.
    crowded: bool,
    /// How long to wait before the next attempts to reach the agent.
    pauses: Pauses,
    /// Time when the agent was last reached.
    reached: Instant,
}

/// An agent that was reached.
pub(super) struct Reached {
    /// How the agent can be reached again, and its task; `None` for an agent in this process.
    pub(super) again: Option<(Place, Start)>,
    /// The agent's description of itself.
    pub(super) hello: Hello,
    /// Sends commands to the agent.
    pub(super) commands: Box<dyn Commander>,
}

impl Reached {
    fn of(start: (Place, Start), hello: Hello, commands: Box<dyn Commander>) -> Self {
        Self {
            again: start.0.namespace().is_none().then_some(start),
            hello,
            commands,
        }
    }
}

/// A message from an agent.
pub(super) enum Sent {
    Batch(Box<Batch>),
    /// The agent can send no more.
    Failed(LinkError),
    /// The agent has detached all programs and ended.
    Ended,
    /// The agent has begun anew, with this task.
    Anew(Box<Link>, Box<Start>),
    /// Not from an agent: the followed addresses have changed.
    Update(Box<Update>),
    /// Another agent was reached, on a node that had none.
    Joined(Box<Link>, Box<(Place, Start)>),
    /// An agent could not be reached: its node, and the reason.
    Unreached(String, String),
    /// Not from an agent: a step of an agent on a node without an end may be due.
    Due,
}

/// What an agent did, as a session sees it.
pub(super) enum Heard {
    /// The agent sent a batch.
    Batch(Box<Batch>),
    /// The agent is gone, and the session tries to reach it again. The text says why.
    Gone(String),
    /// The agent was lost while it left its node. The batch says that it has left.
    Left(Box<Batch>),
    /// Not from an agent: the followed addresses have changed.
    Update(Box<Update>),
    /// Another agent has started; its index follows those of all known agents.
    Joined(Box<Hello>),
    /// A node without an agent does not get one yet: its name, and the reason.
    Unreached(String, String),
}

impl Agents {
    /// Takes agents that have started.
    pub(super) fn new(
        started: Vec<Reached>,
        sender: mpsc::Sender<(usize, Sent)>,
        inbox: mpsc::Receiver<(usize, Sent)>,
    ) -> (Self, Vec<Hello>) {
        let mut agents: Vec<Agent> = started.into_iter().map(Agent::new).collect();
        one_clock_for_one_kernel(&mut agents);
        let hellos: Vec<Hello> = agents.iter().map(|agent| agent.hello.clone()).collect();
        hellos.iter().for_each(log);
        let agents = Self {
            agents,
            inbox,
            sender,
            joining: BTreeMap::new(),
            idle: BTreeSet::new(),
            departure: Duration::ZERO,
            alone: None,
        };
        (agents, hellos)
    }

    /// A session without agents.
    #[cfg(test)]
    pub(crate) fn nobody() -> Self {
        let (sender, inbox) = mpsc::channel(1);
        Self::new(Vec::new(), sender, inbox).0
    }

    /// Also receives changes of the followed addresses.
    pub(crate) fn hear(&self, mut updates: mpsc::Receiver<Update>) {
        let to = self.sender.clone();
        tokio::spawn(async move {
            while let Some(update) = updates.recv().await {
                // The agent's index does not matter here.
                if to.send((0, Sent::Update(Box::new(update)))).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Tells the agent of a node to observe other addresses.
    pub(crate) fn look(&mut self, node: &str, look: &Look) {
        if let Some(joining) = self.joining.get_mut(node) {
            joining.look(look);
        }
        let mut agents = self.agents.iter_mut();
        let Some(agent) = agents.find(|agent| agent.hello.node == node) else {
            return;
        };
        agent.look(look);
    }

    /// Sends a command to all agents.
    pub(crate) fn send(&mut self, command: &Command) {
        for agent in &mut self.agents {
            if let (Command::Arm(filter), Some((_, start))) = (command, &mut agent.again) {
                start.filter.clone_from(filter);
            }
            if let Some(commands) = &agent.commands {
                commands.send(command.clone());
            }
        }
    }

    /// The next event, with the agent's index. The future may be dropped and requested again.
    ///
    /// # Errors
    /// If an agent of this process has ended or failed, or no agent ran for [`ALONE`].
    pub(super) async fn next(&mut self) -> Result<(usize, Heard), SessionError> {
        loop {
            let Some((index, sent)) = self.inbox.recv().await else {
                return Err(self.ended(0));
            };
            let heard = match sent {
                Sent::Batch(batch) => Some(Heard::Batch(self.agents[index].take(batch))),
                // The agent has left meanwhile, or was started twice.
                Sent::Anew(link, _) if self.agents[index].needs_no_start() => {
                    tokio::task::spawn_blocking(move || drop(link));
                    None
                }
                Sent::Failed(_) if self.agents[index].stay == Stay::Left => None,
                Sent::Anew(link, start) => match self.refusal(index, &link.hello) {
                    Some(error) => self.lose(index, Some(error.into()))?,
                    None => {
                        let batch = self.begin_anew(index, *link, &start);
                        Some(Heard::Batch(Box::new(batch)))
                    }
                },
                Sent::Update(update) => Some(Heard::Update(update)),
                Sent::Failed(error) => self.lose(index, Some(error))?,
                Sent::Ended if self.has_left(index) => None,
                Sent::Ended => self.lose(index, None)?,
                Sent::Due => self.go_on_leaving(index),
                Sent::Joined(link, start) => Some(Heard::Joined(self.take_in(*link, *start))),
                Sent::Unreached(node, why) => {
                    self.join_later(&node);
                    Some(Heard::Unreached(node, why))
                }
            };
            if let Some(heard) = heard {
                return Ok((index, heard));
            }
        }
    }

    fn ended(&self, agent: usize) -> SessionError {
        SessionError::AgentEnded {
            node: self.agents[agent].hello.node.clone(),
        }
    }

    /// Ends all agents, and passes to `take` what they still send. Returns sentences on agents
    /// that did not end, which are given up.
    ///
    /// # Errors
    /// The first error of an agent or of `take`.
    pub(super) async fn end(
        &mut self,
        mut take: impl FnMut(&mut Self, usize, Batch) -> Result<(), SessionError>,
    ) -> (Vec<String>, Result<(), SessionError>) {
        self.send(&Command::Stop);
        let mut ended = Ok(());
        let mut told = Vec::new();
        let until = Instant::now() + ENDING;
        while self.agents.iter().any(|agent| agent.running) {
            let Ok(sent) = timeout_at(until, self.inbox.recv()).await else {
                told.extend(self.leave_stuck());
                break;
            };
            let taken = match sent {
                Some((index, Sent::Batch(batch))) => {
                    let batch = self.agents[index].take(batch);
                    take(self, index, *batch)
                }
                Some((index, Sent::Ended)) => {
                    self.agents[index].running = false;
                    Ok(())
                }
                Some((index, Sent::Failed(source))) => {
                    let agent = &mut self.agents[index];
                    let was_running = std::mem::replace(&mut agent.running, false);
                    let node = agent.hello.node.clone();
                    match agent.again {
                        None => Err(SessionError::Agent { node, source }),
                        Some(_) => {
                            // An agent that could not be reached again was reported as gone.
                            let line = format!("what was seen last on {node} is lost: {source}");
                            told.extend(was_running.then_some(line));
                            Ok(())
                        }
                    }
                }
                // These come too late.
                Some((
                    _,
                    Sent::Anew(..)
                    | Sent::Update(_)
                    | Sent::Joined(..)
                    | Sent::Unreached(..)
                    | Sent::Due,
                )) => Ok(()),
                None => {
                    ended = ended.and(Err(self.ended(0)));
                    break;
                }
            };
            ended = ended.and(taken);
        }
        (told, ended)
    }

    /// Gives up agents that have not ended, and returns sentences about them.
    fn leave_stuck(&mut self) -> Vec<String> {
        let agents = std::mem::take(&mut self.agents).into_iter();
        let stuck = agents.filter(|agent| agent.running).map(|agent| {
            // Dropping the commands would wait for the agent's threads.
            std::mem::forget(agent.commands);
            format!(
                "the agent of {} did not end within {} s: what it saw last is lost, and its \
                 programs go with this process",
                agent.hello.node,
                ENDING.as_secs()
            )
        });
        stuck.collect()
    }
}

impl Agent {
    fn new(mut reached: Reached) -> Self {
        Self {
            crowded: reached.hello.leave_out(),
            again: reached.again,
            hello: reached.hello,
            commands: Some(reached.commands),
            running: true,
            stay: Stay::default(),
            watermark: 0,
            epoch: Epoch::default(),
            pauses: Pauses::new(PAUSE, LONGEST_PAUSE),
            reached: Instant::now(),
        }
    }

    /// The agent's batch, with the known indexes and clock.
    fn take(&mut self, mut batch: Box<Batch>) -> Box<Batch> {
        self.epoch.renumber(&mut batch);
        if batch.stream == self.epoch.streams {
            self.watermark = self.watermark.max(batch.watermark);
        }
        self.learn(&mut batch);
        batch
    }

    /// Whether the agent runs, or is not to run.
    fn needs_no_start(&self) -> bool {
        self.running || self.stay == Stay::Left
    }

    /// Tells the agent to observe other addresses, unless the agent leaves its node.
    fn look(&mut self, look: &Look) {
        if let Some((_, start)) = &mut self.again {
            start.request.clone_from(&look.request);
            start.pods.clone_from(&look.pods);
        }
        if let Some(commands) = self.commands.as_ref().filter(|_| !self.stay.is_over()) {
            commands.send(Command::Look(look.clone()));
        }
    }

    /// Applies the changes in a batch, and leaves out what exceeds the limits.
    fn learn(&mut self, batch: &mut Batch) {
        // What an agent finds while it leaves does not count as observed.
        if self.stay.is_over()
            && let Some(change) = &mut batch.change
        {
            for point in &mut change.points {
                point.until = Some(change.time);
            }
            change.drops = None;
        }
        self.crowded |= batch.leave_out(self.hello.points.len(), !self.crowded);
        if let Some(change) = &batch.change {
            self.hello.change(change);
        }
    }
}

/// Logs an agent's points.
fn log(hello: &Hello) {
    let (points, streams) = (hello.points.len(), hello.streams);
    info!("{}: {points} points in {streams} streams", hello.node);
    for point in &hello.points {
        info!(
            "{}: {} {} by {} in {}: {}",
            hello.node, point.interface, point.direction, point.hook, point.netns, point.why
        );
    }
}

/// Gives agents on one kernel the same clock estimate, because they share its clock.
fn one_clock_for_one_kernel(agents: &mut [Agent]) {
    for index in 1..agents.len() {
        let (before, rest) = agents.split_at_mut(index);
        let hello = &mut rest[0].hello;
        let mut before = before.iter().map(|agent| &agent.hello);
        let same = before.find(|other| !other.boot_id.is_empty() && other.boot_id == hello.boot_id);
        if let Some(same) = same {
            hello.realtime_offset = same.realtime_offset;
            hello.clock_bound = same.clock_bound;
        }
    }
}
