//! Compares the clocks of nodes by the packets that the captures of several nodes have.

use std::time::Duration;

use tracer_common::config::Load;
use tracer_core::{
    journey::{ComparedClock, Crossings},
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
    let clocks = crossings(inputs, surveys, layout, load)?.clocks(layout.nodes.len());
    let mut sentences = Vec::new();
    for (node, clock) in clocks.iter().enumerate() {
        if let Some(clock) = clock.filter(|clock| clock.reference != node) {
            sentences.push(sentence(&layout.nodes, node, &clock));
            let hello = &mut layout.nodes[node];
            hello.realtime_offset = -clock.ahead;
            hello.clock_bound = clock.bound;
        }
    }
    // All clocks that are compared with the first node's have that node as their reference.
    let is_compared = |clock: &Option<ComparedClock>| clock.is_some_and(|it| it.reference == 0);
    let others = layout.nodes.iter().zip(&clocks);
    let others = others.filter(|(_, clock)| !is_compared(clock));
    let others: Vec<&str> = others.map(|(hello, _)| &*hello.node).collect();
    if others.is_empty() {
        let skew = skew(&layout.nodes);
        return Ok(Clocks { skew, sentences });
    }
    let first = clocks[0].map_or("another node", |_| &*layout.nodes[0].node);
    sentences.push(format!(
        "no packets in both directions compare the clock of {} with that of {first}: import assumes \
         that they agree within {hold:?}",
        list(&others, "or")
    ));
    // Clocks that nothing compared may differ as those of separate recordings do. Hops that differ
    // by more are not joined.
    let skew = i64::try_from(hold.as_nanos()).unwrap_or(i64::MAX);
    Ok(Clocks { skew, sentences })
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
