//! Latencies, in the order in which packets pass the legs.
//!
//! A summary has legs by name, and names do not give an order. The order follows from the legs
//! themselves: each begins where another one ends.

use std::collections::{BTreeMap, BTreeSet};

use hdrhistogram::Histogram;
use tracer_core::{
    journey::Scene,
    model::{Point, Role},
    verdict::{Place, Summary},
};

use super::HOST;

/// The latencies of packets between two points.
pub(crate) struct Leg<'a> {
    pub(crate) from: &'a Place,
    pub(crate) to: &'a Place,
    pub(crate) latency: &'a Histogram<u64>,
    /// Whether both times come from one clock.
    pub(crate) one_clock: bool,
    /// The source of the path that begins with this leg. `None` if another leg leads here.
    pub(crate) begins: Option<Begin<'a>>,
}

/// Where the packets of a path were first seen.
pub(crate) enum Begin<'a> {
    /// The packets come from this pod.
    Pod(&'a str),
    /// The packets pass an interface that is not a pod's.
    Elsewhere,
}

impl Leg<'_> {
    /// The latency in ns that this share of all packets did not exceed.
    pub(crate) fn quantile(&self, part: f64) -> u64 {
        self.latency.value_at_quantile(part)
    }
}

/// All legs. After each leg come those that go on from its end, the busiest first. The path from
/// the follow's source comes before the path back.
pub(crate) fn in_path_order<'a>(scene: &'a Scene, summary: &'a Summary) -> Vec<Leg<'a>> {
    let mut onward: BTreeMap<&Place, Vec<Leg<'a>>> = BTreeMap::new();
    for ((from, to), latency) in &summary.legs {
        onward.entry(from).or_default().push(Leg {
            from,
            to,
            latency,
            one_clock: one_clock(scene, &from.node, &to.node),
            begins: None,
        });
    }
    for legs in onward.values_mut() {
        legs.sort_by_key(|leg| leg.latency.len());
    }

    let ends: BTreeSet<&Place> = summary.legs.keys().map(|(_, to)| to).collect();
    let mut starts: Vec<&Place> = onward.keys().copied().collect();
    // Legs that no start leads to form a circle, which may begin anywhere.
    starts.sort_by_key(|place| (ends.contains(place), !asks(scene, place)));
    let mut path = Vec::with_capacity(summary.legs.len());
    for start in starts {
        let mut open = onward.remove(start).unwrap_or_default();
        let mut begins = Some(begin(scene, start));
        while let Some(mut leg) = open.pop() {
            leg.begins = begins.take();
            open.extend(onward.remove(leg.to).unwrap_or_default());
            path.push(leg);
        }
    }
    path
}

/// Whether a place is an interface of the follow's source.
fn asks(scene: &Scene, place: &Place) -> bool {
    let points = scene.agent(&place.node).map(|hello| &hello.points);
    points.into_iter().flatten().any(|point| {
        let here = point.interface == place.interface && point.netns == place.netns;
        let source = |address| scene.sources.iter().any(|net| net.contains(address));
        here && point.addresses.iter().any(source)
    })
}

/// The source of the packets that are first seen at a place.
fn begin<'a>(scene: &'a Scene, place: &'a Place) -> Begin<'a> {
    if place.netns != HOST {
        return Begin::Pod(&place.netns);
    }
    let mut nodes = scene.nodes.iter();
    let Some(node) = nodes.position(|hello| hello.node == place.node) else {
        return Begin::Elsewhere;
    };
    // The last owner of the address counts. If an interface is gone, it is the owner when it went.
    let pod = |point: &'a Point| {
        let time = scene.until(node, point).saturating_sub(1);
        let mut addresses = point.addresses.iter();
        addresses.find_map(|address| scene.pod(*address, time))
    };
    let points = scene.nodes[node].points.iter();
    let mut pods = points
        .filter(|point| point.interface == place.interface && point.netns == place.netns)
        .filter(|point| matches!(point.role, Role::Veth | Role::Pod))
        .filter_map(pod);
    pods.next().map_or(Begin::Elsewhere, Begin::Pod)
}

/// Whether the times of two nodes can be subtracted. Agents of one kernel read the same clock.
fn one_clock(scene: &Scene, from: &str, to: &str) -> bool {
    let agent = |node: &str| scene.nodes.iter().position(|hello| hello.node == *node);
    let agents = agent(from).zip(agent(to));
    from == to || agents.is_some_and(|(from, to)| scene.one_clock(from, to))
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;

    use super::in_path_order;
    use tracer_core::{
        journey::Scene,
        model::Direction,
        verdict::{Place, Summary},
    };

    fn place(interface: &str) -> Place {
        Place {
            node: "node".to_owned(),
            netns: "host".to_owned(),
            interface: interface.to_owned(),
            direction: Direction::Ingress,
            hook: "tcx".into(),
        }
    }

    fn ordered(legs: &[(&str, &str, u64)]) -> Vec<String> {
        let mut summary = Summary::default();
        for (from, to, packets) in legs {
            let mut latency = Histogram::new(3).expect("three figures are allowed");
            latency.record_n(1_000, *packets).expect("in range");
            summary.legs.insert((place(from), place(to)), latency);
        }
        in_path_order(&Scene::default(), &summary)
            .iter()
            .map(|leg| format!("{}{}", leg.from.interface, leg.to.interface))
            .collect()
    }

    #[test]
    fn follows_the_way_not_the_alphabet() {
        let legs = [("b", "a", 9), ("a", "d", 9), ("z", "b", 9)];
        assert_eq!(ordered(&legs), ["zb", "ba", "ad"]);
    }

    #[test]
    fn each_way_says_where_it_begins() {
        let begins = |legs: &[(&str, &str, u64)]| {
            let mut summary = Summary::default();
            for (from, to, _) in legs {
                let latency = Histogram::new(3).expect("three figures are allowed");
                summary.legs.insert((place(from), place(to)), latency);
            }
            let scene = Scene::default();
            let path = in_path_order(&scene, &summary);
            path.iter()
                .map(|leg| leg.begins.is_some())
                .collect::<Vec<_>>()
        };
        let there_and_back = [("a", "b", 1), ("b", "c", 1), ("z", "y", 1), ("y", "x", 1)];
        assert_eq!(begins(&there_and_back), [true, false, true, false]);
    }

    #[test]
    fn the_busier_branch_comes_first() {
        let legs = [("a", "b", 1), ("a", "c", 2), ("b", "d", 1), ("c", "d", 2)];
        assert_eq!(ordered(&legs), ["ac", "cd", "ab", "bd"]);
    }

    #[test]
    fn a_circle_ends() {
        let legs = [("a", "b", 1), ("b", "a", 1), ("c", "c", 1)];
        assert_eq!(ordered(&legs), ["ab", "ba", "cc"]);
    }
}
