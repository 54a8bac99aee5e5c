//! The speed and the memory of making journeys with verdicts from agents' events. The benchmark
//! uses the same code as a follow and a replay.

mod agents;
mod memory;
mod trace;
mod traffic;

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::time::{ClockId, clock_gettime};

use crate::report::{Report, Table};
use crate::sample::Sample;
use tracer_core::{
    collect::{Beginning, Core},
    input::Record,
    journal::{Reader, Selected, View},
    journey::{Closed, Journey, Limits, Scene},
    model::Owners,
    verdict::{Kind, Parts, Summary, Verdict},
};
use traffic::Traffic;

/// The number of measurements.
const ROUNDS: usize = 3;
/// Slices of time in a round. The last one has reports, so that no verdict waits for them and only
/// open journeys are left.
const SLICES: usize = 100;
/// Slices before the measurement. After them, the number of open journeys stays the same.
const WARM_UP: usize = 30;
/// The time between packets, ns, so that 64,000 journeys are open. Each stays open for a little
/// more than 100 ms: so long the engine waits for further events of a journey with a known fate.
const GAP: i64 = 2_280;

/// The least number of events per second.
const SPEED_BOUND: f64 = 1e6;
/// Limit of memory for each hop of an open journey, bytes.
const MEMORY_BOUND: f64 = 512.0;
/// The least speed with every other flow translated, relative to the speed without translations.
const TRANSLATED_BOUND: f64 = 0.9;

/// The result of a round.
struct Round {
    events: usize,
    time: Duration,
    /// Journeys that were open at the end, and their hops.
    open: u64,
    hops: usize,
    /// The memory at the end.
    bytes: f64,
    /// The highest memory use, while verdicts waited for reports.
    most: f64,
}

/// Measures, and adds a table.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    eprintln!("events to journeys: {ROUNDS} rounds");
    // Both kinds take turns, because the machine's speed may change.
    let (mut rounds, mut translated) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        rounds.push(round(false)?);
        translated.push(round(true)?);
    }
    let speed_of = |round: &Round| round.events as f64 / round.time.as_secs_f64();
    let shares = rounds.iter().zip(&translated);
    let shares = shares.map(|(plain, translated)| speed_of(translated) / speed_of(plain));
    let shares = Sample::new(shares.collect());
    let sample = |figure: fn(&Round) -> f64| Sample::new(rounds.iter().map(figure).collect());
    let speed = sample(speed_of);
    let memory = sample(|round| round.bytes / round.hops as f64);
    let [round, ..] = &rounds[..] else {
        unreachable!("there are rounds")
    };
    let note = format!(
        "{} events of {} flows over two nodes, eight points each; of a packet in {} nothing \
         arrives. From batches to verdicts, {} journeys with {} hops open at the end, none \
         given up. The thread's CPU time; medians of {ROUNDS} rounds.",
        round.events,
        traffic::FLOWS,
        traffic::DROPPED,
        round.open,
        round.hops
    );
    let mut table = Table::new(
        &["events to journeys", "median", "middle half", "bound"],
        note,
    );
    let mut row = |name: &str, sample: &Sample, digits: usize, bound: String| {
        let [low, high] = sample.quartiles();
        table.row([
            name.to_owned(),
            format!("{:.digits$}", sample.median()),
            format!("{low:.digits$}–{high:.digits$}"),
            bound,
        ]);
    };
    let bound = report.judge("events/s", speed.median() >= SPEED_BOUND, "≥ 1 M/s");
    row("events/s", &speed, 0, bound);
    let bound = report.judge(
        "every other flow translated",
        shares.median() >= TRANSLATED_BOUND,
        "≥ 0.9",
    );
    row(
        "share of it, every other flow translated",
        &shares,
        2,
        bound,
    );
    let bound = report.judge(
        "bytes per open hop",
        memory.median() <= MEMORY_BOUND,
        "≤ 512",
    );
    row("bytes per open hop", &memory, 0, bound);
    let most = sample(|round| round.most / f64::from(1 << 20));
    row("memory at most, MiB", &most, 0, String::new());
    report.add(table);
    trace::measure(report)
}

fn round(is_translated: bool) -> Result<Round> {
    let before = memory::live();
    let mut traffic = Traffic::new(GAP, is_translated);
    let mut core = Core::new(Beginning {
        nodes: traffic.hellos(),
        owners: Owners::default(),
        sources: vec![IpAddr::from(agents::PODS[0]).into()],
        asked: Vec::new(),
        limits: Limits::default(),
        count: None,
        time: traffic.now(),
        follow: String::new(),
        warnings: Vec::new(),
        skew: 0,
    });
    core.take(Record::Armed(traffic.now()));
    let mut view = Shown::default();
    let mut reader = Reader::new(&mut view, None);
    let mut events = 0;
    let mut time = Duration::ZERO;
    let mut most = 0;
    for slice in 0..SLICES {
        let batches: Vec<_> = traffic.slice();
        let records = batches.into_iter().map(|(agent, batch)| {
            if slice >= WARM_UP {
                events += batch.hops.len() + batch.freed.len();
            }
            let batch = Box::new(batch);
            Record::Batch { agent, batch }
        });
        let records: Vec<Record> = records.collect();
        let start = cpu_time()?;
        for record in records {
            core.take(record);
            core.show(&mut reader)?;
        }
        most = most.max(memory::live() - before);
        if slice >= WARM_UP {
            time += cpu_time()? - start;
        }
    }
    drop(traffic);
    let bytes = memory::live() - before;

    core.end(&mut reader)?;
    core.sum_up(&mut reader)?;
    ensure!(view.evicted == 0, "{} journeys were given up", view.evicted);
    ensure!(view.delivered > 0 && view.dropped > 0, "nothing was judged");
    Ok(Round {
        events,
        time,
        open: view.open,
        hops: view.hops,
        bytes: bytes as f64,
        most: most as f64,
    })
}

/// CPU time of this thread, so that other programs do not count.
fn cpu_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

/// A view that counts journeys.
#[derive(Default)]
struct Shown {
    /// Journeys that were open at the end, and their hops.
    open: u64,
    hops: usize,
    delivered: u64,
    dropped: u64,
    evicted: u64,
}

impl View for Shown {
    fn journey(
        &mut self,
        _: &Scene,
        journey: &Journey,
        verdict: &Verdict,
        _: &Parts,
    ) -> io::Result<()> {
        if journey.closed == Closed::End {
            self.open += 1;
            self.hops += journey.steps.len();
        }
        match verdict.kind {
            Kind::Delivered => self.delivered += 1,
            Kind::Dropped => self.dropped += 1,
            _ => {}
        }
        Ok(())
    }

    fn summary(&mut self, _: &Scene, summary: &Summary, _: Option<&Selected>) -> io::Result<()> {
        self.evicted = summary.accounting.evicted;
        Ok(())
    }
}
