//! Compares the clocks of nodes by the packets that the captures of several nodes have.

use std::time::Duration;

use tracer_common::config::Load;
use tracer_core::{
    journey::{ComparedClock, ComparedClocks, Crossings},
    model::{Hello, skew},
};

use super::{
    ImportError,
    capture::{Captured, Input, Item},
    convert::{Frame, frame},
    points::Layout,
    survey::Survey,
};
use crate::inventory::list;

/// What is known of the clocks of all nodes.
#[derive(Default)]
pub(super) struct Clocks {
    /// How far they may differ, ns.
    pub(super) skew: i64,
    /// What the user has to know, one sentence each.
    pub(super) sentences: Vec<String>,
}

/// Compares the clocks of all nodes, and shifts each to that of its reference node.
pub(super) fn compare(
    inputs: &[Input],
    surveys: &[Survey],
    layout: &mut Layout,
    load: &Load,
    hold: Duration,
) -> Result<Clocks, ImportError> {
    if layout.nodes.len() < 2 {
        return Ok(Clocks::default());
    }
    let compared = crossings(inputs, surveys, layout, load)?.clocks(layout.nodes.len());
    let mut sentences = Vec::new();
    for (node, clock) in compared.clocks.iter().enumerate() {
        if let Some(clock) = clock.filter(|clock| clock.reference != node) {
            sentences.push(sentence(&layout.nodes, node, &clock));
            let hello = &mut layout.nodes[node];
            hello.realtime_offset = -clock.ahead;
            hello.clock_bound = clock.bound;
        }
    }
    let Some(doubt) = doubt(&layout.nodes, &compared) else {
        let skew = skew(&layout.nodes);
        return Ok(Clocks { skew, sentences });
    };
    sentences.push(format!(
        "{doubt}: import assumes that these clocks agree within {hold:?}"
    ));
    // Clocks that nothing compared may differ as those of separate recordings do. Hops that differ
    // by more are not joined.
    let hold = i64::try_from(hold.as_nanos()).unwrap_or(i64::MAX);
    let bounds = layout.nodes.iter().map(|hello| hello.clock_bound);
    let skew = bounds.fold(0, i64::max).saturating_add(hold);
    Ok(Clocks { skew, sentences })
}

/// Which clocks nothing compares, and why. `None` if all have one reference.
fn doubt(nodes: &[Hello], compared: &ComparedClocks) -> Option<String> {
    let group = |node: usize| compared.clocks[node].map_or(node, |clock| clock.reference);
    let apart = |one: usize, other: usize| group(one) != group(other);
    let set = compared.contradicted.iter();
    if let Some((one, other)) = set.copied().find(|(one, other)| apart(*one, *other)) {
        return Some(format!(
            "the packets between {} and {} contradict each other about the clocks, as if somebody had \
             set one",
            nodes[one].node, nodes[other].node
        ));
    }
    // All clocks that are compared with the first node's have that node as their reference.
    let (first, others): (Vec<usize>, Vec<usize>) =
        (0..nodes.len()).partition(|node| !apart(0, *node));
    let names = |of: &[usize]| {
        of.iter()
            .map(|node| &*nodes[*node].node)
            .collect::<Vec<_>>()
    };
    (!others.is_empty()).then(|| {
        format!(
            "fewer than two packets in each direction compare the clock of {} with that of {}",
            list(&names(&others), "or"),
            list(&names(&first), "or")
        )
    })
}

/// Reads the packets of all files.
fn crossings(
    inputs: &[Input],
    surveys: &[Survey],
    layout: &Layout,
    load: &Load,
) -> Result<Crossings, ImportError> {
    let mut crossings = Crossings::default();
    for (file, (input, survey)) in inputs.iter().zip(surveys).enumerate() {
        let mut capture = input.capture()?;
        let mut packet = Captured::default();
        while let Some(item) = capture.next(&mut packet) {
            let Item::Packet = item else { continue };
            let Some((key, Frame::Hop(hop, told))) = frame(survey, &packet, load) else {
                continue;
            };
            let Some(route) = layout.routes.get(&(file, key)) else {
                continue;
            };
            let number = route.point(route.direction(&hop, told));
            let point = &layout.nodes[route.node].points[number];
            let time = i64::try_from(hop.time).unwrap_or(i64::MAX);
            crossings.add((route.node, number), point, time, &hop.packet);
        }
    }
    Ok(crossings)
}

fn sentence(nodes: &[Hello], node: usize, clock: &ComparedClock) -> String {
    // Captures have microseconds at best, in most cases.
    let round = |time: i64| Duration::from_micros(time.unsigned_abs().div_ceil(1_000));
    let (name, other) = (&nodes[node].node, &nodes[clock.reference].node);
    if clock.ahead == 0 {
        return format!(
            "the clocks of {name} and {other} agree within {:?}, as packets in both directions show",
            round(clock.bound)
        );
    }
    let how = if clock.ahead < 0 {
        "behind"
    } else {
        "ahead of"
    };
    format!(
        "the clock of {name} is {:?} {how} that of {other}, ± {:?}, as packets in both directions \
         show: import has corrected the times of {name}",
        round(clock.ahead),
        round(clock.bound)
    )
}
