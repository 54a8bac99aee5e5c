//! Tunnels whose two ends disagree about the remote address, the UDP port or the VNI. Then a packet
//! leaves one node as it should, and no device of the other node accepts it.

use std::net::IpAddr;

use super::{Circumstances, Confidence, Evidence, Kind, Outcome, Verdict, case::Case};
use crate::{
    journey::{Scene, Step, tunnel_of},
    model::{Cause, Device, Direction, EncapKind, OwnerKind, Role, Tunnel},
};

/// How many devices a verdict names.
const NAMED: usize = 3;

/// The agent of the node that has an address at a time.
fn agent_at(scene: &Scene, address: IpAddr, time: i64) -> Option<usize> {
    let owner = scene.owner(address, time);
    scene.nodes.iter().position(|hello| {
        hello.local.contains(&address) || owner.is_some_and(|owner| owner.node == hello.node)
    })
}

/// A disagreement between the two ends of a tunnel.
struct Mismatch {
    /// Index of the node at the tunnel's remote end.
    node: usize,
    /// Whether none of that node's devices has the tunnel's port.
    port: bool,
    /// Whether that node has any device of the tunnel's kind.
    any: bool,
    evidence: Evidence,
}

/// Whether no device of the tunnel's destination node accepts the packet.
fn mismatch(case: &Case<'_>, step: &Step) -> Option<Mismatch> {
    let encap = step.encap?;
    if !matches!(encap.kind, EncapKind::Vxlan | EncapKind::Geneve) {
        return None;
    }
    let scene = case.scene;
    let node = agent_at(scene, encap.outer_dst, step.time)?;
    let hello = &scene.nodes[node];
    let port = tunnel_of(case.scene, case.journey, step).map(|tunnel| tunnel.port);
    let start = case.journey.start();
    let was_there = |device: &&Device| {
        let until = device.until.map(|until| scene.unix(node, until));
        until.is_none_or(|until| until > start)
    };
    let devices = &hello.network.devices;
    let there: Vec<(&str, Tunnel)> = devices
        .iter()
        .filter(was_there)
        .filter_map(|device| Some((device.interface.as_str(), device.tunnel?)))
        .filter(|(_, tunnel)| tunnel.kind == encap.kind)
        .collect();
    let same_port = |tunnel: &Tunnel| port.is_none_or(|port| tunnel.port == port);
    let takes =
        |tunnel: &Tunnel| same_port(tunnel) && (tunnel.vni.is_none() || tunnel.vni == encap.vni);
    if devices.is_empty() || there.iter().any(|(_, tunnel)| takes(tunnel)) {
        return None;
    }
    let devices = there.iter().take(NAMED);
    Some(Mismatch {
        node,
        port: !there.iter().any(|(_, tunnel)| same_port(tunnel)),
        any: !there.is_empty(),
        evidence: Evidence::Mismatch {
            kind: encap.kind,
            vni: encap.vni,
            port,
            node,
            devices: devices
                .map(|(name, tunnel)| ((*name).to_owned(), *tunnel))
                .collect(),
        },
    })
}

/// Whether the node that a packet left for may not recognise the tunnel, because no tunnel device
/// there has its port.
pub(super) fn is_unrecognised(case: &Case<'_>, step: &Step) -> bool {
    mismatch(case, step).is_some_and(|mismatch| mismatch.port)
}

/// Adds to a verdict that the tunnel's two ends disagree, if the packet was last seen in the
/// tunnel.
pub(super) fn tell_mismatch(case: &Case<'_>, verdict: &mut Verdict) {
    let kinds = [Kind::Dropped, Kind::Lost, Kind::Partial, Kind::Unknown];
    let last = case.journey.steps.last();
    let in_tunnel = |step: &&Step| case.scene.point(step).role == Role::Uplink;
    let Some(step) = last
        .filter(in_tunnel)
        .filter(|_| kinds.contains(&verdict.kind))
    else {
        return;
    };
    let Some(mismatch) = mismatch(case, step) else {
        return;
    };
    verdict.evidence.push(mismatch.evidence);
    if verdict.cause.is_some() || !mismatch.any {
        return;
    }
    verdict.cause = Some(if mismatch.port {
        Cause::TunnelPort
    } else {
        Cause::Vni
    });
    if verdict.kind == Kind::Unknown {
        verdict.outcome = Outcome::NotTaken {
            node: mismatch.node,
        };
    }
}

/// `left`: out of an uplink, in a tunnel to an address that no node has.
pub(super) fn to_nobody(
    case: &Case<'_>,
    step: &Step,
    circumstances: &impl Circumstances,
) -> Option<Verdict> {
    let scene = case.scene;
    let point = scene.point(step);
    let end = step.encap?.outer_dst;
    let goes_out = (point.role, point.direction) == (Role::Uplink, Direction::Egress);
    let is_known =
        scene.owner(end, step.time).is_some() || agent_at(scene, end, step.time).is_some();
    if !goes_out || is_known || step.seen < case.journey.size() {
        return None;
    }
    let home = scene.owner(case.journey.destination()?, step.time)?;
    let node = scene.nodes.iter().position(|hello| hello.node == home.node);
    let mut owners = scene.owners.all_at(step.time);
    let has_addresses = node.is_some()
        || owners.any(|(_, owner)| owner.kind == OwnerKind::Node && owner.node == home.node);
    // NAT between the nodes may replace this address.
    let came_in = node.is_some_and(|node| circumstances.came_in(step, node) != Some(false));
    if home.node.is_empty() || !has_addresses || came_in {
        return None;
    }
    Some(Verdict {
        kind: Kind::Left,
        confidence: if node.is_some() {
            Confidence::High
        } else {
            Confidence::Low
        },
        cause: Some(Cause::NoNode),
        drop: None,
        outcome: Outcome::NoNode { remote: end },
        waits: None,
        evidence: vec![
            Evidence::LastSeen(case.index(step)),
            Evidence::Home(home.clone()),
        ],
    })
}
