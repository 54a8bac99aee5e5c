//! The speed of writing and replaying a recording, and its size.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use tracer::playback::replay;
use tracer::store::{Head, Recordings, Rotation, Writer};
use tracer_core::journal::Reader;

use super::traffic::{self, Traffic};
use super::{GAP, ROUNDS, SLICES, Shown, agents, cpu_time};
use crate::report::{Report, Table};
use crate::sample::Sample;

/// The least number of events per second for writing, and for a replay.
const SPEED_BOUND: f64 = 1e6;
/// Limit of an event's size on disk, bytes.
const SIZE_BOUND: f64 = 40.0;

/// The result of a round.
struct Round {
    events: u64,
    bytes: u64,
    writing: Duration,
    replaying: Duration,
}

/// A file that is removed at the end.
struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        // If the file cannot be removed, it stays in the temporary directory.
        let _ = fs::remove_file(&self.0);
    }
}

/// Measures, and adds a table.
pub(super) fn measure(report: &mut Report) -> Result<()> {
    eprintln!("traces: {ROUNDS} rounds");
    let rounds: Vec<Round> = (0..ROUNDS).map(|_| round()).collect::<Result<_>>()?;
    let sample = |figure: fn(&Round) -> f64| Sample::new(rounds.iter().map(figure).collect());
    let written = sample(|round| round.events as f64 / round.writing.as_secs_f64());
    let size = sample(|round| round.bytes as f64 / round.events as f64);
    let replayed = sample(|round| round.events as f64 / round.replaying.as_secs_f64());
    let note = format!(
        "{} events of {} flows, as in the table before: from batches to a file, and from the \
         file to verdicts. The thread's CPU time; medians of {ROUNDS} rounds.",
        rounds.first().map_or(0, |round| round.events),
        traffic::FLOWS,
    );
    let mut table = Table::new(&["traces", "median", "middle half", "bound"], note);
    let mut row = |name: &str, sample: &Sample, bound: String| {
        let [low, high] = sample.quartiles();
        table.row([
            name.to_owned(),
            format!("{:.0}", sample.median()),
            format!("{low:.0}–{high:.0}"),
            bound,
        ]);
    };
    let bound = report.judge(
        "events/s written",
        written.median() >= SPEED_BOUND,
        "≥ 1 M/s",
    );
    row("events/s written", &written, bound);
    let bound = report.judge(
        "bytes per event on disk",
        size.median() <= SIZE_BOUND,
        "≤ 40",
    );
    row("bytes per event on disk", &size, bound);
    let bound = report.judge(
        "events/s replayed",
        replayed.median() >= SPEED_BOUND,
        "≥ 1 M/s",
    );
    row("events/s replayed", &replayed, bound);
    report.add(table);
    Ok(())
}

fn round() -> Result<Round> {
    let mut traffic = Traffic::new(GAP, false);
    let name = format!("tracer-bench-{}.arrows", std::process::id());
    let file = File(std::env::temp_dir().join(name));
    let mut writer = Writer::create(&file.0, Rotation::default())?;
    writer.begin(head(&traffic))?;
    writer.armed(traffic.now());
    let (mut events, mut writing) = (0, Duration::ZERO);
    for _ in 0..SLICES {
        let batches = traffic.slice();
        let start = cpu_time()?;
        for (agent, batch) in &batches {
            events += (batch.hops.len() + batch.freed.len()) as u64;
            writer.batch(*agent, batch)?;
        }
        writing += cpu_time()? - start;
    }
    let start = cpu_time()?;
    let written = writer.end(traffic.now())?;
    writing += cpu_time()? - start;
    drop(traffic);

    let start = cpu_time()?;
    let mut recordings = Recordings::open(std::slice::from_ref(&file.0))?;
    let mut view = Shown::default();
    let replayed = replay(&mut recordings, &mut Reader::new(&mut view, None))?;
    let replaying = cpu_time()? - start;
    ensure!(replayed.broken.is_none(), "the trace cannot be read");
    ensure!(view.delivered > 0 && view.dropped > 0, "nothing was judged");
    Ok(Round {
        events,
        bytes: written.bytes,
        writing,
        replaying,
    })
}

fn head(traffic: &Traffic) -> Head {
    let source = std::net::IpAddr::from(agents::PODS[0]);
    Head {
        version: String::new(),
        recording: 1,
        piece: 0,
        armed: None,
        last: None,
        anonymized: false,
        key: 0,
        time: traffic.now(),
        follow: String::new(),
        warnings: Vec::new(),
        pairs: Vec::new(),
        sources: vec![source.into()],
        asked: Vec::new(),
        hold: 5_000_000_000,
        open: 65_536,
        skew: 0,
        count: None,
        nodes: traffic.hellos(),
        owners: tracer_core::model::Owners::default(),
    }
}
