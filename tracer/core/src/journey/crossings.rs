//! Clocks of nodes, compared by the packets that cross between them.
//!
//! A packet arrives after it was sent. So each packet from node A to node B limits by how much
//! B's clock is ahead of A's, and each packet from B to A limits how much it is behind. Both
//! limits together bound the difference; its error is half of the fastest way there and back.
//! Clocks drift, so both limits have to come from the same second. The bound covers all seconds
//! that have both, and grows with the time before and after them. If two seconds differ by more than clocks drift, somebody set a clock.

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

/// What the packets say about the clocks of all nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComparedClocks {
    /// The clock of each node; `None` for a node whose clock the packets compare with no other.
    /// Nodes that were compared with each other have one reference, which is the first of them.
    pub clocks: Vec<Option<ComparedClock>>,
    /// Pairs of nodes about whose clocks the packets contradict each other, as if somebody had set
    /// one.
    pub contradicted: Vec<(usize, usize)>,
}

/// Packets that several nodes saw, and the times at which they did.
#[derive(Debug, Default)]
pub struct Crossings {
    /// By the hash of a packet's content.
    packets: HashMap<u64, Sightings>,
    /// Packets count only if the hash has as many zeros at its end.
    zeros: u32,
    /// The first and the last time by the clock of each node, ns.
    spans: BTreeMap<usize, (i64, i64)>,
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

/// Bounds of how far the clock of one node is ahead of another's, ns, and numbers of packets that
/// set them.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    least: Option<i64>,
    most: Option<i64>,
    back: u32,
    there: u32,
}

/// Two limits of one second.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Seconds by the clock of the node whose index is lower.
    second: i64,
    least: i64,
    most: i64,
}

/// Why packets do not tell how far a clock is ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Untold {
    /// No second has packets in both directions, or there are fewer than two in one of them.
    TooFew,
    /// The packets contradict each other.
    Contradiction,
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
        let span = self.spans.entry(node).or_insert((time, time));
        *span = (span.0.min(time), span.1.max(time));
        if is_repeated_often(packet) {
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

    /// The clocks of `nodes` nodes.
    #[must_use]
    pub fn clocks(&self, nodes: usize) -> ComparedClocks {
        let (mut pairs, mut contradicted) = (BTreeMap::new(), Vec::new());
        for ((one, other), windows) in self.windows() {
            match self.ahead((one, other), &windows) {
                Ok((ahead, bound)) => {
                    pairs.insert((one, other), (ahead, bound));
                    pairs.insert((other, one), (-ahead, bound));
                }
                Err(Untold::Contradiction) => contradicted.push((one, other)),
                Err(Untold::TooFew) => {}
            }
        }
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
        ComparedClocks {
            clocks,
            contradicted,
        }
    }

    /// What the packets between each two nodes say, by the second. The node whose index is lower comes
    /// first.
    fn windows(&self) -> BTreeMap<(usize, usize), BTreeMap<i64, Window>> {
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
                window.there += 1;
            } else {
                window.least = window.least.max(Some(ahead));
                window.back += 1;
            }
        }
        windows
    }

    /// How far the second node's clock is ahead of the first one's, with the error's bound, ns.
    fn ahead(
        &self,
        (one, other): (usize, usize),
        windows: &BTreeMap<i64, Window>,
    ) -> Result<(i64, i64), Untold> {
        let limits = agreed(windows)?;
        let (least, most) = (
            limits.iter().map(|it| it.least.min(it.most)).min(),
            limits.iter().map(|it| it.most.max(it.least)).max(),
        );
        let (Some(least), Some(most)) = (least, most) else {
            return Err(Untold::TooFew);
        };
        let half = most.saturating_sub(least) / 2;
        let middle = least.saturating_add(half);
        // Before the first of these seconds and after the last one, the clocks drift on.
        let beyond = [(one, 0), (other, middle)].map(|(node, ahead)| {
            let (first, last) = self.spans[&node];
            let second = |time: i64| time.saturating_sub(ahead).div_euclid(WINDOW);
            let before = limits[0].second.saturating_sub(second(first));
            let after = second(last).saturating_sub(limits[limits.len() - 1].second);
            before.max(after)
        });
        let beyond = beyond.into_iter().fold(0, i64::max);
        let drift = DRIFT.saturating_mul(beyond.saturating_add(1));
        // Clocks that may agree are not corrected.
        Ok(if least <= 0 && 0 <= most {
            (0, most.max(-least).saturating_add(1).saturating_add(drift))
        } else {
            (middle, half.saturating_add(1).saturating_add(drift))
        })
    }
}

/// The limits of all seconds that have both, without those that are far apart, in order of time.
fn agreed(windows: &BTreeMap<i64, Window>) -> Result<Vec<Bounds>, Untold> {
    let both = windows.iter().filter_map(|(second, window)| {
        Some(Bounds {
            second: *second,
            least: window.least?,
            most: window.most?,
        })
    });
    let limits: Vec<Bounds> = both.collect();
    let all = limits.len();
    // One packet alone may be another than it seems, such as a retransmission of one that a capture
    // missed.
    let packets =
        |count: fn(&Window) -> u32| windows.values().map(count).fold(0, u32::saturating_add);
    if limits.is_empty() || packets(|it| it.there).min(packets(|it| it.back)) < 2 {
        return Err(Untold::TooFew);
    }
    let consistent = limits
        .iter()
        .map(Bounds::width)
        .filter(|width| *width >= -MOST_DRIFT);
    let mut widths: Vec<i64> = consistent.collect();
    if widths.is_empty() {
        return Err(Untold::Contradiction);
    }
    widths.sort_unstable();
    // Where packets took long, the limits are far apart, and tell no more than those nearby.
    let widest = widths[widths.len() / 2].max(0).saturating_mul(2);
    let is_close = |limits: &&Bounds| (-MOST_DRIFT..=widest).contains(&limits.width());
    let first = limits.iter().find(is_close).copied();
    let mut agreed: Vec<Bounds> = Vec::new();
    let mut is_stray = false;
    for (at, limits) in limits.iter().enumerate() {
        let known = agreed.last().or(first.as_ref());
        let agrees = limits.width() >= -MOST_DRIFT && known.is_some_and(|it| it.agrees(limits));
        // One second between others may be wrong. If two are, or the first or the last one, somebody
        // may have set a clock there.
        if !agrees && (is_stray || at == 0 || at + 1 == all) {
            return Err(Untold::Contradiction);
        }
        is_stray = !agrees;
        if agrees && is_close(&limits) {
            agreed.push(*limits);
        }
    }
    Ok(agreed)
}

impl Bounds {
    /// How far the limits are apart, ns. Below 0 they contradict each other.
    const fn width(&self) -> i64 {
        self.most.saturating_sub(self.least)
    }

    /// Whether a clock that nobody set can be within these limits and, at another time, within the
    /// other ones.
    fn agrees(&self, other: &Self) -> bool {
        let (least, most) = (self.least.max(other.least), self.most.min(other.most));
        let seconds = i64::try_from(self.second.abs_diff(other.second)).unwrap_or(i64::MAX);
        least.saturating_sub(most) <= MOST_DRIFT.saturating_mul(seconds.saturating_add(1))
    }
}

/// Whether a host sends packets with the very same content again and again: ARP, neighbour
/// discovery (RFC 4861) and multicast listeners (RFC 3810).
fn is_repeated_often(packet: &Packet) -> bool {
    match &packet.transport {
        Transport::Arp(_) => true,
        Transport::Icmp(icmp) => icmp.v6 && matches!(icmp.kind, 130..=143),
        _ => false,
    }
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
mod tests;
