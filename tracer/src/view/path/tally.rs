//! Counts of journeys, by place.
//!
//! The journal drops entries, but counts stay. So each journey is counted once, when it comes, and
//! no count depends on what the journal still has.

use std::{collections::BTreeMap, sync::Arc};

use hashbrown::HashMap;
use hdrhistogram::Histogram;
use tracer_core::{
    journal::Entry,
    journey::{Course, Journey, Scene},
    verdict::{Dns, Kind, Verdict, latencies},
};

/// Maximum number of legs, and of problems, that are told apart. A follow of a few ends has some
/// dozens.
const MOST: usize = 512;

/// Number of seconds for which rates are known.
pub(crate) const SECONDS: usize = 64;

/// Indexes of an agent, and of one of its points.
pub(crate) type At = (usize, usize);

/// All counts of a follow so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Packets at each point, by direction. Without ARP and neighbour discovery.
    pub(crate) points: HashMap<At, [AtPoint; 2]>,
    /// Times from each point to the next.
    pub(crate) legs: HashMap<(At, At, usize), Leg>,
    /// Journeys that are problems.
    pub(crate) problems: HashMap<Problem, Met>,
    /// Problems that are not told apart, because there are too many.
    pub(crate) more_problems: u64,
    /// Journeys by verdict.
    pub(crate) verdicts: BTreeMap<Kind, u64>,
    /// Journeys, and those that are problems, by second.
    pub(crate) seconds: [Seconds; 2],
    /// Bytes of all packets, as first seen.
    pub(crate) bytes: u64,
    /// Journeys that repeat an earlier one.
    pub(crate) retransmissions: u64,
    pub(crate) dns: Dns,
    /// Times from first to last point of delivered packets, ns.
    pub(crate) ways: Spans,
    /// Start of the latest journey: Unix time, ns.
    pub(crate) latest: Option<i64>,
}

/// Packets that passed a point in one direction.
#[derive(Clone, Debug, Default)]
pub(crate) struct AtPoint {
    pub(crate) packets: u64,
    pub(crate) seconds: Seconds,
}

/// Packets that passed from one point to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leg {
    pub(crate) packets: u64,
    pub(crate) spans: Spans,
}

/// Time spans, ns.
#[derive(Clone, Debug)]
pub(crate) struct Spans(pub(crate) Histogram<u32>);

/// A kind of problem, and its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Problem {
    /// The last point before the problem.
    pub(crate) at: Option<At>,
    /// 0 for a request, 1 for a reply.
    pub(crate) course: usize,
    pub(crate) kind: Kind,
    /// The drop that decides.
    pub(crate) drop: Option<Freed>,
    pub(crate) cause: Option<&'static str>,
}

/// The place in a kernel, and the drop reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Freed {
    pub(crate) reason: Arc<str>,
    pub(crate) function: Arc<str>,
    device: Option<Arc<str>>,
}

/// Journeys with the same problem.
#[derive(Clone, Debug)]
pub(crate) struct Met {
    pub(crate) packets: u64,
    /// The latest of these journeys.
    pub(crate) example: Arc<Entry>,
}

impl Tally {
    /// Approximate memory in bytes, without the examples of problems.
    pub(crate) fn weight(&self) -> usize {
        let spans = self.legs.values().map(|leg| &leg.spans);
        let counts = spans
            .chain([&self.ways])
            .map(|spans| spans.0.distinct_values());
        counts.sum::<usize>() * size_of::<u32>()
            + self.points.len() * size_of::<[AtPoint; 2]>()
            + self.legs.len() * size_of::<Leg>()
            + self.problems.len() * size_of::<(Problem, Met)>()
    }

    /// Counts a journey. Only a problem needs its `entry`.
    pub(crate) fn add(
        &mut self,
        scene: &Scene,
        (journey, verdict): (&Journey, &Verdict),
        entry: impl FnOnce() -> Arc<Entry>,
    ) {
        *self.verdicts.entry(verdict.kind).or_default() += 1;
        let start = journey.start();
        self.latest = self.latest.max(Some(start));
        self.bytes += u64::from(journey.packet.len);
        self.retransmissions += u64::from(journey.retransmits.is_some());
        self.dns.add(scene, journey, verdict);
        self.seconds[0].add(start);
        if verdict.is_problem() {
            self.seconds[1].add(start);
            self.problem(Problem::of(scene, journey, verdict), entry);
        }
        if journey.packet.is_neighbour() {
            return;
        }
        let course = course(journey);
        for (index, step) in journey.steps.iter().enumerate() {
            let at = (step.node, step.point);
            // A journey may pass a point twice, but counts once.
            let mut before = journey.steps[..index].iter();
            if before.any(|before| (before.node, before.point) == at) {
                continue;
            }
            let here = &mut self.points.entry(at).or_default()[course];
            here.packets += 1;
            here.seconds.add(step.time);
        }
        for pair in journey.steps.windows(2) {
            let key = leg(pair, course);
            if self.legs.len() < MOST || self.legs.contains_key(&key) {
                self.legs.entry(key).or_default().packets += 1;
            }
        }
        for (from, to, span) in latencies(journey) {
            let key = ((from.node, from.point), (to.node, to.point), course);
            if let Some(leg) = self.legs.get_mut(&key) {
                leg.spans.add(span);
            }
        }
        if verdict.kind == Kind::Delivered
            && let Ok(way) = u64::try_from(journey.way())
        {
            self.ways.add(way);
        }
    }

    fn problem(&mut self, key: Problem, entry: impl FnOnce() -> Arc<Entry>) {
        if let Some(met) = self.problems.get_mut(&key) {
            met.packets += 1;
            met.example = entry();
        } else if self.problems.len() < MOST {
            let met = Met {
                packets: 1,
                example: entry(),
            };
            self.problems.insert(key, met);
        } else {
            self.more_problems += 1;
        }
    }

    /// Number of all journeys.
    pub(crate) fn journeys(&self) -> u64 {
        self.verdicts.values().sum()
    }
}

fn leg(pair: &[tracer_core::journey::Step], course: usize) -> (At, At, usize) {
    let [from, to] = [&pair[0], &pair[1]].map(|step| (step.node, step.point));
    (from, to, course)
}

/// The direction of a journey as an index: 0 for requests, 1 for replies. All pairs have this
/// order.
pub(crate) fn course(journey: &Journey) -> usize {
    usize::from(journey.direction == Course::Reply)
}

impl Problem {
    fn of(scene: &Scene, journey: &Journey, verdict: &Verdict) -> Self {
        let drop = verdict.drop.map(|index| &journey.drops[index]);
        let mut steps = journey.steps.iter().rev();
        let last = match drop {
            // The last point that the packet passed before the drop, by the clock of the drop's
            // node, if there is one.
            Some(drop) => steps
                .clone()
                .find(|step| scene.one_clock(step.node, drop.node) && step.time <= drop.time)
                .or_else(|| steps.next()),
            None => steps.next(),
        };
        Self {
            at: last.map(|step| (step.node, step.point)),
            course: course(journey),
            kind: verdict.kind,
            drop: drop.map(|drop| Freed {
                reason: Arc::clone(&drop.reason),
                function: Arc::clone(&drop.function),
                device: drop.device.clone(),
            }),
            cause: verdict.cause.map(tracer_core::model::Cause::name),
        }
    }
}

/// Counts in each of the latest seconds.
#[derive(Clone, Debug)]
pub(crate) struct Seconds {
    counts: [u32; SECONDS],
    /// The latest of these seconds: Unix time, s.
    last: i64,
}

impl Default for Seconds {
    fn default() -> Self {
        Self {
            counts: [0; SECONDS],
            last: i64::MIN,
        }
    }
}

impl Seconds {
    const NS: i64 = 1_000_000_000;

    fn slot(second: i64) -> usize {
        usize::try_from(second.rem_euclid(SECONDS as i64)).unwrap_or_default()
    }

    /// Adds one at a time: Unix time, ns.
    pub(crate) fn add(&mut self, time: i64) {
        let second = time.div_euclid(Self::NS);
        if self.last == i64::MIN {
            self.last = second;
        }
        let passed = second.saturating_sub(self.last);
        for later in 1..=passed.min(SECONDS as i64) {
            self.counts[Self::slot(second - passed.min(SECONDS as i64) + later)] = 0;
        }
        self.last = self.last.max(second);
        if self.last - second < SECONDS as i64 {
            let count = &mut self.counts[Self::slot(second)];
            *count = count.saturating_add(1);
        }
    }

    /// The count of a second: Unix time, s.
    fn at(&self, second: i64) -> u32 {
        let age = self.last.saturating_sub(second);
        if (0..SECONDS as i64).contains(&age) {
            self.counts[Self::slot(second)]
        } else {
            0
        }
    }

    /// Average per second of the latest five whole seconds before a time: Unix time, ns.
    pub(crate) fn rate(&self, now: i64) -> f64 {
        const SPAN: u32 = 5;
        let now = now.div_euclid(Self::NS);
        let sum: u32 = (1..=i64::from(SPAN)).map(|age| self.at(now - age)).sum();
        f64::from(sum) / f64::from(SPAN)
    }

    /// Whether the second of a time, or the second before it, has a count: Unix time, ns.
    pub(crate) fn lights(&self, now: i64) -> bool {
        let now = now.div_euclid(Self::NS);
        self.at(now) > 0 || self.at(now - 1) > 0
    }

    /// The counts of the last `seconds` seconds up to `now` (Unix time, ns), oldest first.
    pub(crate) fn until(&self, now: i64, seconds: usize) -> Vec<u64> {
        let now = now.div_euclid(Self::NS);
        let seconds = i64::try_from(seconds.min(SECONDS)).unwrap_or_default();
        (0..seconds)
            .rev()
            .map(|age| u64::from(self.at(now - age)))
            .collect()
    }
}

impl Default for Spans {
    fn default() -> Self {
        Self(Histogram::new(2).expect("two significant figures are allowed"))
    }
}

impl Spans {
    pub(crate) fn add(&mut self, span: u64) {
        self.0.record(span).expect("the histogram grows as it must");
    }

    /// Adds the time spans of another one.
    pub(crate) fn join(&mut self, other: &Self) {
        self.0
            .add(&other.0)
            .expect("the histogram grows as it must");
    }

    /// The time span in ns that this share of all did not exceed. `None` if there are none.
    pub(crate) fn quantile(&self, part: f64) -> Option<i64> {
        (!self.0.is_empty()).then(|| ns(self.0.value_at_quantile(part)))
    }

    /// The distribution of the time spans, in this number of parts between the shortest and the
    /// longest.
    pub(crate) fn shape(&self, parts: usize) -> Vec<u64> {
        let (low, high) = (self.0.min(), self.0.max());
        let mut counts = vec![0; parts];
        if self.0.is_empty() || parts == 0 {
            return counts;
        }
        // The scale is logarithmic, because spans differ by orders of magnitude.
        let log = |value: u64| (value.max(1) as f64).ln();
        let width = (log(high) - log(low)).max(f64::MIN_POSITIVE);
        for value in self.0.iter_recorded() {
            let at = (log(value.value_iterated_to()) - log(low)) / width * parts as f64;
            let at = (at.max(0.0) as usize).min(parts - 1);
            counts[at] += u64::from(value.count_at_value());
        }
        counts
    }
}

fn ns(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{SECONDS, Seconds};

    const S: i64 = 1_000_000_000;

    #[test]
    fn rates_are_those_of_whole_seconds_and_old_ones_are_forgotten() {
        let mut seconds = Seconds::default();
        for second in 0..10 {
            (0..=second).for_each(|_| seconds.add(second * S + 5));
        }
        assert!((seconds.rate(9 * S) - f64::from(5 + 6 + 7 + 8 + 9) / 5.0).abs() < 1e-9);
        assert_eq!(seconds.until(9 * S, 3), [8, 9, 10]);
        // One that comes late counts in its own second. One that is too late does not count.
        seconds.add(8 * S);
        assert_eq!(seconds.until(9 * S, 2), [10, 10]);
        let later = 9 + i64::try_from(SECONDS).expect("few");
        seconds.add(later * S);
        assert_eq!(seconds.until(later * S, SECONDS).iter().sum::<u64>(), 1);
        seconds.add(0);
        assert_eq!(seconds.until(later * S, SECONDS).iter().sum::<u64>(), 1);
        assert_eq!(seconds.rate(i64::MAX), 0.0);
    }
}
