//! The direction of a journey, and the order of its steps.

use std::{cmp::Reverse, collections::VecDeque};

use super::{Course, Journey, Scene, Step, Translated};
use crate::model::{Direction, Packet, Role, Transport};

/// The direction of a journey: from the follow's source, or towards it. `way`: the translation of
/// the flow, if there is one.
pub(super) fn course(scene: &Scene, packet: &Packet, way: Option<Translated>) -> Course {
    let (src, dst) = match way {
        Some(Translated { first, last, .. }) => (first.src, last.dst),
        None => (packet.src, packet.dst),
    };
    let among_sources = |address| scene.sources.iter().any(|net| net.contains(&address));
    let quoted = match &packet.transport {
        Transport::Icmp(icmp) => icmp.quote.as_deref(),
        _ => None,
    };
    // An error goes the other way than the packet that it quotes.
    let reply = match quoted {
        Some(quote) => among_sources(quote.src),
        None => !among_sources(src) && among_sources(dst),
    };
    if reply {
        Course::Reply
    } else {
        Course::Request
    }
}

/// Gives the journey's packet the ends of its first step. Steps with other ends keep their own
/// ones.
pub(super) fn as_first_seen(journey: &mut Journey) {
    if journey.steps.iter().all(|step| step.ends.is_none()) {
        return;
    }
    let Some(own) = journey.packet.ends() else {
        return;
    };
    let first = journey.steps.first().and_then(|step| step.ends.as_deref());
    let first = first.copied().unwrap_or(own);
    if first == own {
        return;
    }
    journey.packet = journey.packet.with_ends(&first);
    for step in &mut journey.steps {
        let here = step.ends.as_deref().copied().unwrap_or(own);
        step.ends = (here != first).then(|| Box::new(here));
    }
}

/// Orders a journey's steps. The order of one clock stands. Between clocks, a sighting where
/// packets come into a node follows the sighting where they were sent. Then the TTL decides,
/// because it only falls, and then the time.
pub(super) fn causal_order(scene: &Scene, journey: &mut Journey) {
    journey.steps.sort_by_key(|step| step.time);
    let mut clocks: Vec<VecDeque<Step>> = Vec::new();
    let one_clock = journey
        .steps
        .windows(2)
        .all(|pair| scene.one_clock(pair[0].node, pair[1].node));
    if one_clock {
        return;
    }
    for step in journey.steps.drain(..) {
        let own = |steps: &&mut VecDeque<Step>| {
            let first = steps.front();
            first.is_some_and(|first| scene.one_clock(first.node, step.node))
        };
        match clocks.iter_mut().find(own) {
            Some(steps) => steps.push_back(step),
            None => clocks.push([step].into()),
        }
    }
    while let Some(next) = first_of(scene, &clocks) {
        journey.steps.extend(clocks[next].pop_front());
    }
}

/// The clock whose next step is before those of all other clocks. If the steps form a circle, any
/// of them.
fn first_of(scene: &Scene, clocks: &[VecDeque<Step>]) -> Option<usize> {
    let waits = |clock: usize, step: &Step| {
        let others = clocks
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != clock);
        let mut sent = others.flat_map(|(_, steps)| steps);
        comes_in(scene, step) && sent.any(|sent| may_lead_to(scene, sent, step))
    };
    let next = clocks.iter().enumerate().filter_map(|(clock, steps)| {
        let step = steps.front()?;
        let order = (waits(clock, step), Reverse(step.ttl), step.time);
        Some((order, clock))
    });
    next.min().map(|(_, clock)| clock)
}

/// Whether a step is where packets come into a node from other nodes.
fn comes_in(scene: &Scene, step: &Step) -> bool {
    let point = scene.point(step);
    matches!(point.role, Role::Uplink | Role::Overlay) && point.direction == Direction::Ingress
}

/// Whether a packet that was seen at `out` may be the one that was seen at `into`. `out` leaves a
/// node, in the same tunnel or in one to the node of `into`, and its TTL is not lower.
fn may_lead_to(scene: &Scene, out: &Step, into: &Step) -> bool {
    let point = scene.point(out);
    let leaves = point.role == Role::Uplink || point.is_opaque();
    let fits = match (out.encap, into.encap) {
        (Some(out), Some(into)) => {
            (out.outer_src, out.outer_dst) == (into.outer_src, into.outer_dst)
        }
        (Some(out), None) => scene.nodes[into.node].local.contains(&out.outer_dst),
        (None, _) => true,
    };
    leaves && point.direction == Direction::Egress && out.ttl >= into.ttl && fits
}
