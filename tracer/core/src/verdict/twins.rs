//! Two that have one address, so that what reached one may have been meant for the
//! other.

use crate::{
    journey::{Journey, Scene, destination},
    model::{Direction, Point, Role},
};

/// Which interfaces of pods the receiver's address is behind, by node and point, if
/// there are several at once.
pub(super) fn twins(scene: &Scene, journey: &Journey) -> Option<Vec<(usize, usize)>> {
    let address = destination(&journey.packet)?;
    let start = journey.start();
    let mut leading = Vec::new();
    for (node, hello) in scene.nodes.iter().enumerate() {
        let leads = |point: &Point| {
            (point.role, point.direction) == (Role::Veth, Direction::Egress)
                && point.addresses.contains(&address)
                && scene.observes(node, point, start)
        };
        let points = hello.points.iter().enumerate();
        let points = points.filter(|(_, point)| leads(point));
        leading.extend(points.map(|(point, _)| (node, point)));
    }
    (leading.len() > 1).then_some(leading)
}
