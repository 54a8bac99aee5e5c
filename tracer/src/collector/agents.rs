//! Starting the agents of a session, and bringing what they send into one
//! queue.

use std::io;

use tokio::sync::mpsc;
use tracer_core::{
    input::Batch,
    journey::Scene,
    model::{Hello, Point},
};
use tracing::{debug, info};

use super::{Plan, SessionError};
use crate::{
    link::{Commander, Link, Start},
    node::{self, NodeError},
};

/// All agents of a session.
pub(crate) struct Agents {
    pub(crate) hellos: Vec<Hello>,
    pub(crate) commands: Vec<Box<dyn Commander>>,
    /// Batches of all, with the agent's index.
    pub(crate) batches: mpsc::Receiver<(usize, Sent)>,
}

/// What comes from an agent.
pub(crate) enum Sent {
    Batch(Box<Batch>),
    /// It can send no more.
    Failed(NodeError),
    /// It has detached everything and ended.
    Ended,
}

/// Starts them side by side.
pub(crate) async fn start(agents: &[Start]) -> Result<Agents, SessionError> {
    for agent in agents {
        info!("starting the agent of {}", agent.node);
    }
    let starting: Vec<_> = agents
        .iter()
        .cloned()
        .map(|start| tokio::task::spawn_blocking(move || node::start(&start)))
        .collect();
    let mut started = Vec::new();
    for (task, agent) in starting.into_iter().zip(agents) {
        let result = task.await.unwrap_or_else(|join| {
            Err(NodeError::System {
                what: "start an agent",
                source: io::Error::other(join),
            })
        });
        started.push(result.map_err(|source| SessionError::Agent {
            node: agent.node.clone(),
            source,
        }));
    }
    // Only after all have been waited for, so that dropping those that did
    // start detaches them.
    let started = started.into_iter().collect::<Result<Vec<Link>, _>>()?;

    let (sender, batches) = mpsc::channel(agents.len().max(1));
    let mut hellos = Vec::new();
    let mut commands = Vec::new();
    for (index, link) in started.into_iter().enumerate() {
        hellos.push(link.hello);
        commands.push(link.commands);
        tokio::spawn(forward(index, link.batches, sender.clone()));
    }
    one_clock_for_one_kernel(&mut hellos);
    hellos.iter().for_each(log);
    Ok(Agents {
        hellos,
        commands,
        batches,
    })
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
async fn forward(
    agent: usize,
    mut from: mpsc::Receiver<Result<Batch, NodeError>>,
    to: mpsc::Sender<(usize, Sent)>,
) {
    while let Some(next) = from.recv().await {
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

/// What may hide packets, and what agents noticed while they looked around.
pub(super) fn warnings(plan: &Plan, scene: &Scene) -> Vec<String> {
    let of_agents = scene.nodes.iter().flat_map(|hello| {
        let notes = hello.notes.iter().cloned();
        let foreign = hello.points.iter().filter_map(Point::warning);
        notes
            .chain(foreign)
            .map(move |note| format!("{}: {note}", hello.node))
    });
    plan.warnings.iter().cloned().chain(of_agents).collect()
}
