//! Two that have one address, so that what reached one may have been meant for the
//! other.

use crate::{
    journey::{Journey, Scene},
    model::{Direction, Point, Role},
};

/// Which interfaces of pods the receiver's address is behind, by node and point, if
/// there are several at once.
pub(super) fn twins(scene: &Scene, journey: &Journey) -> Option<Vec<(usize, usize)>> {
    let address = journey.destination()?;
    let start = journey.start();
    let leads = |(node, _, point): &(usize, usize, &Point)| {
        (point.role, point.direction) == (Role::Veth, Direction::Egress)
            && scene.observes(*node, point, start)
    };
    let leading = scene.nodes.of_pod(address).filter(leads);
    let several = leading.clone().nth(1).is_some();
    several.then(|| leading.map(|(node, point, _)| (node, point)).collect())
}
