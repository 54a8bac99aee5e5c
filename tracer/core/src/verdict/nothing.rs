//! Why nothing matched: what points saw instead, and where the source sent its packets.

use std::{collections::BTreeMap, net::IpAddr};

use tracer_common::counters::Counters;

use crate::{
    input::{Elsewhere, Report},
    journey::Scene,
    model::{OwnerKind, Owners},
};

/// How many other destinations a message names.
const NAMED: usize = 3;

/// Explains why no packet belonged to the follow, in one sentence per line. `reports` has the
/// reports of each agent's streams, in the order of the scene's nodes.
#[must_use]
pub fn explain_nothing(scene: &Scene, reports: &[Vec<&Report>]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut seen = 0;
    for (hello, reports) in scene.nodes.iter().zip(reports) {
        let mut points: BTreeMap<usize, u64> = BTreeMap::new();
        for (point, counters) in reports.iter().flat_map(|report| &report.counters) {
            *points.entry(*point).or_default() += Counters::seen(counters);
        }
        seen += points.values().sum::<u64>();
        let figures: Vec<String> = points
            .iter()
            .map(|(point, packets)| {
                let point = &hello.points[*point];
                format!("{} {} {packets}", point.interface, point.way())
            })
            .collect();
        lines.push(format!(
            "packets seen on {}: {}",
            hello.node,
            figures.join(", ")
        ));
    }
    if seen == 0 {
        let told = "no packet at all passed these points: send a packet, and check on which nodes \
                    its ends are";
        lines.push(told.to_owned());
    }
    let mut others: Vec<&Elsewhere> = reports
        .iter()
        .flatten()
        .flat_map(|report| &report.elsewhere)
        .collect();
    // The agents of both ends may have seen the same packets, so do not add their counts.
    others.sort_by_key(|other| {
        (
            other.src,
            other.dst,
            other.proto,
            other.dst_port,
            u64::MAX - other.packets,
        )
    });
    others.dedup_by_key(|other| (other.src, other.dst, other.proto, other.dst_port));
    others.sort_by_key(|other| u64::MAX - other.packets);
    for other in others.iter().take(NAMED) {
        lines.push(elsewhere(scene, other));
    }
    lines
}

fn elsewhere(scene: &Scene, other: &Elsewhere) -> String {
    // The counts cover the whole follow, so the latest owner has to stand for all.
    let name = |address: IpAddr| {
        let owner = scene.owners.at(address, Owners::LATEST)?;
        match owner.kind {
            OwnerKind::Pod => Some(owner.name.clone()),
            OwnerKind::Node | OwnerKind::Endpoint => None,
            OwnerKind::Service | OwnerKind::Unserved | OwnerKind::Empty => {
                Some(format!("Service {}", owner.name))
            }
        }
    };
    let named = |address: IpAddr| name(address).unwrap_or_else(|| address.to_string());
    let port = if other.dst_port == 0 {
        String::new()
    } else if other.dst.is_ipv6() && name(other.dst).is_none() {
        format!(" port {}", other.dst_port)
    } else {
        format!(":{}", other.dst_port)
    };
    let (packets, do_not) = if other.packets == 1 {
        ("packet", "does not")
    } else {
        ("packets", "do not")
    };
    format!(
        "{} sent {} {packets} to {}{port} ({}), which {do_not} belong to this follow",
        named(other.src),
        other.packets,
        named(other.dst),
        other.proto
    )
}
