//! The times for which the user waits, and tracer's cost while nothing happens, or nothing that it
//! follows.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use tracer_tests::Lab;
use tracer_tests::traffic::Flow;

use crate::follow::Follow;
use crate::report::{Report, Table};
use crate::sample::Sample;
use crate::throughput::Exits;

/// The number of starts and ends.
const ROUNDS: usize = 5;
/// The duration of the idle measurement.
const IDLE: Duration = Duration::from_secs(2);

/// The number of unrelated interfaces that come and go.
const STRANGERS: usize = 100;

/// Limit of the time to start, in seconds.
const START_BOUND: f64 = 2.0;
/// Limit of the time to end, in seconds.
const EXIT_BOUND: f64 = 1.0;
/// Limit of the share of a CPU while unrelated interfaces come and go.
const STRANGERS_BOUND: f64 = 0.25;

/// Measures, and adds a table.
pub(crate) fn measure(report: &mut Report, lab: &Lab, flooded: Exits) -> Result<()> {
    eprintln!("start, idle and exit: {ROUNDS} rounds");
    let ends = [&lab.pods[0], &lab.pods[lab.pods.len() - 1]];
    let mut starts = Vec::new();
    let mut exits = Vec::new();
    for _ in 0..ROUNDS {
        let follow = Follow::start(lab, ends, &[])?;
        starts.push(follow.ready_after.as_secs_f64());
        exits.push(follow.interrupt()?.after.as_secs_f64());
    }
    // The follow has one protocol. Otherwise ARP would be traffic: the kernel asks for its
    // neighbours again five seconds after they were used.
    let follow = Follow::start(lab, ends, &["--proto", "tcp"])?;
    let before = follow.cpu()?;
    thread::sleep(IDLE);
    let after = follow.cpu()?;
    follow.interrupt()?;
    let strangers = strangers(lab)?;

    let note = "Of a follow between two pods of two nodes. Bounds are for the longest. The CPU time of \
                an idle follow, of one protocol, is in ticks of the kernel's accounting (usually 10 ms); \
                in brackets what its scheduler measures. The share of one CPU is of a follow of pings, \
                one every 2 ms, while a hundred interfaces come and go at one node's bridge.";
    let mut table = Table::new(&["", "median", "longest", "bound"], note.to_owned());
    let mut row = |name: &str, seconds: Vec<f64>, bound: Option<f64>| {
        if seconds.is_empty() {
            return;
        }
        let sample = Sample::new(seconds);
        let [median, longest] = [sample.median(), sample.max()];
        let bound = bound.map(|most| report.judge(name, longest <= most, &format!("≤ {most} s")));
        table.row([
            name.to_owned(),
            format!("{median:.2} s"),
            format!("{longest:.2} s"),
            bound.unwrap_or_default(),
        ]);
    };
    row("start to ready line", starts, Some(START_BOUND));
    row("SIGINT to exit", exits, Some(EXIT_BOUND));
    row("… after a flood", flooded.budget, Some(EXIT_BOUND));
    row("… after a flood, no budget", flooded.no_budget, None);
    let name = "CPU in 2 idle seconds";
    let ticks = after.ticks - before.ticks;
    let time = after.time.saturating_sub(before.time);
    let used = format!("{ticks} ticks ({:.1} ms)", time.as_secs_f64() * 1e3);
    let bound = report.judge(name, ticks == 0, "0 ticks");
    table.row([name.to_owned(), used.clone(), used, bound]);
    let name = "CPU while others come and go";
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let [median, longest] = [strangers.median(), strangers.max()];
    let most = format!("≤ {}", percent(STRANGERS_BOUND));
    let bound = report.judge(name, longest <= STRANGERS_BOUND, &most);
    table.row([name.to_owned(), percent(median), percent(longest), bound]);
    report.add(table);
    Ok(())
}

/// The share of a CPU that a follow takes while unrelated interfaces come and go on one of its
/// nodes.
fn strangers(lab: &Lab) -> Result<Sample> {
    let ends = [&lab.pods[0], &lab.pods[lab.pods.len() - 1]];
    let mut shares = Vec::new();
    for _ in 0..ROUNDS {
        let follow = Follow::start(lab, ends, &[])?;
        let pinging = Flow::new(ends[0], ends[1]).keep_pinging();
        let (begun, before) = (Instant::now(), follow.cpu()?);
        lab.strangers(1, STRANGERS)?;
        let (took, after) = (begun.elapsed(), follow.cpu()?);
        let used = after.time.saturating_sub(before.time);
        shares.push(used.as_secs_f64() / took.as_secs_f64());
        pinging.stop()?;
        follow.interrupt()?;
    }
    Ok(Sample::new(shares))
}
