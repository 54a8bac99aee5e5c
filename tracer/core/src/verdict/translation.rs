//! What conntrack and the objects of a Service say about a packet's translation, beyond what its
//! hops show.

use std::net::IpAddr;

use super::{Evidence, Kind, Outcome, Verdict, case::Case, fates::HOST};
use crate::{
    journey::Translated,
    model::{Cause, Direction, Ends, OwnerKind, Point, Role},
};

/// Adds what a translation, or the lack of one, says about why the packet did not arrive.
pub(super) fn tell_translation(case: &Case<'_>, verdict: &mut Verdict) {
    verdict.evidence.extend(not_translated_back(case));
    if verdict.kind == Kind::Delivered {
        return;
    }
    if let Some(unserved) = unserved(case, verdict) {
        verdict.evidence.insert(0, unserved);
        verdict.cause = Some(Cause::NoEndpoints);
        return;
    }
    if let Some(untranslated) = untranslated(case, verdict) {
        verdict.evidence.insert(0, untranslated);
        verdict.cause = Some(Cause::NotTranslated);
        return;
    }
    if verdict.kind == Kind::Left {
        return;
    }
    let journey = case.journey;
    let Some(translated) = journey.translated.as_deref() else {
        return;
    };
    let Translated {
        first: from,
        last: to,
        told,
        ..
    } = *translated;
    // If only the source is translated, the entry says nothing about the destination.
    if (from.dst, from.dst_port) == (to.dst, to.dst_port) {
        return;
    }
    let mut steps = journey.steps.iter();
    let seen = steps.any(|step| journey.ends_at(step) == Some(to));
    if let Some((node, _)) = told.filter(|_| !seen) {
        verdict
            .evidence
            .push(Evidence::Conntrack { node, from, to });
    }
    tell_service(case, verdict, (from, to));
}

/// The proxy to which a node redirects a packet, as `REDIRECT` rules do: conntrack translates the
/// destination to an address of the node.
pub(super) fn proxied(case: &Case<'_>) -> Option<Outcome> {
    let (scene, journey) = (case.scene, case.journey);
    let way = journey.translated.as_deref()?;
    let (sent, to) = (way.first.dst, way.last.dst);
    let node = journey.steps.last()?.node;
    let local = &scene.nodes[node].local;
    if sent == to || way.is_reply == Some(true) || local.contains(&sent) || !local.contains(&to) {
        return None;
    }
    // The endpoint of a Service or of a NodePort may be a pod on the host network.
    let (from, owner) = {
        let at = |address| scene.owners.at(address, journey.start());
        (at(sent).map(|owner| owner.kind), at(to))
    };
    let is_led = from == Some(OwnerKind::Node)
        || (from.is_some_and(OwnerKind::is_service) && owner.is_some());
    (!is_led).then_some(Outcome::Proxied {
        node,
        to: (to, way.last.dst_port),
    })
}

/// Whether packets at the point go to a pod.
fn hands_to_pod(point: &Point) -> bool {
    matches!(
        (point.role, point.direction),
        (Role::Veth, Direction::Egress) | (Role::Pod, Direction::Ingress)
    )
}

/// Evidence that the pod's own rules give a packet to another port of the pod.
pub(super) fn redirected(case: &Case<'_>) -> Option<Evidence> {
    let (scene, journey) = (case.scene, case.journey);
    let way = journey.translated.as_deref()?;
    let last = journey.steps.last()?;
    let ends = journey.ends_at(last)?;
    let is_other = ends.dst == way.last.dst && ends.dst_port != way.last.dst_port;
    (hands_to_pod(scene.point(last)) && is_other && way.is_reply != Some(true)).then_some(
        Evidence::Redirected {
            node: last.node,
            port: way.last.dst_port,
        },
    )
}

/// Evidence that a Service's answer reached the client's pod with the endpoint's address. A bridge
/// passes an answer of a pod of the same node by, without netfilter, if `bridge-nf-call-iptables`
/// is 0.
fn not_translated_back(case: &Case<'_>) -> Option<Evidence> {
    let journey = case.journey;
    let way = journey.translated.as_deref()?;
    let last = journey.steps.last()?;
    let point = case.scene.point(last);
    let ends = journey.ends_at(last)?;
    let (is, expected) = ((ends.src, ends.src_port), (way.last.src, way.last.src_port));
    let is_kept = way.is_reply == Some(true) && ends.dst == way.last.dst && is != expected;
    let is_there = hands_to_pod(point) && point.addresses.contains(&ends.dst);
    let service = service_of(case, way.last.src)?;
    (is_there && is_kept).then_some(Evidence::NotTranslatedBack {
        node: last.node,
        same_node: journey.steps.iter().all(|step| step.node == last.node),
        service,
        expected,
        is,
    })
}

/// Adds where the packet's Service leads, if that explains the verdict.
fn tell_service(case: &Case<'_>, verdict: &mut Verdict, (from, to): (Ends, Ends)) {
    let Some(service) = service_of(case, from.dst) else {
        return;
    };
    let (port, to) = (from.dst_port, (to.dst, to.dst_port));
    if from.dst == to.0 {
        return;
    }
    let mut nodes = case.scene.nodes.iter();
    let is_nodes = nodes.any(|hello| hello.local.contains(&to.0));
    match case.scene.owners.at(to.0, case.journey.start()) {
        // The node redirects the packet to itself.
        None if is_nodes => {}
        None => verdict.cause = Some(Cause::StaleDnat),
        // An endpoint outside of the cluster has no known owner, but may exist.
        Some(owner) if owner.kind == OwnerKind::Endpoint => {
            let evidence = Evidence::NobodysEndpoint { service, port, to };
            verdict.evidence.push(evidence);
        }
        Some(_) if is_refused_port(case, verdict) => {
            let evidence = Evidence::TargetPort { service, port, to };
            verdict.evidence.push(evidence);
        }
        Some(_) => {}
    }
}

/// The name of the Service that has an address.
fn service_of(case: &Case<'_>, address: IpAddr) -> Option<String> {
    let service = case.scene.service(address, case.journey.start());
    service.map(str::to_owned)
}

/// Whether the receiver refused the packet because nobody listens on the translated port.
fn is_refused_port(case: &Case<'_>, verdict: &Verdict) -> bool {
    let told = case.journey.refusal;
    verdict.kind == Kind::Refused
        && told.is_some_and(|told| {
            let is_unreachable = matches!(
                (told.from.is_ipv6(), told.icmp),
                (_, None) | (false, Some((3, 3))) | (true, Some((1, 4)))
            );
            is_unreachable && case.journey.is_sent_to(told.from)
        })
}

/// The Service of an untranslated packet, if the Service has no ready endpoint. The node refuses or
/// drops packets to such a Service.
fn unserved(case: &Case<'_>, verdict: &Verdict) -> Option<Evidence> {
    let journey = case.journey;
    let owner = case.scene.owners.at(journey.packet.dst, journey.start())?;
    let gone = matches!(verdict.kind, Kind::Refused | Kind::Dropped);
    let fits = gone && journey.translated.is_none();
    let has_some = match owner.kind {
        OwnerKind::Unserved => true,
        OwnerKind::Empty => false,
        _ => return None,
    };
    fits.then(|| Evidence::NoEndpoints {
        service: owner.name.clone(),
        has_some,
    })
}

/// Evidence that a packet kept a Service's address after the rules that translate it. The node looks
/// up routes after those rules.
fn untranslated(case: &Case<'_>, verdict: &Verdict) -> Option<Evidence> {
    let journey = case.journey;
    let to = journey.destination()?;
    let service = service_of(case, to)?;
    let node = match &verdict.outcome {
        Outcome::Untranslated { step, .. } => journey.steps[*step].node,
        _ => {
            let drop = &journey.drops[verdict.drop?];
            let is_behind = matches!(
                verdict.cause,
                Some(Cause::Neighbour | Cause::NoRoute | Cause::RouteType)
            );
            let kept = drop.ends.as_deref().is_none_or(|ends| ends.dst == to);
            (is_behind && kept && *drop.netns == *HOST).then_some(drop.node)?
        }
    };
    Some(Evidence::NotTranslated { node, service, to })
}
