//! Sums of recordings: `tracer stats`.

use std::{
    cmp::Reverse,
    io::{self, Write},
};

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::Serialize;
use tracer_core::{
    journal::Selected,
    verdict::{Kind, LatencyOf, LossOf, Place, Stats},
};

use super::{
    Look, json,
    look::Palette,
    moment::Span,
    selected::{self, Where},
    text::Flow,
};
use crate::terminal::columns;

/// Columns of each figure. `FIGURES` includes the space before each.
const FIGURE: usize = 8;
const FIGURES: usize = 5 * (1 + FIGURE);
/// The widest name of two points.
const MOST: usize = 100;

/// Columns that the figures leave for names.
fn name_width(look: &Look) -> usize {
    MOST.min(look.width - FIGURES)
}

/// Writes the sums as text for people.
///
/// # Errors
/// The errors of `out`.
pub fn stats_text(
    out: &mut impl Write,
    look: &Look,
    stats: &Stats,
    selected: Option<&Selected>,
) -> io::Result<()> {
    let plain = Palette::PLAIN.plain;
    let mut flow = Flow::new(look.width);
    let width = name_width(look);
    let sums: Vec<String> = stats
        .verdicts
        .iter()
        .map(|(kind, journeys)| format!("{journeys} {}", kind.name()))
        .collect();
    let all: u64 = stats.verdicts.values().sum();
    flow.indent(2);
    if let Some(selected) = selected {
        flow.words(
            plain,
            &selected::sentence(selected, |number| number.to_string()),
        );
        flow.line();
    }
    flow.words(plain, &format!("{all} journeys: {}", sums.join(", ")));
    flow.line();
    flow.line();
    flow.put(plain, "latency");
    flow.tab(width + 1);
    for title in ["count", "p50", "p90", "p99", "max"] {
        flow.right(plain, FIGURE, title);
    }
    flow.line();
    for (of, latency) in &stats.latencies {
        name(&mut flow, width, &latency_words(of));
        flow.right(plain, FIGURE, &latency.len().to_string());
        let mark = if of.one_clock { "" } else { "~" };
        let parts = [0.5, 0.9, 0.99].map(|part| latency.value_at_quantile(part));
        for latency in parts.into_iter().chain([latency.max()]) {
            flow.right(plain, FIGURE, &format!("{mark}{}", span(latency)));
        }
        flow.line();
    }
    if stats.latencies.keys().any(|of| !of.one_clock) {
        flow.words(plain, "~ times of two clocks: as exact as these agree");
        flow.line();
    }
    if !stats.losses.is_empty() {
        flow.line();
        flow.put(plain, "not delivered");
        flow.tab(width + 1);
        flow.right(plain, FIGURE, "journeys");
        flow.line();
        let mut losses: Vec<_> = stats.losses.iter().collect();
        losses.sort_by_key(|(_, journeys)| Reverse(**journeys));
        for (of, journeys) in losses {
            name(&mut flow, width, &loss_words(of));
            flow.right(plain, FIGURE, &journeys.to_string());
            flow.line();
        }
    }
    out.write_all(flow.finish().as_bytes())
}

/// The name of a row. A long name has lines of its own.
fn name(flow: &mut Flow, width: usize, words: &[String]) {
    let plain = Palette::PLAIN.plain;
    flow.indent(2);
    for words in words {
        flow.words(plain, words);
    }
    if words.iter().map(|words| columns(words) + 1).sum::<usize>() > width {
        flow.line();
    }
    flow.tab(width + 1);
}

fn span(latency: u64) -> String {
    Span(i64::try_from(latency).unwrap_or(i64::MAX)).to_string()
}

fn latency_words(of: &LatencyOf) -> Vec<String> {
    let mut words = Vec::new();
    if let Some((from, to)) = &of.ends {
        words.push(format!("{from} → {to}"));
    }
    match &of.leg {
        Some((from, to)) if (&from.node, &from.netns) == (&to.node, &to.netns) => {
            words.push(format!("{} → {}", point(from), end(to)));
        }
        Some((from, to)) => words.push(format!("{} → {}", point(from), point(to))),
        None => words.push("whole way".to_owned()),
    }
    words
}

fn point(place: &Place) -> String {
    if place.netns == super::HOST {
        format!("{} {}", place.node, end(place))
    } else {
        format!("{} {} {}", place.node, place.netns, end(place))
    }
}

fn end(place: &Place) -> String {
    format!("{} {}", place.interface, place.way())
}

fn loss_words(of: &LossOf) -> Vec<String> {
    let mut words = vec![of.verdict.name().to_owned()];
    if let Some((from, to)) = &of.ends {
        words.push(format!("{from} → {to}"));
    }
    if let Some((node, netns, interface)) = &of.place {
        if let Some(interface) = interface {
            words.push(format!("at {interface}"));
        }
        if **netns != *super::HOST {
            words.push(format!("in {netns}"));
        }
        words.push(format!("on {node}"));
    }
    match &of.reason {
        Some((reason, Some(function))) => words.push(format!("{reason} in {function}")),
        Some((cause, None)) => words.push(format!("({cause})")),
        None => {}
    }
    words
}

/// Writes the sums as JSON: one `tracer.stats/1` object.
///
/// # Errors
/// The errors of `out`.
pub fn stats_json(
    out: &mut impl Write,
    stats: &Stats,
    selected: Option<&Selected>,
) -> io::Result<()> {
    let sums = Sums {
        schema: "tracer.stats/1",
        r#where: selected.map(Where::new),
        journeys: stats
            .verdicts
            .iter()
            .map(|(kind, journeys)| Share {
                verdict: *kind,
                journeys: *journeys,
            })
            .collect(),
        latency: stats
            .latencies
            .iter()
            .map(|(of, latency)| Latency::of(of, latency))
            .collect(),
        losses: stats
            .losses
            .iter()
            .map(|(of, journeys)| Loss::of(of, *journeys))
            .collect(),
    };
    out.write_all(&json::line(&sums)?)
}

/// The document `tracer.stats/1`: recordings, summed up.
#[derive(JsonSchema, Serialize)]
pub(super) struct Sums<'a> {
    /// Kind and version of the document.
    #[schemars(extend("const" = "tracer.stats/1"))]
    schema: &'static str,
    /// With `--where`, how many journeys the sums cover; otherwise null.
    r#where: Option<Where<'a>>,
    /// Numbers of journeys by verdict, for the verdicts that occur.
    journeys: Vec<Share>,
    /// Latencies of each leg; without legs in `--group-by`, of the whole way of packets that were
    /// delivered.
    latency: Vec<Latency<'a>>,
    /// Journeys that were not delivered.
    losses: Vec<Loss<'a>>,
}

/// How many journeys had a verdict.
#[derive(JsonSchema, Serialize)]
struct Share {
    /// Kind of the verdict.
    verdict: Kind,
    /// Number of journeys.
    journeys: u64,
}

/// Latencies of a leg, or of the whole way.
#[derive(JsonSchema, Serialize)]
struct Latency<'a> {
    /// Source of the packets: `namespace/name` of a pod, else an address; null if `--group-by` has
    /// no `pod`.
    src: Option<&'a str>,
    /// Destination of the packets, as in `src`.
    dst: Option<&'a str>,
    /// First point of the leg; null for the whole way.
    from: Option<json::Place<'a>>,
    /// Last point of the leg; null for the whole way.
    to: Option<json::Place<'a>>,
    /// Whether both times come from one clock. If not, negative spans are left out, and the others
    /// are as exact as the two clocks agree.
    one_clock: bool,
    /// Number of packets.
    count: u64,
    /// Time that half of the packets took at most, in ns, with three significant figures.
    p50_ns: u64,
    /// Time that 90 % of the packets took at most, in ns, with three significant figures.
    p90_ns: u64,
    /// Time that 99 % of the packets took at most, in ns, with three significant figures.
    p99_ns: u64,
    /// Time that all packets took at most, in ns, with three significant figures.
    max_ns: u64,
}

/// Journeys that were not delivered, of one kind.
#[derive(JsonSchema, Serialize)]
struct Loss<'a> {
    /// Kind of the verdict.
    verdict: Kind,
    /// Source of the packets: `namespace/name` of a pod, else an address; null if `--group-by` has
    /// no `pod`.
    src: Option<&'a str>,
    /// Destination of the packets, as in `src`.
    dst: Option<&'a str>,
    /// Node whose kernel dropped the packets; null if no kernel did, or if `--group-by` has no
    /// `leg`.
    node: Option<&'a str>,
    /// `host`, or `namespace/name` of the pod in whose network namespace the drop was; null as
    /// `node` is.
    netns: Option<&'a str>,
    /// Interface of the drop; null as `node` is, and if the kernel no longer knows the interface.
    interface: Option<&'a str>,
    /// The kernel's name of the drop reason, or the verdict's cause if no kernel dropped the
    /// packets; null if `--group-by` has no `reason`, and if no cause is known.
    reason: Option<&'a str>,
    /// Kernel function that freed the packets; null if no kernel did, or if `--group-by` has no
    /// `reason`.
    function: Option<&'a str>,
    /// Number of journeys.
    journeys: u64,
}

impl<'a> Latency<'a> {
    fn of(of: &'a LatencyOf, latency: &Histogram<u64>) -> Self {
        let (src, dst) = of.ends.as_ref().map(|(src, dst)| (&**src, &**dst)).unzip();
        let (from, to) = of
            .leg
            .as_ref()
            .map(|(from, to)| (json::Place::named(from), json::Place::named(to)))
            .unzip();
        Self {
            src,
            dst,
            from,
            to,
            one_clock: of.one_clock,
            count: latency.len(),
            p50_ns: latency.value_at_quantile(0.5),
            p90_ns: latency.value_at_quantile(0.9),
            p99_ns: latency.value_at_quantile(0.99),
            max_ns: latency.max(),
        }
    }
}

impl<'a> Loss<'a> {
    fn of(of: &'a LossOf, journeys: u64) -> Self {
        let (src, dst) = of.ends.as_ref().map(|(src, dst)| (&**src, &**dst)).unzip();
        let place = of.place.as_ref();
        let reason = of.reason.as_ref();
        Self {
            verdict: of.verdict,
            src,
            dst,
            node: place.map(|(node, ..)| &**node),
            netns: place.map(|(_, netns, _)| &**netns),
            interface: place.and_then(|(.., interface)| interface.as_deref()),
            reason: reason.map(|(reason, _)| &**reason),
            function: reason.and_then(|(_, function)| function.as_deref()),
            journeys,
        }
    }
}
