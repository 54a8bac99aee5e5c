//! The verdict on a journey.
//!
//! Only positive evidence decides in this version: a packet was seen where
//! its way ends, or seen leaving for a place that no agent watches. Drops are
//! not watched yet, so that everything else is `unknown`, together with what
//! was seen last.

use super::{Confidence, Kind, Parts, Verdict};
use crate::{
    journey::{Arrival, Closed, Journey, OwnerKind, Scene, Step, arrival, destination, expected},
    link::{Direction, Role},
};

/// What can be said of `journey`. `lossy`: events were lost while it was on
/// its way.
#[must_use]
pub fn judge(scene: &Scene, journey: &Journey, lossy: bool) -> (Verdict, Parts) {
    let sent = u64::from(journey.size());
    let (arrived, step) = furthest(scene, journey);
    let expected = destination(&journey.packet).map(|address| expected(scene, address));
    let delivered = if arrived != Arrival::No && Some(arrived) >= expected {
        step.map_or(0, |step| u64::from(step.seen)).min(sent)
    } else {
        0
    };
    let parts = Parts {
        sent,
        delivered,
        unknown: sent - delivered,
        ..Parts::default()
    };
    let mut verdict = if let (true, Some(step)) = (delivered == sent, step) {
        delivered_at(scene, journey, arrived, step)
    } else if let Some(verdict) = left(scene, journey) {
        verdict
    } else {
        unknown(scene, journey, parts, arrived)
    };
    if verdict.kind != Kind::Unknown {
        lower_for_foreign(scene, journey, &mut verdict);
    }
    if journey.ambiguous {
        verdict.confidence = Confidence::Low;
        verdict
            .evidence
            .push("an identical packet was on its way; the two were paired in order".to_owned());
    }
    if lossy && verdict.kind != Kind::Delivered {
        verdict.confidence = Confidence::Low;
        verdict.evidence.push(
            "events were lost while it was on its way: it may have passed points unseen".to_owned(),
        );
    }
    (verdict, parts)
}

/// The step that came nearest to the destination.
fn furthest<'a>(scene: &Scene, journey: &'a Journey) -> (Arrival, Option<&'a Step>) {
    let Some(address) = destination(&journey.packet) else {
        return (Arrival::No, None);
    };
    journey
        .steps
        .iter()
        .map(|step| {
            let point = scene.point(step);
            let wrapped = step.encap.is_some();
            (
                arrival(scene, step.node, point, address, wrapped),
                Some(step),
            )
        })
        .max_by_key(|(arrival, step)| (*arrival, step.map(|step| step.seen)))
        .unwrap_or((Arrival::No, None))
}

fn delivered_at(scene: &Scene, journey: &Journey, arrived: Arrival, step: &Step) -> Verdict {
    let mut evidence = vec![format!("seen {}", place(scene, step))];
    if !starts_at_source(scene, journey) {
        evidence.push(format!(
            "first seen {}: what came before was not observed",
            place(scene, &journey.steps[0])
        ));
    }
    let point = scene.point(step);
    let text = match point.role {
        Role::Pod => format!("delivered: reached {}", owner(scene, journey)),
        Role::Veth => format!(
            "delivered: handed to {} by {}",
            owner(scene, journey),
            point.interface
        ),
        Role::Bridge | Role::Overlay | Role::Uplink => {
            evidence.push("what the node itself then does with it is not observed".to_owned());
            format!("delivered: reached {}", owner(scene, journey))
        }
    };
    Verdict {
        kind: Kind::Delivered,
        confidence: if arrived == Arrival::There {
            Confidence::Confirmed
        } else {
            Confidence::High
        },
        cause: None,
        evidence,
        text,
    }
}

/// A foreign program that runs after ours where a packet was seen last may
/// have done anything to it.
fn lower_for_foreign(scene: &Scene, journey: &Journey, verdict: &mut Verdict) {
    let Some(last) = journey.steps.last() else {
        return;
    };
    let foreign = scene.point(last).foreign.len();
    if foreign > 0 {
        verdict.confidence = Confidence::Low;
        verdict.evidence.push(format!(
            "{foreign} other tc program(s) ran after tracer's at the last point and may have \
             dropped or redirected it"
        ));
    }
}

/// Whether the first step is where the sender's packets are seen first.
fn starts_at_source(scene: &Scene, journey: &Journey) -> bool {
    let first = &journey.steps[0];
    let point = scene.point(first);
    match (point.role, point.direction) {
        (Role::Pod, Direction::Egress) | (Role::Veth, Direction::Ingress) => true,
        // Sent by the node itself.
        (_, Direction::Egress) => scene.nodes[first.node].local.contains(&journey.packet.src),
        (_, Direction::Ingress) => false,
    }
}

/// Out of the last watched point, towards a node without an agent.
fn left(scene: &Scene, journey: &Journey) -> Option<Verdict> {
    let last = journey.steps.last()?;
    let point = scene.point(last);
    if (point.role, point.direction) != (Role::Uplink, Direction::Egress) {
        return None;
    }
    if last.seen < journey.size() {
        return None;
    }
    // Without a tunnel, it is for the underlay to bring it to its node.
    let (far_end, confidence) = match last.encap {
        Some(encap) => (encap.outer_dst, Confidence::High),
        None => (destination(&journey.packet)?, Confidence::Low),
    };
    let owner = scene.owners.get(&far_end)?;
    if owner.node.is_empty() || scene.agent(&owner.node).is_some() {
        return None;
    }
    let node = &owner.node;
    Some(Verdict {
        kind: Kind::Left,
        confidence,
        cause: None,
        evidence: vec![
            format!("last seen {}", place(scene, last)),
            format!("no agent watches {node}"),
        ],
        text: format!(
            "left: went out of {} towards {node}, which no agent watches",
            point.interface
        ),
    })
}

fn unknown(scene: &Scene, journey: &Journey, parts: Parts, arrived: Arrival) -> Verdict {
    let mut evidence = Vec::new();
    if let Some(last) = journey.steps.last() {
        evidence.push(format!("last seen {}", place(scene, last)));
    }
    if parts.delivered > 0 {
        evidence.push(format!(
            "{} of {} bytes were seen to arrive",
            parts.delivered, parts.sent
        ));
    }
    evidence.push("drops are not watched by this version".to_owned());
    let (cause, text) = match journey.closed {
        _ if arrived == Arrival::HostSide && parts.delivered == 0 => (
            Some("not-seen-in-pod"),
            "unknown: handed to the pod, but not seen on its own interface",
        ),
        _ if journey.steps[0].time < scene.since => (
            Some("before-start"),
            "unknown: on its way before all points were observed",
        ),
        Closed::End => (
            Some("still-open"),
            "unknown: still on its way when the follow ended",
        ),
        Closed::Evicted => (
            Some("evicted"),
            "unknown: given up, too many packets were on their way at once",
        ),
        Closed::Silence | Closed::Arrived => (None, "unknown: not seen to arrive"),
    };
    Verdict {
        kind: Kind::Unknown,
        confidence: Confidence::Low,
        cause,
        evidence,
        text: text.to_owned(),
    }
}

/// Where a step was, in words.
fn place(scene: &Scene, step: &Step) -> String {
    let point = scene.point(step);
    let way = match point.direction {
        Direction::Ingress => "coming in from",
        Direction::Egress => "going out of",
    };
    let inside = if point.netns == "host" {
        String::new()
    } else {
        format!(" in {}", point.netns)
    };
    format!(
        "{way} {}{inside} on {}",
        point.interface, scene.nodes[step.node].node
    )
}

/// Whom the packet is for, in words.
fn owner(scene: &Scene, journey: &Journey) -> String {
    let Some(address) = destination(&journey.packet) else {
        return "its destination".to_owned();
    };
    if let Some(pod) = scene.pod(address) {
        return pod.to_owned();
    }
    let node = scene
        .owners
        .get(&address)
        .filter(|owner| owner.kind == OwnerKind::Node)
        .map(|owner| owner.name.as_str())
        .or_else(|| {
            let host = scene
                .nodes
                .iter()
                .find(|hello| hello.local.contains(&address));
            host.map(|hello| hello.node.as_str())
        });
    match node {
        Some(node) => format!("{node} ({address})"),
        None => address.to_string(),
    }
}
