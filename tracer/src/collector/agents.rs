//! The agents of a session: they are started, told what to do, heard, and ended.

use std::{io, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tracer_core::{
    input::Batch,
    model::Hello,
    request::{Command, Commander, Start},
};
use tracing::{debug, info};

use super::SessionError;
use crate::{
    link::{self, Batches, Link, LinkError, Place},
    node::NodeError,
};

/// How long agents have to end, all together.
pub(super) const ENDING: Duration = Duration::from_secs(10);

/// All agents of a session.
pub(crate) struct Agents {
    agents: Vec<Agent>,
    /// What comes from all of them, with the agent's index.
    inbox: mpsc::Receiver<(usize, Sent)>,
}

/// One of them.
struct Agent {
    node: String,
    commands: Box<dyn Commander>,
    running: bool,
    /// How many points it has told of.
    points: usize,
    /// Whether it was said that it has too many.
    crowded: bool,
}

/// What comes from an agent.
pub(super) enum Sent {
    Batch(Box<Batch>),
    /// It can send no more.
    Failed(LinkError),
    /// It has detached everything and ended.
    Ended,
}

impl Agents {
    /// Starts them side by side. With what they say of themselves.
    ///
    /// # Errors
    /// [`SessionError::Agent`] of the first that cannot start; none is left then.
    pub(crate) async fn start(
        starts: &[(Place, Start)],
    ) -> Result<(Self, Vec<Hello>), SessionError> {
        for (_, agent) in starts {
            info!("starting the agent of {}", agent.node);
        }
        let starting: Vec<_> = starts
            .iter()
            .cloned()
            .map(|(place, start)| tokio::task::spawn_blocking(move || link::start(&place, &start)))
            .collect();
        let mut started = Vec::new();
        for (task, (_, agent)) in starting.into_iter().zip(starts) {
            let result = task.await.unwrap_or_else(|join| {
                let source = io::Error::other(join);
                let what = "start an agent";
                Err(NodeError::System { what, source }.into())
            });
            started.push(result.map_err(|source| SessionError::Agent {
                node: agent.node.clone(),
                source,
            }));
        }
        // Only after all have been waited for, so that dropping those that did
        // start detaches them.
        let started = started.into_iter().collect::<Result<Vec<Link>, _>>()?;

        let (sender, inbox) = mpsc::channel(starts.len().max(1));
        let mut hellos = Vec::new();
        let mut commands = Vec::new();
        for (index, link) in started.into_iter().enumerate() {
            hellos.push(link.hello);
            commands.push(link.commands);
            tokio::spawn(forward(index, link.batches, sender.clone()));
        }
        one_clock_for_one_kernel(&mut hellos);
        hellos.iter().for_each(log);
        Ok(Self::new(hellos, commands, inbox))
    }

    /// Those that have started, and said this of themselves.
    pub(super) fn new(
        mut hellos: Vec<Hello>,
        commands: Vec<Box<dyn Commander>>,
        inbox: mpsc::Receiver<(usize, Sent)>,
    ) -> (Self, Vec<Hello>) {
        let agents = hellos.iter_mut().zip(commands);
        let agents = agents.map(|(hello, commands)| Agent {
            crowded: hello.leave_out(),
            node: hello.node.clone(),
            commands,
            running: true,
            points: hello.points.len(),
        });
        let agents = agents.collect();
        (Self { agents, inbox }, hellos)
    }

    /// Tells all of them.
    pub(crate) fn send(&self, command: &Command) {
        for agent in &self.agents {
            agent.commands.send(command.clone());
        }
    }

    /// What comes next, with the agent's index. It may be left waiting and asked again.
    ///
    /// # Errors
    /// If an agent has ended, or failed.
    pub(super) async fn next(&mut self) -> Result<(usize, Batch), SessionError> {
        let sent = self.inbox.recv().await;
        let (agent, batch) = self.hear(sent)?;
        batch
            .map(|batch| (agent, batch))
            .ok_or_else(|| self.ended(agent))
    }

    /// Whose it is, and what was sent; `None` if the agent has ended.
    fn hear(
        &mut self,
        sent: Option<(usize, Sent)>,
    ) -> Result<(usize, Option<Batch>), SessionError> {
        let Some((index, sent)) = sent else {
            return Err(self.ended(0));
        };
        let agent = &mut self.agents[index];
        match sent {
            Sent::Batch(mut batch) => {
                agent.crowded |= batch.leave_out(agent.points, !agent.crowded);
                if let Some(change) = &batch.change {
                    agent.points += change.points.len();
                }
                Ok((index, Some(*batch)))
            }
            Sent::Failed(source) => Err(SessionError::Agent {
                node: agent.node.clone(),
                source,
            }),
            Sent::Ended => {
                agent.running = false;
                Ok((index, None))
            }
        }
    }

    fn ended(&self, agent: usize) -> SessionError {
        SessionError::AgentEnded {
            node: self.agents[agent].node.clone(),
        }
    }

    /// Ends them all: what they still send is for `take`. With the nodes of those that
    /// did not end in time, which are given up.
    ///
    /// # Errors
    /// The first that an agent or `take` had.
    pub(super) async fn end(
        &mut self,
        mut take: impl FnMut(&Self, usize, Batch) -> Result<(), SessionError>,
    ) -> (Vec<String>, Result<(), SessionError>) {
        self.send(&Command::Stop);
        let mut ended = Ok(());
        let until = Instant::now() + ENDING;
        while self.agents.iter().any(|agent| agent.running) {
            let Ok(sent) = timeout_at(until, self.inbox.recv()).await else {
                return (self.leave_stuck(), ended);
            };
            let all = sent.is_none();
            let taken = match self.hear(sent) {
                Ok((agent, Some(batch))) => take(self, agent, batch),
                Ok((_, None)) => Ok(()),
                Err(error) => Err(error),
            };
            ended = ended.and(taken);
            if all {
                break;
            }
        }
        (Vec::new(), ended)
    }

    /// Gives up agents that have not ended. Their nodes.
    fn leave_stuck(&mut self) -> Vec<String> {
        let agents = std::mem::take(&mut self.agents).into_iter();
        let stuck = agents.filter(|agent| agent.running).map(|agent| {
            // To drop it would be to wait for its threads.
            std::mem::forget(agent.commands);
            agent.node
        });
        stuck.collect()
    }
}

/// Says where an agent looks.
fn log(hello: &Hello) {
    let (points, streams) = (hello.points.len(), hello.streams);
    info!("{}: {points} points in {streams} streams", hello.node);
    for point in &hello.points {
        debug!(
            "{}: {} {} {:?} by {}: {}",
            hello.node, point.netns, point.interface, point.direction, point.hook, point.why
        );
    }
}

/// Passes an agent's batches on, and says when they end.
async fn forward(agent: usize, mut from: Batches, to: mpsc::Sender<(usize, Sent)>) {
    while let Some(next) = from.next().await {
        let sent = match next {
            Ok(batch) => Sent::Batch(Box::new(batch)),
            Err(error) => Sent::Failed(error),
        };
        if to.send((agent, sent)).await.is_err() {
            return;
        }
    }
    // A session that is over needs no word of it.
    let _: Result<(), _> = to.send((agent, Sent::Ended)).await;
}

/// Agents on one kernel share its clock; they are to share its reading, too.
fn one_clock_for_one_kernel(nodes: &mut [Hello]) {
    for index in 1..nodes.len() {
        let (before, rest) = nodes.split_at_mut(index);
        let same = before
            .iter()
            .find(|other| !other.boot_id.is_empty() && other.boot_id == rest[0].boot_id);
        if let Some(same) = same {
            rest[0].realtime_offset = same.realtime_offset;
        }
    }
}
