//! Latencies and losses of many journeys, by group.

use std::{collections::BTreeMap, sync::Arc};

use hdrhistogram::Histogram;

use super::{
    Kind, Place, Verdict,
    latency::{GROWS, histogram, latencies},
};
use crate::journey::{Journey, Scene, Step};

/// The fields by which latencies and losses are grouped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grouping {
    /// By the two ends.
    pub pod: bool,
    /// By leg, from point to point. Drops are grouped by place.
    pub leg: bool,
    /// By the reason of the drop.
    pub reason: bool,
}

/// The two ends: each a pod's name, or an address.
type Ends = (String, String);

/// A group of latencies. Fields that do not group are `None`. Without a leg, a latency is that of
/// the whole way, from the first point to the last, of a packet that arrived.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LatencyOf {
    /// Source and destination.
    pub ends: Option<Ends>,
    /// The leg's two points.
    pub leg: Option<(Place, Place)>,
    /// Whether both times come from one clock.
    pub one_clock: bool,
}

/// A group of losses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LossOf {
    /// What became of the packets.
    pub verdict: Kind,
    /// Source and destination.
    pub ends: Option<Ends>,
    /// Node, `host` or the pod's name, and interface. `None` also if no kernel dropped the packets.
    pub place: Option<(String, Arc<str>, Option<Arc<str>>)>,
    /// The kernel's reason and function. If no kernel dropped the packets, only the verdict's
    /// cause.
    pub reason: Option<(Arc<str>, Option<Arc<str>>)>,
}

/// Sums of many journeys.
#[derive(Clone, Debug)]
pub struct Stats {
    grouping: Grouping,
    /// Journeys by verdict.
    pub verdicts: BTreeMap<Kind, u64>,
    /// Histograms of latencies, ns.
    pub latencies: BTreeMap<LatencyOf, Histogram<u64>>,
    /// Journeys that were not delivered.
    pub losses: BTreeMap<LossOf, u64>,
}

impl Stats {
    /// Sums of no journeys.
    #[must_use]
    pub const fn new(grouping: Grouping) -> Self {
        Self {
            grouping,
            verdicts: BTreeMap::new(),
            latencies: BTreeMap::new(),
            losses: BTreeMap::new(),
        }
    }

    /// Adds a finished journey.
    pub fn add(&mut self, scene: &Scene, journey: &Journey, verdict: &Verdict) {
        *self.verdicts.entry(verdict.kind).or_default() += 1;
        let ends = self.grouping.pod.then(|| ends(scene, journey));
        let mut record = |(from, to): (&Step, &Step), latency| {
            let leg = self.grouping.leg;
            let of = LatencyOf {
                ends: ends.clone(),
                leg: leg.then(|| (Place::of(scene, from), Place::of(scene, to))),
                one_clock: scene.one_clock(from.node, to.node),
            };
            let histogram = self.latencies.entry(of).or_insert_with(histogram);
            histogram.record(latency).expect(GROWS);
        };
        if self.grouping.leg {
            for (from, to, latency) in latencies(journey) {
                record((from, to), latency);
            }
        } else if let Some((from, to, latency)) = whole_way(journey, verdict) {
            record((from, to), latency);
        }
        if verdict.kind == Kind::Delivered {
            return;
        }
        let drop = verdict.drop.map(|index| &journey.drops[index]);
        let place = drop.filter(|_| self.grouping.leg).map(|drop| {
            let node = scene.nodes[drop.node].node.clone();
            (node, Arc::clone(&drop.netns), drop.device.clone())
        });
        let reason = self.grouping.reason.then(|| match drop {
            Some(drop) => Some((Arc::clone(&drop.reason), Some(Arc::clone(&drop.function)))),
            None => verdict.cause.map(|cause| (Arc::from(cause.name()), None)),
        });
        let of = LossOf {
            verdict: verdict.kind,
            ends,
            place,
            reason: reason.flatten(),
        };
        *self.losses.entry(of).or_default() += 1;
    }
}

/// A journey's first step, its last step, and the time between them in ns. `None` unless the packet
/// arrived, and both steps certainly belong to the same packet.
fn whole_way<'a>(journey: &'a Journey, verdict: &Verdict) -> Option<(&'a Step, &'a Step, u64)> {
    let [from, .., to] = &*journey.steps else {
        return None;
    };
    let sure = !journey.ambiguous || from.node == to.node;
    let latency = u64::try_from(journey.way()).ok()?;
    (sure && verdict.kind == Kind::Delivered).then_some((from, to, latency))
}

fn ends(scene: &Scene, journey: &Journey) -> Ends {
    let start = journey.start();
    let name = |address| {
        let pod = scene.pod(address, start);
        pod.map_or_else(|| address.to_string(), str::to_owned)
    };
    let to = journey.destination().unwrap_or(journey.packet.dst);
    (name(journey.packet.src), name(to))
}
