//! Which packets arrive on the leg from one node to another, and which do not.
//!
//! Only packets that a network treats alike are compared: if ARP arrives, a tunnel's UDP port
//! may still be blocked, and one connection says nothing about another.

use std::net::IpAddr;

use hashbrown::{HashMap, HashSet};

use crate::{
    journey::{Journey, Scene, Step},
    model::{Direction, Mac, Role},
    verdict::{Kind, Outcome, Pattern, Sort, Verdict},
};

/// Number of losses that make a pattern.
const PATTERN: u32 = 3;

/// Limits of sorts of packets per leg and of remembered ways between nodes, because the number
/// of connections has no limit.
const MAX_SORTS: usize = 1024;
const MAX_WAYS: usize = 4096;

/// Number of sorts that evidence names.
const NAMED: usize = 4;

/// Packets of one sort on a leg from node to node. Sizes are bytes on the uplink; times are
/// Unix time, ns.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Length of the largest packet that arrived, bytes.
    largest: u32,
    /// Time when the last packet that arrived was sent, and time of the last arrival.
    last_sent: i64,
    last_arrival: i64,
    lost: Option<Lost>,
    /// Losses since the last packet that arrived.
    lost_since: Option<Lost>,
}

/// Losses on a leg.
#[derive(Clone, Copy, Debug)]
struct Lost {
    /// Length of the smallest lost packet, bytes.
    smallest: u32,
    count: u32,
    /// Time when the first lost packet was sent, Unix time, ns.
    since: i64,
}

impl Lost {
    fn add(lost: &mut Option<Self>, len: u32, sent: i64) {
        let lost = lost.get_or_insert(Self {
            smallest: len,
            count: 0,
            since: sent,
        });
        lost.smallest = lost.smallest.min(len);
        lost.count = lost.count.saturating_add(1);
        lost.since = lost.since.min(sent);
    }
}

/// The receiver that a frame on the wire names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Target {
    /// The remote VTEP.
    End(IpAddr),
    /// MAC address of the next hop.
    Next(Mac),
}

impl Target {
    fn of(step: &Step) -> Option<Self> {
        match step.encap {
            Some(encap) => Some(Self::End(encap.outer_dst)),
            None => step.dst_mac.map(Self::Next),
        }
    }
}

/// Arrivals and losses by leg.
#[derive(Clone, Debug, Default)]
pub(super) struct Legs {
    legs: HashMap<(usize, usize), HashMap<Sort, Seen>>,
    /// Sending node, receiver that the frame names, and node at which the frame came in.
    ways: HashSet<(usize, Target, usize)>,
    /// Whether there were more ways than that.
    is_full: bool,
}

impl Legs {
    /// Memory that this takes, approximate bytes.
    pub(super) fn weight(&self) -> usize {
        let sorts: usize = self.legs.values().map(HashMap::len).sum();
        sorts * size_of::<(Sort, Seen)>() + self.ways.len() * size_of::<(usize, Target, usize)>()
    }

    /// Counts a judged journey.
    pub(super) fn add(&mut self, scene: &Scene, journey: &Journey, verdict: &Verdict) {
        let leaves = |step: &Step| {
            let point = scene.point(step);
            (point.role, point.direction) == (Role::Uplink, Direction::Egress)
        };
        let Some(out) = journey.steps.iter().rposition(leaves) else {
            return;
        };
        let step = &journey.steps[out];
        let len = step.len / step.segments.max(1);
        let sort = Sort::of(scene, journey, step);
        if let Some(next) = journey.steps.get(out + 1) {
            let seen = self.sort(step.node, next.node, sort);
            seen.largest = seen.largest.max(len);
            seen.last_sent = seen.last_sent.max(step.time);
            seen.last_arrival = seen.last_arrival.max(next.time);
            seen.lost_since = seen.lost_since.filter(|lost| lost.since > step.time);
            if next.node != step.node
                && let Some(target) = Target::of(step)
            {
                self.add_way((step.node, target, next.node));
            }
        } else if let (Kind::Lost, Outcome::Lost(leg)) = (verdict.kind, &verdict.outcome) {
            let seen = self.sort(step.node, leg.node, sort);
            Lost::add(&mut seen.lost, len, step.time);
            if step.time > seen.last_sent {
                Lost::add(&mut seen.lost_since, len, step.time);
            }
        }
    }

    /// The entry of a sort of packets on a leg. If there are too many sorts, those without
    /// losses are forgotten, and at last all, so that patterns begin anew.
    fn sort(&mut self, from: usize, to: usize, sort: Sort) -> &mut Seen {
        let sorts = self.legs.entry((from, to)).or_default();
        if sorts.len() >= MAX_SORTS && !sorts.contains_key(&sort) {
            sorts.retain(|_, seen| seen.lost.is_some());
            if sorts.len() >= MAX_SORTS {
                sorts.clear();
            }
        }
        sorts.entry(sort).or_default()
    }

    fn add_way(&mut self, way: (usize, Target, usize)) {
        if self.ways.len() < MAX_WAYS {
            self.ways.insert(way);
        } else {
            self.is_full |= !self.ways.contains(&way);
        }
    }

    /// Whether other packets with this step's receiver came in at node `to`. `None` if some ways
    /// were not remembered, so that this may be one of them.
    pub(super) fn came_in(&self, step: &Step, to: usize) -> Option<bool> {
        let target = Target::of(step);
        let is_known = target.is_some_and(|target| self.ways.contains(&(step.node, target, to)));
        (is_known || !self.is_full).then_some(is_known)
    }

    /// What the lost packets on a leg, with one more, have in common.
    pub(super) fn pattern(&self, from: usize, to: usize, sort: &Sort, len: u32) -> Option<Pattern> {
        let sorts = self.legs.get(&(from, to))?;
        let seen = sorts.get(sort)?;
        let lost = seen.lost?;
        // If a leg carries nothing any more, size is not the pattern.
        let carries = seen.largest > 0 && seen.last_arrival > lost.since;
        let larger = lost.count + 1 >= PATTERN && lost.smallest.min(len) > seen.largest;
        if carries && larger {
            return Some(Pattern::TooLarge(seen.largest));
        }
        let lost = seen.lost_since?;
        let arrived = sorts
            .iter()
            .filter(|(other, seen)| *other != sort && seen.last_arrival > lost.since);
        let mut others: Vec<String> = arrived.map(|(other, _)| other.to_string()).collect();
        others.sort_unstable();
        others.dedup();
        others.truncate(NAMED);
        (lost.count + 1 >= PATTERN && !others.is_empty()).then_some(Pattern::AllOfSort {
            lost: lost.count + 1,
            since: lost.since,
            others,
        })
    }
}

#[cfg(test)]
mod tests;
