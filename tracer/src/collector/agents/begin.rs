//! Starts the agents of a session, in parallel.

use std::time::Duration;

use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tracer_core::{model::Hello, request::Start};

use super::{
    Agents, Reached, Sent,
    join::Joining,
    reach::{Outcome, forward, joined, prepare, start_one},
};
use crate::{
    collector::SessionError,
    link::{Link, Needed, Place},
};

/// How long a session without need of all agents waits for the others once one has started.
const TOGETHER: Duration = Duration::from_secs(15);

/// A session without some of its agents.
pub(crate) struct Begun {
    /// The agents that have started, and those that the session goes on to start.
    pub(crate) agents: Agents,
    /// Descriptions of the agents that have started.
    pub(crate) hellos: Vec<Hello>,
    /// Nodes whose agents are still starting.
    pub(crate) late: Vec<String>,
}

impl Agents {
    /// Starts all agents in parallel. Also returns their descriptions of themselves.
    ///
    /// # Errors
    /// [`SessionError::Agent`] of the first agent that cannot start, or
    /// [`SessionError::Prepare`]; then no agent stays.
    pub(crate) async fn start(
        starts: Vec<(Place, Start)>,
    ) -> Result<(Self, Vec<Hello>), SessionError> {
        prepare(&starts, Needed::All).await?;
        let starting: Vec<_> = starts.into_iter().map(start_one).collect();
        let mut started = Vec::new();
        for waiting in starting {
            let (start, link) = waiting.await;
            started.push(link.map(|link| (start.clone(), link)).map_err(|source| {
                SessionError::Agent {
                    node: start.1.node,
                    source,
                }
            }));
        }
        // All agents are awaited first, so that dropping the started ones detaches their
        // programs.
        let started = started.into_iter().collect::<Result<Vec<_>, _>>()?;

        Ok(Self::of(started))
    }

    /// Starts agents in parallel. The session goes on without those that cannot start, and tries
    /// again. It does not wait long for the last ones.
    ///
    /// # Errors
    /// [`SessionError`], if no agent starts; then none stays.
    pub(crate) async fn start_some(starts: Vec<(Place, Start)>) -> Result<Begun, SessionError> {
        prepare(&starts, Needed::Any).await?;
        let starting = starts
            .into_iter()
            .map(|start| (start.clone(), start_one(start)));
        Self::some_of(starting.collect()).await
    }

    /// Takes the agents that start in time, each with its place and task.
    pub(in crate::collector) async fn some_of(
        starting: Vec<(
            (Place, Start),
            impl Future<Output = Outcome> + Send + 'static,
        )>,
    ) -> Result<Begun, SessionError> {
        let (starts, starting): (Vec<_>, Vec<_>) = starting.into_iter().unzip();
        let mut starting = FuturesUnordered::from_iter(starting);
        let (mut started, mut failed) = (Vec::new(), Vec::new());
        let mut until = None;
        loop {
            let next = match until {
                Some(until) => timeout_at(until, starting.next()).await,
                None => Ok(starting.next().await),
            };
            match next {
                Ok(Some((start, Ok(link)))) => {
                    until.get_or_insert(Instant::now() + TOGETHER);
                    started.push((start, link));
                }
                Ok(Some((start, Err(source)))) => failed.push((start.1.node, source)),
                Ok(None) | Err(_) => break,
            }
        }
        if started.is_empty() && !failed.is_empty() {
            let (node, source) = failed.swap_remove(0);
            return Err(SessionError::Agent { node, source });
        }
        let place = |node: &str| starts.iter().position(|(_, start)| start.node == node);
        started.sort_by_key(|((_, start), _)| place(&start.node));
        let (mut agents, hellos) = Self::of(started);
        let mut late = Vec::new();
        for start in starts {
            let node = &start.1.node;
            if hellos.iter().any(|hello| hello.node == *node) {
                continue;
            }
            if failed.iter().all(|(other, _)| other != node) {
                late.push(node.clone());
            }
            agents.joining.insert(node.clone(), Joining::new(start));
        }
        let to = agents.sender.clone();
        tokio::spawn(async move {
            let failed = failed.into_iter();
            let failed = failed.map(|(node, why)| Sent::Unreached(node, why.to_string()));
            let mut all = futures::stream::iter(failed).chain(starting.map(joined));
            // A session that is over does not need the messages.
            while let Some(sent) = all.next().await
                && to.send((0, sent)).await.is_ok()
            {}
        });
        Ok(Begun {
            agents,
            hellos,
            late,
        })
    }

    /// Takes agents that have started, and listens to them.
    fn of(started: Vec<((Place, Start), Link)>) -> (Self, Vec<Hello>) {
        let (sender, inbox) = mpsc::channel(started.len().max(1));
        let mut agents = Vec::new();
        for (index, (start, link)) in started.into_iter().enumerate() {
            agents.push(Reached::of(start, link.hello, link.commands));
            tokio::spawn(forward(index, link.batches, sender.clone()));
        }
        Self::new(agents, sender, inbox)
    }
}
