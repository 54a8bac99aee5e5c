//! Verdicts that rest on absence: `lost`, and `left`.
//!
//! A packet is `lost` between two points only if the second point would have seen it. That point
//! was observed all the time, it sees other packets, and no event of the two nodes was lost. A
//! packet has `left` if its last hop goes out of an uplink towards a place without an agent.
//! docs/decisions/absence.md has the reasons.

use super::{
    Circumstances, Confidence, Evidence, Kind, LegKind, Outcome, Parts, Pattern, Sort, Verdict,
    Where,
    case::Case,
    fates::Fates,
    next::next,
    next_hop::{Leads, astray, leads, next_hop},
    receive::may_pass_unseen,
    rest::{Gone, Next, gone, last_of_rest, observed, seen_at},
    tunnel::to_nobody,
};
use crate::{
    journey::{Closed, Range, Ranges, Step, tunnel_of},
    model::{Cause, Direction, OwnerKind, Point, Role, Transport},
};

/// `left`: out of the last observed point, towards a node without an agent.
pub(super) fn left(case: &Case<'_>, fates: &Fates<'_>) -> Option<Verdict> {
    let gone = gone(case, fates)?;
    let Gone {
        step,
        to,
        tunnelled,
    } = gone;
    if step.seen < case.journey.size()
        || case.scene.is_watched(to, step.time)
        || case.drop_unseen(step)
    {
        return None;
    }
    let (index, node) = (case.index(step), to.to_owned());
    let mut evidence = vec![Evidence::LastSeen(index), Evidence::NoAgent(node.clone())];
    let mut cause = None;
    let mut outcome = Outcome::LeftFor {
        step: index,
        node: node.clone(),
    };
    if let Some((way, gateway)) = next_hop(case, &gone) {
        cause = way.default.then_some(Cause::DefaultRoute);
        outcome = Outcome::LeftBy {
            step: index,
            gateway,
            mac: step.dst_mac.filter(|mac| way.mac == Some(*mac)),
            node: node.clone(),
        };
        evidence.push(Evidence::Route {
            node: step.node,
            way: way.clone(),
        });
    }
    let home = case
        .journey
        .destination()
        .and_then(|address| case.scene.owner(address, step.time))
        .filter(|owner| tunnelled && !owner.node.is_empty() && owner.node != *to);
    if let Some(home) = home {
        cause = Some(Cause::WrongNode);
        evidence.push(Evidence::NotThere {
            home: home.clone(),
            from: step.node,
            to: node.clone(),
        });
        outcome = Outcome::WrongNode {
            node,
            home: home.clone(),
        };
    }
    Some(Verdict {
        kind: Kind::Left,
        confidence: if tunnelled {
            Confidence::High
        } else {
            Confidence::Low
        },
        cause,
        drop: None,
        outcome,
        waits: None,
        evidence,
    })
}

/// `left`: out of the last observed point without a tunnel, towards an address that no known
/// pod or node has. If that is a Service's address, the node did not translate it.
pub(super) fn left_outside(case: &Case<'_>, fates: &Fates<'_>) -> Option<Verdict> {
    let step = last_of_rest(case, fates)?;
    let (scene, journey) = (case.scene, case.journey);
    let point = scene.point(step);
    let goes_out = (point.role, point.direction) == (Role::Uplink, Direction::Egress);
    let to = journey.destination()?;
    let is_local = || scene.nodes.iter().any(|hello| hello.local.contains(&to));
    let others_unseen = || {
        let mut others = (0..scene.nodes.len()).filter(|node| *node != step.node);
        others.any(|node| case.hops_lost(Where::Node(node)))
    };
    if !goes_out
        || step.encap.is_some()
        || step.seen < journey.size()
        || case.drop_unseen(step)
        || is_local()
        // Another machine on the wire got the frame, which is stronger evidence.
        || !fates.astray.is_empty()
        || !fates.unclear.is_empty()
        // Another node may have got the packet unseen, whoever has the address.
        || others_unseen()
    {
        return None;
    }
    let index = case.index(step);
    // Another tool's program may translate the packet after this point.
    let is_foreign = scene.with_others(step.node, step.point).is_some();
    let outcome = match scene.owners.at(to, step.time) {
        Some(owner) if owner.kind.is_service() && !is_foreign => {
            Outcome::Untranslated { step: index, to }
        }
        Some(owner) if owner.kind != OwnerKind::Endpoint => return None,
        _ => Outcome::LeftOutside { step: index, to },
    };
    Some(Verdict {
        kind: Kind::Left,
        confidence: if is_foreign {
            Confidence::Low
        } else {
            Confidence::High
        },
        cause: None,
        drop: None,
        outcome,
        waits: None,
        evidence: vec![Evidence::LastSeen(index)],
    })
}

/// `left`: out of one node's uplink, to another machine than the node that the packet is for.
fn left_for_others(
    case: &Case<'_>,
    fates: &Fates<'_>,
    circumstances: &impl Circumstances,
) -> Option<Verdict> {
    let gone = gone(case, fates)?;
    // Another tool's program may have redirected the packet.
    let Step { node, point, .. } = *gone.step;
    if case.scene.with_others(node, point).is_some() {
        return None;
    }
    let mut nodes = case.scene.nodes.iter();
    let node = nodes.position(|hello| hello.node == *gone.to)?;
    let watches =
        |point: &Point| (point.role, point.direction) == (Role::Uplink, Direction::Ingress);
    // If an uplink was not observed, other packets by the same next hop may have come in unseen.
    let mut ways_in = observed(case, node, watches).peekable();
    ways_in.peek()?;
    for other in ways_in {
        seen_at(case, node, other, circumstances)?;
    }
    match leads(case, &gone, node, circumstances) {
        Leads::Elsewhere(mac) => astray(case, &gone, mac),
        Leads::There | Leads::By(_) | Leads::Unknown => None,
    }
}

/// Whether a datagram may continue as fragments. Conntrack reassembles the sender's fragments,
/// so that the datagram is first seen going out, behind the interface where its fragments came
/// in. The node fragments the datagram again, and not always as it was.
fn may_be_cut(case: &Case<'_>, step: &Step) -> bool {
    let packet = &case.journey.packet;
    let is_whole = packet.fragment.is_none() && step.segments <= 1;
    let begins_going_out = || {
        case.journey.steps.first().is_some_and(|first| {
            let comes_in = case.scene.point(first).direction == Direction::Ingress;
            !comes_in && !case.starts_at_source(first)
        })
    };
    case.journey.reassembled
        || (is_whole && !matches!(packet.transport, Transport::Tcp(_)) && begins_going_out())
}

/// `lost`: the next point, which the packet had to pass, did not see it. That point is observed,
/// its agent lives, and no event of the two nodes was lost.
pub(super) fn lost(
    case: &Case<'_>,
    fates: &Fates<'_>,
    circumstances: &impl Circumstances,
    parts: &mut Parts,
) -> Option<Verdict> {
    let (scene, journey) = (case.scene, case.journey);
    let silent = matches!(journey.closed, Closed::Silence) && journey.start() >= scene.since;
    let all_seen = scene.nodes.iter().all(|hello| hello.drops.is_some());
    // Of identical packets, it is known how many vanished, but not which ones. A packet that a
    // kernel freed did not vanish.
    if journey.ambiguous
        || journey.stand_in.is_some()
        || !fates.unclear.is_empty()
        || !silent
        || !all_seen
        || fates.drop.is_some()
    {
        return None;
    }
    let nobodys = || to_nobody(case, last_of_rest(case, fates)?, circumstances);
    // If events were lost, packets that the gateway forwarded may have gone unseen.
    if !case.events_lost()
        && let Some(left) = left_for_others(case, fates, circumstances).or_else(nobodys)
    {
        return Some(left);
    }
    let next = next(case, fates, circumstances)?;
    let Next { step, node, .. } = next;
    if may_be_cut(case, step) || may_pass_unseen(case, &next) {
        return None;
    }
    let unseen = |node| case.hops_lost(Where::Node(node)) || case.drops_lost_on(node);
    if unseen(step.node) || unseen(node) || case.uneven() {
        return None;
    }
    // Another program may have redirected the packet, or the packet came in with another node's MAC
    // address.
    let came = fates.astray.iter().any(|(astray, _)| astray.node == node);
    if came || scene.with_others(step.node, step.point).is_some() {
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

    let leg = next.leg(case);
    let mut evidence = vec![
        Evidence::LastSeen(leg.step),
        Evidence::Missing {
            leg: leg.clone(),
            packets: Some(next.packets).filter(|packets| *packets > 0 || next.silent.is_none()),
        },
        Evidence::Between(leg.clone()),
    ];
    let start = journey.start();
    let out = (step.node, &scene.point(step).interface);
    let far = leg.points.iter();
    let far = far.map(|point| (node, &scene.nodes[node].points[*point].interface));
    // XDP and tc of one interface have the same counters.
    let far = far.filter(|far| *far != out);
    for (node, interface) in [out].into_iter().chain(far) {
        let rises = circumstances.rises(node, start);
        let rise = rises.as_ref().and_then(|rises| rises.device(interface));
        evidence.extend(rise.map(|rise| Evidence::DeviceCounters {
            node,
            rise: rise.clone(),
        }));
    }
    let len = step.len / step.segments.max(1);
    let sort = Sort::of(scene, journey, step);
    let pattern = circumstances.pattern(step.node, node, &sort, len);
    let cause = match pattern {
        Some(Pattern::TooLarge(_)) => Some(Cause::Pmtu),
        Some(Pattern::AllOfSort { .. }) => Some(Cause::SelectiveLoss),
        None => next.silent.map(|_| Cause::NothingArrives),
    };
    evidence.extend(pattern.map(|pattern| Evidence::Pattern {
        pattern,
        sort,
        port: tunnel_of(scene, journey, step).map(|tunnel| tunnel.port),
        len,
    }));
    evidence.extend(next.silent.map(|since| Evidence::Silent {
        leg: leg.clone(),
        since,
    }));
    if next.idle {
        evidence.push(Evidence::Idle(leg.clone()));
    }
    Some(Verdict {
        kind: Kind::Lost,
        // Others may have attached programs to tc that the agent has not found yet.
        confidence: if next.idle || next.kind == LegKind::Receive {
            Confidence::Low
        } else {
            Confidence::High
        },
        cause,
        drop: None,
        outcome: Outcome::Lost(leg),
        waits: None,
        evidence,
    })
}
