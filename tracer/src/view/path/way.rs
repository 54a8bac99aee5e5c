//! The path of the packets: stations in the order in which packets pass them.
//!
//! A station is an interface on the path. Replies go out where requests come in, so both directions
//! share a station. The order follows from the hops: each station comes after the one that its
//! packets come from, the busiest branch first. A station that no packet has passed yet has the
//! usual place of its role on the node.

use std::collections::{BTreeMap, BTreeSet};

use tracer_core::{journey::Scene, model::Role};

use super::{
    station::{Name, Station, name},
    tally::{AtPoint, Problem, Tally},
};

/// Stations, in the order of requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Way {
    pub(crate) stations: Vec<Station>,
    /// Problems before the first point.
    pub(crate) nowhere: Vec<Problem>,
}

impl Way {
    pub(crate) fn of(scene: &Scene, tally: &Tally) -> Self {
        let mut stations = passed(scene, tally);
        let mut onward = onward(scene, tally);
        let mut ordered: Vec<Station> = Vec::new();
        for name in beside_tc(in_order(scene, &stations, &mut onward), &stations) {
            let Some(mut station) = stations.remove(&name) else {
                continue;
            };
            // Requests do not pass a station where only replies come in.
            let mut before = ordered.iter().rev();
            let before = before.find(|other| !is_way_back(other));
            let before = before.map(|last| &last.name);
            station.after = branch(scene, &onward, before, &name);
            ordered.push(station);
        }
        let mut way = Self {
            stations: ordered,
            nowhere: Vec::new(),
        };
        way.add_unpassed(scene);
        way.add_problems(scene, tally);
        way
    }

    /// Adds stations that no packet has passed, next to the other stations of their node.
    fn add_unpassed(&mut self, scene: &Scene) {
        let mut order: Vec<usize> = Vec::new();
        for station in &self.stations {
            if !order.contains(&station.name.node) {
                order.push(station.name.node);
            }
        }
        let mut others: Vec<usize> = (0..scene.nodes.len())
            .filter(|node| !order.contains(node))
            .collect();
        others.sort_by_key(|node| !has_source(scene, *node));
        order.extend(others);
        for (rank, node) in order.iter().enumerate() {
            let first = rank == 0;
            let mut missing: Vec<Station> = Vec::new();
            for point in &scene.nodes[*node].points {
                let mut all = self.stations.iter().chain(&missing);
                if point.until.is_some() || all.any(|station| station.is(*node, point)) {
                    continue;
                }
                missing.push(Station::of(scene, *node, point, point.direction));
            }
            missing.sort_by_key(|station| place_of(station.role, first));
            let behind = self
                .stations
                .iter()
                .rposition(|station| station.name.node == *node)
                .map_or(self.stations.len(), |last| last + 1);
            self.stations.splice(behind..behind, missing);
        }
    }

    fn add_problems(&mut self, scene: &Scene, tally: &Tally) {
        let mut problems: Vec<_> = tally.problems.iter().collect();
        problems.sort_by(|(a, met), (b, other)| {
            let key = |problem: &Problem| (problem.kind, problem.drop.clone(), problem.cause);
            other.packets.cmp(&met.packets).then(key(a).cmp(&key(b)))
        });
        for (problem, _) in problems {
            let name = problem.at.map(|at| name(scene, at, problem.course));
            let here = name.and_then(|name| {
                let mut all = self.stations.iter_mut();
                all.find(|station| station.name == name)
            });
            match here {
                Some(station) => station.problems.push(problem.clone()),
                None => self.nowhere.push(problem.clone()),
            }
        }
    }
}

/// The position of a role on a node's path, from a pod out of the node, or into it.
fn place_of(role: Role, outwards: bool) -> u8 {
    let place = match role {
        Role::Pod => 0,
        Role::Veth => 1,
        Role::Bridge => 2,
        Role::Overlay => 3,
        Role::Uplink => 4,
    };
    if outwards { place } else { 4 - place }
}

fn has_source(scene: &Scene, node: usize) -> bool {
    let mut addresses = scene.nodes[node]
        .points
        .iter()
        .flat_map(|point| &point.addresses);
    addresses.any(|address| scene.sources.iter().any(|net| net.contains(address)))
}

/// All stations that packets have passed.
fn passed(scene: &Scene, tally: &Tally) -> BTreeMap<Name, Station> {
    let mut stations: BTreeMap<Name, Station> = BTreeMap::new();
    for (at, ways) in &tally.points {
        let point = &scene.nodes[at.0].points[at.1];
        for (course, AtPoint { packets, seconds }) in ways.iter().enumerate() {
            if *packets == 0 {
                continue;
            }
            let name = name(scene, *at, course);
            let new = Station::of(scene, at.0, point, name.direction);
            let station = stations.entry(name).or_insert_with(|| new.clone());
            // Another point of the same name may have replaced this one.
            station.gone = station.gone.and(new.gone);
            let way = &mut station.ways[course];
            if *packets > way.packets {
                way.seconds = seconds.clone();
            }
            way.packets += packets;
        }
    }
    for ((from, to, course), leg) in &tally.legs {
        let name = name(scene, *to, *course);
        if let Some(station) = stations.get_mut(&name) {
            let way = &mut station.ways[*course];
            way.spans.join(&leg.spans);
            way.two_clocks |= !scene.one_clock(from.0, to.0);
        }
    }
    stations
}

/// Where packets go from each station in the direction of requests, and their number.
type Onward = BTreeMap<Name, BTreeMap<Name, u64>>;

fn onward(scene: &Scene, tally: &Tally) -> Onward {
    let mut onward = Onward::new();
    for ((from, to, course), leg) in &tally.legs {
        let [from, to] = [from, to].map(|at| name(scene, *at, *course));
        let (from, to) = if *course == 0 { (from, to) } else { (to, from) };
        if from != to {
            *onward.entry(from).or_default().entry(to).or_default() += leg.packets;
        }
    }
    onward
}

/// Each station after one that leads to it, the busiest first.
fn in_order(scene: &Scene, stations: &BTreeMap<Name, Station>, onward: &mut Onward) -> Vec<Name> {
    let ends: BTreeSet<&Name> = onward.values().flat_map(BTreeMap::keys).collect();
    let mut starts: Vec<&Name> = stations.keys().collect();
    let packets = |name: &Name| {
        let ways = &stations[name].ways;
        ways[0].packets.max(ways[1].packets)
    };
    // Stations that no start leads to form a circle, which may begin anywhere.
    starts.sort_by_key(|name| {
        let asks = has_source(scene, name.node);
        (ends.contains(name), !asks, std::cmp::Reverse(packets(name)))
    });
    let mut order: Vec<Name> = Vec::new();
    let mut known: BTreeSet<Name> = BTreeSet::new();
    for start in starts {
        let mut open = vec![start.clone()];
        while let Some(name) = open.pop() {
            if !known.insert(name.clone()) {
                continue;
            }
            let next = onward.get(&name).into_iter().flatten();
            let mut next: Vec<_> = next.filter(|(to, _)| !known.contains(*to)).collect();
            next.sort_by_key(|(_, packets)| **packets);
            open.extend(next.into_iter().map(|(to, _)| to.clone()));
            order.push(name);
        }
    }
    order
}

/// Whether only replies pass a station, because it is at XDP of the interface where they come in.
fn is_way_back(station: &Station) -> bool {
    station.name.xdp && station.ways[0].packets == 0
}

/// The same order, with such stations directly after their interface.
fn beside_tc(order: Vec<Name>, stations: &BTreeMap<Name, Station>) -> Vec<Name> {
    let (back, mut order): (Vec<Name>, Vec<Name>) = order
        .into_iter()
        .partition(|name| is_way_back(&stations[name]));
    for xdp in back {
        let is_its = |name: &Name| {
            let Name {
                node,
                netns,
                interface,
                ..
            } = name;
            !name.xdp && (*node, netns, interface) == (xdp.node, &xdp.netns, &xdp.interface)
        };
        let behind = order.iter().position(is_its).map(|tc| tc + 1);
        order.insert(behind.unwrap_or(order.len()), xdp);
    }
    order
}

/// The station that leads to this one, if it is not the one above.
fn branch(scene: &Scene, onward: &Onward, above: Option<&Name>, name: &Name) -> Option<String> {
    let leading = onward
        .iter()
        .filter_map(|(from, to)| Some((from, to.get(name)?)));
    let (from, _) = leading.max_by_key(|(_, packets)| **packets)?;
    if above == Some(from) {
        return None;
    }
    let node = if from.node == name.node {
        String::new()
    } else {
        format!(" on {}", scene.nodes[from.node].node)
    };
    Some(format!("{}{node}", from.interface))
}

#[cfg(test)]
mod tests {
    use tracer_core::model::Direction;

    use super::*;
    use crate::view::path::Passed;

    fn station(node: usize, xdp: bool, [requests, replies]: [u64; 2]) -> Station {
        let passed = |packets| Passed {
            packets,
            ..Passed::default()
        };
        let direction = if node == 0 {
            Direction::Egress
        } else {
            Direction::Ingress
        };
        Station {
            name: Name {
                node,
                netns: "host".to_owned(),
                interface: "eth0".to_owned(),
                direction,
                xdp,
            },
            role: Role::Uplink,
            kind: String::new(),
            pod: None,
            ways: [passed(requests), passed(replies)],
            gone: None,
            after: None,
            problems: Vec::new(),
        }
    }

    /// The node of the requests' source sees the replies at XDP, where they come in.
    #[test]
    fn where_only_replies_come_in_is_beside_its_interface() {
        let [out, came, into, back] = [
            station(0, false, [9, 8]),
            station(1, true, [9, 0]),
            station(1, false, [9, 8]),
            station(0, true, [0, 8]),
        ];
        let all = [&out, &came, &into, &back];
        let names = |stations: &[&Station]| -> Vec<Name> {
            stations.iter().map(|one| one.name.clone()).collect()
        };
        let stations = all.iter().map(|one| (one.name.clone(), (*one).clone()));
        assert_eq!(
            beside_tc(names(&all), &stations.collect()),
            names(&[&out, &back, &came, &into])
        );
    }
}
