//! What the user waits for, and what tracer costs while nothing happens.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use tracer_tests::{Lab, Pod};

use crate::follow::{Cpu, Ended, Follow};
use crate::report::{Report, Table};
use crate::sample::Sample;

/// How often it is started and ended.
const ROUNDS: usize = 5;
/// How long it is watched doing nothing.
const IDLE: Duration = Duration::from_secs(2);

/// From start to ready line, at most, in seconds.
const START_BOUND: f64 = 2.0;
/// From SIGINT to exit, at most, in seconds.
const EXIT_BOUND: f64 = 1.0;

/// Measures, and adds a table. `flooded` are the times in seconds in which
/// follows ended that had been followed by a flood.
pub(crate) fn measure(
    report: &mut Report,
    lab: &Lab,
    pods: [&Pod; 2],
    flooded: Vec<f64>,
) -> Result<()> {
    eprintln!("start, end and idle: {ROUNDS} rounds");
    let mut starts = Vec::new();
    let mut ends = Vec::new();
    let mut idle = None;
    for _ in 0..ROUNDS {
        let follow = Follow::start(lab, pods, &[])?;
        starts.push(follow.ready_after.as_secs_f64());
        if idle.is_none() {
            idle = Some(idle_cpu(&follow)?);
        }
        let Ended { after, .. } = follow.interrupt()?;
        ends.push(after.as_secs_f64());
    }
}
