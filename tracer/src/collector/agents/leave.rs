//! Agents leave nodes where the follow has no end any more, and come back with the next end.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::{Instant, sleep};
use tracer_core::{
    input::{Batch, Change},
    request::Command,
};
use tracing::info;

use super::{Agent, Agents, Heard, Sent};
use crate::clock::agent_now;

/// How long an agent stays on a node without an end. A pod that is replaced may come back to
/// its node, and packets to the pod's old address may still be on their way.
pub(in crate::collector) const LINGER: Duration = Duration::from_secs(30);

/// Whether an agent stays on its node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stay {
    /// The follow has an end on the node.
    #[default]
    Needed,
    /// The follow has had no end on the node since this time.
    Idle(Instant),
    /// The agent's points no longer count as observed since this time.
    Leaving(Instant),
    /// The agent was told to stop.
    Stopping,
    /// The agent has ended, and its programs are detached.
    Left,
    /// The collector starts the agent again.
    Returning,
}

impl Stay {
    /// Whether nothing that the agent sees from now on counts as observed.
    pub(super) const fn is_over(self) -> bool {
        matches!(self, Self::Leaving(_) | Self::Stopping)
    }
}

impl Agents {
    /// Notes on which nodes the follow has no end now. An agent that had left its node starts again
    /// if the follow has an end there again. `departure` is how long an agent still runs once its
    /// points no longer count as observed: until no journey waits for what passed them before.
    pub(crate) fn set_idle(&mut self, nodes: BTreeSet<String>, departure: Duration) {
        self.idle = nodes;
        self.departure = departure;
        (0..self.agents.len()).for_each(|index| self.consider(index));
        self.wake_joining();
    }

    /// Decides whether an agent stays.
    pub(super) fn consider(&mut self, index: usize) {
        let agent = &mut self.agents[index];
        // The collector cannot start an agent in its own process again, so that agent stays.
        let Some(again) = &agent.again else {
            return;
        };
        match (agent.stay, self.idle.contains(&agent.hello.node)) {
            (Stay::Needed, true) => {
                agent.stay = Stay::Idle(Instant::now());
                self.remind(index, LINGER);
            }
            (Stay::Idle(_), false) => agent.stay = Stay::Needed,
            (Stay::Left, false) => {
                agent.stay = Stay::Returning;
                let again = again.clone();
                self.reach_again(index, again, Duration::ZERO);
            }
            _ => {}
        }
    }

    /// Takes the next step of an agent on a node without an end, if the step is due. Returns the
    /// change of an agent that begins to leave, or that is out of reach and not tried again.
    pub(super) fn go_on_leaving(&mut self, index: usize) -> Option<Heard> {
        let mut others = self.agents.iter().enumerate();
        let is_last =
            !others.any(|(other, agent)| other != index && agent.running && !agent.stay.is_over());
        let departure = self.departure;
        let agent = &mut self.agents[index];
        let node = &agent.hello.node;
        match agent.stay {
            // Without any agent, the follow would end.
            Stay::Idle(since) if since.elapsed() >= LINGER && is_last => {
                self.remind(index, LINGER);
                None
            }
            Stay::Idle(since) if since.elapsed() >= LINGER => {
                info!("{node} has no end of the follow any more: its agent leaves");
                let batch = agent.leave();
                if agent.running {
                    agent.stay = Stay::Leaving(Instant::now());
                    self.remind(index, departure);
                } else {
                    agent.stay = Stay::Left;
                }
                Some(Heard::Batch(Box::new(batch)))
            }
            Stay::Leaving(since) if since.elapsed() >= departure => {
                agent.stay = Stay::Stopping;
                if let Some(commands) = &agent.commands {
                    commands.send(Command::Stop);
                }
                None
            }
            _ => None,
        }
    }

    /// Notes that an agent has ended, if the collector told the agent to stop. Otherwise returns
    /// `false`.
    pub(super) fn has_left(&mut self, index: usize) -> bool {
        let agent = &mut self.agents[index];
        if agent.stay != Stay::Stopping {
            return false;
        }
        self.leave_behind(index);
        true
    }

    /// Gives up an agent that was lost while it left its node. Returns the change that ends the gap
    /// in what the agent has seen.
    pub(super) fn lose_leaving(&mut self, index: usize) -> Batch {
        let batch = self.agents[index].leave();
        self.leave_behind(index);
        batch
    }

    fn leave_behind(&mut self, index: usize) {
        let agent = &mut self.agents[index];
        agent.running = false;
        agent.stay = Stay::Left;
        // Dropping the commands waits for the agent's command to end, so another thread does it.
        let commands = agent.commands.take();
        tokio::task::spawn_blocking(move || drop(commands));
        self.consider(index);
    }

    /// Sends [`Sent::Due`] for an agent after this time.
    fn remind(&self, index: usize, after: Duration) {
        let to = self.sender.clone();
        tokio::spawn(async move {
            sleep(after).await;
            // A session that is over does not need the message.
            drop(to.send((index, Sent::Due)).await);
        });
    }
}

impl Agent {
    /// Returns a batch that says that none of the agent's points is observed any more. The time is
    /// early by the clock's error bound, because it comes from the collector's clock.
    fn leave(&mut self) -> Batch {
        let bound = u64::try_from(self.hello.clock_bound).unwrap_or_default();
        let points = self.hello.points.iter().enumerate();
        let there = points.filter(|(_, point)| point.until.is_none());
        let change = Change {
            time: agent_now(&self.hello).saturating_sub(bound),
            gone: there.map(|(index, _)| index).collect(),
            drops: Some(Vec::new()),
            leaves: true,
            ..Change::default()
        };
        let mut batch = Batch {
            stream: self.epoch.streams,
            watermark: self.watermark,
            change: Some(change),
            ..Batch::default()
        };
        self.learn(&mut batch);
        batch
    }
}
