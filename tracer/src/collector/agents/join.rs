//! Agents that join a running session, on nodes that have none.

use std::{slice, time::Duration};

use tokio::time::sleep;
use tracer_core::{
    model::Hello,
    request::{Look, Start},
};

use super::{
    Agent, Agents, PAUSE, Reached, Sent, log, one_clock_for_one_kernel,
    reach::{forward, joined, prepare, start_one},
};
use crate::{
    clock::agent_now,
    link::{Link, Needed, Place},
    pauses::Pauses,
};

/// The longest pause before another try. A node may take no agents at all, and each try makes and
/// removes a pod there.
pub(in crate::collector) const LONGEST: Duration = Duration::from_mins(5);

/// An agent that is to join.
pub(super) struct Joining {
    /// The place and the present task of the agent.
    start: (Place, Start),
    /// How long to wait before the next tries.
    pauses: Pauses,
    /// Whether nobody tries, because the node has no end now.
    rests: bool,
}

impl Joining {
    /// An agent whose first try begins.
    pub(super) const fn new(start: (Place, Start)) -> Self {
        Self {
            start,
            pauses: Pauses::new(PAUSE, LONGEST),
            rests: false,
        }
    }

    /// Notes other addresses to observe.
    pub(super) fn look(&mut self, look: &Look) {
        let (_, start) = &mut self.start;
        start.request.clone_from(&look.request);
        start.pods.clone_from(&look.pods);
    }
}

impl Agents {
    /// Starts an agent on a node that has none, and tries again until the agent runs.
    pub(crate) fn join(&mut self, start: (Place, Start)) {
        let node = start.1.node.clone();
        self.try_to_join(start.clone(), Duration::ZERO);
        self.joining.insert(node, Joining::new(start));
    }

    /// Starts an agent after a pause.
    fn try_to_join(&self, start: (Place, Start), pause: Duration) {
        let to = self.sender.clone();
        tokio::spawn(async move {
            sleep(pause).await;
            let sent = match prepare(slice::from_ref(&start), Needed::All).await {
                Ok(()) => joined(start_one(start).await),
                Err(error) => Sent::Unreached(start.1.node, error.to_string()),
            };
            // The agent's index does not matter here. A session that is over does not need the
            // message.
            drop(to.send((0, sent)).await);
        });
    }

    /// Tries again to start an agent that could not start, once its node has an end. The pauses grow.
    pub(super) fn join_later(&mut self, node: &str) {
        let is_idle = self.idle.contains(node);
        let Some(joining) = self.joining.get_mut(node) else {
            return;
        };
        joining.rests = is_idle;
        if !is_idle {
            let (place, start) = &joining.start;
            // The user knows what the agent waits for.
            let start = (place.quiet(), start.clone());
            let pause = joining.pauses.grow();
            self.try_to_join(start, pause);
        }
    }

    /// Starts agents whose nodes have an end again.
    pub(super) fn wake_joining(&mut self) {
        let mut starts = Vec::new();
        for (node, joining) in &mut self.joining {
            if joining.rests && !self.idle.contains(node) {
                joining.rests = false;
                joining.pauses.reset();
                starts.push(joining.start.clone());
            }
        }
        for start in starts {
            self.try_to_join(start, Duration::ZERO);
        }
    }

    /// Takes in an agent that joins a running session. Returns the agent's description of itself,
    /// with points that are observed since now.
    pub(super) fn take_in(&mut self, link: Link, begun: (Place, Start)) -> Box<Hello> {
        let index = self.agents.len();
        let joining = self.joining.remove(&begun.1.node);
        let start = joining.map_or_else(|| begun.clone(), |joining| joining.start);
        let agent = Agent::new(Reached::of(start.clone(), link.hello, link.commands));
        self.agents.push(agent);
        self.alone = None;
        one_clock_for_one_kernel(&mut self.agents);
        let agent = &mut self.agents[index];
        let since = agent_now(&agent.hello);
        for point in &mut agent.hello.points {
            point.since = since;
        }
        let (now, begun) = (start.1, begun.1);
        if (&now.request, &now.pods) != (&begun.request, &begun.pods) {
            agent.look(&Look {
                request: now.request,
                pods: now.pods,
            });
        }
        log(&agent.hello);
        let hello = Box::new(agent.hello.clone());
        tokio::spawn(forward(index, link.batches, self.sender.clone()));
        self.consider(index);
        hello
    }
}
