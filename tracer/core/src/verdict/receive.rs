//! What XDP of an interface saw and its tc did not: between the two are the driver and GRO.

use super::{
    Circumstances, Evidence, LegKind, Where,
    case::Case,
    fates::Fates,
    rest::{Next, last_of_rest, observed, seen_at},
};
use crate::model::{Direction, Point, Transport};

/// Whether `first` is XDP of an interface, and `point` is tc ingress of the same interface.
pub(super) fn is_before(first: &Point, point: &Point) -> bool {
    first.is_xdp()
        && !point.is_xdp()
        && point.direction == Direction::Ingress
        && (&first.netns, first.ifindex) == (&point.netns, point.ifindex)
}

/// The tc point that follows the last step, if that step was at XDP of the same interface.
pub(super) fn next_hook<'a>(
    case: &Case<'a>,
    fates: &Fates<'_>,
    circumstances: &impl Circumstances,
) -> Option<Next<'a>> {
    let step = last_of_rest(case, fates)?;
    let first = case.scene.point(step);
    let behind = observed(case, step.node, |point| is_before(first, point)).next()?;
    let (point, packets) = seen_at(case, step.node, behind, circumstances)?;
    (packets > 0).then(|| Next::at(step, step.node, (point, packets), LegKind::Receive))
}

/// Whether GRO may have merged a packet with others between XDP and tc. Then tc sees the merged
/// packet, which is none of those that XDP saw. TCP segments are still told apart by their bytes.
/// GRO leaves ICMP, SCTP and ARP alone. If a node asks for it, GRO merges UDP and tunnels' packets,
/// and takes ESP, which it also decrypts (net/ipv4/esp4_offload.c).
fn may_merge(case: &Case<'_>) -> bool {
    let transport = &case.journey.packet.transport;
    matches!(
        transport,
        Transport::Udp { .. } | Transport::Cut { .. } | Transport::Other(_)
    )
}

/// Whether a packet that tc did not see may have come there all the same. GRO may have merged it,
/// or another tool's program at tc may run ahead of tracer's. Tracer attaches ahead of the programs
/// that are there; a program that an agent finds later may be ahead of tracer's.
pub(super) fn may_pass_unseen(case: &Case<'_>, next: &Next<'_>) -> bool {
    let (scene, node) = (case.scene, next.node);
    let is_received = next.kind == LegKind::Receive;
    let may_be_ahead = |point: &usize| {
        let found = scene.with_others(node, *point);
        found.is_some_and(|found| is_received || scene.nodes.has_other_programs(node, found))
    };
    (is_received && may_merge(case)) || next.points.iter().any(may_be_ahead)
}

/// Evidence for an `unknown` verdict that XDP saw a packet and tc did not.
pub(super) fn not_at_tc(
    case: &Case<'_>,
    fates: &Fates<'_>,
    circumstances: &impl Circumstances,
) -> Vec<Evidence> {
    let Some(next) = next_hook(case, fates, circumstances) else {
        return Vec::new();
    };
    // Tc may have seen the packet although its event was lost.
    if case.hops_lost(Where::Node(next.node)) || case.uneven() {
        return Vec::new();
    }
    let leg = next.leg(case);
    if may_merge(case) {
        return vec![Evidence::Merged(leg)];
    }
    let packets = Some(next.packets);
    vec![
        Evidence::Missing {
            leg: leg.clone(),
            packets,
        },
        Evidence::Between(leg),
    ]
}
