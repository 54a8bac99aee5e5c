//! What XDP of an interface saw and its tc did not: between the two are the driver and GRO.

use super::{
    Circumstances, Evidence, LegKind,
    absence::{Next, last_of_rest, observed, seen_at},
    fates::Fates,
    judge::Case,
};
use crate::model::{Direction, Point, Transport};

/// Whether what comes in at a point passes `first` right before: XDP of the same interface.
pub(super) fn is_before(first: &Point, point: &Point) -> bool {
    first.is_xdp()
        && !point.is_xdp()
        && point.direction == Direction::Ingress
        && (&first.netns, first.ifindex) == (&point.netns, point.ifindex)
}

/// The next point of a packet that a driver handed in: from XDP of an interface to its tc.
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

/// Whether a packet that tc did not see after XDP may have come there all the same: where a
/// node asks for that, GRO makes one datagram of many, and somebody's program at tc may run
/// before tracer's.
pub(super) fn may_pass_unseen(case: &Case<'_>, next: &Next<'_>) -> bool {
    let points = &case.scene.nodes[next.node].points;
    let has_foreign = |point: &usize| !points[*point].foreign.is_empty();
    next.kind == LegKind::Receive
        && (matches!(case.journey.packet.transport, Transport::Udp { .. })
            || next.points.iter().any(has_foreign))
}

/// That XDP saw a packet and tc did not, as evidence where that is all that is known.
pub(super) fn not_at_tc(
    case: &Case<'_>,
    fates: &Fates<'_>,
    circumstances: &impl Circumstances,
) -> Option<[Evidence; 2]> {
    let next = next_hook(case, fates, circumstances)?;
    let leg = next.leg(case);
    let packets = Some(next.packets);
    Some([
        Evidence::Missing {
            leg: leg.clone(),
            packets,
        },
        Evidence::Between(leg),
    ])
}
