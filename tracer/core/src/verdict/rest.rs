//! What is left of a journey that was neither delivered nor dropped, and where it was seen last.

use super::{Circumstances, Leg, LegKind, case::Case, fates::Fates};
use crate::{
    journey::{Range, Step},
    model::{Direction, Hello, Point, Role},
};

/// Where the rest of a journey went out of an uplink, and for which node. The rest is the part
/// that was neither delivered nor dropped.
pub(super) struct Gone<'a> {
    pub(super) step: &'a Step,
    /// Name of the node that the rest is for.
    pub(super) to: &'a str,
    /// Whether a tunnel's outer address names the node. Otherwise the next hop has to forward
    /// the packet there.
    pub(super) tunnelled: bool,
}

/// The last step that saw something of the rest of a journey.
pub(super) fn last_of_rest<'a>(case: &Case<'a>, fates: &Fates<'_>) -> Option<&'a Step> {
    let of_rest = |step: &&Step| {
        let mut parts = step.parts.iter().map(|part| Range::offsets(*part));
        parts.any(|part| fates.rest.intersects(part))
    };
    let steps = case.journey.steps.iter();
    steps
        .rev()
        .filter(|step| !fates.is_astray(step))
        .find(of_rest)
}

/// The last step of the rest, if it goes out of an uplink towards another known node.
pub(super) fn gone<'a>(case: &Case<'a>, fates: &Fates<'_>) -> Option<Gone<'a>> {
    let step = last_of_rest(case, fates)?;
    let point = case.scene.point(step);
    if (point.role, point.direction) != (Role::Uplink, Direction::Egress) {
        return None;
    }
    let (far_end, tunnelled) = match step.encap {
        Some(encap) => (encap.outer_dst, true),
        None => (case.journey.destination()?, false),
    };
    let owner = case.scene.owner(far_end, step.time);
    let owner = owner.map(|owner| &owner.node);
    let mut nodes = case.scene.nodes.iter();
    let has_it = |hello: &&Hello| tunnelled && hello.local.contains(&far_end);
    let to = owner.or_else(|| nodes.find(has_it).map(|hello| &hello.node))?;
    // A packet that a node sends to itself, such as an ARP announcement, is for all others.
    let is_own = *to == case.scene.nodes[step.node].node;
    (!to.is_empty() && !is_own).then_some(Gone {
        step,
        to,
        tunnelled,
    })
}

/// Whether the rest of a journey was last seen going into an opaque tunnel.
pub(super) fn in_the_dark(case: &Case<'_>, fates: &Fates<'_>) -> bool {
    last_of_rest(case, fates).is_some_and(|step| {
        let point = case.scene.point(step);
        point.is_opaque() && point.direction == Direction::Egress
    })
}

/// Where the rest of a journey had to be seen next.
pub(super) struct Next<'a> {
    /// The last step that saw the rest.
    pub(super) step: &'a Step,
    /// Index of the next node and of its points, one of which the rest had to pass.
    pub(super) node: usize,
    pub(super) points: Vec<usize>,
    /// How many packets these points have seen, which proves that they work.
    pub(super) packets: u64,
    /// Whether one of the points has seen no packet, and its device's counter does not prove that
    /// none came.
    pub(super) idle: bool,
    /// Start of the time in which the devices received nothing at all: Unix time, ns. `None` if
    /// they received something, or if that is not known.
    pub(super) silent: Option<i64>,
    /// What lies between the two points.
    pub(super) kind: LegKind,
}

impl<'a> Next<'a> {
    /// The next point is a single one, which has seen this number of packets.
    pub(super) fn at(
        step: &'a Step,
        node: usize,
        (point, packets): (usize, u64),
        kind: LegKind,
    ) -> Self {
        Self {
            step,
            node,
            points: vec![point],
            packets,
            idle: false,
            silent: None,
            kind,
        }
    }

    pub(super) fn leg(&self, case: &Case<'_>) -> Leg {
        Leg {
            kind: self.kind,
            step: case.index(self.step),
            node: self.node,
            points: self.points.clone(),
        }
    }
}

/// Points of a node, outside of pods, for which `are` holds. Points that were gone before the
/// packet was sent are left out.
pub(super) fn observed<'a>(
    case: &Case<'a>,
    node: usize,
    are: impl Fn(&Point) -> bool,
) -> impl DoubleEndedIterator<Item = (usize, &'a Point)> {
    let (scene, start) = (case.scene, case.journey.start());
    let points = scene.nodes.of_node(node);
    points.filter(move |(_, point)| are(point) && scene.until(node, point) > start)
}

/// A point and how many packets it has seen, if it was observed when the packet was sent and
/// ever since.
pub(super) fn seen_at(
    case: &Case<'_>,
    node: usize,
    (index, point): (usize, &Point),
    circumstances: &impl Circumstances,
) -> Option<(usize, u64)> {
    let journey = case.journey;
    if !case.scene.observes(node, point, journey.start()) {
        return None;
    }
    let packets = circumstances.packets(node, index, journey.last())?;
    Some((index, packets))
}
