//! What the two ends of a tunnel have to agree on.

use super::judge::Case;
use crate::{
    journey::Step,
    link::{Direction, Role, Tunnel},
};

/// What wrapped a packet that was seen going out of an uplink, as far as its
/// node's agent has told.
pub(super) fn tunnel_of(case: &Case<'_>, step: &Step) -> Option<Tunnel> {
    let encap = step.encap?;
    let scene = case.scene;
    let wrapped = case.journey.steps.iter().rfind(|earlier| {
        let point = scene.point(earlier);
        let goes_in = (point.role, point.direction) == (Role::Overlay, Direction::Egress);
        goes_in && earlier.node == step.node && earlier.time <= step.time
    })?;
    let interface = &scene.point(wrapped).interface;
    let mut devices = scene.nodes[step.node].network.devices.iter();
    // Of those that had the same name one after the other, the latest.
    let tunnel = devices
        .rfind(|device| device.interface == *interface)?
        .tunnel?;
    let same_network = tunnel.vni.is_none() || tunnel.vni == encap.vni;
    (tunnel.kind == encap.kind && same_network).then_some(tunnel)
}
