//! The collector: starts agents, brings their hops into order, and hands journeys with their
//! verdicts to a view.

mod agents;
mod error;
mod plan;
mod recorder;
mod run;
mod sampling;
mod session;
mod stalls;
#[cfg(test)]
mod tests;

pub(crate) use agents::{Agents, Begun};
pub use error::SessionError;
pub use plan::{Masqueraded, Plan, Targets, Update, Write};
pub(crate) use run::{Work, run};
pub use session::{Outcome, follow};
