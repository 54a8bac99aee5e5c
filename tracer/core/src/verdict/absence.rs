//! Verdicts that rest on what was not seen, and on why it had to be.

use super::{
    Circumstances, Confidence, Evidence, Kind, Leg, LegKind, Outcome, Parts, Pattern, Sort,
    Verdict, Where,
    fates::Fates,
    judge::Case,
    next_hop::{Leads, astray, leads, next_hop},
    tunnel::{is_unrecognised, to_nobody, tunnel_of},
};
use crate::{
    journey::{Closed, Range, Ranges, Step},
    model::{Cause, Direction, Hello, Point, Role},
};

/// What the last step saw of the rest, if the rest went out of an uplink.
pub(super) struct Gone<'a> {
    pub(super) step: &'a Step,
    /// Name of the node that it is for.
    pub(super) to: &'a str,
    /// Whether a tunnel says so; else it is for the next hop to bring it there.
    pub(super) tunnelled: bool,
}

/// Where what is left of a journey was seen last.
pub(super) fn last_of_rest<'a>(case: &Case<'a>, fates: &Fates<'_>) -> Option<&'a Step> {
    let of_rest = |step: &&Step| {
        let mut parts = step.parts.iter().map(|part| Range::offsets(*part));
        parts.any(|part| fates.rest.intersects(part))
    };
    let steps = case.journey.steps.iter();
    steps
        .rev()
        .filter(|step| !fates.is_astray(step))
        .find(of_rest)
}

/// Where the rest of a journey was seen last, if that is an uplink, going out
/// towards another node that is known.
pub(super) fn gone<'a>(case: &Case<'a>, fates: &Fates<'_>) -> Option<Gone<'a>> {
    let step = last_of_rest(case, fates)?;
    let point = case.scene.point(step);
    if (point.role, point.direction) != (Role::Uplink, Direction::Egress) {
        return None;
    }
    let (far_end, tunnelled) = match step.encap {
        Some(encap) => (encap.outer_dst, true),
        None => (case.journey.destination()?, false),
    };
    let owner = case.scene.owner(far_end, step.time);
    let owner = owner.map(|owner| &owner.node);
    let mut nodes = case.scene.nodes.iter();
    let has_it = |hello: &&Hello| tunnelled && hello.local.contains(&far_end);
    let to = owner.or_else(|| nodes.find(has_it).map(|hello| &hello.node))?;
    // What a node sends to itself, such as an ARP announcement, is for everybody else.
    let is_own = *to == case.scene.nodes[step.node].node;
    (!to.is_empty() && !is_own).then_some(Gone {
        step,
        to,
        tunnelled,
    })
}

/// Out of the last watched point, towards a node without an agent.
pub(super) fn left(case: &Case<'_>, fates: &Fates<'_>) -> Option<Verdict> {
    let gone = gone(case, fates)?;
    let Gone {
        step,
        to,
        tunnelled,
    } = gone;
    if step.seen < case.journey.size() || case.scene.agent(to).is_some() || case.drop_unseen(step) {
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

/// Out of the last watched point without a tunnel, towards an address that is no known pod's
/// or node's.
pub(super) fn left_outside(case: &Case<'_>, fates: &Fates<'_>) -> Option<Verdict> {
    let step = last_of_rest(case, fates)?;
    let (scene, journey) = (case.scene, case.journey);
    let point = scene.point(step);
    let goes_out = (point.role, point.direction) == (Role::Uplink, Direction::Egress);
    let to = journey.destination()?;
    let is_local = || scene.nodes.iter().any(|hello| hello.local.contains(&to));
    if !goes_out
        || step.encap.is_some()
        || step.seen < journey.size()
        || case.drop_unseen(step)
        || is_local()
        // Somebody else on the wire had the frame, which may say more.
        || !fates.astray.is_empty()
        || !fates.unclear.is_empty()
    {
        return None;
    }
    let index = case.index(step);
    if scene.owners.at(to, step.time).is_some() {
        return None;
    }
    Some(Verdict {
        kind: Kind::Left,
        // A program of somebody else may translate it behind this point.
        confidence: if point.foreign.is_empty() {
            Confidence::High
        } else {
            Confidence::Low
        },
        cause: None,
        drop: None,
        outcome: Outcome::LeftOutside { step: index, to },
        waits: None,
        evidence: vec![Evidence::LastSeen(index)],
    })
}

/// Where what is left of a journey had to be seen next.
struct Next<'a> {
    /// Where it was seen last.
    step: &'a Step,
    /// Index of the node and of its points, one of which it had to pass.
    node: usize,
    points: Vec<usize>,
    /// Packets that these points have seen, as proof that they see them.
    packets: u64,
    /// Whether one of them has seen none, and its device has counted some.
    idle: bool,
    /// If their devices have received nothing at all: since when, Unix time, ns.
    silent: Option<i64>,
    /// What it passes in between.
    kind: LegKind,
}

/// Points of a node that `are` such and no pod's interfaces, but for those that were
/// known to be gone before the packet was sent.
fn observed<'a>(
    case: &Case<'a>,
    node: usize,
    are: impl Fn(&Point) -> bool,
) -> impl DoubleEndedIterator<Item = (usize, &'a Point)> {
    let (scene, start) = (case.scene, case.journey.start());
    let points = scene.nodes.of_node(node);
    points.filter(move |(_, point)| are(point) && scene.until(node, point) > start)
}

/// A point and how many packets it has seen, if it was there when the packet
/// was sent and has been since.
pub(super) fn seen_at(
    case: &Case<'_>,
    node: usize,
    (index, point): (usize, &Point),
    circumstances: &impl Circumstances,
) -> Option<(usize, u64)> {
    let journey = case.journey;
    if !case.scene.observes(node, point, journey.start()) {
        return None;
    }
    let packets = circumstances.packets(node, index, journey.last())?;
    Some((index, packets))
}

/// Out of one node's uplink, and into the other's.
fn next_node<'a>(
    case: &Case<'a>,
    fates: &Fates<'_>,
    circumstances: &impl Circumstances,
) -> Option<Next<'a>> {
    let gone = gone(case, fates)?;
    let Gone { step, to, .. } = gone;
    let nodes = &case.scene.nodes;
    let node = nodes.iter().position(|hello| hello.node == *to)?;
    let unrecognised = is_unrecognised(case, step);
    if unrecognised || leads(case, &gone, node, circumstances) != Leads::There {
        return None;
    }
    let uplink =
        |point: &Point| (point.role, point.direction) == (Role::Uplink, Direction::Ingress);
    // It may come in from each of them, so all must be there. That any has seen
    // packets will do: the wire's far end works. So will that no device has
    // received any, by its own count.
    let mut points = Vec::new();
    let mut packets = 0;
    let mut idle = false;
    let mut silent = Some(i64::MIN);
    for other in observed(case, node, uplink) {
        let interface = &other.1.interface;
        let (point, seen) = seen_at(case, node, other, circumstances)?;
        let silence = circumstances.silence(node, interface, step.time, case.journey.last());
        idle |= seen == 0 && !silence.is_some_and(|silence| silence.counts);
        silent = silent
            .zip(silence)
            .map(|(since, silence)| since.max(silence.since));
        packets += seen;
        points.push(point);
    }
    let silent = silent.filter(|_| !points.is_empty());
    (packets > 0 || silent.is_some()).then_some(Next {
        step,
        node,
        points,
        packets,
        idle,
        silent,
        kind: LegKind::Wire,
    })
}

/// Out of one node's uplink, to somebody else than the node that it is for.
fn left_for_others(
    case: &Case<'_>,
    fates: &Fates<'_>,
    circumstances: &impl Circumstances,
) -> Option<Verdict> {
    let gone = gone(case, fates)?;
    // A program of somebody else may have sent it another way.
    if !case.scene.point(gone.step).foreign.is_empty() {
        return None;
    }
    let mut nodes = case.scene.nodes.iter();
    let node = nodes.position(|hello| hello.node == *gone.to)?;
    let watches =
        |point: &Point| (point.role, point.direction) == (Role::Uplink, Direction::Ingress);
    // Others by the same next hop may have come in unseen.
    let mut ways_in = observed(case, node, watches).peekable();
    ways_in.peek()?;
    for other in ways_in {
        seen_at(case, node, other, circumstances)?;
    }
    match leads(case, &gone, node, circumstances) {
        Leads::Elsewhere(mac) => astray(case, &gone, mac),
        Leads::There | Leads::Unknown => None,
    }
}

/// Whether the rest of a journey was seen last going into an opaque tunnel.
pub(super) fn in_the_dark(case: &Case<'_>, fates: &Fates<'_>) -> bool {
    last_of_rest(case, fates).is_some_and(|step| {
        let point = case.scene.point(step);
        point.is_opaque() && point.direction == Direction::Egress
    })
}

/// Out of one node's opaque tunnel device, and into the other's: what is in
/// between is the tunnel's packet, not this one.
fn next_tunnel<'a>(
    case: &Case<'a>,
    fates: &Fates<'_>,
    circumstances: &impl Circumstances,
) -> Option<Next<'a>> {
    if !in_the_dark(case, fates) {
        return None;
    }
    let step = last_of_rest(case, fates)?;
    let out = case.scene.point(step);
    let address = case.journey.destination()?;
    let home = &case.scene.owner(address, step.time)?.node;
    let nodes = &case.scene.nodes;
    let node = nodes.iter().position(|hello| hello.node == *home)?;
    let comes_in = |point: &Point| {
        point.is_opaque() && point.kind == out.kind && point.direction == Direction::Ingress
    };
    let mut ways_in = observed(case, node, comes_in);
    let (point, into) = ways_in.next()?;
    // Of several it is not known which.
    if node == step.node || ways_in.next().is_some() {
        return None;
    }
    let (point, packets) = seen_at(case, node, (point, into), circumstances)?;
    (packets > 0).then(|| Next {
        step,
        node,
        points: vec![point],
        packets,
        idle: false,
        silent: None,
        kind: LegKind::Tunnel,
    })
}

/// Out of a bridge device, and to the pod's port of that bridge.
fn next_port<'a>(
    case: &Case<'a>,
    fates: &Fates<'_>,
    circumstances: &impl Circumstances,
) -> Option<Next<'a>> {
    let step = last_of_rest(case, fates)?;
    let out = case.scene.point(step);
    if (out.role, out.direction) != (Role::Bridge, Direction::Egress) {
        return None;
    }
    let address = case.journey.destination()?;
    let (scene, start) = (case.scene, case.journey.start());
    let mut ports = scene.nodes.of_pod(address).filter(|(node, _, point)| {
        *node == step.node
            && (point.role, point.direction) == (Role::Veth, Direction::Egress)
            && scene.until(*node, point) > start
    });
    let (_, index, point) = ports.next_back()?;
    let port = (index, point);
    let (point, packets) = seen_at(case, step.node, port, circumstances)?;
    Some(Next {
        step,
        node: step.node,
        points: vec![point],
        packets,
        idle: false,
        silent: None,
        kind: LegKind::Bridge,
    })
}

/// Not seen where it had to be seen next, though that point is watched, its
/// agent lives, and no event of the nodes at both ends was lost.
pub(super) fn lost(
    case: &Case<'_>,
    fates: &Fates<'_>,
    circumstances: &impl Circumstances,
    parts: &mut Parts,
) -> Option<Verdict> {
    let (scene, journey) = (case.scene, case.journey);
    let silent = matches!(journey.closed, Closed::Silence) && journey.start() >= scene.since;
    let all_seen = scene.nodes.iter().all(|hello| hello.drops.is_some());
    // Of identical packets it is known how many vanished, not which. What a kernel freed
    // did not vanish, whatever that meant.
    if journey.ambiguous
        || !fates.unclear.is_empty()
        || !silent
        || !all_seen
        || fates.drop.is_some()
    {
        return None;
    }
    let nobodys = || to_nobody(case, last_of_rest(case, fates)?, circumstances);
    // That a gateway has brought nothing may be what was not seen.
    if !case.events_lost()
        && let Some(left) = left_for_others(case, fates, circumstances).or_else(nobodys)
    {
        return Some(left);
    }
    let next = next_node(case, fates, circumstances)
        .or_else(|| next_tunnel(case, fates, circumstances))
        .or_else(|| next_port(case, fates, circumstances))?;
    let Next { step, node, .. } = next;
    let unseen = |node| case.hops_lost(Where::Node(node)) || case.drops_lost_on(node);
    if unseen(step.node) || unseen(node) || case.uneven() {
        return None;
    }
    // It may have been taken another way, or have come there with another
    // node's MAC address.
    let came = fates.astray.iter().any(|(astray, _)| astray.node == node);
    if came || !scene.point(step).foreign.is_empty() {
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

    let leg = Leg {
        kind: next.kind,
        step: case.index(step),
        node,
        points: next.points,
    };
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
    for (node, interface) in [out].into_iter().chain(far) {
        let rises = circumstances.rises(node, start);
        let rise = rises.as_ref().and_then(|rises| rises.device(interface));
        evidence.extend(rise.map(|rise| Evidence::DeviceCounters {
            node,
            rise: rise.clone(),
        }));
    }
    let len = step.len / step.segments.max(1);
    let sort = Sort::of(step, &journey.packet);
    let pattern = circumstances.pattern(step.node, node, &sort, len);
    let cause = match pattern {
        Some(Pattern::TooLarge(_)) => Some(Cause::Pmtu),
        Some(Pattern::AllOfSort { .. }) => Some(Cause::SelectiveLoss),
        None => next.silent.map(|_| Cause::NothingArrives),
    };
    evidence.extend(pattern.map(|pattern| Evidence::Pattern {
        pattern,
        sort,
        port: tunnel_of(case, step).map(|tunnel| tunnel.port),
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
        confidence: if next.idle {
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
