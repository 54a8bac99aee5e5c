//! Recordings of wirings for the replay tests, if they are to be made anew:
//! `cargo xtask fixtures` does.

use std::{env, time::Duration};

use anyhow::Result;
use tracer_tests::{
    Lab, Pod,
    program::{LIMIT, Tracer},
    traffic::{Flow, Tally},
};

use crate::expected::pod;

/// Names a directory to record into.
const FIXTURES: &str = "TRACER_FIXTURES";

/// Where to record a fault, if it is to be.
pub(crate) struct Recording(Option<String>);

/// A place for the recording of a fault.
pub(crate) fn fault(name: &str) -> Recording {
    Recording(
        env::var(FIXTURES)
            .ok()
            .map(|directory| format!("{directory}/wiring-{name}.arrows")),
    )
}

impl Recording {
    /// What tells `tracer follow` so.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|file| ["-w", file])
    }
}

/// Records a little clean traffic between two pods.
pub(crate) fn keep_clean(lab: &Lab, [a, b]: [&Pod; 2], name: &str) -> Result<()> {
    let recording = fault(&format!("{name}-clean"));
    if recording.0.is_none() {
        return Ok(());
    }
    let ends = ["--src-pod", &pod(a), "--dst-pod", &pod(b), "--hold", "1s"];
    let mut tracer = Tracer::follow(lab, ends.into_iter().chain(recording.arguments()))?;
    tracer.wait_started(LIMIT)?;
    let flow = Flow::new(a, b);
    let tallies = [
        flow.ping(3, Duration::from_millis(2))?,
        flow.udp_exchange(3, 64)?,
        flow.udp_exchange(1, 20_000)?,
        flow.tcp_connects(1)?,
        flow.tcp_bulk(20_000)?,
    ];
    assert!(tallies.iter().all(Tally::is_complete), "{tallies:?}");
    tracer.stop()?;
    Ok(())
}
