//! Sums of all journeys for the page.

use std::{
    cmp::Reverse,
    io::{self, Write},
};

use serde_json::{Value, json};
use tracer_core::{
    journal::{Selected, View as _},
    journey::Scene,
    model::Hello,
    verdict::{Kind, Place, Summary},
};

use super::{Html, path::path, rows::CONFIDENCES};
use crate::view::{
    HOST, Look, Moment, Text,
    legs::{Leg, in_path_order},
};

impl<W: Write> Html<W> {
    /// The data `meta` of the page's script.
    pub(super) fn meta(
        &self,
        scene: &Scene,
        summary: &Summary,
        selected: Option<&Selected>,
    ) -> io::Result<Value> {
        let points = self.seen.points();
        let legs = in_path_order(scene, summary);
        let legs: Vec<Value> = legs
            .iter()
            .filter_map(|leg| latency(scene, &points, leg))
            .collect();
        let mut notes = Vec::new();
        if let Some(selected) = selected {
            notes.push(format!(
                "This page has only the journeys that match --where '{}': {} of {}. Sums, latencies and drops by place are of all.",
                selected.query, selected.matching, selected.of
            ));
        }
        notes.extend(self.rows.sentence());
        let lost = summary.accounting.lost() + summary.accounting.drops.lost();
        if lost > 0 {
            notes.push(format!(
                "{lost} events were lost: what was not seen may still have happened."
            ));
        }
        let names = self.names.all(scene);
        let names: Vec<String> = names.map(|(at, name)| format!("{at}  {name}")).collect();
        Ok(json!({
            "time": self.started.time.to_string(),
            "when": format!("Recorded from {} on, by tracer {}; times are in UTC.", Moment(self.started.time), env!("CARGO_PKG_VERSION")),
            "follow": self.started.follow,
            "warnings": self.started.warnings,
            "notes": notes,
            "is_filtered": selected.is_some(),
            "kinds": Kind::ALL.map(Kind::name),
            "confidences": CONFIDENCES,
            "path": path(scene, &self.tally),
            "problems": self.problems.all(),
            "besides": self.problems.besides(),
            "nodes": scene.nodes.iter().map(node).collect::<Vec<_>>(),
            "points": points.iter().map(|at| point(scene, *at)).collect::<Vec<_>>(),
            "legs": legs,
            "drops": drops(summary),
            "names": names,
            "sums": sums(scene, summary, selected)?,
        }))
    }
}

/// A node, and its kernel if that is known.
fn node(hello: &Hello) -> String {
    match &hello.kernel {
        Some(kernel) => format!("{}  {kernel}", hello.node),
        None => hello.node.clone(),
    }
}

/// The four names of a point, and a number that is equal for points with one clock.
fn point(scene: &Scene, (node, point): (usize, usize)) -> Value {
    let hello = &scene.nodes[node];
    let point = &hello.points[point];
    let clock = (0..node).find(|other| scene.one_clock(*other, node));
    let interface = if point.is_xdp() {
        format!("{} (xdp)", point.interface)
    } else {
        point.interface.clone()
    };
    json!([
        hello.node,
        point.netns,
        interface,
        point.direction,
        clock.unwrap_or(node)
    ])
}

fn latency(scene: &Scene, points: &[(usize, usize)], leg: &Leg<'_>) -> Option<Value> {
    let number = |place: &Place| {
        let mut points = points.iter();
        points.position(|(node, point)| {
            let hello = &scene.nodes[*node];
            let point = &hello.points[*point];
            hello.node == place.node
                && point.netns == place.netns
                && point.interface == place.interface
                && point.direction == place.direction
                && point.hook == place.hook
        })
    };
    let (least, histogram) = buckets(leg);
    Some(json!({
        "from": number(leg.from)?,
        "to": number(leg.to)?,
        "begins": leg.begins.is_some(),
        "one_clock": leg.one_clock,
        "count": leg.latency.len(),
        "p50": leg.quantile(0.5),
        "p99": leg.quantile(0.99),
        "max": leg.latency.max(),
        "least": least,
        "histogram": histogram,
    }))
}

/// Counts by powers of two: the lowest power that occurs, and the counts from there on.
fn buckets(leg: &Leg<'_>) -> (usize, Vec<u64>) {
    let mut counts = [0; 64];
    for value in leg.latency.iter_recorded() {
        let ns = value.value_iterated_to().max(1);
        counts[ns.ilog2() as usize] += value.count_at_value();
    }
    let least = counts.iter().position(|count| *count > 0);
    let most = counts.iter().rposition(|count| *count > 0);
    match (least, most) {
        (Some(least), Some(most)) => (least, counts[least..=most].to_vec()),
        _ => (0, Vec::new()),
    }
}

/// Place, reason and function with the number of journeys, the most first.
fn drops(summary: &Summary) -> Vec<(String, String, u64)> {
    let drops = summary.drops.iter().map(|(place, journeys)| {
        let mut at = String::new();
        if let Some(interface) = &place.interface {
            at = format!("{interface} ");
        }
        if &*place.netns != HOST {
            at += &format!("in {} ", place.netns);
        }
        let reason = format!("{} in {}", place.reason, place.function);
        (format!("{at}on {}", place.node), reason, *journeys)
    });
    let mut drops: Vec<_> = drops.collect();
    drops.sort_by_key(|(_, _, journeys)| Reverse(*journeys));
    drops
}

/// The last lines of `tracer replay`.
fn sums(scene: &Scene, summary: &Summary, selected: Option<&Selected>) -> io::Result<String> {
    let mut text = Vec::new();
    Text::new(&mut text, Look::plain()).summary(scene, summary, selected)?;
    String::from_utf8(text).map_err(io::Error::other)
}
