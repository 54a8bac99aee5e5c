//! Clocks of nodes, compared by the packets that cross between them.
//!
//! A packet arrives after it was sent. So each packet from node A to node B limits by how much
//! B's clock is ahead of A's, and each packet from B to A limits how much it is behind. Both
//! limits together bound the difference; its error is half of the fastest way there and back.
//! Clocks drift, so both limits have to come from the same second. The bound covers all seconds
//! that have both.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use super::content::Content;
use crate::model::{Direction, Packet, Point, Role, Transport};

/// Time within which two limits are compared, ns.
const WINDOW: i64 = 1_000_000_000;
/// How far two clocks that nobody disciplines drift apart in this time, ns: 50 ppm.
const DRIFT: i64 = 50_000;
/// How far two clocks drift apart in this time at most, ns. NTP slews a clock by up to 500 ppm.
const MOST_DRIFT: i64 = 500_000;
/// Limit of packets in memory. If there are more, a sample of them counts.
const PACKETS: usize = 1 << 16;

/// The clock of a node, compared with that of a reference node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComparedClock {
    /// Index of the reference node.
    pub reference: usize,
    /// By how much this clock is ahead of the reference node's, ns.
    pub ahead: i64,
    /// Error bound of `ahead`, ns, in both directions.
    pub bound: i64,
}

/// Packets that several nodes saw, and the times at which they did.
#[derive(Debug, Default)]
pub struct Crossings {
    /// By the hash of a packet's content.
    packets: HashMap<u64, Sightings>,
    /// Packets count only if the hash has as many zeros at its end.
    zeros: u32,
}

#[derive(Debug, Default)]
struct Sightings {
    all: Vec<Sighting>,
    /// Whether one point saw the packet twice. Then there were two of them, and which one the
    /// other node saw is not known.
    is_repeated: bool,
}

#[derive(Debug)]
struct Sighting {
    node: usize,
    point: usize,
    /// Whether the packet was on its way out of the node, or else into it.
    is_sent: bool,
    /// Time by the node's clock, ns.
    time: i64,
}

/// Limits of how far the clock of one node is ahead of another's, ns.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    least: Option<i64>,
    most: Option<i64>,
}

impl Crossings {
    /// Takes a packet that a node saw at one of its points, at a time by its clock, ns.
    pub fn add(
        &mut self,
        (node, number): (usize, usize),
        point: &Point,
        time: i64,
        packet: &Packet,
    ) {
        if matches!(packet.transport, Transport::Arp(_)) {
            return;
        }
        let mut hasher = DefaultHasher::new();
        Content(packet).hash(&mut hasher);
        let hash = hasher.finish();
        if hash.trailing_zeros() < self.zeros {
            return;
        }
        self.packets.entry(hash).or_default().add(Sighting {
            node,
            point: number,
            is_sent: is_sent(point),
            time,
        });
        while self.packets.len() > PACKETS {
            self.zeros += 1;
            let zeros = self.zeros;
            self.packets
                .retain(|hash, _| hash.trailing_zeros() >= zeros);
        }
    }

    /// The clock of each of `nodes` nodes; `None` for a node whose clock the packets compare with
    /// no other, or contradict each other about. Nodes that were compared with each other have one
    /// reference, which is the first of them.
    #[must_use]
    pub fn clocks(&self, nodes: usize) -> Vec<Option<ComparedClock>> {
        let pairs = self.pairs();
        let mut clocks: Vec<Option<ComparedClock>> = vec![None; nodes];
        for reference in 0..nodes {
            let is_compared = pairs.keys().any(|(one, _)| *one == reference);
            if clocks[reference].is_some() || !is_compared {
                continue;
            }
            clocks[reference] = Some(ComparedClock {
                reference,
                ahead: 0,
                bound: 0,
            });
            // The node with the closest bound comes next, as the bounds on the way add up.
            while let Some((node, clock)) = nearest(&pairs, &clocks) {
                clocks[node] = Some(clock);
            }
        }
        clocks
    }

    /// How far the second node's clock is ahead of the first one's, with the error's bound, ns.
    /// Each pair is there in both orders.
    fn pairs(&self) -> BTreeMap<(usize, usize), (i64, i64)> {
        let mut windows: BTreeMap<(usize, usize), BTreeMap<i64, Window>> = BTreeMap::new();
        let packets = self.packets.values().filter(|seen| !seen.is_repeated);
        for (sent, came) in packets.flat_map(Sightings::crossings) {
            let (one, other) = (sent.node.min(came.node), sent.node.max(came.node));
            let (first, second) = if sent.node == one {
                (sent.time, came.time)
            } else {
                (came.time, sent.time)
            };
            let ahead = second.saturating_sub(first);
            let pair = windows.entry((one, other)).or_default();
            let window = pair.entry(first.div_euclid(WINDOW)).or_default();
            if sent.node == one {
                window.most = Some(window.most.map_or(ahead, |most| most.min(ahead)));
            } else {
                window.least = window.least.max(Some(ahead));
            }
        }
        let bounded = windows.into_iter();
        let bounded = bounded.filter_map(|(pair, windows)| Some((pair, bounds(&windows)?)));
        let both = bounded.flat_map(|((one, other), (ahead, bound))| {
            [
                ((one, other), (ahead, bound)),
                ((other, one), (-ahead, bound)),
            ]
        });
        both.collect()
    }
}

/// How far a clock is ahead of another in all windows, with the error's bound, ns. `None` without
/// packets in both directions within one window, or if these contradict each other.
fn bounds(windows: &BTreeMap<i64, Window>) -> Option<(i64, i64)> {
    let limits = windows.values();
    let limits = limits.filter_map(|window| Some((window.least?, window.most?)));
    let mut limits: Vec<(i64, i64)> = limits.collect();
    let width = |(least, most): &(i64, i64)| most.saturating_sub(*least);
    // A contradiction: two packets were taken for one, such as a retransmission for the original
    // that a capture missed.
    let all = limits.len();
    limits.retain(|limits| width(limits) >= -MOST_DRIFT);
    // If there are many, somebody set a clock.
    if limits.len() * 2 <= all {
        return None;
    }
    limits.sort_unstable_by_key(width);
    // Where packets took long, the limits are far apart, and tell no more than those nearby.
    let median = width(&limits[limits.len() / 2]).max(0);
    let ends = limits.iter().filter(|limits| width(limits) <= 2 * median);
    let ends = ends.flat_map(|(least, most)| [*least, *most]);
    let (least, most) = (ends.clone().min()?, ends.max()?);
    // Clocks that may agree are not corrected.
    if least <= 0 && 0 <= most {
        return Some((0, most.max(-least) + 1 + DRIFT));
    }
    let half = most.saturating_sub(least) / 2;
    Some((least.saturating_add(half), half + 1 + DRIFT))
}

/// The node without a clock whose clock is bounded closest by one of those that have one.
fn nearest(
    pairs: &BTreeMap<(usize, usize), (i64, i64)>,
    clocks: &[Option<ComparedClock>],
) -> Option<(usize, ComparedClock)> {
    let next = pairs.iter().filter_map(|((one, other), (ahead, bound))| {
        let known = clocks[*one].filter(|_| clocks[*other].is_none())?;
        let clock = ComparedClock {
            reference: known.reference,
            ahead: known.ahead.saturating_add(*ahead),
            bound: known.bound.saturating_add(*bound),
        };
        Some((*other, clock))
    });
    next.min_by_key(|(node, clock)| (clock.bound, *node))
}

impl Sightings {
    fn add(&mut self, sighting: Sighting) {
        let mut all = self.all.iter();
        if all.any(|other| (other.node, other.point) == (sighting.node, sighting.point)) {
            self.is_repeated = true;
        } else if !self.is_repeated {
            self.all.push(sighting);
        }
    }

    /// Each pair of sightings where the packet left a node and came into another one.
    fn crossings(&self) -> impl Iterator<Item = (&Sighting, &Sighting)> {
        let sent = self.all.iter().filter(|sighting| sighting.is_sent);
        sent.flat_map(|sent| {
            let others = self.all.iter().filter(move |other| other.node != sent.node);
            let came = others.filter(|other| !other.is_sent);
            came.map(move |came| (sent, came))
        })
    }
}

/// Whether packets at the point are on their way out of the node.
fn is_sent(point: &Point) -> bool {
    let out = match point.role {
        Role::Pod | Role::Overlay | Role::Uplink => Direction::Egress,
        // Packets from pods come in there.
        Role::Veth | Role::Bridge => Direction::Ingress,
    };
    point.direction == out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        by_hand::{A, B, NODE_A, UPLINK_IN, UPLINK_OUT, node},
        model::Hello,
    };

    const MICROSECOND: i64 = 1_000;
    const SECOND: i64 = 1_000_000_000;

    fn packet(id: u16) -> Packet {
        Packet {
            src: A.into(),
            dst: B.into(),
            ttl: 64,
            ip_id: Some(id.into()),
            fragment: None,
            len: 84,
            transport: Transport::Other(47),
            payload_hash: None,
        }
    }

    /// Packets between nodes: which one sends, which one receives, when, and how long it takes.
    fn crossings(clocks: &[i64], sent: &[(usize, usize, i64, i64)]) -> Crossings {
        let hello: Hello = node("a", A, NODE_A);
        let mut crossings = Crossings::default();
        for (id, (from, to, time, took)) in (1..).zip(sent) {
            for (node, point, time) in [(*from, UPLINK_OUT, *time), (*to, UPLINK_IN, time + took)] {
                let time = time + clocks[node];
                crossings.add((node, point), &hello.points[point], time, &packet(id));
            }
        }
        crossings
    }

    #[test]
    fn a_clock_needs_packets_in_both_directions() {
        let there = (0, 1, 0, 30 * MICROSECOND);
        let back = (1, 0, 100 * MICROSECOND, 10 * MICROSECOND);
        let ahead = 7 * SECOND;
        assert_eq!(crossings(&[0, ahead], &[there]).clocks(2), [None, None]);
        let clocks = crossings(&[0, ahead], &[there, back]).clocks(2);
        let expected = ComparedClock {
            reference: 0,
            ahead: ahead + 10 * MICROSECOND,
            bound: 20 * MICROSECOND + 1 + DRIFT,
        };
        assert_eq!(clocks[1], Some(expected));
    }

    #[test]
    fn clocks_of_a_row_of_nodes_have_one_reference() {
        let clocks = [0, 5 * SECOND, -3 * SECOND, 9];
        let sent = [
            (0, 1, 0, 1_000),
            (1, 0, 0, 1_000),
            (1, 2, 0, 2_000),
            (2, 1, 0, 2_000),
        ];
        let compared = crossings(&clocks, &sent).clocks(4);
        let expected = |ahead, bound| {
            Some(ComparedClock {
                reference: 0,
                ahead,
                bound,
            })
        };
        assert_eq!(
            compared,
            [
                expected(0, 0),
                expected(clocks[1], 1_001 + DRIFT),
                expected(clocks[2], 3_002 + 2 * DRIFT),
                None
            ]
        );
    }

    #[test]
    fn a_packet_that_a_point_saw_twice_does_not_count() {
        let hello = node("a", A, NODE_A);
        let both = [(0, 1, 0, 50), (1, 0, 0, 50)];
        let mut crossings = crossings(&[0, 0], &both);
        // The same packet once more, long before the node received it for the first time.
        let point = &hello.points[UPLINK_OUT];
        crossings.add((0, UPLINK_OUT), point, -SECOND, &packet(1));
        assert_eq!(crossings.clocks(2), [None, None]);
    }

    /// A capture has the retransmission only, the other one the original only.
    #[test]
    fn one_contradiction_among_many_does_not_count() {
        let pings = (0..9).flat_map(|ping| {
            let time = ping * SECOND;
            [(0, 1, time, 50), (1, 0, time + 1_000, 50)]
        });
        let mut crossings = crossings(&[0, 7 * SECOND], &pings.collect::<Vec<_>>());
        let hello = node("a", A, NODE_A);
        let late = SECOND / 5;
        for (node, point, time) in [(0, UPLINK_OUT, late), (1, UPLINK_IN, 7 * SECOND)] {
            crossings.add((node, point), &hello.points[point], time, &packet(99));
        }
        let clock = crossings.clocks(2)[1].expect("it is compared");
        assert_eq!((clock.ahead, clock.bound), (7 * SECOND, 51 + DRIFT));
    }

    /// Clocks whose difference is less than what packets show are left as they are.
    #[test]
    fn clocks_that_may_agree_are_not_corrected() {
        let both = [(0, 1, 0, 900), (1, 0, 1_000, 50)];
        let clock = crossings(&[0, 20], &both).clocks(2)[1].expect("it is compared");
        assert_eq!((clock.ahead, clock.bound), (0, 921 + DRIFT));
    }

    #[test]
    fn a_clock_that_was_set_is_not_compared() {
        let before = crossings(&[0, 0], &[(0, 1, 0, 50), (1, 0, 0, 50)]);
        assert!(before.clocks(2)[1].is_some());
        let mut set = before;
        let hello = node("a", A, NODE_A);
        for (node, point, time) in [(1, UPLINK_OUT, SECOND), (0, UPLINK_IN, 50)] {
            let point = (point, &hello.points[point]);
            set.add((node, point.0), point.1, time, &packet(9));
        }
        assert_eq!(set.clocks(2), [None, None]);
    }

    #[test]
    fn many_packets_take_bounded_memory_and_still_compare_clocks() {
        let count = 3 * i64::try_from(PACKETS).expect("few");
        let mut kept = Crossings::default();
        let hello = node("a", A, NODE_A);
        for number in 0..count {
            let mut packet = packet(1);
            packet.payload_hash = Some(number.cast_unsigned());
            let (from, to) = if number % 2 == 0 { (0, 1) } else { (1, 0) };
            for (node, point, time) in [(from, UPLINK_OUT, 0), (to, UPLINK_IN, 60)] {
                let time = time + i64::try_from(node).expect("few") * SECOND;
                kept.add((node, point), &hello.points[point], time, &packet);
            }
        }
        assert!(kept.packets.len() <= PACKETS);
        let clock = kept.clocks(2)[1].expect("it is compared");
        assert_eq!((clock.ahead, clock.bound), (SECOND, 61 + DRIFT));
    }

    /// Pings of two nodes, once a second. Some of them take long.
    #[test]
    fn clocks_that_drift_are_within_the_bound_all_the_time() {
        const PINGS: i64 = 600;
        for drift in [-50, 0, 50] {
            // Parts per million of the time since the middle.
            let ahead = |time: i64| 3 * SECOND + (time - PINGS / 2 * SECOND) / 1_000_000 * drift;
            let hello = node("a", A, NODE_A);
            let mut crossings = Crossings::default();
            for ping in 0..PINGS {
                let took = if ping % 7 == 0 {
                    SECOND / 20
                } else {
                    40 * MICROSECOND
                };
                let time = ping * SECOND + SECOND / 3;
                for (from, to, time) in [(0, 1, time), (1, 0, time + 2 * took)] {
                    let id = u16::try_from(2 * ping).expect("few") + u16::from(from == 1);
                    for (node, at, time) in [(from, UPLINK_OUT, time), (to, UPLINK_IN, time + took)]
                    {
                        let time = time + if node == 1 { ahead(time) } else { 0 };
                        crossings.add((node, at), &hello.points[at], time, &packet(id));
                    }
                }
            }
            let clock = crossings.clocks(2)[1].expect("it is compared");
            for time in (0..PINGS).map(|ping| ping * SECOND) {
                let error = (ahead(time) - clock.ahead).abs();
                assert!(
                    error <= clock.bound,
                    "{drift} at {time}: {error} of {clock:?}"
                );
            }
            let most = 600 / 2 * 50 * MICROSECOND * i64::from(drift != 0) + 200 * MICROSECOND;
            assert!(clock.bound <= most, "{clock:?}");
        }
    }

    proptest! {
        /// However long packets take, the truth is within the bound.
        #[test]
        fn the_truth_is_within_the_bound(
            ahead in -1_000_000_000_000..1_000_000_000_000_i64,
            packets in prop::collection::vec(
                (any::<bool>(), 0..5 * SECOND, 0..SECOND), 2..40
            ),
        ) {
            let sent = packets.iter().map(|(there, time, took)| {
                let (from, to) = if *there { (0, 1) } else { (1, 0) };
                (from, to, *time, *took)
            });
            let crossings = crossings(&[0, ahead], &sent.collect::<Vec<_>>());
            if let Some(compared) = crossings.clocks(2)[1] {
                prop_assert!((ahead - compared.ahead).abs() <= compared.bound);
            }
        }
    }
}
