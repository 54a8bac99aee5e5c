//! The path of the packets, for the page's script.

use serde_json::{Value, json};
use tracer_core::journey::Scene;

use super::number_of;
use crate::view::{
    Moment, outcome,
    path::{Passed, Problem, Station, Tally, Way},
};

/// The path of the page's journeys: the interfaces in the order of requests, with counts.
pub(super) fn path(scene: &Scene, tally: &Tally) -> Value {
    let way = Way::of(scene, tally);
    let stations = way.stations.iter();
    let stations: Vec<Value> = stations.map(|one| station(scene, tally, one)).collect();
    json!({
        "stations": stations,
        "nowhere": problems(scene, tally, &way.nowhere),
        "more_problems": tally.more_problems,
    })
}

fn station(scene: &Scene, tally: &Tally, station: &Station) -> Value {
    json!({
        "node": scene.nodes[station.name.node].node,
        "after": station.after,
        "interface": station.interface(),
        "role": station.role(),
        "pod": station.pod,
        "begins": station.begins(),
        "gone": station.gone.map(|time| Moment(time).to_string()),
        "ways": station.ways.each_ref().map(passed),
        "problems": problems(scene, tally, &station.problems),
    })
}

/// Packets, and the median and the 99th percentile of the time from the point before, ns. The
/// last value says whether that point has another clock.
fn passed(way: &Passed) -> (u64, Option<i64>, Option<i64>, bool) {
    let span = |part| way.spans.quantile(part);
    (way.packets, span(0.5), span(0.99), way.two_clocks)
}

fn problems(scene: &Scene, tally: &Tally, problems: &[Problem]) -> Vec<Value> {
    let problems = problems.iter();
    let met = problems.filter_map(|problem| Some((problem, tally.problems.get(problem)?)));
    met.map(|(problem, met)| {
        let example = &met.example;
        let text = outcome::text(scene, &example.journey, &example.verdict, &example.parts);
        json!({
            "kind": number_of(problem.kind),
            "count": met.packets,
            "reply": problem.course == 1,
            "example": example.journey.id,
            "text": text,
        })
    })
    .collect()
}
