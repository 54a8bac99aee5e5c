//! The clock of this process, and what agents' clocks show meanwhile.

use std::{
    sync::OnceLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tracer_core::model::Hello;

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

/// An agent's monotonic clock now, ns.
pub(crate) fn agent_now(hello: &Hello) -> u64 {
    let now = unix_now().saturating_sub(hello.realtime_offset);
    u64::try_from(now).unwrap_or_default()
}
