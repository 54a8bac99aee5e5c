//! Which way a journey goes, and in what order its steps follow.

use super::{Course, Journey, Scene};
use crate::link::{Direction, Packet, Role, Transport};

/// From the follow's source, or towards it.
pub(super) fn course(scene: &Scene, packet: &Packet) -> Course {
    let among_sources = |address| scene.sources.iter().any(|net| net.contains(&address));
    let quoted = match &packet.transport {
        Transport::Icmp(icmp) => icmp.quote.as_ref(),
        _ => None,
    };
    // An error goes the other way than the packet that it quotes.
    let reply = match quoted {
        Some(quote) => among_sources(quote.src),
        None => !among_sources(packet.src) && among_sources(packet.dst),
    };
    if reply {
        Course::Reply
    } else {
        Course::Request
    }
}

/// Orders a journey's steps. One clock's order stands; between clocks the
/// node that a packet enters from the underlay, or out of a tunnel whose packets
/// are not seen there, comes after the one that sent it there.
pub(super) fn causal_order(scene: &Scene, journey: &mut Journey) {
    let one_clock = journey
        .steps
        .windows(2)
        .all(|pair| scene.one_clock(pair[0].node, pair[1].node));
    journey.steps.sort_by_key(|step| step.time);
    if one_clock {
        return;
    }
    let enters: Vec<bool> = (0..scene.nodes.len())
        .map(|node| {
            journey
                .steps
                .iter()
                .find(|step| step.node == node)
                .is_some_and(|step| {
                    let point = scene.point(step);
                    (point.role == Role::Uplink || point.is_opaque())
                        && point.direction == Direction::Ingress
                })
        })
        .collect();
    journey.steps.sort_by_key(|step| enters[step.node]);
}
