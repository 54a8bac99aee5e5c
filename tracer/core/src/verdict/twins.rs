//! Two that have one address, so that what reached one may have been meant for the
//! other.

use crate::{
    journey::{Impostor, Journey, Scene, destination},
    model::{Direction, Hello, Point, Role},
};

/// Which interfaces of pods the receiver's address is behind, if there are several
/// at once: `veth5 on node-b and veth9 on node-b`.
pub(super) fn twins(scene: &Scene, journey: &Journey) -> Option<String> {
    let address = destination(&journey.packet)?;
    let start = journey.start();
    let mut leading = Vec::new();
    for (node, hello) in scene.nodes.iter().enumerate() {
        let leads = |point: &&Point| {
            (point.role, point.direction) == (Role::Veth, Direction::Egress)
                && point.addresses.contains(&address)
                && scene.observes(node, point, start)
        };
        let points = hello.points.iter().filter(leads);
        leading.extend(points.map(|point| name(hello, point)));
    }
    (leading.len() > 1).then(|| leading.join(" and "))
}

fn name(hello: &Hello, point: &Point) -> String {
    format!("{} on {}", point.interface, hello.node)
}

/// That somebody else has answered.
pub(super) fn told(scene: &Scene, journey: &Journey, impostor: &Impostor) -> String {
    let (node, point) = impostor.at;
    let hello = &scene.nodes[node];
    let at = name(hello, &hello.points[point]);
    let address = destination(&journey.packet)
        .map_or_else(|| "the address".to_owned(), |address| address.to_string());
    let macs = impostor
        .macs
        .map_or_else(String::new, |(from, to)| format!(" ({from}, not {to})"));
    format!(
        "#{} answers from {at}{macs}: two have the address {address}, and this may have \
         reached the wrong one",
        impostor.by
    )
}
