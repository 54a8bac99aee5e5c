//! The packets of a follow, as pairs of addresses with protocol and ports.
//!
//! Every source has a pair with every destination of its family, at the ports that belong to the
//! follow. A node may put its own address in place of the source's. Only the node's agent knows the
//! node's addresses, so these pairs are made later.

use std::collections::BTreeSet;

use tracer_core::model::Pair;

use super::ends::{End, EndKind, Narrow};
use crate::{collector::Masqueraded, link::wire::MAX_PAIRS};

/// The protocol and the port that packets must have at an end; `None` means any.
type Rule = (Option<u8>, Option<u16>);

/// The rules that the packets of a pair must meet at an end.
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

/// The rules for packets that came by a Service.
fn by_service(end: &End) -> Vec<Rule> {
    let ports = end.ports.iter();
    ports
        .map(|port| (Some(port.proto), Some(port.number)))
        .collect()
}

/// All pairs of `sources` and `destinations`, in their order.
///
/// # Errors
/// If there are more pairs than an agent takes.
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
            // A pod may reach itself by a Service. Otherwise, each of several ends with one name is
            // a partner of the others only.
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

/// There are more pairs than an agent takes.
#[derive(Debug)]
pub(super) struct TooMany;

/// Packets that may come to `destinations` with a node's address in place of their source's.
///
/// A pod's own node may masquerade packets through a Service: if the pod reaches itself, or with
/// kube-proxy's `--masquerade-all`. If `may_be`, any node may do so. In most networks, a pod's own
/// node also masquerades packets to places without pods (`is_outside`). The same holds for packets
/// to a Service's address that the node has not translated.
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
