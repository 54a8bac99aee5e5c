//! Where every event went, and when some were lost.

use std::collections::{BTreeMap, VecDeque};

use tracer_common::{
    counters::{Counter, Counters},
    drop::{DropCounter, DropCounters},
};

use crate::{
    input::{DropReport, Health, Report},
    model::Hello,
    verdict::{Accounting, DropAccounting, Rises, Silence, Where},
};

/// A span of time, Unix time, ns.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: i64,
    to: i64,
}

/// Spans of time in which events were lost, in order and apart.
#[derive(Clone, Debug, Default)]
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
        // What was made before its stream began, or is told by a clock that went back.
        let (from, to) = (from.min(to), from.max(to));
        let first = self.0.partition_point(|span| span.to < from);
        let end = self.0.partition_point(|span| span.from <= to);
        let mut span = Span { from, to };
        for known in &self.0[first..end] {
            span.from = span.from.min(known.from);
            span.to = span.to.max(known.to);
        }
        self.0.splice(first..end, [span]);
        if self.0.len() > MAX_SPANS {
            // To forget one would be to say that nothing was lost then.
            let oldest = self.0.remove(0);
            self.0[0].from = oldest.from;
        }
    }

    fn between(&self, from: i64, to: i64) -> bool {
        let first = self.0.partition_point(|span| span.to < from);
        self.0.get(first).is_some_and(|span| span.from <= to)
    }
}

/// The last report of every stream, and the losses between reports.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    streams: Vec<Entry>,
    /// Which streams are an agent's, in its own order.
    agents: Vec<Vec<usize>>,
    /// Which of an agent's is the first since it last began.
    begun_at: Vec<usize>,
    /// What each agent's kernel had counted, and when.
    health: Vec<VecDeque<(i64, Health)>>,
    /// When streams took different samples of the packets.
    uneven: Losses,
    /// Since when they do, and when one was last heard of.
    differ: Option<Span>,
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
    /// When that was made.
    time: i64,
    /// Until when it is not waited for.
    passed: i64,
    /// Whether it sends no more, so that it has nothing to tell any more.
    ended: bool,
    /// Since when its agent is gone, or the way to it is broken; what it saw meanwhile is
    /// not known.
    gone: Option<i64>,
    /// When it was gone before.
    was_gone: Losses,
    /// When it lost hops at points, and hops of which the point is not known.
    lost_at: BTreeMap<usize, Losses>,
    hops_lost: Losses,
    drops_lost: Losses,
}

impl Entry {
    /// One that has nothing to tell of before `now`.
    fn new(now: i64) -> Self {
        Self {
            report: Report {
                sample: u32::MAX,
                ..Report::default()
            },
            time: now,
            passed: i64::MIN,
            ended: false,
            gone: None,
            was_gone: Losses::default(),
            lost_at: BTreeMap::new(),
            hops_lost: Losses::default(),
            drops_lost: Losses::default(),
        }
    }

    /// Whether the agent was gone at some time before `to`, and still is.
    fn is_gone(&self, to: i64) -> bool {
        self.gone.is_some_and(|from| from <= to)
    }

    /// Until when it has told of its losses, or is not waited for.
    fn told(&self) -> i64 {
        self.time.max(self.passed)
    }

    /// Whether hops of a point are in this stream, as far as that is known. Of
    /// points that share counters, one is named.
    fn counts(&self, point: usize) -> bool {
        let mut counted = self.report.counters.iter();
        counted.any(|(index, _)| *index == point)
    }

    /// Whether hops at a point were lost between `from` and `to`, or at any.
    fn hops_lost(&self, point: Option<usize>, (from, to): (i64, i64)) -> bool {
        let mut points = self.lost_at.iter();
        (self.is_gone(to) && self.report.drops.is_none())
            || self.hops_lost.between(from, to)
            || points.any(|(index, lost)| {
                point.is_none_or(|point| point == *index) && lost.between(from, to)
            })
    }

    /// Takes note that what it saw between `from` and `to` may be missing.
    fn missing(&mut self, from: i64, to: i64) {
        // A stream has hops or drops, and its reports tell which.
        if self.report.drops.is_none() {
            self.hops_lost.add(from, to);
        }
        if self.report.counters.is_empty() {
            self.drops_lost.add(from, to);
        }
    }

    /// Takes note of what a report, made at `now`, says was lost since the last.
    fn lose(&mut self, report: &Report, now: i64) {
        let from = self.time;
        let before: BTreeMap<usize, u64> = self
            .report
            .counters
            .iter()
            .map(|(point, counters)| (*point, hops_lost(counters)))
            .collect();
        for (point, counters) in &report.counters {
            let known = before.get(point).copied().unwrap_or(0);
            if hops_lost(counters) > known {
                self.lost_at.entry(*point).or_default().add(from, now);
            }
        }
        if report.malformed > self.report.malformed {
            self.hops_lost.add(from, now);
        }
        let known = self.report.drops.unwrap_or_default();
        let drops = report.drops.unwrap_or(known);
        if drops_lost(&drops) > drops_lost(&known) {
            self.drops_lost.add(from, now);
        }
    }
}

impl Ledger {
    /// For these agents, from `now` on.
    pub(super) fn new(agents: &[Hello], now: i64) -> Self {
        let mut ledger = Self {
            agents: vec![Vec::new(); agents.len()],
            begun_at: vec![0; agents.len()],
            health: vec![VecDeque::new(); agents.len()],
            ..Self::default()
        };
        for (agent, hello) in agents.iter().enumerate() {
            ledger.add(agent, hello.streams, now);
        }
        ledger
    }

    /// Adds streams of an agent, which have nothing to tell of before `now`.
    pub(super) fn add(&mut self, agent: usize, streams: usize, now: i64) {
        let first = self.streams.len();
        self.agents[agent].extend(first..first + streams);
        self.streams.resize(first + streams, Entry::new(now));
    }

    /// The streams of an agent since it last began. It may be gone though they have ended
    /// as they should: somebody else has ended it.
    pub(super) fn latest_streams_of(&self, agent: usize) -> Vec<usize> {
        self.agents[agent][self.begun_at[agent]..].to_vec()
    }

    /// Takes note that a stream's agent is gone, which had told of all until `from`.
    pub(super) fn gone(&mut self, stream: usize, from: i64) {
        let entry = &mut self.streams[stream];
        entry.gone.get_or_insert(from);
        entry.ended = true;
    }

    /// Takes note that an agent that was gone is there again at `time`, with so many new
    /// streams. What was missing meanwhile is missing in them, too: their points are those
    /// that would have shown it.
    pub(super) fn back(&mut self, agent: usize, streams: usize, time: i64) {
        let mut missing = time;
        for stream in &self.agents[agent] {
            let entry = &mut self.streams[*stream];
            if let Some(from) = entry.gone.take() {
                entry.missing(from, time);
                entry.was_gone.add(from, time);
                missing = missing.min(from);
            }
        }
        self.begun_at[agent] = self.agents[agent].len();
        self.add(agent, streams, time);
        for stream in self.latest_streams_of(agent) {
            if missing < time {
                self.streams[stream].missing(missing, time);
            }
        }
        // It takes every packet until it is told what the others take.
        let sampled = |entry: &Entry| !entry.ended && entry.report.sample != u32::MAX;
        if self.streams.iter().any(sampled) {
            let now = Span {
                from: time,
                to: time,
            };
            self.differ.get_or_insert(now);
        }
    }

    /// How many streams there are.
    pub(super) const fn streams(&self) -> usize {
        self.streams.len()
    }

    /// The index among all streams of one of an agent's.
    pub(super) fn stream(&self, agent: usize, stream: usize) -> usize {
        self.agents[agent][stream]
    }

    /// Whose one of all streams is, and which of its own.
    pub(super) fn agent_of(&self, stream: usize) -> (usize, usize) {
        let agents = self.agents.iter().enumerate();
        let mut own = agents.filter_map(|(agent, streams)| {
            let own = streams.iter().position(|other| *other == stream)?;
            Some((agent, own))
        });
        own.next().expect("each stream is an agent's")
    }

    /// Which of all streams are an agent's.
    pub(super) fn streams_of(&self, agent: usize) -> &[usize] {
        &self.agents[agent]
    }

    /// The streams of an agent.
    fn entries(&self, agent: usize) -> impl Iterator<Item = &Entry> {
        self.agents[agent]
            .iter()
            .map(|stream| &self.streams[*stream])
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
        self.streams[stream].told()
    }

    /// Takes note that what a stream saw between `from` and `to` may be missing,
    /// whatever reports say.
    pub(super) fn missing(&mut self, stream: usize, from: i64, to: i64) {
        self.streams[stream].missing(from, to);
    }

    /// Takes what a stream had reported at `now`, Unix time, before anything of
    /// it came: what was lost until then is no loss of these hops.
    pub(super) fn begin(&mut self, stream: usize, report: Report, now: i64) {
        count(&mut self.begun, &report);
        let entry = &mut self.streams[stream];
        entry.report = report;
        entry.time = now;
    }

    /// Takes note that a stream is not waited for until `time`, and what it saw from
    /// `from` on may be missing.
    pub(super) fn overdue(&mut self, stream: usize, from: i64, time: i64) {
        let entry = &mut self.streams[stream];
        entry.missing(from, time);
        // What it had counted by then is not known; nothing is concluded from it.
        entry.passed = entry.passed.max(time);
    }

    /// Takes a stream's report, made at `now`, Unix time.
    pub(super) fn report(&mut self, stream: usize, mut report: Report, now: i64) {
        let entry = &mut self.streams[stream];
        entry.lose(&report, now);
        // A packet that is in one stream's sample only passes the others' points
        // unseen.
        if [report.sample, entry.report.sample] != [u32::MAX; 2] {
            self.sampled = self.sampled.max(Some(now));
        }
        if report.sample != entry.report.sample || self.differ.is_some() {
            let span = self.differ.get_or_insert(Span {
                from: entry.time,
                to: now,
            });
            span.from = span.from.min(entry.time);
            span.to = span.to.max(now);
        }
        let health = report.health.take();
        entry.report = report;
        entry.time = entry.time.max(now);
        let sample = |entry: &Entry| entry.report.sample;
        // One that has ended takes no sample any more.
        let mut running = self.streams.iter().filter(|entry| !entry.ended);
        let equal = running.all(|entry| sample(entry) == sample(&self.streams[stream]));
        if let Some(Span { from, to }) = self.differ.take_if(|_| equal) {
            self.uneven.add(from, to);
        }
        if let Some(health) = health {
            let (agent, _) = self.agent_of(stream);
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
        running.map(Entry::told).min().unwrap_or(i64::MAX)
    }

    /// Takes note that a stream sends no more.
    pub(super) fn end(&mut self, stream: usize) {
        self.streams[stream].ended = true;
    }

    /// Whether it does not.
    pub(super) fn has_ended(&self, stream: usize) -> bool {
        self.streams[stream].ended
    }

    /// Whether hops were lost there between `from` and `to`.
    pub(super) fn hops_lost(&self, place: Where, from: i64, to: i64) -> bool {
        let span = self.widened(from, to);
        match place {
            Where::Anywhere => self.streams.iter().any(|entry| entry.hops_lost(None, span)),
            Where::Node(agent) => self.entries(agent).any(|entry| entry.hops_lost(None, span)),
            Where::Point(agent, point) => {
                match self.entries(agent).find(|entry| entry.counts(point)) {
                    Some(known) => known.hops_lost(Some(point), span),
                    None => self.entries(agent).any(|entry| entry.hops_lost(None, span)),
                }
            }
        }
    }

    /// Whether drops on an agent's node were, or on any.
    pub(super) fn drops_lost(&self, agent: Option<usize>, from: i64, to: i64) -> bool {
        let (from, to) = self.widened(from, to);
        let lost = |entry: &Entry| {
            let gone = entry.is_gone(to) && entry.report.counters.is_empty();
            gone || entry.drops_lost.between(from, to)
        };
        match agent {
            Some(agent) => self.entries(agent).any(lost),
            None => self.streams.iter().any(lost),
        }
    }

    /// The first agent that was gone at some time between `from` and `to`.
    pub(super) fn agent_gone(&self, from: i64, to: i64) -> Option<usize> {
        let (from, to) = self.widened(from, to);
        let gone = |entry: &Entry| entry.is_gone(to) || entry.was_gone.between(from, to);
        (0..self.agents.len()).find(|agent| self.entries(*agent).any(gone))
    }

    /// Whether streams took different samples at some time between `from` and `to`.
    pub(super) fn uneven(&self, from: i64, to: i64) -> bool {
        let (from, to) = self.widened(from, to);
        self.uneven.between(from, to) || self.differ.is_some_and(|span| span.from <= to)
    }

    /// A span of one node's clock, as any other may have it.
    const fn widened(&self, from: i64, to: i64) -> (i64, i64) {
        (from.saturating_sub(self.skew), to.saturating_add(self.skew))
    }

    /// How many packets a point has seen, as of a report made after `time`;
    /// `None` of one that sees none any more.
    pub(super) fn seen(&self, agent: usize, point: usize, time: i64) -> Option<u64> {
        let time = time.saturating_add(self.skew);
        let counters = |entry: &Entry| {
            let mut counters = entry.report.counters.iter();
            let found = counters.find(|(index, _)| *index == point)?.1;
            let lives = entry.time >= time && !entry.report.gone.contains(&point);
            lives.then(|| Counters::seen(&found))
        };
        self.entries(agent).find_map(counters)
    }

    /// Packets cut off by the budget.
    pub(super) fn limited(&self) -> u64 {
        self.accounting().packets.get(Counter::RateLimited)
    }

    /// The last report of each stream of an agent.
    pub(super) fn reports(&self, agent: usize) -> impl Iterator<Item = &Report> {
        self.entries(agent).map(|entry| &entry.report)
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

fn hops_lost(counters: &Counters) -> u64 {
    let (full, limited) = (Counter::RingFull, Counter::RateLimited);
    counters.get(full).saturating_add(counters.get(limited))
}

fn drops_lost(report: &DropReport) -> u64 {
    let counted = |counters: &DropCounters| {
        let (full, limited) = (DropCounter::RingFull, DropCounter::RateLimited);
        counters.get(full).saturating_add(counters.get(limited))
    };
    counted(&report.counters)
        .saturating_add(report.malformed)
        .saturating_add(report.missed)
}

#[cfg(test)]
mod tests;
