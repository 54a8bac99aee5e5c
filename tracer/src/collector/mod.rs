//! The collector: starts agents, brings their hops into order, and hands journeys with their
//! verdicts to a view.

mod agents;
mod plan;
mod recorder;
mod run;
mod sampling;
mod session;
mod stalls;
#[cfg(test)]
mod tests;

use std::{
    sync::OnceLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

pub(crate) use agents::Agents;
pub use plan::{Masqueraded, Plan, Targets, Update, Write};
pub(crate) use run::{Work, run};
pub use session::{Outcome, SessionError, follow};

/// Unix time, ns: the time at which this process began, plus the time since then. It therefore does
/// not jump if somebody sets the clock. It stops while the machine sleeps, as the clocks of agents
/// in this process do.
pub(crate) fn unix_now() -> i64 {
    static BEGIN: OnceLock<(Instant, i64)> = OnceLock::new();

    let nanoseconds = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    let (begin, unix) = BEGIN.get_or_init(|| {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        (Instant::now(), nanoseconds(unix.unwrap_or(Duration::ZERO)))
    });
    unix.saturating_add(nanoseconds(begin.elapsed()))
}
