//! Verdicts that rest on absence: `lost`, and `left`.
//!
//! A packet is `lost` between two points only if the second point would have seen it: that point
//! was observed all the time, it sees other packets, and no event of the two nodes was lost. A
//! packet has `left` if its last hop goes out of an uplink towards a place without an agent.
//! docs/decisions/absence.md has the reasons.

use super::{
    Circumstances, Confidence, Evidence, Kind, Leg, LegKind, Outcome, Parts, Pattern, Sort,
    Verdict, Where,
    fates::Fates,
    judge::Case,
    next_hop::{Leads, astray, leads, next_hop},
    receive::{is_before, may_pass_unseen, next_hook},
    tunnel::{is_unrecognised, to_nobody, tunnel_of},
};
use crate::{
    journey::{Closed, Range, Ranges, Step},
    model::{Cause, Direction, Hello, OwnerKind, Point, Role, Transport},
};

/// Where the rest of a journey went out of an uplink, and for which node. The rest is the part
/// that was neither delivered nor dropped.
pub(super) struct Gone<'a> {
    pub(super) step: &'a Step,
    /// Name of the node that the rest is for.
    pub(super) to: &'a str,
    /// Whether a tunnel's outer address names the node. Otherwise the next hop has to forward
    /// the packet there.
    pub(super) tunnelled: bool,
}

/// The last step that saw something of the rest of a journey.
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

/// The last step of the rest, if it goes out of an uplink towards another known node.
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
    // A packet that a node sends to itself, such as an ARP announcement, is for all others.
    let is_own = *to == case.scene.nodes[step.node].node;
    (!to.is_empty() && !is_own).then_some(Gone {
        step,
        to,
        tunnelled,
    })
}

/// `left`: out of the last observed point, towards a node without an agent.
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
        // Another node may have got it unseen, whoever has the address.
        || others_unseen()
    {
        return None;
    }
    let index = case.index(step);
    // Another tool's program may translate the packet after this point.
    let is_foreign = !point.foreign.is_empty();
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

/// Where the rest of a journey had to be seen next.
pub(super) struct Next<'a> {
    /// The last step that saw the rest.
    pub(super) step: &'a Step,
    /// Index of the next node and of its points, one of which the rest had to pass.
    pub(super) node: usize,
    pub(super) points: Vec<usize>,
    /// How many packets these points have seen, which proves that they work.
    pub(super) packets: u64,
    /// Whether one of the points has seen no packet, and its device's counter does not prove that
    /// none came.
    pub(super) idle: bool,
    /// Since when the devices have received nothing at all, if so: Unix time, ns.
    pub(super) silent: Option<i64>,
    /// What lies between the two points.
    pub(super) kind: LegKind,
}

impl<'a> Next<'a> {
    /// At a single point, and how many packets that has seen.
    pub(super) fn at(
        step: &'a Step,
        node: usize,
        (point, packets): (usize, u64),
        kind: LegKind,
    ) -> Self {
        Self {
            step,
            node,
            points: vec![point],
            packets,
            idle: false,
            silent: None,
            kind,
        }
    }

    pub(super) fn leg(&self, case: &Case<'_>) -> Leg {
        Leg {
            kind: self.kind,
            step: case.index(self.step),
            node: self.node,
            points: self.points.clone(),
        }
    }
}

/// Points of a node, outside of pods, for which `are` holds. Points that were gone before the
/// packet was sent are left out.
pub(super) fn observed<'a>(
    case: &Case<'a>,
    node: usize,
    are: impl Fn(&Point) -> bool,
) -> impl DoubleEndedIterator<Item = (usize, &'a Point)> {
    let (scene, start) = (case.scene, case.journey.start());
    let points = scene.nodes.of_node(node);
    points.filter(move |(_, point)| are(point) && scene.until(node, point) > start)
}

/// A point and how many packets it has seen, if it was observed when the packet was sent and
/// ever since.
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

/// The next point on the wire: the rest left one node's uplink, and had to come in at the
/// other node's.
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
    // The packet may come in at any uplink, so all must be observed. Proof that they work is
    // a packet at any of them, or a receive counter that says that nothing at all came in.
    let mut points = Vec::new();
    let mut packets = 0;
    let mut idle = false;
    let mut silent = Some(i64::MIN);
    let ways_in: Vec<_> = observed(case, node, uplink).collect();
    for other in &ways_in {
        let interface = &other.1.interface;
        let (point, seen) = seen_at(case, node, *other, circumstances)?;
        // What comes in passes XDP first, where that is observed.
        let is_at_xdp = |(_, first): &(usize, &Point)| is_before(first, other.1);
        if ways_in.iter().any(is_at_xdp) {
            continue;
        }
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

/// `left`: out of one node's uplink, to another machine than the node that the packet is for.
fn left_for_others(
    case: &Case<'_>,
    fates: &Fates<'_>,
    circumstances: &impl Circumstances,
) -> Option<Verdict> {
    let gone = gone(case, fates)?;
    // Another tool's program may have redirected the packet.
    if !case.scene.point(gone.step).foreign.is_empty() {
        return None;
    }
    let mut nodes = case.scene.nodes.iter();
    let node = nodes.position(|hello| hello.node == *gone.to)?;
    let watches =
        |point: &Point| (point.role, point.direction) == (Role::Uplink, Direction::Ingress);
    // Other packets by the same next hop may have come in unseen.
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

/// Whether the rest of a journey was last seen going into an opaque tunnel.
pub(super) fn in_the_dark(case: &Case<'_>, fates: &Fates<'_>) -> bool {
    last_of_rest(case, fates).is_some_and(|step| {
        let point = case.scene.point(step);
        point.is_opaque() && point.direction == Direction::Egress
    })
}

/// The next point of an opaque tunnel: out of one node's tunnel device, into the other node's.
/// Between the two there is only an encrypted packet.
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
        let is_way_in = point.direction == Direction::Ingress && !point.is_xdp();
        point.is_opaque() && point.kind == out.kind && is_way_in
    };
    let mut ways_in = observed(case, node, comes_in);
    let (point, into) = ways_in.next()?;
    // If there are several devices, it is not known which one the packet takes.
    if node == step.node || ways_in.next().is_some() {
        return None;
    }
    let (point, packets) = seen_at(case, node, (point, into), circumstances)?;
    (packets > 0).then(|| Next::at(step, node, (point, packets), LegKind::Tunnel))
}

/// The next point on a bridge: from the bridge device to the pod's port of that bridge.
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
    let seen = seen_at(case, step.node, port, circumstances)?;
    Some(Next::at(step, step.node, seen, LegKind::Bridge))
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

/// `lost`: not seen where the packet had to be seen next, although that point is observed, its
/// agent lives, and no event of the two nodes was lost.
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
    let next = next_node(case, fates, circumstances)
        .or_else(|| next_tunnel(case, fates, circumstances))
        .or_else(|| next_port(case, fates, circumstances))
        .or_else(|| next_hook(case, fates, circumstances))?;
    let Next { step, node, .. } = next;
    if may_be_cut(case, step) || may_pass_unseen(case, &next) {
        return None;
    }
    let unseen = |node| case.hops_lost(Where::Node(node)) || case.drops_lost_on(node);
    if unseen(step.node) || unseen(node) || case.uneven() {
        return None;
    }
    // Another program may have redirected the packet, or it came in with another node's MAC
    // address.
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
