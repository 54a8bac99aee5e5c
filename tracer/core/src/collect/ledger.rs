//! The ledger: what became of every event, and when events were lost.

mod entry;
mod health;
mod losses;
mod sums;
use std::collections::VecDeque;

use hashbrown::HashMap;
use smallvec::SmallVec;
use tracer_common::counters::{Counter, Counters};

use self::{
    entry::Entry,
    losses::{Losses, Span},
    sums::count,
};
use crate::{
    input::{Health, Report},
    model::Hello,
    verdict::{Accounting, Where},
};

/// Number of readings of a node's counters that are kept.
const MAX_HEALTH: usize = 256;

/// The last report of every stream, and the times of losses.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    streams: Vec<Entry>,
    /// Agent of each stream.
    owners: Vec<usize>,
    /// Streams of each agent, in the agent's order.
    agents: Vec<Vec<usize>>,
    /// Streams of each agent that ever lost anything. Journeys ask only these streams.
    lossy: Vec<Vec<usize>>,
    /// By agent and point: the streams whose last report has counters of the point.
    counting: Vec<HashMap<usize, SmallVec<[usize; 1]>>>,
    /// By agent: index of its first stream since it last began.
    begun_at: Vec<usize>,
    /// By agent: readings of its kernel's counters, each with its Unix time, ns.
    health: Vec<VecDeque<(i64, Health)>>,
    /// Times at which streams took different samples of the packets.
    uneven: Losses,
    /// The present time span with different samples: its begin, and the last report in it.
    differ: Option<Span>,
    /// Latest known time at which a stream took only some of the packets, Unix time, ns.
    sampled: Option<i64>,
    /// How far the clocks of nodes may differ, ns.
    skew: i64,
    /// Counters from before the first record.
    begun: Accounting,
    /// Number of hops that came.
    pub(super) hops: u64,
    /// Number of freed packets that came.
    pub(super) freed: u64,
}

impl Ledger {
    /// Creates a ledger for these agents, from `now` on, Unix time, ns.
    pub(super) fn new(agents: &[Hello], now: i64) -> Self {
        let mut ledger = Self::default();
        for hello in agents {
            ledger.add_agent(hello.streams, now);
        }
        ledger
    }

    /// Adds an agent with this number of streams, which have nothing before `now`. Returns the
    /// agent's index.
    fn add_agent(&mut self, streams: usize, now: i64) -> usize {
        let agent = self.agents.len();
        self.agents.push(Vec::new());
        self.lossy.push(Vec::new());
        self.counting.push(HashMap::new());
        self.begun_at.push(0);
        self.health.push(VecDeque::new());
        self.add(agent, streams, now);
        agent
    }

    /// Adds streams of an agent, which have nothing before `now`.
    pub(super) fn add(&mut self, agent: usize, streams: usize, now: i64) {
        let first = self.streams.len();
        self.agents[agent].extend(first..first + streams);
        self.streams.resize(first + streams, Entry::new(now));
        self.owners.resize(first + streams, agent);
    }

    /// Adds an agent that started at `now`, with this number of streams. What passed its points
    /// before is unknown.
    pub(super) fn join(&mut self, streams: usize, now: i64) {
        let agent = self.add_agent(streams, now);
        for stream in self.latest_streams_of(agent) {
            self.missing(stream, i64::MIN, now);
            self.streams[stream].was_gone.add(i64::MIN, now);
        }
        self.takes_all(now);
    }

    /// Remembers a stream that has lost something, for journeys to ask.
    fn note(&mut self, stream: usize) {
        let lossy = &mut self.lossy[self.owners[stream]];
        if !self.streams[stream].is_whole() && !lossy.contains(&stream) {
            lossy.push(stream);
        }
    }

    /// Replaces a stream's last report.
    fn replace(&mut self, stream: usize, report: Report) {
        let before = &self.streams[stream];
        let points = report.counters.iter().map(|(point, _)| *point);
        if !before.points().eq(points) {
            let counting = &mut self.counting[self.owners[stream]];
            for point in before.points() {
                let streams = counting.get_mut(&point);
                streams
                    .into_iter()
                    .for_each(|streams| streams.retain(|other| *other != stream));
            }
            for (point, _) in &report.counters {
                let streams = counting.entry(*point).or_default();
                if let Err(at) = streams.binary_search(&stream) {
                    streams.insert(at, stream);
                }
            }
        }
        self.streams[stream].report = report;
    }

    /// Streams of an agent whose last reports have counters of a point.
    fn counting(&self, agent: usize, point: usize) -> impl Iterator<Item = &Entry> {
        let streams = self.counting[agent].get(&point);
        let streams = streams.into_iter().flatten();
        streams.map(|stream| &self.streams[*stream])
    }

    /// Streams of an agent since it last began. The agent may be gone although its streams
    /// ended as they should, because somebody else ended it.
    pub(super) fn latest_streams_of(&self, agent: usize) -> Vec<usize> {
        self.agents[agent][self.begun_at[agent]..].to_vec()
    }

    /// Notes that a stream's agent is gone. It had reported everything up to `from`.
    pub(super) fn gone(&mut self, stream: usize, from: i64) {
        let entry = &mut self.streams[stream];
        entry.gone.get_or_insert(from);
        entry.ended = true;
        self.note(stream);
    }

    /// Notes that an agent is back at `time`, with this number of new streams. What was missing
    /// in the meantime is missing in the new streams, too, because their points would have
    /// shown it.
    pub(super) fn back(&mut self, agent: usize, streams: usize, time: i64) {
        // An agent that had left its node was not gone, and has seen nothing since.
        let latest = self.latest_streams_of(agent).into_iter();
        let ended = latest.filter(|stream| self.streams[*stream].ended);
        let ended = ended.map(|stream| self.streams[stream].told()).min();
        let from = self.close_gap(agent, time);
        let missing = from.into_iter().chain(ended).fold(time, i64::min);
        self.begun_at[agent] = self.agents[agent].len();
        self.add(agent, streams, time);
        for stream in self.latest_streams_of(agent) {
            if missing < time {
                self.missing(stream, missing, time);
            }
        }
        self.takes_all(time);
    }

    /// Notes that an agent is not out of reach any more at `time`, because it is back or has left
    /// its node. Returns since when it was, if it was.
    pub(super) fn close_gap(&mut self, agent: usize, time: i64) -> Option<i64> {
        let mut since = None;
        for stream in &self.agents[agent] {
            let entry = &mut self.streams[*stream];
            if let Some(from) = entry.gone.take() {
                entry.missing(from, time);
                entry.was_gone.add(from, time);
                since = Some(since.map_or(from, |since: i64| since.min(from)));
            }
        }
        since
    }

    /// Notes that an agent that started at `time` takes every packet, until it is told the
    /// sample of the others.
    fn takes_all(&mut self, time: i64) {
        let sampled = |entry: &Entry| !entry.ended && entry.report.sample != u32::MAX;
        if self.streams.iter().any(sampled) {
            let now = Span {
                from: time,
                to: time,
            };
            self.differ.get_or_insert(now);
        }
    }

    /// Number of streams of all agents.
    pub(super) const fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Index of an agent's stream among all streams.
    pub(super) fn stream(&self, agent: usize, stream: usize) -> usize {
        self.agents[agent][stream]
    }

    /// Agent of a stream, and the stream's index within the agent.
    pub(super) fn agent_of(&self, stream: usize) -> (usize, usize) {
        let agent = self.owners[stream];
        let own = self.agents[agent].binary_search(&stream);
        (agent, own.expect("each stream is one of its agent's"))
    }

    /// Indexes of an agent's streams among all streams.
    pub(super) fn streams_of(&self, agent: usize) -> &[usize] {
        &self.agents[agent]
    }

    /// Entries of an agent's streams.
    fn entries(&self, agent: usize) -> impl Iterator<Item = &Entry> {
        self.agents[agent]
            .iter()
            .map(|stream| &self.streams[*stream])
    }

    /// Sets how far the clocks of nodes may differ, ns.
    pub(super) const fn allow_for(&mut self, skew: i64) {
        self.skew = skew;
    }

    /// Notes that a stream has nothing before `time`.
    pub(super) fn begun(&mut self, stream: usize, time: i64) {
        self.streams[stream].time = time;
    }

    /// Time up to which a stream has reported its losses, Unix time, ns.
    pub(super) fn told(&self, stream: usize) -> i64 {
        self.streams[stream].told()
    }

    /// Notes that hops and drops of a stream between `from` and `to` may be missing, whatever
    /// reports say.
    pub(super) fn missing(&mut self, stream: usize, from: i64, to: i64) {
        self.streams[stream].missing(from, to);
        self.note(stream);
    }

    /// Takes the report of a stream from before its first batch, made at `now`, Unix time, ns.
    /// Losses up to then concern none of the hops that come.
    pub(super) fn begin(&mut self, stream: usize, report: Report, now: i64) {
        count(&mut self.begun, &report);
        self.replace(stream, report);
        self.streams[stream].time = now;
    }

    /// Notes that nothing waits for a stream until `time`, and that its hops and drops from
    /// `from` on may be missing.
    pub(super) fn overdue(&mut self, stream: usize, from: i64, time: i64) {
        let entry = &mut self.streams[stream];
        entry.missing(from, time);
        // The counters at that time are unknown, so nothing is concluded from them.
        entry.passed = entry.passed.max(time);
        self.note(stream);
    }

    /// Takes a stream's report, made at `now`, Unix time, ns.
    pub(super) fn report(&mut self, stream: usize, mut report: Report, now: i64) {
        let entry = &mut self.streams[stream];
        entry.lose(&report, now);
        // A packet in the sample of one stream only passes the points of the others unseen.
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
        entry.time = entry.time.max(now);
        let health = report.health.take();
        self.replace(stream, report);
        self.note(stream);
        let sample = |entry: &Entry| entry.report.sample;
        // A stream that has ended no longer takes a sample.
        let mut running = self.streams.iter().filter(|entry| !entry.ended);
        let equal = running.all(|entry| sample(entry) == sample(&self.streams[stream]));
        if let Some(Span { from, to }) = self.differ.take_if(|_| equal) {
            self.uneven.add(from, to);
        }
        if let Some(health) = health {
            let (agent, _) = self.agent_of(stream);
            let history = &mut self.health[agent];
            history.push_back((now, health));
            // The first reading stays: a rise since the beginning is better than nothing.
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

    /// Time up to which all streams have reported their losses, Unix time, ns.
    pub(super) fn reported(&self) -> i64 {
        let running = self.streams.iter().filter(|entry| !entry.ended);
        running.map(Entry::told).min().unwrap_or(i64::MAX)
    }

    /// Notes that a stream has ended.
    pub(super) fn end(&mut self, stream: usize) {
        self.streams[stream].ended = true;
    }

    /// Whether a stream has ended.
    pub(super) fn has_ended(&self, stream: usize) -> bool {
        self.streams[stream].ended
    }

    /// Whether hops at a place were lost between `from` and `to`.
    pub(super) fn hops_lost(&self, place: Where, from: i64, to: i64) -> bool {
        let span = self.widened(from, to);
        match place {
            Where::Anywhere => self.all_lossy().any(|entry| entry.hops_lost(None, span)),
            Where::Node(agent) => self.lossy(agent).any(|entry| entry.hops_lost(None, span)),
            Where::Point(agent, _) if self.lossy[agent].is_empty() => false,
            Where::Point(agent, point) => match self.counting(agent, point).next() {
                Some(known) => known.hops_lost(Some(point), span),
                None => self.lossy(agent).any(|entry| entry.hops_lost(None, span)),
            },
        }
    }

    /// Entries of an agent's streams that ever lost anything.
    fn lossy(&self, agent: usize) -> impl Iterator<Item = &Entry> {
        let streams = self.lossy[agent].iter();
        streams.map(|stream| &self.streams[*stream])
    }

    /// Entries of all agents' streams that ever lost anything.
    fn all_lossy(&self) -> impl Iterator<Item = &Entry> {
        (0..self.lossy.len()).flat_map(|agent| self.lossy(agent))
    }

    /// Whether drops were lost between `from` and `to`, on an agent's node; `None`: on any
    /// node.
    pub(super) fn drops_lost(&self, agent: Option<usize>, from: i64, to: i64) -> bool {
        let span = self.widened(from, to);
        match agent {
            Some(agent) => self.lossy(agent).any(|entry| entry.drops_lost(span)),
            None => self.all_lossy().any(|entry| entry.drops_lost(span)),
        }
    }

    /// The first agent that was gone at some time between `from` and `to`.
    pub(super) fn agent_gone(&self, from: i64, to: i64) -> Option<usize> {
        let (from, to) = self.widened(from, to);
        let gone = |entry: &Entry| entry.is_gone(to) || entry.was_gone.between(from, to);
        (0..self.agents.len()).find(|agent| self.lossy(*agent).any(gone))
    }

    /// Whether streams took different samples at some time between `from` and `to`.
    pub(super) fn uneven(&self, from: i64, to: i64) -> bool {
        let (from, to) = self.widened(from, to);
        self.uneven.between(from, to) || self.differ.is_some_and(|span| span.from <= to)
    }

    /// A time span by one node's clock, widened so that it holds by every node's clock.
    const fn widened(&self, from: i64, to: i64) -> (i64, i64) {
        (from.saturating_sub(self.skew), to.saturating_add(self.skew))
    }

    /// Number of packets that a point has seen, from a report after `time`; `None` for a point
    /// that no longer sees packets.
    pub(super) fn seen(&self, agent: usize, point: usize, time: i64) -> Option<u64> {
        let time = time.saturating_add(self.skew);
        let counters = |entry: &Entry| {
            let mut counters = entry.report.counters.iter();
            let found = counters.find(|(index, _)| *index == point)?.1;
            let lives = entry.time >= time && !entry.report.gone.contains(&point);
            lives.then(|| Counters::seen(&found))
        };
        self.counting(agent, point).find_map(counters)
    }

    /// Number of packets lost to the budget.
    pub(super) fn limited(&self) -> u64 {
        self.accounting().packets.get(Counter::RateLimited)
    }

    /// The last report of each stream of an agent.
    pub(super) fn reports(&self, agent: usize) -> impl Iterator<Item = &Report> {
        self.entries(agent).map(|entry| &entry.report)
    }
}
