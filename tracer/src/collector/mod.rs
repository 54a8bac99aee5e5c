//! The collector: starts agents, brings their hops into order, and hands
//! journeys with their verdicts to a view.

mod agents;
mod changes;
mod core;
mod ledger;
mod legs;
mod order;
mod plan;
mod recorded;
mod recorder;
mod sampling;
mod session;
mod stalls;
#[cfg(test)]
mod tests;
mod witness;

pub(crate) use agents::{Agents, Sent, start as start_agents};
pub use core::{Beginning, Core};
pub use plan::{Plan, Write};
pub use session::{Outcome, SessionError, follow};
