//! Reaches agents: at first, and again after they were cut off.

use std::{thread, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tracer_core::{
    input::{Batch, Epoch, MAX_POINTS},
    model::Hello,
    request::{Command, Look, Start},
};
use tracing::info;

use super::{ALONE, Agents, Heard, LONGEST_PAUSE, Sent, leave::Stay};
use crate::{
    clock::agent_now,
    collector::SessionError,
    link::{self, Batches, Link, LinkError, Needed, Place, RemoteError},
};

impl Agents {
    /// Goes on without an agent, and tries to reach it again. Returns what the session has to know,
    /// if the agent was running.
    pub(super) fn lose(
        &mut self,
        index: usize,
        error: Option<LinkError>,
    ) -> Result<Option<Heard>, SessionError> {
        if self.agents[index].stay.is_over() {
            let batch = self.lose_leaving(index);
            return Ok(Some(Heard::Left(Box::new(batch))));
        }
        let node = self.agents[index].hello.node.clone();
        let agent = &mut self.agents[index];
        let is_returning = agent.stay == Stay::Returning;
        let was_running = std::mem::replace(&mut agent.running, false);
        // An agent that comes and goes keeps its long pause.
        if was_running && agent.reached.elapsed() > LONGEST_PAUSE {
            agent.pauses.reset();
        }
        let again = agent.again.clone();
        self.alone = match self.agents.iter().any(|agent| agent.running) {
            true => None,
            // The others have left, or are away themselves.
            false if is_returning => self.alone,
            false => self.alone.or_else(|| Some(Instant::now())),
        };
        let is_over = self.alone.is_some_and(|since| since.elapsed() >= ALONE);
        let Some(again) = again.filter(|_| !is_over) else {
            return Err(match error {
                Some(source) => SessionError::Agent { node, source },
                None => self.ended(index),
            });
        };
        let why = error.map_or_else(|| "it ended".to_owned(), |error| error.to_string());
        let pause = self.agents[index].pauses.grow();
        self.reach_again(index, again, pause);
        Ok(if is_returning {
            Some(Heard::Unreached(node, why))
        } else {
            was_running.then_some(Heard::Gone(why))
        })
    }

    /// Starts an agent again, after a pause.
    pub(super) fn reach_again(&mut self, index: usize, again: (Place, Start), pause: Duration) {
        // Dropping the commands waits for the agent's command to end, so another thread does it.
        let commands = self.agents[index].commands.take();
        let to = self.sender.clone();
        tokio::spawn(async move {
            drop(tokio::task::spawn_blocking(move || drop(commands)).await);
            tokio::time::sleep(pause).await;
            let sent = match start_one(again).await {
                ((_, start), Ok(link)) => Sent::Anew(Box::new(link), Box::new(start)),
                (_, Err(error)) => Sent::Failed(error),
            };
            // A session that is over does not need the message.
            drop(to.send((index, sent)).await);
        });
    }

    /// Why an agent that has begun anew cannot continue for the known one.
    pub(super) fn refusal(&self, index: usize, anew: &Hello) -> Option<RemoteError> {
        let known = &self.agents[index].hello;
        // Rows have the same type for stream numbers as for point numbers.
        let too_many = |known: usize, more: usize| known.saturating_add(more) > MAX_POINTS;
        if known.drops.is_some() && anew.drops.is_none() {
            Some(RemoteError::NoDrops)
        } else if too_many(known.points.len(), anew.points.len())
            || too_many(known.streams, anew.streams)
        {
            Some(RemoteError::Wrong("it began anew too often"))
        } else {
            None
        }
    }

    /// Takes in an agent that has begun anew, as a change of the known one. `begun` is its task at
    /// its start. If the task has changed since, the agent is told the present one.
    pub(super) fn begin_anew(&mut self, index: usize, link: Link, begun: &Start) -> Batch {
        let agent = &mut self.agents[index];
        let (epoch, mut batch) = Epoch::begin(&agent.hello, link.hello, agent_now(&agent.hello));
        agent.epoch = epoch;
        agent.watermark = batch.watermark;
        agent.stay = Stay::default();
        if let Some((_, start)) = &agent.again
            && (&start.request, &start.pods) != (&begun.request, &begun.pods)
        {
            link.commands.send(Command::Look(Look {
                request: start.request.clone(),
                pods: start.pods.clone(),
            }));
        }
        agent.commands = Some(link.commands);
        agent.running = true;
        agent.reached = Instant::now();
        self.alone = None;
        tokio::spawn(forward(index, link.batches, self.sender.clone()));
        agent.learn(&mut batch);
        self.consider(index);
        batch
    }
}

/// An agent's place and task, and the agent if it has started.
pub(in crate::collector) type Outcome = ((Place, Start), Result<Link, LinkError>);

/// Makes sure that agents can be started. A separate thread does this, because it blocks.
pub(super) async fn prepare(starts: &[(Place, Start)], needed: Needed) -> Result<(), SessionError> {
    let starts = starts.to_vec();
    let (sender, prepared) = oneshot::channel();
    thread::spawn(move || drop(sender.send(link::prepare(&starts, needed))));
    // If the thread has panicked, starting the agents finds the same problem.
    prepared
        .await
        .unwrap_or(Ok(()))
        .map_err(SessionError::Prepare)
}

/// Starts an agent on a separate thread, which nobody has to wait for. If the process ends, the
/// kernel detaches its programs, and a remote agent ends when its input closes.
pub(super) fn start_one(start: (Place, Start)) -> impl Future<Output = Outcome> {
    info!("starting the agent of {}", start.1.node);
    let (sender, started) = oneshot::channel();
    let (place, request) = start.clone();
    // The thread starts at once, not when the future is polled, so that agents start in parallel.
    // It is no error if nobody waits any more.
    thread::spawn(move || drop(sender.send(link::start(&place, &request))));
    async {
        let link = started.await.unwrap_or(Err(LinkError::Panicked));
        (start, link)
    }
}

/// Passes an agent's batches on, and at last their end, or the error that ended them.
pub(super) async fn forward(agent: usize, mut from: Batches, to: mpsc::Sender<(usize, Sent)>) {
    while let Some(next) = from.next().await {
        let (sent, failed) = match next {
            Ok(batch) => (Sent::Batch(Box::new(batch)), false),
            Err(error) => (Sent::Failed(error), true),
        };
        if to.send((agent, sent)).await.is_err() || failed {
            return;
        }
    }
    // A session that is over does not need the message.
    let _: Result<(), _> = to.send((agent, Sent::Ended)).await;
}

/// The message about an agent that joins a session.
pub(super) fn joined((start, link): Outcome) -> Sent {
    match link {
        Ok(link) => Sent::Joined(Box::new(link), Box::new(start)),
        Err(error) => Sent::Unreached(start.1.node, error.to_string()),
    }
}
