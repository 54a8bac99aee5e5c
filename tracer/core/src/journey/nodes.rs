//! The agents, and an index of their points.
//!
//! In a cluster whose pods come and go, an agent has had far more points than a packet passes. So
//! the engine looks up the points for each journey instead of searching all of them.

use std::{
    net::IpAddr,
    ops::{Deref, DerefMut},
    sync::OnceLock,
};

use hashbrown::HashMap;
use smallvec::{SmallVec, smallvec};

use crate::model::{Direction, Hello, Point, Role};

/// The agents' name of a node's own network namespace.
const HOST: &str = "host";

/// What the agents say of themselves. The index of their points is built when it is first used, and
/// again after each change.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    hellos: Vec<Hello>,
    places: OnceLock<Places>,
}

/// Points, by the questions that are asked about them. Each list keeps the order of the agent's
/// points.
#[derive(Clone, Debug, Default)]
struct Places {
    /// Interfaces of pods, by the address behind them: index of the agent, and of its point.
    pods: HashMap<IpAddr, SmallVec<[(usize, usize); 4]>>,
    /// By agent: points that are not interfaces of pods.
    of_nodes: Vec<Vec<usize>>,
    /// By agent and point: the first tc point of the same interface in the other direction.
    opposites: Vec<Vec<Option<usize>>>,
    /// By agent and point: the first point at the same place. A place gets another number when its
    /// program is attached again, or when its agent starts again.
    firsts: Vec<Vec<usize>>,
    /// By agent and first point of a place: all points of that place. Only places with several
    /// points.
    renewed: Vec<HashMap<usize, SmallVec<[usize; 4]>>>,
    /// Points in nodes' host namespaces, by agent and interface.
    on_host: Vec<HashMap<String, SmallVec<[usize; 2]>>>,
    /// Start of the latest place that was not observed from the beginning: Unix time, ns.
    latest: Option<i64>,
}

impl Places {
    fn of(hellos: &[Hello]) -> Self {
        let mut places = Self::default();
        for (node, hello) in hellos.iter().enumerate() {
            places.add(node, hello);
        }
        places
    }

    /// All points at a place of an agent, by the first one.
    fn all_at<'a>(&'a self, node: usize, first: &'a usize) -> &'a [usize] {
        let several = self.renewed[node].get(first);
        several.map_or(std::slice::from_ref(first), |all| all)
    }

    fn add(&mut self, node: usize, hello: &Hello) {
        let mut on_host: HashMap<String, SmallVec<[usize; 2]>> = HashMap::new();
        let mut known = HashMap::new();
        let (mut firsts, mut of_node) = (Vec::new(), Vec::new());
        let mut renewed: HashMap<usize, SmallVec<[usize; 4]>> = HashMap::new();
        for (index, point) in hello.points.iter().enumerate() {
            if matches!(point.role, Role::Pod | Role::Veth) {
                for address in &point.addresses {
                    let behind = self.pods.entry(*address).or_default();
                    if behind.last() != Some(&(node, index)) {
                        behind.push((node, index));
                    }
                }
            } else {
                of_node.push(index);
            }
            if point.netns == HOST {
                let here = on_host.entry(point.interface.clone());
                here.or_default().push(index);
            }
            let first = *known.entry(place(point)).or_insert(index);
            firsts.push(first);
            let before = (first != index).then(|| {
                let all = renewed.entry(first).or_insert_with(|| smallvec![first]);
                let before = all[all.len() - 1];
                all.push(index);
                &hello.points[before]
            });
            // If the agent only found other programs, the place was observed before as well.
            let goes_on = before.is_some_and(|before| has_other_programs(before, point));
            if point.since > 0 && !goes_on {
                let since = unix(hello, point.since);
                self.latest = self.latest.max(Some(since));
            }
        }
        let opposites = hello.points.iter().map(|point| {
            let (netns, interface, ..) = place(point);
            let other = match point.direction {
                Direction::Ingress => Direction::Egress,
                Direction::Egress => Direction::Ingress,
            };
            // At an interface with both hooks, incoming packets pass XDP and tc. Outgoing packets
            // pass tc only.
            known.get(&(netns, interface, false, other)).copied()
        });
        self.opposites.push(opposites.collect());
        self.firsts.push(firsts);
        self.renewed.push(renewed);
        self.of_nodes.push(of_node);
        self.on_host.push(on_host);
    }
}

/// Whether a place got another number because the agent found other programs there. Otherwise the
/// agent's own program was attached again, or the interface was replaced.
fn has_other_programs(before: &Point, point: &Point) -> bool {
    let before_names = before.foreign.iter().map(|program| &program.name);
    let names = point.foreign.iter().map(|program| &program.name);
    before.ifindex == point.ifindex && !before_names.eq(names)
}

/// The properties of a point that stay the same when its place gets another number.
fn place(point: &Point) -> (&str, &str, bool, Direction) {
    let (netns, interface) = (&point.netns, &point.interface);
    (netns, interface, point.is_xdp(), point.direction)
}

impl Nodes {
    fn places(&self) -> &Places {
        self.places.get_or_init(|| Places::of(&self.hellos))
    }

    /// The interfaces of pods that an address is, or was, behind: index of the agent, index of the
    /// point, and the point.
    pub(crate) fn of_pod(
        &self,
        address: IpAddr,
    ) -> impl DoubleEndedIterator<Item = (usize, usize, &Point)> + Clone {
        let points = self.places().pods.get(&address);
        let points = points.map_or(&[][..], |points| points);
        points.iter().map(|(node, point)| {
            let there = &self.hellos[*node].points[*point];
            (*node, *point, there)
        })
    }

    /// The points of an agent that are not interfaces of pods.
    pub(crate) fn of_node(
        &self,
        node: usize,
    ) -> impl DoubleEndedIterator<Item = (usize, &Point)> + Clone {
        let hello = &self.hellos[node];
        let points = self.places().of_nodes[node].iter();
        points.map(|point| (*point, &hello.points[*point]))
    }

    /// The points of an agent where the same interface's packets go in the other direction, in
    /// order of time.
    pub(crate) fn opposites(&self, node: usize, point: usize) -> &[usize] {
        let places = self.places();
        places.opposites[node][point]
            .as_ref()
            .map_or(&[], |first| places.all_at(node, first))
    }

    /// The points of an agent that have, or had, the same place as this one.
    pub(crate) fn at_place(&self, node: usize, point: usize) -> &[usize] {
        let places = self.places();
        places.all_at(node, &places.firsts[node][point])
    }

    /// Whether a point got its number because an agent found other programs there.
    pub(crate) fn has_other_programs(&self, node: usize, point: usize) -> bool {
        let numbers = self.at_place(node, point).iter().rev();
        let mut earlier = numbers.skip_while(|number| **number != point).skip(1);
        let points = &self.hellos[node].points;
        earlier
            .next()
            .is_some_and(|before| has_other_programs(&points[*before], &points[point]))
    }

    /// Whether two points of an agent have the same place.
    pub(crate) fn is_one_place(&self, node: usize, one: usize, other: usize) -> bool {
        let places = self.places();
        let firsts = &places.firsts[node];
        one == other || (!places.renewed[node].is_empty() && firsts[one] == firsts[other])
    }

    /// The points of an interface in a node's host namespace.
    pub(crate) fn on_host(&self, node: usize, interface: &str) -> impl Iterator<Item = &Point> {
        let points = self.places().on_host[node].get(interface);
        let points = points.map_or(&[][..], |points| points);
        let hello = &self.hellos[node];
        points.iter().map(|point| &hello.points[*point])
    }

    /// Start of the latest point that was not observed from the beginning: Unix time, ns.
    pub(super) fn latest(&self) -> Option<i64> {
        self.places().latest
    }
}

/// Converts a time of an agent's monotonic clock to Unix time, ns.
pub(super) fn unix(hello: &Hello, time: u64) -> i64 {
    let offset = hello.realtime_offset;
    i64::try_from(time).map_or(i64::MAX, |time| time.saturating_add(offset))
}

impl From<Vec<Hello>> for Nodes {
    fn from(hellos: Vec<Hello>) -> Self {
        Self {
            hellos,
            places: OnceLock::new(),
        }
    }
}

impl FromIterator<Hello> for Nodes {
    fn from_iter<I: IntoIterator<Item = Hello>>(hellos: I) -> Self {
        Vec::from_iter(hellos).into()
    }
}

impl<'a> IntoIterator for &'a mut Nodes {
    type Item = &'a mut Hello;
    type IntoIter = std::slice::IterMut<'a, Hello>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl Deref for Nodes {
    type Target = Vec<Hello>;

    fn deref(&self) -> &Vec<Hello> {
        &self.hellos
    }
}

/// Any change discards the index.
impl DerefMut for Nodes {
    fn deref_mut(&mut self) -> &mut Vec<Hello> {
        self.places.take();
        &mut self.hellos
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        by_hand::{self, UPLINK_IN, UPLINK_OUT},
        model::XDP,
    };

    #[test]
    fn what_is_looked_up_is_what_a_search_finds_and_follows_changes() {
        let mut nodes = by_hand::scene().nodes;
        let address = nodes[0].points[0].addresses[0];
        let found = |nodes: &Nodes| {
            let found = nodes.of_pod(address);
            let found: Vec<_> = found.map(|(node, point, _)| (node, point)).collect();
            let mut searched = Vec::new();
            for (node, hello) in nodes.iter().enumerate() {
                for (index, point) in hello.points.iter().enumerate() {
                    let place = |point: &Point| (point.netns.clone(), point.interface.clone());
                    let at = |direction| {
                        let points = hello.points.iter().enumerate();
                        let there = points.filter(|(_, other)| {
                            place(other) == place(point) && other.direction == direction
                        });
                        there.map(|(index, _)| index).collect::<Vec<_>>()
                    };
                    assert_eq!(nodes.at_place(node, index), at(point.direction));
                    let other = match point.direction {
                        Direction::Ingress => Direction::Egress,
                        Direction::Egress => Direction::Ingress,
                    };
                    assert_eq!(nodes.opposites(node, index), at(other));
                    let of_pod = matches!(point.role, Role::Pod | Role::Veth);
                    if of_pod && point.addresses.contains(&address) {
                        searched.push((node, index));
                    }
                }
            }
            assert_eq!(found, searched);
            found.len()
        };
        let before = found(&nodes);
        assert!(before > 0, "the first point is a pod's");
        let mut again = nodes[0].points[0].clone();
        again.since = 7;
        nodes[0].points.push(again);
        assert_eq!(found(&nodes), before + 1);
        assert_eq!(nodes.latest(), Some(unix(&nodes[0], 7)));
    }

    #[test]
    fn who_goes_out_comes_in_at_tc_and_what_xdp_sees_goes_out_too() {
        let mut nodes = by_hand::scene().nodes;
        let xdp = Point {
            hook: XDP.into(),
            ..nodes[0].points[UPLINK_IN].clone()
        };
        nodes[0].points.insert(0, xdp);
        let [xdp, uplink_in, uplink_out] = [0, UPLINK_IN + 1, UPLINK_OUT + 1];
        assert_eq!(nodes.opposites(0, uplink_out), [uplink_in]);
        assert_eq!(nodes.opposites(0, uplink_in), [uplink_out]);
        assert_eq!(nodes.opposites(0, xdp), [uplink_out]);
    }
}
