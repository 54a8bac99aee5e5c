//! The collector: starts agents, brings their hops into order, and hands
//! journeys with their verdicts to a view.

mod agents;
mod plan;
mod recorder;
mod run;
mod sampling;
mod session;
mod stalls;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) use agents::Agents;
pub use plan::{Plan, Write};
pub(crate) use run::{Work, run};
pub use session::{Outcome, SessionError, follow};

/// Unix time, ns.
pub(crate) fn unix_now() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
}
