//! The collector: starts agents, brings their hops into order, and hands
//! journeys with their verdicts to a view.

mod agents;
mod plan;
mod recorder;
mod sampling;
mod session;
mod stalls;
#[cfg(test)]
mod tests;

pub(crate) use agents::{Agents, Sent, start as start_agents};
pub use plan::{Plan, Write};
pub use session::{Outcome, SessionError, follow};
