//! The sums of a follow.

use tracer_common::counters::Counter;
use tracer_core::{
    journal::Selected,
    journey::Scene,
    verdict::{Accounting, Place, Summary},
};

use super::{flow::Flow, interface};
use crate::view::{
    HOST, Look, dns,
    legs::{self, Begin, Leg},
    look::Palette,
    moment::Span,
    selected,
    words::{self, Weight, grouped, plural},
};

pub(super) fn show(
    look: &Look,
    scene: &Scene,
    summary: &Summary,
    selected: Option<&Selected>,
) -> Flow {
    let mut flow = Flow::new(look.width);
    let palette = look.palette;
    flow.indent(2);
    if let Some(selected) = selected {
        flow.words(palette.strong, &selected::sentence(selected, grouped));
        flow.line();
    }
    verdicts(&mut flow, palette, summary);
    others(&mut flow, palette, summary.others);
    said(&mut flow, palette, dns::sentences(&summary.dns));
    drops(&mut flow, palette, summary);
    let legs = legs::in_path_order(scene, summary);
    if !legs.is_empty() {
        latencies(&mut flow, palette, &legs);
    }
    said(&mut flow, palette, accounting(&summary.accounting, true));
    flow
}

fn said(flow: &mut Flow, palette: Palette, sentences: Vec<(Weight, String)>) {
    for (weight, sentence) in sentences {
        let style = match weight {
            Weight::Plain => palette.plain,
            Weight::Odd => palette.odd,
            Weight::Alarm => palette.alarm,
        };
        flow.words(style, &sentence);
        flow.line();
    }
}

fn verdicts(flow: &mut Flow, palette: Palette, summary: &Summary) {
    let journeys = summary.journeys();
    let verdicts = summary.verdicts.iter();
    let shares = words::kinds(verdicts.filter(|(_, journeys)| **journeys > 0));
    let text = if shares.is_empty() {
        "No journeys.".to_owned()
    } else {
        format!("{}: {shares}", words::count(journeys, "journey"))
    };
    flow.words(palette.strong, &text);
    flow.line();
}

/// Where packets were dropped, most drops first.
fn drops(flow: &mut Flow, palette: Palette, summary: &Summary) {
    let mut drops: Vec<_> = summary.drops.iter().collect();
    drops.sort_by_key(|(_, journeys)| std::cmp::Reverse(**journeys));
    for (place, journeys) in drops {
        flow.indent(10);
        flow.tab(2);
        flow.put(palette.plain, &format!("{:>6}", grouped(*journeys)));
        flow.put(palette.strong, &place.node);
        if &*place.netns != HOST {
            flow.words(palette.plain, &format!("in {}", place.netns));
        }
        if let Some(interface) = &place.interface {
            flow.words(palette.plain, &format!("at {interface}"));
        }
        flow.words(
            palette.alarm,
            &format!("{} in {}", place.reason, place.function),
        );
        flow.line();
    }
    flow.indent(2);
}

/// Columns of the leg, the count, and each of the three latencies.
const WAY: usize = 45;
const COUNT: usize = 8;
const LATENCY: usize = 8;

fn latencies(flow: &mut Flow, palette: Palette, legs: &[Leg<'_>]) {
    flow.line();
    flow.put(palette.strong, "Latency from hop to hop");
    flow.tab(WAY);
    for (width, title) in [
        (COUNT, "count"),
        (LATENCY, "p50"),
        (LATENCY, "p99"),
        (LATENCY, "max"),
    ] {
        flow.right(palette.strong, width, title);
    }
    flow.line();
    let mut before: Option<&Leg<'_>> = None;
    for leg in legs {
        let leads_on = |before: &Leg<'_>| {
            before.to == leg.from
                && (&before.from.node, &before.to.node) == (&leg.from.node, &leg.to.node)
        };
        if leg.begins.is_some() || !before.is_some_and(leads_on) {
            heading(flow, palette, leg);
        }
        row(flow, palette, leg);
        before = Some(leg);
    }
    flow.line();
}

/// The nodes of the next legs.
fn heading(flow: &mut Flow, palette: Palette, leg: &Leg<'_>) {
    flow.space(2);
    if leg.from.node == leg.to.node {
        flow.put(palette.plain, &leg.from.node);
    } else {
        let to = format!("→ {}", leg.to.node);
        flow.phrase(palette.plain, &[&leg.from.node, &to]);
    }
    match leg.begins {
        Some(Begin::Pod(pod)) => flow.words(palette.plain, &format!("from {pod}")),
        Some(Begin::Elsewhere) => {
            let place = leg.from;
            let begin = format!("from {} {}", place.interface, place.way());
            flow.words(palette.plain, &begin);
        }
        None => {}
    }
    if !leg.one_clock {
        flow.words(palette.dim, "(~ two clocks)");
    }
    flow.line();
}

fn row(flow: &mut Flow, palette: Palette, leg: &Leg<'_>) {
    let end = |place: &Place| {
        let interface = interface(&place.netns, &place.interface);
        format!("{interface} {}", place.way())
    };
    flow.space(4);
    flow.put(
        palette.plain,
        &format!("{} → {}", end(leg.from), end(leg.to)),
    );
    flow.tab(WAY);
    flow.right(palette.dim, COUNT, &leg.latency.len().to_string());
    let mark = if leg.one_clock { "" } else { "~" };
    for latency in [leg.quantile(0.5), leg.quantile(0.99), leg.latency.max()] {
        let span = Span(i64::try_from(latency).unwrap_or(i64::MAX));
        flow.right(palette.plain, LATENCY, &format!("{mark}{span}"));
    }
    flow.line();
}

/// Journeys that were watched only to learn where a Service's packets go, and that the follow does
/// not ask about.
fn others(flow: &mut Flow, palette: Palette, others: u64) {
    if others == 0 {
        return;
    }
    let text = format!(
        "{} other journey{} went to another endpoint of a followed Service, or came from another \
         source through a node's address; not shown.",
        grouped(others),
        plural(others)
    );
    flow.words(palette.plain, &text);
    flow.line();
}

/// Where every packet went, and what this means for the other sums, one sentence each. Before the
/// follow has ended, counters are older than hops, and sums need not agree.
pub(in crate::view) fn accounting(accounting: &Accounting, ended: bool) -> Vec<(Weight, String)> {
    let unequal = if ended {
        (Weight::Alarm, imbalance(accounting))
    } else {
        (Weight::Plain, ahead(accounting))
    };
    let notes = [
        (Weight::Plain, Some(whereabouts(accounting))),
        (Weight::Alarm, lost(accounting)),
        (Weight::Alarm, drops_lost(accounting)),
        (Weight::Odd, drops_late(accounting)),
        unequal,
        (Weight::Odd, unparsed(accounting)),
        (Weight::Odd, sampled(accounting)),
        (Weight::Odd, evicted(accounting)),
    ];
    let notes = notes.into_iter();
    notes
        .filter_map(|(weight, note)| Some((weight, note?)))
        .collect()
}

/// What makes everything else less certain: lost events, and packets that were left out.
pub(crate) fn doubts(summary: &Summary) -> Vec<String> {
    let notes = accounting(&summary.accounting, true).into_iter();
    let odd = notes.filter(|(weight, _)| *weight != Weight::Plain);
    odd.map(|(_, note)| note).collect()
}

fn whereabouts(accounting: &Accounting) -> String {
    let packets = &accounting.packets;
    let (seen, events) = (packets.seen(), packets.get(Counter::Emitted));
    let late = match accounting.late {
        0 => String::new(),
        late => format!(
            " and {} came after {} journey was shown",
            grouped(late),
            if late == 1 { "its" } else { "their" }
        ),
    };
    format!(
        "{} sighting{}, {} of other traffic; of {} event{} {} became part of a journey{late}.",
        grouped(seen),
        plural(seen),
        grouped(packets.get(Counter::Miss)),
        grouped(events),
        plural(events),
        grouped(accounting.joined),
    )
}

fn lost(accounting: &Accounting) -> Option<String> {
    let causes = [
        (
            accounting.packets.get(Counter::RingFull),
            "ring buffer full",
        ),
        (
            accounting.packets.get(Counter::RateLimited),
            "over the event budget",
        ),
        (accounting.malformed, "not decodable"),
    ];
    let causes: Vec<_> = causes.iter().filter(|(events, _)| *events > 0).collect();
    let why = match causes.as_slice() {
        [] => return None,
        [(_, why)] => (*why).to_owned(),
        several => several
            .iter()
            .map(|(events, why)| format!("{} {why}", grouped(*events)))
            .collect::<Vec<_>>()
            .join(", "),
    };
    let (events, were) = number(accounting.lost(), "event");
    Some(format!(
        "{events} {were} lost ({why}): packets that were not seen may still have passed."
    ))
}

fn drops_lost(accounting: &Accounting) -> Option<String> {
    let drops = &accounting.drops;
    let lost = drops.lost();
    (lost > 0).then(|| {
        let (reports, were) = number(lost, "drop");
        format!("{reports} {were} not reported: what seems to have arrived may have been dropped.")
    })
}

fn drops_late(accounting: &Accounting) -> Option<String> {
    let late = accounting.drops.late;
    (late > 0).then(|| {
        let (drops, were) = number(late, "packet");
        format!("{drops} {were} freed after the verdict on them was shown.")
    })
}

fn imbalance(accounting: &Accounting) -> Option<String> {
    (!accounting.balances()).then(|| {
        format!(
            "The accounting does not balance: {} events emitted, {} not decodable, \
             {} arrived, {} joined, {} late; what is not among them may be missing above.",
            grouped(accounting.packets.get(Counter::Emitted)),
            grouped(accounting.malformed),
            grouped(accounting.hops),
            grouped(accounting.joined),
            grouped(accounting.late),
        )
    })
}

fn ahead(accounting: &Accounting) -> Option<String> {
    (!accounting.balances()).then(|| {
        "Counters arrive after the hops that they count: the sums agree at the end.".to_owned()
    })
}

fn unparsed(accounting: &Accounting) -> Option<String> {
    let packets = accounting.packets.get(Counter::Unparsed);
    (packets > 0).then(|| {
        format!(
            "{} had headers that could not be read (cut short, impossible or nested too \
             deep), so nobody knows whether they belonged to the follow.",
            number(packets, "packet").0
        )
    })
}

fn sampled(accounting: &Accounting) -> Option<String> {
    let packets = accounting.packets.get(Counter::SampledOut);
    (packets > 0).then(|| {
        let (packets, were) = number(packets, "sighting");
        format!(
            "{packets} of followed packets {were} left out by sampling, \
             the same packets at every hop."
        )
    })
}

fn evicted(accounting: &Accounting) -> Option<String> {
    (accounting.evicted > 0).then(|| {
        let (journeys, were) = number(accounting.evicted, "journey");
        format!("{journeys} {were} given up unfinished, because too many were open at once.")
    })
}

/// A number of things, and the verb that goes with it.
fn number(number: u64, thing: &str) -> (String, &'static str) {
    let were = if number == 1 { "was" } else { "were" };
    (words::count(number, thing), were)
}
