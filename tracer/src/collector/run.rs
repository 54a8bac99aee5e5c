//! The loop of a session: what agents send is taken, and what time brings is done.

use tokio::time::{Instant, sleep_until};
use tracer_core::{input::Batch, model::Hello};

use super::{Agents, SessionError, Update, agents::Heard};

/// What a session does with what agents send.
pub(crate) trait Work {
    /// Takes what an agent sent.
    ///
    /// # Errors
    /// Those of what it writes to; the session ends then, here and below.
    fn take(&mut self, agents: &mut Agents, agent: usize, batch: Batch)
    -> Result<(), SessionError>;

    /// Takes note that an agent is gone, or that the way to it is broken. It comes back
    /// with a change that has streams.
    ///
    /// # Errors
    /// See [`Work::take`].
    fn gone(&mut self, agent: usize, why: &str) -> Result<(), SessionError>;

    /// Takes note that what is followed has changed, which is heard where [`Agents::hear`]
    /// was told to.
    ///
    /// # Errors
    /// See [`Work::take`].
    fn update(&mut self, _: &mut Agents, _: Update) -> Result<(), SessionError> {
        Ok(())
    }

    /// Takes note of another agent, after all that were known.
    ///
    /// # Errors
    /// See [`Work::take`].
    fn joined(&mut self, _: &mut Agents, _: Hello) -> Result<(), SessionError> {
        Ok(())
    }

    /// Takes note that a node has no agent yet, and why.
    fn unreached(&mut self, _node: &str, _why: &str) {}

    /// When to wake it; `None` if only what agents send matters.
    fn due(&self) -> Option<Instant>;

    /// Does what is due.
    ///
    /// # Errors
    /// See [`Work::take`].
    fn wake(&mut self, agents: &mut Agents) -> Result<(), SessionError>;

    /// Whether it has come to its end.
    fn is_done(&self) -> bool;

    /// Takes what an agent sent after something went wrong.
    fn keep(&mut self, agent: usize, batch: &Batch);

    /// Tells what is no data.
    fn notice(&mut self, line: &str);
}

/// Works until `stop`, its end, or until something goes wrong, ends the agents, and takes
/// what they still have.
///
/// # Errors
/// What went wrong first. The agents have ended by then, too.
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
