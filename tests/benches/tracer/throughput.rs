//! The number of packets per second from one pod to another, over VXLAN, without and with tracer.
//! One machine runs both nodes.
//!
//! A machine's speed changes more, from one second to the next, than tracer changes the throughput.
//! Therefore there are two equal labs, one with tracer and one without. Their flows take turns of a
//! few milliseconds, and the labs swap roles from round to round. Without tracer in either lab, the
//! ratio is 1, which shows that the method is fair.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStderr, Stdio};

use anyhow::{Context as _, Result, ensure};
use aya::programs::TcAttachType;
use tracer_tests::{Lab, Node, Pod};

use crate::flow::{Duel, Flow, duel};
use crate::follow::{Ended, Follow};
use crate::programs::Programs;
use crate::report::{Report, Table};
use crate::sample::Sample;

/// The number of rounds of each kind. It is even, so that each lab has the same share.
const ROUNDS: usize = 4;
/// The least share of the throughput that must remain with a miss.
const MISS_BOUND: f64 = 0.95;
/// A budget above any possible number of events per second.
const UNLIMITED: &str = "4000000000";

/// The programs that run in one of the labs.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Nothing, as in the other lab.
    Nothing,
    /// Empty programs, at the points that a miss passes.
    Empty,
    /// A follow of two other pods.
    OtherPods,
    /// A follow of the same pods, with another protocol.
    OtherProtocol,
    /// A follow of the flow with the usual options.
    Match,
    /// A follow of every packet of the flow.
    MatchAll,
    /// A tcpdump of whole packets.
    Tcpdump,
}

const KINDS: [(Kind, &str); 7] = [
    (Kind::Nothing, "nothing (control)"),
    (Kind::Empty, "empty programs, where a miss passes"),
    (Kind::OtherPods, "tracer, miss: other pods"),
    (
        Kind::OtherProtocol,
        "tracer, miss: same pods, other protocol",
    ),
    (Kind::Match, "tracer, match, default budget"),
    (Kind::MatchAll, "tracer, match, no budget"),
    (Kind::Tcpdump, "tcpdump on the 8 interfaces"),
];

/// The measurements of one kind.
#[derive(Default)]
struct Results {
    rates: Vec<f64>,
    ratios: Vec<f64>,
    /// Rates of the flow in the other lab.
    without: Vec<f64>,
    /// The number of written events, and the number of expected events.
    events: [u64; 2],
}

/// The times that follows of a flood took to end, in seconds.
#[derive(Default)]
pub(crate) struct Exits {
    /// With the default budget of events.
    pub(crate) budget: Vec<f64>,
    /// Without a budget of events.
    pub(crate) no_budget: Vec<f64>,
}

/// Measures, and adds a table.
pub(crate) fn measure(report: &mut Report, labs: &[Lab; 2]) -> Result<Exits> {
    let flows = [flow(&labs[0])?, flow(&labs[1])?];
    let mut results: [Results; KINDS.len()] = Default::default();
    let mut exits = Exits::default();
    for round in 0..ROUNDS {
        eprintln!("throughput: round {} of {ROUNDS}", round + 1);
        let (with, without) = (round % 2, 1 - round % 2);
        let run = || duel(&flows[with], &flows[without]);
        for place in 0..KINDS.len() {
            // The order of the kinds alternates from round to round.
            let index = [place, KINDS.len() - 1 - place][with];
            let result = &mut results[index];
            let (duel, ended) = bear(KINDS[index].0, &labs[with], run)?;
            result.add(&duel);
            if let Some(ended) = ended {
                result.count(&ended)?;
                let after = ended.after.as_secs_f64();
                match KINDS[index].0 {
                    Kind::Match => exits.budget.push(after),
                    Kind::MatchAll => exits.no_budget.push(after),
                    _ => {}
                }
            }
        }
    }
    report_on(report, &results);
    Ok(exits)
}

/// Runs the programs of a kind in a lab during `run`.
fn bear(
    kind: Kind,
    lab: &Lab,
    run: impl FnOnce() -> Result<Duel>,
) -> Result<(Duel, Option<Ended>)> {
    let [from, other_from, to, other_to] = pods(lab)?;
    let (pods, options): (_, &[&str]) = match kind {
        Kind::Nothing => return Ok((run()?, None)),
        Kind::Empty => {
            let _attached = attach_empty(lab)?;
            return Ok((run()?, None));
        }
        Kind::Tcpdump => {
            let _captures = captures(lab, [from, to])?;
            return Ok((run()?, None));
        }
        Kind::OtherPods => ([other_from, other_to], &[]),
        Kind::OtherProtocol => ([from, to], &["--proto", "tcp"]),
        Kind::Match => ([from, to], &[]),
        Kind::MatchAll => ([from, to], &["--budget", UNLIMITED]),
    };
    let follow = Follow::start(lab, pods, options)?;
    let duel = run()?;
    Ok((duel, Some(follow.interrupt()?)))
}

impl Results {
    fn add(&mut self, Duel { first, second }: &Duel) {
        let ratios = first
            .iter()
            .zip(second)
            .map(|(with, without)| with / without);
        self.ratios.extend(ratios);
        self.rates.extend(first);
        self.without.extend(second);
    }

    fn count(&mut self, ended: &Ended) -> Result<()> {
        let packets = ended.summary["accounting"]["packets"].as_object();
        for (outcome, count) in packets.context("the summary has no accounting")? {
            let count = count.as_u64().context("a counter is no number")?;
            match outcome.as_str() {
                "emitted" => self.events = self.events.map(|events| events + count),
                "miss" => {}
                _ => self.events[1] += count,
            }
        }
        Ok(())
    }
}

fn report_on(report: &mut Report, results: &[Results; KINDS.len()]) {
    let columns = [
        "beside",
        "packets/s",
        "without",
        "ratio",
        "middle half",
        "events kept",
        "bound",
    ];
    let note = format!(
        "One flow of 64-byte UDP datagrams from pod to pod over VXLAN, through both nodes on one CPU, \
         as fast as it goes; “without” is one like it in a lab without tracer, in turns of 10 ms with \
         the first. Medians of {} turns in {ROUNDS} rounds; the machine's speed differs from row to row, \
         hence the ratio of neighbouring turns. A miss passes 6 programs, a match and tcpdump 8 points. \
         Events kept: the others were beyond the budget or found the ring buffer full, and are counted \
         as lost.",
        results[0].rates.len()
    );
    let mut table = Table::new(&columns, note);
    for ((kind, name), result) in KINDS.iter().zip(results) {
        let ratios = Sample::new(result.ratios.clone());
        let [low, high] = ratios.quartiles();
        let bound = if *kind == Kind::OtherPods {
            report.judge(
                name,
                ratios.median() >= MISS_BOUND,
                &format!("≥ {MISS_BOUND}"),
            )
        } else {
            String::new()
        };
        let [kept, all] = result.events;
        let kept = if all == 0 {
            String::new()
        } else {
            format!("{:.0} %", 100.0 * kept as f64 / all as f64)
        };
        table.row([
            (*name).to_owned(),
            format!("{:.0}", Sample::new(result.rates.clone()).median()),
            format!("{:.0}", Sample::new(result.without.clone()).median()),
            format!("{:.3}", ratios.median()),
            format!("{low:.3}–{high:.3}"),
            kept,
            bound,
        ]);
    }
    report.add(table);
}

/// Two pods of the first node, then two of the second.
fn pods(lab: &Lab) -> Result<[&Pod; 4]> {
    let pods: Vec<&Pod> = lab.pods.iter().collect();
    pods.try_into().ok().context("the labs have four pods each")
}

fn flow(lab: &Lab) -> Result<Flow> {
    let [from, _, to, _] = pods(lab)?;
    Flow::new(from, to)
}

/// The interfaces of a node that packets of all its pods to the other node pass.
fn shared_interfaces(node: &Node) -> [&str; 3] {
    [&node.bridge, &node.overlay, &node.uplink]
}

/// Attaches empty programs to both directions of shared interfaces.
fn attach_empty(lab: &Lab) -> Result<Vec<Programs>> {
    let attach = |node: &Node| {
        let mut programs = Programs::load(0)?;
        for interface in shared_interfaces(node) {
            for direction in [TcAttachType::Ingress, TcAttachType::Egress] {
                programs.attach_empty(interface, direction)?;
            }
        }
        Ok(programs)
    };
    let nodes = lab.nodes.iter();
    nodes
        .map(|node| node.netns.enter(|| attach(node)))
        .collect()
}

/// A running capture, which is killed when this value is dropped.
struct Capture {
    child: Child,
    errors: BufReader<ChildStderr>,
}

impl Drop for Capture {
    fn drop(&mut self) {
        // Both fail only if the child was waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Captures on each interface that the pods' packets pass, on both nodes.
fn captures(lab: &Lab, ends: [&Pod; 2]) -> Result<Vec<Capture>> {
    let mut captures = Vec::new();
    for pod in ends {
        let node = lab.node_of(pod);
        for interface in shared_interfaces(node)
            .into_iter()
            .chain([pod.veth.as_str()])
        {
            captures.push(capture(node, interface)?);
        }
    }
    Ok(captures)
}

/// Starts a capture, and waits until it captures.
fn capture(node: &Node, interface: &str) -> Result<Capture> {
    let mut child = node
        .netns
        .command("tcpdump")
        .args(["-n", "-i", interface, "-w", "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run tcpdump: is it installed?")?;
    let errors = child.stderr.take().context("no pipe")?;
    let mut capture = Capture {
        child,
        errors: BufReader::new(errors),
    };
    let mut said = String::new();
    while !said.contains("listening on") {
        let read = capture.errors.read_line(&mut said)?;
        ensure!(read > 0, "tcpdump ended on {interface}: {}", said.trim());
    }
    Ok(capture)
}
