//! The next point where the rest of a journey had to be seen. This is the other node's uplink, the
//! other end of an opaque tunnel, the pod's bridge port, or tc behind XDP.

use super::{
    Circumstances, LegKind,
    case::Case,
    fates::Fates,
    next_hop::{Leads, leads},
    receive::{is_before, next_hook},
    rest::{Gone, Next, gone, in_the_dark, last_of_rest, observed, seen_at},
    tunnel::is_unrecognised,
};
use crate::model::{Direction, Point, Role};

/// The next point of the rest of a journey, if it is known.
pub(super) fn next<'a>(
    case: &Case<'a>,
    fates: &Fates<'_>,
    circumstances: &impl Circumstances,
) -> Option<Next<'a>> {
    next_node(case, fates, circumstances)
        .or_else(|| next_tunnel(case, fates, circumstances))
        .or_else(|| next_port(case, fates, circumstances))
        .or_else(|| next_hook(case, fates, circumstances))
}

/// The next point on the wire: the rest left one node's uplink, and had to come in at the
/// other node's, or at that of a node between them.
fn next_node<'a>(
    case: &Case<'a>,
    fates: &Fates<'_>,
    circumstances: &impl Circumstances,
) -> Option<Next<'a>> {
    let gone = gone(case, fates)?;
    let Gone { step, to, .. } = gone;
    let nodes = &case.scene.nodes;
    let node = nodes.iter().position(|hello| hello.node == *to)?;
    if is_unrecognised(case, step) {
        return None;
    }
    let node = match leads(case, &gone, node, circumstances) {
        Leads::There => node,
        Leads::By(next) => next,
        Leads::Elsewhere(_) | Leads::Unknown => return None,
    };
    let uplink =
        |point: &Point| (point.role, point.direction) == (Role::Uplink, Direction::Ingress);
    // The packet may come in at any uplink, so all must be observed. Proof that they work is
    // a packet at any of them, or a receive counter that says that nothing at all came in.
    let mut points = Vec::new();
    let mut packets = 0;
    let mut idle = false;
    let mut silent = Some(i64::MIN);
    let ways_in: Vec<_> = observed(case, node, uplink).collect();
    for other in &ways_in {
        let interface = &other.1.interface;
        let (point, seen) = seen_at(case, node, *other, circumstances)?;
        // A packet passes XDP first, so the XDP point of an interface stands for its tc point.
        let is_at_xdp = |(_, first): &(usize, &Point)| is_before(first, other.1);
        if ways_in.iter().any(is_at_xdp) {
            continue;
        }
        let silence = circumstances.silence(node, interface, step.time, case.journey.last());
        idle |= seen == 0 && !silence.is_some_and(|silence| silence.counts);
        silent = silent
            .zip(silence)
            .map(|(since, silence)| since.max(silence.since));
        packets += seen;
        points.push(point);
    }
    let silent = silent.filter(|_| !points.is_empty());
    (packets > 0 || silent.is_some()).then_some(Next {
        step,
        node,
        points,
        packets,
        idle,
        silent,
        kind: LegKind::Wire,
    })
}

/// The next point of an opaque tunnel: out of one node's tunnel device, into the other node's.
/// Between the two there is only an encrypted packet.
fn next_tunnel<'a>(
    case: &Case<'a>,
    fates: &Fates<'_>,
    circumstances: &impl Circumstances,
) -> Option<Next<'a>> {
    if !in_the_dark(case, fates) {
        return None;
    }
    let step = last_of_rest(case, fates)?;
    let out = case.scene.point(step);
    let address = case.journey.destination()?;
    let home = &case.scene.owner(address, step.time)?.node;
    let nodes = &case.scene.nodes;
    let node = nodes.iter().position(|hello| hello.node == *home)?;
    let comes_in = |point: &Point| {
        let is_way_in = point.direction == Direction::Ingress && !point.is_xdp();
        point.is_opaque() && point.kind == out.kind && is_way_in
    };
    let mut ways_in = observed(case, node, comes_in);
    let (point, into) = ways_in.next()?;
    // If there are several devices, it is not known which one the packet takes.
    if node == step.node || ways_in.next().is_some() {
        return None;
    }
    let (point, packets) = seen_at(case, node, (point, into), circumstances)?;
    (packets > 0).then(|| Next::at(step, node, (point, packets), LegKind::Tunnel))
}

/// The next point on a bridge: from the bridge device to the pod's port of that bridge.
fn next_port<'a>(
    case: &Case<'a>,
    fates: &Fates<'_>,
    circumstances: &impl Circumstances,
) -> Option<Next<'a>> {
    let step = last_of_rest(case, fates)?;
    let out = case.scene.point(step);
    if (out.role, out.direction) != (Role::Bridge, Direction::Egress) {
        return None;
    }
    let address = case.journey.destination()?;
    let (scene, start) = (case.scene, case.journey.start());
    let mut ports = scene.nodes.of_pod(address).filter(|(node, _, point)| {
        *node == step.node
            && (point.role, point.direction) == (Role::Veth, Direction::Egress)
            && scene.until(*node, point) > start
    });
    let (_, index, point) = ports.next_back()?;
    let port = (index, point);
    let (point, packets) = seen_at(case, step.node, port, circumstances)?;
    Some(Next {
        // Without any packet so far, the port's program may not work.
        idle: packets == 0,
        ..Next::at(step, step.node, (point, packets), LegKind::Bridge)
    })
}
