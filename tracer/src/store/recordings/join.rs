//! Checks whether several recordings can be read as one, and joins their heads.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use tracer_core::model::{Hello, Pair};

use super::{chain::Chain, owners};
use crate::store::{
    error::JoinError,
    head::{Head, calls_unwatched},
};

/// Joins the heads of several recordings. Also returns whether the owners are known for the
/// whole time. `groups` are the pieces of each recording. Clock estimates of one kernel are
/// made equal.
pub(super) fn joined(
    chains: &mut [Chain],
    groups: &[VecDeque<PathBuf>],
) -> Result<(Head, bool), JoinError> {
    let (first, others) = chains.split_first_mut().expect("a file was given");
    let mut head = first.head().clone();
    if !others.is_empty() {
        refuse_anonymized(first)?;
    }
    for chain in others {
        refuse_anonymized(chain)?;
        refuse_other_follow(first, chain)?;
        let mut nodes = chain.head().nodes.clone();
        chain.shift(one_clock(&head.nodes, &mut nodes));
        add(&mut head, nodes, chain.head(), chain.path())?;
    }
    let mut complete = false;
    if chains.len() > 1 {
        let joined = owners::joined(chains, groups)?;
        head.owners = joined.owners;
        complete = joined.complete;
    }
    let nodes = &head.nodes;
    head.warnings.retain(|warning| {
        !nodes
            .iter()
            .any(|hello| calls_unwatched(warning, &hello.node))
    });
    Ok((head, complete))
}

/// Whether two of the nodes have different clocks.
pub(super) fn clocks_differ(head: &Head) -> bool {
    let boot = |hello: &Hello| hello.boot_id.clone();
    let first = head.nodes.first().map(boot).unwrap_or_default();
    first.is_empty() || head.nodes.iter().any(|hello| hello.boot_id != first)
}

fn refuse_anonymized(chain: &Chain) -> Result<(), JoinError> {
    if chain.head().anonymized {
        let path = chain.path().to_owned();
        return Err(JoinError::Anonymized { path });
    }
    Ok(())
}

/// Refuses recordings of different follows. A point that did not follow a packet would count as
/// a point that did not see it.
fn refuse_other_follow(first: &Chain, chain: &Chain) -> Result<(), JoinError> {
    let (known, own) = (first.head(), chain.head());
    let Some(what) = difference(&known.pairs, &own.pairs) else {
        return Ok(());
    };
    Err(JoinError::Unrelated {
        what,
        path: chain.path().to_owned(),
        follow: own.follow.clone(),
        other: first.path().to_owned(),
        other_follow: known.follow.clone(),
    })
}

/// A pair in a normal form. Both directions are followed, so the order of the ends does not
/// matter.
type Sides = ([(IpNet, Option<u16>); 2], Option<u8>);

/// What differs between two sets of pairs; `None` if they are equal.
fn difference(one: &[Pair], other: &[Pair]) -> Option<&'static str> {
    let differ = |of: fn(&Pair) -> Sides| {
        let set = |pairs: &[Pair]| {
            let mut set: Vec<Sides> = pairs
                .iter()
                .map(|pair| {
                    let (mut ends, proto) = of(pair);
                    ends.sort_unstable();
                    (ends, proto)
                })
                .collect();
            set.sort_unstable();
            set.dedup();
            set
        };
        set(one) != set(other)
    };
    if differ(|pair| ([(pair.a, None), (pair.b, None)], None)) {
        Some("ends")
    } else if differ(|pair| ([(pair.a, None), (pair.b, None)], pair.proto)) {
        Some("protocols")
    } else if differ(|pair| ([(pair.a, pair.a_port), (pair.b, pair.b_port)], pair.proto)) {
        Some("ports")
    } else {
        None
    }
}

/// Replaces clock estimates by those of the same kernel in `known`. Returns by how much later
/// times are then, ns.
fn one_clock(known: &[Hello], nodes: &mut [Hello]) -> i64 {
    let mut shift = 0;
    for hello in nodes {
        let mut same = known.iter().filter(|other| other.boot_id == hello.boot_id);
        if let Some(same) = same.next().filter(|_| !hello.boot_id.is_empty()) {
            shift = same.realtime_offset.saturating_sub(hello.realtime_offset);
            hello.realtime_offset = same.realtime_offset;
        }
    }
    shift
}

/// Adds an agent of the recording in the file `path`.
pub(super) fn add_node(head: &mut Head, hello: Hello, path: &Path) -> Result<(), JoinError> {
    if head.nodes.iter().any(|known| known.node == hello.node) {
        return Err(JoinError::SameNode {
            path: path.to_owned(),
            node: hello.node,
        });
    }
    head.nodes.push(hello);
    Ok(())
}

/// Adds a recording's nodes, and its knowledge of the cluster.
fn add(head: &mut Head, nodes: Vec<Hello>, other: &Head, path: &Path) -> Result<(), JoinError> {
    for hello in nodes {
        add_node(head, hello, path)?;
    }
    head.warnings.extend(other.warnings.iter().cloned());
    head.hold = head.hold.max(other.hold);
    head.time = head.time.max(other.time);
    head.count = None;
    Ok(())
}
