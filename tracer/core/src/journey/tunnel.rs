//! The tunnel device that encapsulated a packet.

use super::{Journey, Scene, Step};
use crate::model::{Direction, Role, Tunnel};

/// The tunnel that encapsulated the packet at `step`, if the agent that saw this has described the
/// device.
pub(crate) fn tunnel_of(scene: &Scene, journey: &Journey, step: &Step) -> Option<Tunnel> {
    let encap = step.encap?;
    let mut steps = journey.steps.iter();
    let wrapped = steps.rfind(|step| {
        let point = scene.point(step);
        (point.role, point.direction) == (Role::Overlay, Direction::Egress)
    })?;
    let interface = &scene.point(wrapped).interface;
    let mut devices = scene.nodes[wrapped.node].network.devices.iter();
    // If several devices had this name one after another, take the latest.
    let tunnel = devices
        .rfind(|device| device.interface == *interface)?
        .tunnel?;
    let same_network = tunnel.vni.is_none() || tunnel.vni == encap.vni;
    (tunnel.kind == encap.kind && same_network).then_some(tunnel)
}
