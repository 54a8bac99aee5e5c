//! Where every event went, and when some were lost.

use std::{collections::VecDeque, ops::Range};

use tracer_common::{
    counters::{Counter, Counters},
    drop::{DropCounter, DropCounters},
};

use crate::{
    link::{DropReport, Health, Hello, Report},
    verdict::{Accounting, DropAccounting, Rises, Silence},
};

/// A span of time, Unix time, ns.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: i64,
    to: i64,
}

/// Spans of time in which events were lost.
#[derive(Debug, Default)]
struct Losses(Vec<Span>);

/// How many spans of loss are told apart.
const MAX_SPANS: usize = 1024;

/// By how much a NIC's counters may be late, ns: drivers read them from the
/// device now and then, some every two seconds.
const LATE: i64 = 2_000_000_000;

/// How many readings of a node's counters are kept.
const MAX_HEALTH: usize = 256;

impl Losses {
    fn add(&mut self, from: i64, to: i64) {
        // Streams that report side by side, or one report after the other.
        if let Some(last) = self.0.last_mut()
            && last.from <= to
            && last.to >= from
        {
            last.from = last.from.min(from);
            last.to = last.to.max(to);
            return;
        }
        self.0.push(Span { from, to });
        if self.0.len() > MAX_SPANS {
            // To forget one would be to say that nothing was lost then.
            let oldest = self.0.remove(0);
            self.0[0].from = oldest.from;
        }
    }

    fn between(&self, from: i64, to: i64) -> bool {
        self.0.iter().any(|span| span.from <= to && span.to >= from)
    }
}

/// The last report of every stream, and the losses between reports.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    streams: Vec<Entry>,
    /// Which streams are an agent's.
    agents: Vec<Range<usize>>,
    /// What each agent's kernel had counted, and when.
    health: Vec<VecDeque<(i64, Health)>>,
    hops_lost: Losses,
    drops_lost: Losses,
    /// Since when streams take different samples of the packets.
    unequal: Option<i64>,
    /// Until when a stream has taken only some of the packets, as far as is known.
    sampled: Option<i64>,
    /// By how much the clocks of nodes may differ, ns.
    skew: i64,
    /// What had been counted before anything came.
    begun: Accounting,
    /// Hops that came.
    pub(super) hops: u64,
    /// Freed packets that came.
    pub(super) freed: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    report: Report,
    time: i64,
    /// Whether it sends no more, so that it has nothing to tell any more.
    ended: bool,
}

impl Ledger {
    /// For these agents, from `now` on.
    pub(super) fn new(agents: &[Hello], now: i64) -> Self {
        let mut streams = 0;
        let ranges = agents
            .iter()
            .map(|hello| {
                let first = streams;
                streams += hello.streams;
                first..streams
            })
            .collect();
        let entry = Entry {
            report: Report {
                sample: u32::MAX,
                ..Report::default()
            },
            time: now,
            ended: false,
        };
        Self {
            streams: vec![entry; streams],
            agents: ranges,
            health: vec![VecDeque::new(); agents.len()],
            ..Self::default()
        }
    }

    /// How many streams there are.
    pub(super) const fn streams(&self) -> usize {
        self.streams.len()
    }

    /// The index among all streams of one of an agent's.
    pub(super) fn stream(&self, agent: usize, stream: usize) -> usize {
        self.agents[agent].start + stream
    }

    /// Which of all streams are an agent's.
    pub(super) fn streams_of(&self, agent: usize) -> Range<usize> {
        self.agents[agent].clone()
    }

    /// Takes the clocks of nodes to differ by so much, ns, at most.
    pub(super) const fn allow_for(&mut self, skew: i64) {
        self.skew = skew;
    }

    /// Takes note that a stream has nothing to tell of before `time`.
    pub(super) fn begun(&mut self, stream: usize, time: i64) {
        self.streams[stream].time = time;
    }

    /// Until when a stream has told of its losses, Unix time, ns.
    pub(super) fn told(&self, stream: usize) -> i64 {
        self.streams[stream].time
    }

    /// Takes note that hops and drops between `from` and `to` may be missing,
    /// whatever reports say.
    pub(super) fn missing(&mut self, from: i64, to: i64) {
        self.hops_lost.add(from, to);
        self.drops_lost.add(from, to);
    }

    /// Takes what a stream had reported at `now`, Unix time, before anything of
    /// it came: what was lost until then is no loss of these hops.
    pub(super) fn begin(&mut self, stream: usize, report: Report, now: i64) {
        count(&mut self.begun, &report);
        self.streams[stream] = Entry {
            report,
            time: now,
            ended: false,
        };
    }

    /// Takes a stream's report, made at `now`, Unix time.
    pub(super) fn report(&mut self, stream: usize, mut report: Report, now: i64) {
        let entry = &mut self.streams[stream];
        if hops_lost(&report) > hops_lost(&entry.report) {
            self.hops_lost.add(entry.time, now);
        }
        let before = entry.report.drops.unwrap_or_default();
        if report
            .drops
            .is_some_and(|drops| drops_lost(&drops) > drops_lost(&before))
        {
            self.drops_lost.add(entry.time, now);
        }
        // A packet that is in one stream's sample only passes the others' points
        // unseen.
        if [report.sample, entry.report.sample] != [u32::MAX; 2] {
            self.sampled = self.sampled.max(Some(now));
        }
        if report.sample != entry.report.sample {
            self.unequal.get_or_insert(entry.time);
        }
        let health = report.health.take();
        entry.report = report;
        entry.time = now;
        let sample = |entry: &Entry| entry.report.sample;
        let equal = self
            .streams
            .windows(2)
            .all(|pair| sample(&pair[0]) == sample(&pair[1]));
        if let Some(from) = self.unequal.take_if(|_| equal) {
            self.hops_lost.add(from, now);
            self.drops_lost.add(from, now);
        }
        if let Some(health) = health
            && let Some(agent) = self.agents.iter().position(|range| range.contains(&stream))
        {
            let history = &mut self.health[agent];
            history.push_back((now, health));
            // The first one stays: what rose since the beginning is better
            // than nothing.
            if history.len() > MAX_HEALTH {
                history.remove(1);
            }
        }
    }

    /// Whether, at some time since `from`, a stream took only some of the packets.
    pub(super) fn sampled_since(&self, from: i64) -> bool {
        self.sampled
            .is_some_and(|until| until.saturating_add(self.skew) >= from)
    }

    /// What rose on an agent's node between the last reading before `from`
    /// and now.
    pub(super) fn rises(&self, agent: usize, from: i64) -> Option<Rises> {
        let history = &self.health[agent];
        let (_, after) = history.back()?;
        let (_, before) = history
            .iter()
            .rfind(|(time, _)| *time <= from)
            .or(history.front())?;
        Some(Rises::between(before, after))
    }

    /// Whether an interface of an agent's node received nothing between `from`
    /// and `to`: it had counted as much before as after.
    pub(super) fn silence(
        &self,
        agent: usize,
        interface: &str,
        from: i64,
        to: i64,
    ) -> Option<Silence> {
        let received = |health: &Health| {
            let mut devices = health.devices.iter();
            devices
                .find(|device| *device.interface == *interface)?
                .rx_packets
        };
        let (from, to) = self.widened(from, to);
        let history = &self.health[agent];
        let (latest, health) = history.back()?;
        let now = received(health)?;
        let same = |(_, health): &&(i64, Health)| received(health) == Some(now);
        let (since, _) = history.iter().rev().take_while(same).last()?;
        (*since <= from && *latest >= to.saturating_add(LATE)).then_some(Silence {
            since: *since,
            counts: now > 0,
        })
    }

    /// Until when all streams have told of their losses, Unix time, ns.
    pub(super) fn reported(&self) -> i64 {
        let running = self.streams.iter().filter(|entry| !entry.ended);
        running.map(|entry| entry.time).min().unwrap_or(i64::MAX)
    }

    /// Takes note that a stream sends no more.
    pub(super) fn end(&mut self, stream: usize) {
        self.streams[stream].ended = true;
    }

    /// Whether it does not.
    pub(super) fn has_ended(&self, stream: usize) -> bool {
        self.streams[stream].ended
    }

    /// Whether hops were lost between `from` and `to`.
    pub(super) fn hops_lost(&self, from: i64, to: i64) -> bool {
        let (from, to) = self.widened(from, to);
        self.hops_lost.between(from, to) || self.is_unequal(to)
    }

    /// Whether drops were.
    pub(super) fn drops_lost(&self, from: i64, to: i64) -> bool {
        let (from, to) = self.widened(from, to);
        self.drops_lost.between(from, to) || self.is_unequal(to)
    }

    /// A span of one node's clock, as any other may have it.
    const fn widened(&self, from: i64, to: i64) -> (i64, i64) {
        (from.saturating_sub(self.skew), to.saturating_add(self.skew))
    }

    fn is_unequal(&self, to: i64) -> bool {
        self.unequal.is_some_and(|since| since <= to)
    }

    /// How many packets a point has seen, as of a report made after `time`;
    /// `None` of one that sees none any more.
    pub(super) fn seen(&self, agent: usize, point: usize, time: i64) -> Option<u64> {
        let streams = &self.streams[self.agents[agent].clone()];
        let time = time.saturating_add(self.skew);
        let counters = |entry: &Entry| {
            let mut counters = entry.report.counters.iter();
            let found = counters.find(|(index, _)| *index == point)?.1;
            let lives = entry.time >= time && !entry.report.gone.contains(&point);
            lives.then(|| Counters::seen(&found))
        };
        streams.iter().find_map(counters)
    }

    /// Packets cut off by the budget.
    pub(super) fn limited(&self) -> u64 {
        self.accounting().packets.get(Counter::RateLimited)
    }

    /// The last report of each stream of an agent.
    pub(super) fn reports(&self, agent: usize) -> impl Iterator<Item = &Report> {
        let streams = &self.streams[self.agents[agent].clone()];
        streams.iter().map(|entry| &entry.report)
    }

    /// The sums; what the engine knows is for the caller to fill in.
    pub(super) fn accounting(&self) -> Accounting {
        let mut sums = Accounting::default();
        for entry in &self.streams {
            count(&mut sums, &entry.report);
        }
        let (drops, begun) = (sums.drops, &self.begun);
        Accounting {
            packets: sums.packets.since(&begun.packets),
            malformed: sums.malformed.saturating_sub(begun.malformed),
            hops: self.hops,
            drops: DropAccounting {
                counters: drops.counters.since(&begun.drops.counters),
                malformed: drops.malformed.saturating_sub(begun.drops.malformed),
                missed: drops.missed.saturating_sub(begun.drops.missed),
                freed: self.freed,
                ..drops
            },
            ..sums
        }
    }
}

/// Adds up what a stream has reported.
fn count(sums: &mut Accounting, report: &Report) {
    for (_, counters) in &report.counters {
        sums.packets.add(counters);
    }
    sums.malformed = sums.malformed.saturating_add(report.malformed);
    if let Some(drops) = &report.drops {
        sums.drops.counters.add(&drops.counters);
        sums.drops.malformed = sums.drops.malformed.saturating_add(drops.malformed);
        sums.drops.missed = sums.drops.missed.saturating_add(drops.missed);
    }
}

fn hops_lost(report: &Report) -> u64 {
    let counted =
        |counters: &Counters| counters.get(Counter::RingFull) + counters.get(Counter::RateLimited);
    let points: u64 = report
        .counters
        .iter()
        .map(|(_, counters)| counted(counters))
        .sum();
    points + report.malformed
}

fn drops_lost(report: &DropReport) -> u64 {
    let counted = |counters: &DropCounters| {
        counters.get(DropCounter::RingFull) + counters.get(DropCounter::RateLimited)
    };
    counted(&report.counters) + report.malformed + report.missed
}

#[cfg(test)]
mod tests;
