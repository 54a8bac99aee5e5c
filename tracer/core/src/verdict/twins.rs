//! Two pods with one address: a packet that reached one may have been for the other.

use crate::{
    journey::{Journey, Scene},
    model::{Direction, Point, Role},
};

/// The pods' interfaces that have the destination address behind them, by node and point, if there
/// are several at once.
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
