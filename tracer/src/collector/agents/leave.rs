//! Agents that leave nodes where no end of the follow is any more, and that come back.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::{Instant, sleep};
use tracer_core::{
    input::{Batch, Change},
    request::Command,
};
use tracing::info;

use super::{Agent, Agents, Heard, Sent, reach::now};

/// How long an agent stays on a node without an end. A pod that is replaced may come back to
/// its node, and packets to its old address may still be on their way.
pub(in crate::collector) const LINGER: Duration = Duration::from_secs(30);

/// How long an agent still runs once its points no longer count as observed. Packets that passed
/// the points before have then passed the node.
const DEPARTURE: Duration = Duration::from_secs(2);

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
    /// The agent is started again.
    Returning,
}

impl Agents {
    /// Notes on which nodes the follow has no end now. Agents of other nodes that had left are
    /// started again.
    pub(in crate::collector) fn set_idle(&mut self, nodes: BTreeSet<String>) {
        self.idle = nodes;
        (0..self.agents.len()).for_each(|index| self.consider(index));
    }

    /// Decides whether an agent stays.
    pub(super) fn consider(&mut self, index: usize) {
        let agent = &mut self.agents[index];
        // An agent in this process cannot be started again.
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

    /// Does what is due for an agent on a node without an end. Returns the change of an agent
    /// that begins to leave.
    pub(super) fn go_on_leaving(&mut self, index: usize) -> Option<Heard> {
        let agent = &mut self.agents[index];
        let node = &agent.hello.node;
        match agent.stay {
            // An agent that is out of reach is considered again when it is back.
            Stay::Idle(since) if since.elapsed() >= LINGER && agent.running => {
                info!("{node} has no end of the follow any more: its agent leaves");
                agent.stay = Stay::Leaving(Instant::now());
                let batch = agent.leave();
                self.remind(index, DEPARTURE);
                Some(Heard::Batch(Box::new(batch)))
            }
            Stay::Leaving(since) if since.elapsed() >= DEPARTURE => {
                agent.stay = Stay::Stopping;
                if let Some(commands) = &agent.commands {
                    commands.send(Command::Stop);
                }
                None
            }
            _ => None,
        }
    }

    /// Notes that an agent has ended, if it was told to. Otherwise returns `false`.
    pub(super) fn has_left(&mut self, index: usize) -> bool {
        let agent = &mut self.agents[index];
        if agent.stay != Stay::Stopping {
            return false;
        }
        agent.running = false;
        agent.stay = Stay::Left;
        // The agent's command ends, which may take a moment.
        let commands = agent.commands.take();
        tokio::task::spawn_blocking(move || drop(commands));
        self.consider(index);
        true
    }

    /// Looks after an agent later.
    fn remind(&self, index: usize, after: Duration) {
        let to = self.sender.clone();
        tokio::spawn(async move {
            sleep(after).await;
            // A session that is over needs no word of it.
            drop(to.send((index, Sent::Due)).await);
        });
    }
}

impl Agent {
    /// Says that none of the agent's points is observed any more, by the collector's clock. The
    /// agent's clock may differ from it within its bound.
    fn leave(&mut self) -> Batch {
        let bound = u64::try_from(self.hello.clock_bound).unwrap_or_default();
        let points = self.hello.points.iter().enumerate();
        let there = points.filter(|(_, point)| point.until.is_none());
        let change = Change {
            time: now(&self.hello).saturating_sub(bound),
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
