//! Verdicts that rest on what was not seen, and on why it had to be.

use super::{
    Circumstances, Confidence, Kind, Parts, Verdict,
    fates::Fates,
    judge::Case,
    words::{owner, place},
};
use crate::{
    journey::{Closed, OwnerKind, Range, Ranges, Step, destination},
    link::{Direction, Hello, Point, Role},
};

/// What the last step saw of the rest, if the rest went out of an uplink.
struct Gone<'a> {
    step: &'a Step,
    /// Name of the node that it went to.
    to: &'a str,
    /// Whether a tunnel says so; else it is for the underlay to bring it there.
    tunnelled: bool,
}

/// Where the rest of a journey was seen last, if that is an uplink, going out
/// towards a node that is known.
fn gone<'a>(case: &Case<'a>, fates: &Fates<'_>) -> Option<Gone<'a>> {
    let of_rest = |step: &&Step| {
        let mut parts = step.parts.iter().map(|part| Range::offsets(*part));
        parts.any(|part| fates.rest.intersects(part))
    };
    let step = case.journey.steps.iter().rfind(of_rest)?;
    let point = case.scene.point(step);
    if (point.role, point.direction) != (Role::Uplink, Direction::Egress) {
        return None;
    }
    let (far_end, tunnelled) = match step.encap {
        Some(encap) => (encap.outer_dst, true),
        None => (destination(&case.journey.packet)?, false),
    };
    let owner = case.scene.owners.get(&far_end)?;
    (!owner.node.is_empty()).then_some(Gone {
        step,
        to: &owner.node,
        tunnelled,
    })
}

/// Out of the last watched point, towards a node without an agent.
pub(super) fn left(case: &Case<'_>, fates: &Fates<'_>) -> Option<Verdict> {
    let Gone {
        step,
        to,
        tunnelled,
    } = gone(case, fates)?;
    if step.seen < case.journey.size() || case.scene.agent(to).is_some() {
        return None;
    }
    let interface = &case.scene.point(step).interface;
    Some(Verdict {
        kind: Kind::Left,
        confidence: if tunnelled {
            Confidence::High
        } else {
            Confidence::Low
        },
        cause: None,
        drop: None,
        evidence: vec![
            format!("last seen {}", place(case.scene, step)),
            format!("no agent watches {to}"),
        ],
        text: format!("left: went out of {interface} towards {to}, which no agent watches"),
    })
}

/// Out of one node's uplink, and not into the other's, though that one is
/// watched, sees packets, and no event was lost.
pub(super) fn lost(
    case: &Case<'_>,
    fates: &Fates<'_>,
    circumstances: &impl Circumstances,
    parts: &mut Parts,
) -> Option<Verdict> {
    let Gone { step, to, .. } = gone(case, fates)?;
    let (scene, journey) = (case.scene, case.journey);
    let silent = matches!(journey.closed, Closed::Silence) && journey.start() >= scene.since;
    let all_seen = scene.nodes.iter().all(|hello| hello.drops.is_some());
    if !silent || !all_seen || case.hops_lost || case.drops_lost || fates.drop.is_some() {
        return None;
    }
    let node = scene.nodes.iter().position(|hello| hello.node == *to)?;
    let (index, point) = (0..)
        .zip(&scene.nodes[node].points)
        .find(|(_, point)| (point.role, point.direction) == (Role::Uplink, Direction::Ingress))?;
    let packets = circumstances.packets(node, index, journey.last())?;
    if packets == 0 {
        return None;
    }
    let mut vanished = Ranges::default();
    for part in &step.parts {
        vanished.insert(Range::offsets(*part));
    }
    for range in fates.delivered.iter() {
        vanished.remove(range);
    }
    parts.lost = u64::try_from(vanished.len()).unwrap_or(0);
    parts.unknown = parts.sent - parts.delivered - parts.lost;

    let out = &scene.point(step).interface;
    let (from, to) = (&scene.nodes[step.node].node, &scene.nodes[node].node);
    let mut evidence = vec![
        format!("last seen {}", place(scene, step)),
        format!(
            "never came in from {} on {to}, which is watched and has seen {packets} packets",
            point.interface
        ),
        format!(
            "in between: the queue and driver of {out} on {from}, the wire, the driver and XDP \
             programs of {} on {to}",
            point.interface
        ),
    ];
    let start = journey.start();
    for (node, interface) in [(step.node, out), (node, &point.interface)] {
        let rises = circumstances.rises(node, start);
        let rise = rises.as_ref().and_then(|rises| rises.device(interface));
        evidence.extend(rise.map(|rise| rise.at_device(&scene.nodes[node].node)));
    }
    let len = step.len / step.segments.max(1);
    let too_large = circumstances.black_hole(step.node, node, len);
    if let Some(largest) = too_large {
        evidence.push(format!(
            "the largest that arrives on this leg has {largest} bytes, this one had {len}, and \
             nothing as large arrives"
        ));
    }
    Some(Verdict {
        kind: Kind::Lost,
        confidence: Confidence::High,
        cause: too_large.map(|_| "pmtu"),
        drop: None,
        evidence,
        text: format!(
            "lost: between {out} on {from} and {} on {to}",
            point.interface
        ),
    })
}

/// Delivered, but what every receiver answers was not answered.
pub(super) fn unanswered(
    case: &Case<'_>,
    fates: &Fates<'_>,
    circumstances: &impl Circumstances,
) -> Option<Verdict> {
    let (scene, journey) = (case.scene, case.journey);
    let waited = journey.closed == Closed::Silence && journey.start() >= scene.since;
    if !journey.asks || journey.answered_by.is_some() || !waited || case.hops_lost {
        return None;
    }
    let (_, step) = fates.nearest?;
    let hello = &scene.nodes[step.node];
    // Its answer would have come out where it went in.
    let out = opposite(hello, scene.point(step))?;
    circumstances.packets(step.node, out, journey.last())?;

    let to = owner(scene, journey);
    let mut evidence = vec![
        format!("seen {}", place(scene, step)),
        "no answer came out of there".to_owned(),
    ];
    let pod = destination(&journey.packet)
        .and_then(|address| scene.owners.get(&address))
        .filter(|owner| owner.kind == OwnerKind::Pod)
        .map(|owner| owner.name.as_str());
    let mut cause = "no-answer";
    let rises = circumstances.rises(step.node, journey.start());
    if let (Some(pod), Some(rises)) = (pod, &rises)
        && let Some(rise) = rises.namespace(pod)
    {
        if rise.by("TcpExtListenOverflows") > 0 {
            cause = "listen-overflow";
        }
        evidence.push(rise.in_namespace(&hello.node));
    }
    // What drops there, and answers from there, would have been seen.
    let all_seen = !case.drops_lost
        && hello.drops.as_ref().is_some_and(|pods| {
            pod.is_some_and(|pod| pods.iter().any(|watched| **watched == *pod))
        });
    if !all_seen {
        evidence.push(format!(
            "what {to} itself drops is not observed: it may not have got it"
        ));
    }
    Some(Verdict {
        kind: Kind::Unanswered,
        confidence: if all_seen {
            Confidence::High
        } else {
            Confidence::Low
        },
        cause: Some(cause),
        drop: None,
        evidence,
        text: if all_seen {
            format!("unanswered: {to} got it and did not answer")
        } else {
            format!("unanswered: it reached {to}, and no answer came")
        },
    })
}

/// The point where the packets of an interface go the other way.
fn opposite(hello: &Hello, point: &Point) -> Option<usize> {
    let same = |other: &Point| {
        (&other.netns, other.ifindex) == (&point.netns, point.ifindex)
            && other.direction != point.direction
    };
    hello.points.iter().position(same)
}
