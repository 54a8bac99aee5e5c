//! Which packets a follow is about: pairs of addresses, with protocol and ports.
//!
//! Every source with every destination of its family, at the ports that belong to the
//! follow there. A node may put its own address in the source's place, and which
//! addresses it has is known only once its agent has told: those pairs are made then.

use std::collections::BTreeSet;

use tracer_core::model::Pair;

use super::ends::{End, EndKind, Narrow};
use crate::{collector::Masqueraded, link::wire::MAX_PAIRS};

/// What is asked of protocol and port at an end; `None` asks nothing.
type Rule = (Option<u8>, Option<u16>);

/// What each packet of a pair has to be like at an end.
fn rules(end: &End, narrow: Narrow) -> Vec<Rule> {
    let all = (narrow.proto, narrow.port);
    if narrow.is_without_ports() || end.ports.is_empty() {
        return vec![all];
    }
    let mut rules = by_service(end);
    if end.kind == EndKind::Named {
        match narrow.port {
            None => return vec![all],
            Some(_) if !rules.contains(&all) => rules.push(all),
            Some(_) => {}
        }
    }
    rules
}

/// The same of those that came there by a Service.
fn by_service(end: &End) -> Vec<Rule> {
    let ports = end.ports.iter();
    ports
        .map(|port| (Some(port.proto), Some(port.number)))
        .collect()
}

/// All pairs of `sources` and `destinations`, in their order.
///
/// # Errors
/// If there are more than an agent can be told.
pub(super) fn pairs<'a>(
    (sources, from): (&[End], Narrow),
    (destinations, to): (impl Iterator<Item = &'a End> + Clone, Narrow),
) -> Result<Vec<Pair>, TooMany> {
    let mut pairs = Vec::new();
    for source in sources {
        for destination in destinations.clone() {
            if source.family() != destination.family() {
                continue;
            }
            let is_same = source.network == destination.network;
            // A pod reaches itself by a Service; of ends that are named together, each is a
            // partner of the others only.
            let to = match is_same {
                true => by_service(destination),
                false => rules(destination, to),
            };
            for (proto, b_port) in to {
                for (from_proto, a_port) in rules(source, from) {
                    let both = proto.zip(from_proto);
                    if both.is_some_and(|(one, other)| one != other) {
                        continue;
                    }
                    pairs.push(Pair {
                        a: source.network,
                        b: destination.network,
                        proto: proto.or(from_proto),
                        a_port,
                        b_port,
                    });
                }
            }
            if pairs.len() > MAX_PAIRS {
                return Err(TooMany);
            }
        }
    }
    Ok(pairs)
}

/// There are more than an agent can be told.
#[derive(Debug)]
pub(super) struct TooMany;

/// What may come to `destinations` with an address of a node in the place of its source's.
///
/// A pod's own node may masquerade packets through a Service: if the pod reaches itself, or with
/// kube-proxy's `--masquerade-all`. If `may_be`, any node may. In most networks, a pod's own node
/// also masquerades packets to places without pods (`is_outside`), and packets to a Service's
/// address that the node has not translated.
pub(super) fn masqueraded<'a>(
    sources: &[End],
    (destinations, to): (impl Iterator<Item = &'a End>, Narrow),
    may_be: bool,
    is_outside: impl Fn(&End) -> bool,
) -> Vec<Masqueraded> {
    let pods = sources.iter().filter(|source| !is_outside(source));
    let nodes: BTreeSet<(&str, Option<&String>)> = pods
        .map(|source| (source.family(), source.node.as_ref()))
        .collect();
    let mut all = Vec::new();
    for end in destinations {
        let partners = || {
            let partners = nodes.iter().filter(|(family, _)| *family == end.family());
            partners.map(|(_, node)| node.cloned()).collect()
        };
        let is_by_service = end.is_real() && !end.ports.is_empty();
        let (from, rules) = if is_by_service {
            let from = if may_be { vec![None] } else { partners() };
            (from, by_service(end))
        } else if matches!(end.kind, EndKind::Asked | EndKind::Virtual)
            || (end.is_real() && is_outside(end))
        {
            (partners(), rules(end, to))
        } else {
            continue;
        };
        for node in from {
            all.extend(rules.iter().map(|(proto, port)| Masqueraded {
                to: end.network,
                proto: *proto,
                port: *port,
                node: node.clone(),
            }));
        }
    }
    all
}
