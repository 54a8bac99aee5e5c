//! The collector without clocks and channels: it takes agents' records, joins and judges
//! journeys, and hands them to the view.
//!
//! The same records in the same order give the same journeys and verdicts. So a recording can be
//! replayed: a live follow and a replay differ only in where the records come from.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::Arc,
};

use ipnet::IpNet;

use super::{
    asked::{is_of_others, is_of_strangers},
    ledger::Ledger,
    legs::Legs,
    witness::Witness,
};
use crate::{
    input::{Batch, Order, Record, Sight, Sights},
    journal::{Changed, Entry, Reader, Started, View},
    journey::{Closed, Engine, Journey, Limits, Scene},
    model::{Hello, Names, Owners},
    verdict::{Accounting, Kind, Sums, classify, judge},
};

/// State before the first batch arrives.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// Agents, with their nodes and points.
    pub nodes: Vec<Hello>,
    /// Owners of addresses, and when.
    pub owners: Owners,
    /// Networks on the client's side.
    pub sources: Vec<IpNet>,
    /// Requested destinations, as in [`Scene::asked`].
    pub asked: Vec<IpNet>,
    /// How long the engine waits for a journey's next hop, and how many journeys may be open at
    /// once.
    pub limits: Limits,
    /// Number of matching journeys after which the follow ends (`--count`); `None`: no limit.
    pub count: Option<u64>,
    /// When the agents had started, Unix time, ns.
    pub time: i64,
    /// What is followed, in one line.
    pub follow: String,
    /// What may hide packets, or was not found, one sentence each.
    pub warnings: Vec<String>,
    /// How far the clocks of nodes may differ, ns.
    pub skew: i64,
}

/// Joins hops to journeys, judges the journeys and shows them. A clone continues from the same
/// state.
#[derive(Clone)]
pub struct Core {
    /// What to tell the view once all points are observed; `None` after that.
    started: Option<Started>,
    /// Whether all points are observed, so that journeys can be shown.
    armed: bool,
    pub(super) scene: Scene,
    pub(super) order: Order,
    pub(super) engine: Engine,
    pub(super) ledger: Ledger,
    legs: Legs,
    /// Changes of nodes that the view has not shown yet.
    pub(super) changes: VecDeque<Changed>,
    /// Finished journeys, each with a Unix time, ns. A verdict has to wait until every stream
    /// has reported its lost events up to this time.
    pub(super) pending: VecDeque<(i64, Box<Journey>)>,
    sums: Sums,
    /// Number of judged journeys that were handed to the view.
    judged: u64,
    /// How far the clocks of nodes may differ, ns.
    pub(super) skew: i64,
    /// The time up to which all nodes are observed, Unix time, ns.
    pub(super) observed: i64,
    count: Option<u64>,
    /// Number of shown journeys. ARP and neighbour discovery do not count, because they are
    /// always there.
    matched: u64,
    /// Shown journeys by verdict, without those that the follow's start or end cut off.
    fates: BTreeMap<Kind, u64>,
}

impl Core {
    /// Creates a core in its first state.
    #[must_use]
    pub fn new(beginning: Beginning) -> Self {
        let Beginning {
            nodes,
            owners,
            sources,
            asked,
            limits,
            count,
            time,
            follow,
            warnings,
            skew,
        } = beginning;
        // The hold time already has the skew, because recordings keep it so.
        let limits = Limits {
            settle: limits.settle.saturating_add(skew),
            ..limits
        };
        let mut core = Self {
            started: Some(Started {
                time,
                follow,
                warnings,
            }),
            armed: false,
            order: Order::new(nodes.iter().map(|hello| hello.streams).sum()),
            engine: Engine::new(limits),
            ledger: Ledger::new(&nodes, time),
            legs: Legs::default(),
            changes: VecDeque::new(),
            pending: VecDeque::new(),
            sums: Sums::default(),
            judged: 0,
            scene: Scene {
                nodes: nodes.into(),
                owners,
                since: i64::MIN,
                sources,
                asked,
                names: Names::default(),
            },
            skew,
            observed: i64::MAX,
            count,
            matched: 0,
            fates: BTreeMap::new(),
        };
        core.allow_for_skew();
        core
    }

    /// How far the clocks of nodes may differ, ns.
    #[must_use]
    pub const fn skew(&self) -> i64 {
        self.skew
    }

    /// Memory that a clone takes, approximate bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        /// Bytes of a hop that waits for its turn, or of a journey that waits for its verdict.
        const WAITING: usize = 1 << 10;

        let waiting = (self.order.len() + self.pending.len()) * WAITING;
        let known = self.scene.weight() + self.legs.weight() + self.sums.weight();
        self.engine.weight() + waiting + known
    }

    /// Nodes and owners as they are known now.
    #[must_use]
    pub const fn scene(&self) -> &Scene {
        &self.scene
    }

    /// Takes the next record.
    pub fn take(&mut self, record: Record) {
        match record {
            Record::Batch { agent, batch } => self.batch(agent, *batch),
            Record::Armed(time) => self.armed(time),
            Record::Owners(change) => self.owners_changed(&change),
            Record::Begun { agents, time } => self.begun(agents, time),
            Record::State {
                agent,
                stream,
                watermark,
                report,
            } => self.state(agent, stream, watermark, report.map(|report| *report)),
            Record::Known { agent, hello } => self.known(agent, *hello),
            Record::Later(before) => self.later(before),
            Record::Gap {
                agent,
                stream,
                watermark,
                report,
                to,
            } => self.gap(agent, stream, (watermark, report.map(|report| *report)), to),
            Record::Gone { agent, time: _ } => self.gone(agent),
            Record::Joined { hello, time } => self.joined(*hello, time),
            Record::Ended { agents, time } => self.ended(&agents, time),
        }
    }

    /// Notes that all points are observed from `time` on, Unix time, ns.
    fn armed(&mut self, time: i64) {
        self.armed = true;
        if let Some(started) = self.started.as_mut().filter(|_| time < i64::MAX) {
            started.time = time;
        }
        let time = time.saturating_add(self.skew);
        self.scene.since = self.scene.since.max(time);
    }

    /// Takes a batch of an agent.
    fn batch(&mut self, agent: usize, batch: Batch) {
        if let Some(change) = batch.change {
            self.change(agent, change);
        }
        let offset = self.scene.nodes[agent].realtime_offset;
        let stream = self.ledger.stream(agent, batch.stream);
        self.ledger.hops += batch.hops.len() as u64;
        self.ledger.freed += batch.freed.len() as u64;
        for sights in [Sights::Hops(batch.hops), Sights::Freed(batch.freed)] {
            self.order.push(agent, sights, |time| unix(time, offset));
        }
        let watermark = unix(batch.watermark, offset);
        if batch.overdue {
            let from = self.complete_until(stream);
            self.ledger.overdue(stream, from, watermark);
        }
        self.order.passed(stream, watermark);
        if let Some(report) = batch.report {
            let made = unix(report.time, offset);
            for translation in &report.translations {
                let time = unix(translation.time, offset);
                self.engine.learn((agent, time), translation);
            }
            for named in &report.names {
                let time = unix(named.time, offset);
                self.scene.names.learn(named.address, &named.name, time);
            }
            self.ledger.report(stream, report, made);
        }
        if batch.watermark == u64::MAX {
            self.ledger.end(stream);
        }
        self.advance();
    }

    /// Hands the hops up to the common watermark to the engine, and lets time pass up to there.
    pub(super) fn advance(&mut self) {
        let (engine, scene) = (&mut self.engine, &self.scene);
        self.order.hand_on(|node, time, sight| match sight {
            Sight::Hop(hop) => engine.push(scene, node, time, hop),
            Sight::Freed(freed) => {
                engine.push_freed(scene, (node, time), freed, classify(freed));
            }
        });
        // At the end, the watermarks hold nothing back, but no time has passed.
        let watermark = self.order.watermark();
        if watermark < i64::MAX {
            self.engine.advance(&self.scene, watermark);
        }
    }

    /// Shows the start, changes of nodes, and finished journeys, up to the requested count.
    /// Before all points are observed, it shows nothing.
    ///
    /// # Errors
    /// Errors of the view.
    pub fn show<V: View>(&mut self, reader: &mut Reader<'_, V>) -> io::Result<()> {
        if !self.armed {
            return Ok(());
        }
        if let Some(started) = self.started.take() {
            reader.started(&self.scene, &started)?;
        }
        while let Some(changed) = self.changes.pop_front() {
            reader.changed(&self.scene, &changed)?;
        }
        let reported = self.ledger.reported();
        // Events that were lost while the journey waited count, too. The last batches have
        // reports, and nothing comes after them.
        let now = Some(self.order.watermark()).filter(|time| *time < i64::MAX);
        let until = now.unwrap_or(i64::MIN);
        // Watermarks only rise, so the journey that has waited longest comes first.
        while let Some((_, journey)) = self.pending.pop_front_if(|(until, _)| *until <= reported) {
            self.show_one(journey, reader)?;
        }
        while let Some(journey) = self.engine.next_finished() {
            if until <= reported {
                self.show_one(journey, reader)?;
            } else {
                self.pending.push_back((until, journey));
            }
        }
        Ok(())
    }

    /// Judges a journey and shows it.
    fn show_one<V: View>(
        &mut self,
        mut journey: Box<Journey>,
        reader: &mut Reader<'_, V>,
    ) -> io::Result<()> {
        // Nodes were not observed for the whole hold time, so silence is no evidence.
        let waited = journey.last().saturating_add(self.engine.limits().hold);
        if journey.closed == Closed::Silence && waited > self.observed {
            journey.closed = Closed::End;
        }
        if self.count_reached() || reader.is_full() || is_of_strangers(&self.scene, &journey.packet)
        {
            return Ok(());
        }
        if is_of_others(&self.scene, &journey) {
            self.sums.add_other();
            return Ok(());
        }
        let witness = Witness {
            ledger: &self.ledger,
            legs: &self.legs,
            limits: self.engine.limits(),
        };
        let (verdict, parts) = judge(&self.scene, &journey, &witness);
        if !journey.packet.is_neighbour() {
            self.matched += 1;
            if !verdict.is_cut_off() {
                *self.fates.entry(verdict.kind).or_default() += 1;
            }
        }
        self.legs.add(&self.scene, &journey, &verdict);
        self.sums.add(&self.scene, &journey, &verdict);
        let entry = Arc::new(Entry {
            number: self.judged,
            journey,
            verdict,
            parts,
        });
        self.judged += 1;
        reader.read(&self.scene, &entry)?;
        // A view that does not keep the journey leaves its list of steps for another one.
        if let Some(entry) = Arc::into_inner(entry) {
            self.engine.reuse(entry.journey.steps);
        }
        Ok(())
    }

    /// Shows the remaining journeys at the end of the input.
    ///
    /// # Errors
    /// Errors of the view.
    pub fn end<V: View>(&mut self, reader: &mut Reader<'_, V>) -> io::Result<()> {
        if !self.armed {
            // The start never came, so every packet was on its way before it.
            self.armed(i64::MAX);
        }
        self.cut_off();
        self.order.end();
        self.advance();
        self.engine.end(&self.scene);
        self.show(reader)?;
        // The recording was cut, so not all agents have reported up to these journeys. The
        // possible gap is noted.
        for (_, journey) in std::mem::take(&mut self.pending) {
            self.show_one(journey, reader)?;
        }
        Ok(())
    }

    /// Shows the summary.
    ///
    /// # Errors
    /// Errors of the view.
    pub fn sum_up<V: View>(&self, reader: &mut Reader<'_, V>) -> io::Result<()> {
        let summary = self.sums.summary(&self.scene, self.accounting());
        reader.summary(&self.scene, &summary)
    }

    /// Counters of all packets and events so far.
    #[must_use]
    pub fn accounting(&self) -> Accounting {
        let counts = self.engine.counts();
        let mut accounting = Accounting {
            joined: counts.joined,
            late: counts.late,
            evicted: counts.evicted,
            ..self.ledger.accounting()
        };
        accounting.drops.joined = counts.drops_joined;
        accounting.drops.late = counts.drops_late;
        accounting.drops.alone = counts.drops_alone;
        accounting
    }

    /// Whether the requested number of journeys has been shown.
    #[must_use]
    pub fn count_reached(&self) -> bool {
        self.count.is_some_and(|count| self.matched >= count)
    }

    /// Number of shown journeys, without ARP and neighbour discovery.
    pub const fn matched(&self) -> u64 {
        self.matched
    }

    /// Shown journeys by verdict, without those that the follow's start or end cut off.
    #[must_use]
    pub const fn fates(&self) -> &BTreeMap<Kind, u64> {
        &self.fates
    }
}

/// An agent's monotonic time as Unix time, ns.
pub fn unix(time: u64, offset: i64) -> i64 {
    i64::try_from(time).map_or(i64::MAX, |time| time.saturating_add(offset))
}
