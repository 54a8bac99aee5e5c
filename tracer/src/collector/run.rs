//! The loop of a session: takes what agents send, and does what is due.

use tokio::time::{Instant, sleep_until};
use tracer_core::{input::Batch, model::Hello};

use super::{Agents, SessionError, Update, agents::Heard};

/// The work of a session.
pub(crate) trait Work {
    /// Takes a batch of an agent.
    ///
    /// # Errors
    /// Errors of writing; the session ends then.
    fn take(&mut self, agents: &mut Agents, agent: usize, batch: Batch)
    -> Result<(), SessionError>;

    /// Notes that an agent is gone, or that the connection to it is broken. The agent comes
    /// back with a change that has new streams.
    ///
    /// # Errors
    /// See [`Work::take`].
    fn gone(&mut self, agent: usize, why: &str) -> Result<(), SessionError>;

    /// Notes that an agent was lost while it left its node, as the batch says; only with
    /// [`Agents::hear`].
    ///
    /// # Errors
    /// See [`Work::take`].
    fn left(&mut self, _: &mut Agents, _: usize, _: Batch) -> Result<(), SessionError> {
        Ok(())
    }

    /// Notes a change of the followed addresses; only with [`Agents::hear`].
    ///
    /// # Errors
    /// See [`Work::take`].
    fn update(&mut self, _: &mut Agents, _: Update) -> Result<(), SessionError> {
        Ok(())
    }

    /// Notes another agent, whose index follows those of all known agents.
    ///
    /// # Errors
    /// See [`Work::take`].
    fn joined(&mut self, _: &mut Agents, _: Hello) -> Result<(), SessionError> {
        Ok(())
    }

    /// Notes that a node has no agent yet, and why.
    fn unreached(&mut self, _node: &str, _why: &str) {}

    /// Time of the next [`Work::wake`]; `None` if only agents' messages matter.
    fn due(&self) -> Option<Instant>;

    /// Does what is due.
    ///
    /// # Errors
    /// See [`Work::take`].
    fn wake(&mut self, agents: &mut Agents) -> Result<(), SessionError>;

    /// Whether the work has come to its end.
    fn is_done(&self) -> bool;

    /// Takes a batch that came after an error.
    fn keep(&mut self, agent: usize, batch: &Batch);

    /// Shows a message to the user.
    fn notice(&mut self, line: &str);
}

/// Works until `stop`, the end of the work, or an error. Then ends the agents, and takes what
/// they still send.
///
/// # Errors
/// The first error. The agents have ended then, too.
pub(crate) async fn run(
    mut agents: Agents,
    work: &mut impl Work,
    stop: impl Future<Output = ()>,
) -> Result<(), SessionError> {
    let worked = until_done(&mut agents, work, stop).await;
    let mut failed = worked.is_err();
    let take = |agents: &mut Agents, agent, batch: Batch| {
        if failed {
            work.keep(agent, &batch);
            return Ok(());
        }
        let taken = work.take(agents, agent, batch);
        failed = taken.is_err();
        taken
    };
    let (told, ended) = agents.end(take).await;
    for line in told {
        work.notice(&line);
    }
    worked.and(ended)
}

async fn until_done(
    agents: &mut Agents,
    work: &mut impl Work,
    stop: impl Future<Output = ()>,
) -> Result<(), SessionError> {
    tokio::pin!(stop);
    while !work.is_done() {
        tokio::select! {
            biased;
            () = &mut stop => break,
            () = until(work.due()) => work.wake(agents)?,
            heard = agents.next() => match heard? {
                (agent, Heard::Batch(batch)) => work.take(agents, agent, *batch)?,
                (agent, Heard::Gone(why)) => work.gone(agent, &why)?,
                (agent, Heard::Left(batch)) => work.left(agents, agent, *batch)?,
                (_, Heard::Update(update)) => work.update(agents, *update)?,
                (_, Heard::Joined(hello)) => work.joined(agents, *hello)?,
                (_, Heard::Unreached(node, why)) => work.unreached(&node, &why),
            },
        }
    }
    Ok(())
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
