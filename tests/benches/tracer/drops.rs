//! The cost of unrelated drops for the kernel and for a follow. The program on `kfree_skb` runs for
//! every packet that the kernel frees, and nearly all of them are misses.
//!
//! The kernel cannot run such a program on a test packet. Therefore a rule drops real packets in a
//! pod that nobody follows, with and without two agents. The agents cost the difference in the time
//! per drop.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tracer_tests::{Lab, Pod, traffic};

use crate::alone::alone;
use crate::follow::{Ended, Follow};
use crate::report::{Report, Table};
use crate::sample::Sample;

/// How often drops are timed with and without a follow.
const ROUNDS: usize = 10;
/// The duration of each measurement.
const BURST: Duration = Duration::from_millis(100);
/// Drops between two readings of the clock.
const BATCH: u32 = 256;
/// Echo requests of the followed pods during unrelated drops.
const PINGS: u64 = 2_000;
const INTERVAL: Duration = Duration::from_millis(1);

/// Limit of the program's time for a miss, ns.
const MISS_BOUND: f64 = 100.0;
/// Drops per second at which no journey may be missing.
const RATE: f64 = 200_000.0;

/// Sends packets that a rule of the sender's own pod drops, and measures the time.
struct Dropper(UdpSocket);

impl Dropper {
    fn new(pod: &Pod) -> Result<Self> {
        pod.netns.batch(
            "nft -f -",
            "table inet bench { chain bench { \
             type filter hook output priority 0; udp dport 9 drop; }; }",
        )?;
        let socket = pod.netns.enter(|| UdpSocket::bind((pod.v4, 0)))?;
        socket.connect((pod.v4, 9))?;
        Ok(Self(socket))
    }

    fn batch(&self) {
        for _ in 0..BATCH {
            // The rule drops the packet on purpose, so this may fail.
            let _ = self.0.send(&[0]);
        }
    }

    /// Drops for a while: ns per drop.
    fn burst(&self) -> f64 {
        let start = Instant::now();
        let mut drops = 0;
        while start.elapsed() < BURST {
            self.batch();
            drops += BATCH;
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(drops)
    }

    /// Drops at [`RATE`] until `ended`, and returns the drops per second.
    fn steadily(&self, ended: &AtomicBool) -> f64 {
        let start = Instant::now();
        let mut drops = 0;
        while !ended.load(Relaxed) {
            self.batch();
            drops += BATCH;
            // The target is above the rate, so that the rate is reached.
            let due = Duration::from_secs_f64(f64::from(drops) / (1.1 * RATE));
            thread::sleep(due.saturating_sub(start.elapsed()));
        }
        f64::from(drops) / start.elapsed().as_secs_f64()
    }
}

/// Measures, and adds a table.
pub(crate) fn measure(report: &mut Report, lab: &Lab) -> Result<()> {
    eprintln!("drops of others: {ROUNDS} rounds");
    let [a, other, b] = [0, 1, 2].map(|pod| &lab.pods[pod]);
    let dropper = Dropper::new(other)?;
    let agents = lab.nodes.len() as f64;
    let (mut without, mut with, mut misses) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let before = alone(|| Ok(dropper.burst()))?;
        let follow = Follow::start(lab, [a, b], &[])?;
        let beside = alone(|| Ok(dropper.burst()))?;
        follow.interrupt()?;
        without.push(before);
        with.push(beside);
        misses.push((beside - before) / agents);
    }
    let (rate, kept, wanted) = journeys(lab, &dropper, [a, b])?;
    other.netns.run("nft delete table inet bench")?;

    let note = format!(
        "Datagrams that a rule of nftables drops in a pod that is not followed: ns per drop, the \
         system call included, without a follow and beside one with {agents} agents on this kernel; \
         a miss is the difference for each of them. Medians of {ROUNDS} rounds in turn. Journeys: of \
         {PINGS} echo requests and as many replies of the followed pods meanwhile, those delivered."
    );
    let mut table = Table::new(&["drops of others", "", "bound"], note);
    let ns = |values: Vec<f64>| Sample::new(values).median();
    let miss = ns(misses);
    let held = report.judge("drop hook: miss", miss <= MISS_BOUND, "≤ 100 ns");
    table.row([
        "without a follow".into(),
        format!("{:.0} ns", ns(without)),
        String::new(),
    ]);
    table.row([
        "beside a follow".into(),
        format!("{:.0} ns", ns(with)),
        String::new(),
    ]);
    table.row(["miss".into(), format!("{miss:.0} ns"), held]);
    let held = report.judge("foreign drops per second", rate >= RATE, "≥ 200000/s");
    table.row(["drops per second".into(), format!("{rate:.0}"), held]);
    let held = report.judge("journeys beside drops", kept == wanted, "all");
    table.row(["journeys".into(), format!("{kept} of {wanted}"), held]);
    report.add(table);
    Ok(())
}

/// The drops per second, the delivered journeys, and the journeys that should have been delivered.
fn journeys(lab: &Lab, dropper: &Dropper, ends: [&Pod; 2]) -> Result<(f64, u64, u64)> {
    let follow = Follow::start(lab, ends, &["--proto", "icmp"])?;
    let ended = AtomicBool::new(false);
    let flow = traffic::Flow::new(ends[0], ends[1]);
    let (rate, pings) = thread::scope(|scope| {
        let dropping = scope.spawn(|| dropper.steadily(&ended));
        let pings = flow.ping(PINGS, INTERVAL);
        ended.store(true, Relaxed);
        (dropping.join().expect("no panic"), pings)
    });
    let pings = pings?;
    let Ended { summary, .. } = follow.interrupt()?;
    let delivered = summary["journeys"]["delivered"].as_u64();
    Ok((
        rate,
        delivered.context("the summary has no journeys")?,
        pings.sent + pings.received,
    ))
}
