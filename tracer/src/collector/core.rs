//! What the collector makes of what agents send: no clock, no channel.
//!
//! The same batches in the same order give the same journeys and verdicts, so
//! a recording of them can be replayed: a live follow and a replay differ only
//! in where batches come from.

use std::{collections::BTreeMap, io, net::IpAddr};

use ipnet::IpNet;

use super::{
    ledger::Ledger,
    order::{Order, Sight},
    witness::{Legs, Witness},
};
use crate::{
    journey::{Closed, Engine, Journey, Limits, Owner, Scene},
    link::{Batch, Hello, Report},
    verdict::{Accounting, Summary, classify, judge},
    view::View,
};

/// What is known before the first batch comes.
#[derive(Clone, Debug)]
pub(crate) struct Beginning {
    /// What the agents said of themselves.
    pub(crate) nodes: Vec<Hello>,
    /// Owners of addresses.
    pub(crate) owners: BTreeMap<IpAddr, Owner>,
    /// Addresses on the asking side.
    pub(crate) sources: Vec<IpNet>,
    /// How long journeys are waited for, and how many at once.
    pub(crate) limits: Limits,
    /// After how many journeys no more are shown.
    pub(crate) count: Option<u64>,
    /// When the agents had started, Unix time, ns.
    pub(crate) time: i64,
}

/// Joins, judges and shows what agents send.
pub(crate) struct Core {
    scene: Scene,
    order: Order,
    engine: Engine,
    ledger: Ledger,
    legs: Legs,
    /// Finished journeys on which there is no verdict until all streams have
    /// told what they lost.
    pending: Vec<Journey>,
    summary: Summary,
    hold: i64,
    count: Option<u64>,
    /// Journeys shown that are more than ARP and neighbour discovery: those
    /// are always there, and not what anybody asks for.
    matched: u64,
}

impl Core {
    pub(crate) fn new(beginning: Beginning) -> Self {
        let Beginning {
            nodes,
            owners,
            sources,
            limits,
            count,
            time,
        } = beginning;
        Self {
            order: Order::new(nodes.iter().map(|hello| hello.streams).sum()),
            engine: Engine::new(limits),
            ledger: Ledger::new(&nodes, time),
            legs: Legs::default(),
            pending: Vec::new(),
            summary: Summary::default(),
            scene: Scene {
                nodes,
                owners,
                since: i64::MIN,
                sources,
            },
            hold: limits.hold,
            count,
            matched: 0,
        }
    }

    pub(crate) const fn scene(&self) -> &Scene {
        &self.scene
    }

    /// Takes note that all points are observed from `time` on, Unix time, ns.
    pub(crate) const fn armed(&mut self, time: i64) {
        self.scene.since = time;
    }

    /// Takes what an agent sent.
    pub(crate) fn take(&mut self, agent: usize, batch: Batch) {
        let offset = self.scene.nodes[agent].realtime_offset;
        let stream = self.ledger.stream(agent, batch.stream);
        self.ledger.hops += batch.hops.len() as u64;
        self.ledger.freed += batch.freed.len() as u64;
        for hop in batch.hops {
            let time = unix(hop.time, offset);
            self.order.push(agent, time, Sight::Hop(hop));
        }
        for freed in batch.freed {
            let time = unix(freed.time, offset);
            self.order.push(agent, time, Sight::Freed(freed));
        }
        self.order.passed(stream, unix(batch.watermark, offset));
        if let Some(report) = batch.report {
            let made = unix(report.time, offset);
            self.ledger.report(stream, report, made);
        }
        self.advance();
    }

    /// Hands on what has come from everywhere, and lets as much time pass.
    fn advance(&mut self) {
        while let Some(next) = self.order.next() {
            match &next.sight {
                Sight::Hop(hop) => {
                    self.engine.push(&self.scene, next.node, next.time, hop);
                }
                Sight::Freed(freed) => {
                    let at = (next.node, next.time);
                    self.engine
                        .push_freed(&self.scene, at, freed, classify(freed));
                }
            }
        }
        // At the end nothing is behind the watermarks any more, and no time
        // has passed for that.
        let watermark = self.order.watermark();
        if watermark < i64::MAX {
            self.engine.advance(&self.scene, watermark);
        }
    }

    /// Shows the journeys that are finished, up to the count asked for.
    ///
    /// # Errors
    /// Those of the view.
    pub(crate) fn show(&mut self, view: &mut impl View) -> io::Result<()> {
        let reported = self.ledger.reported();
        let mut finished = std::mem::take(&mut self.pending);
        finished.append(&mut self.engine.finished());
        for journey in finished {
            // What was seen to arrive needs no proof that nothing was missed.
            let arrived = journey.closed == Closed::Known && journey.drops.is_empty();
            if arrived || journey.last() < reported {
                self.show_one(&journey, true, view)?;
            } else {
                self.pending.push(journey);
            }
        }
        Ok(())
    }

    /// Judges a journey and shows it. `reported`: whether all agents have told
    /// what they lost while it was on its way.
    fn show_one(
        &mut self,
        journey: &Journey,
        reported: bool,
        view: &mut impl View,
    ) -> io::Result<()> {
        if self.count_reached() {
            return Ok(());
        }
        if !journey.packet.is_neighbour() {
            self.matched += 1;
        }
        let witness = Witness {
            ledger: &self.ledger,
            legs: &self.legs,
            hold: self.hold,
            reported,
        };
        let (verdict, parts) = judge(&self.scene, journey, &witness);
        self.legs.add(&self.scene, journey, &verdict);
        self.summary.add(&self.scene, journey, &verdict);
        view.journey(&self.scene, journey, &verdict, &parts)
    }

    /// Shows the journeys that are left: nothing more will come.
    ///
    /// # Errors
    /// Those of the view.
    pub(crate) fn end(&mut self, view: &mut impl View) -> io::Result<()> {
        self.engine.end(&self.scene);
        self.show(view)?;
        // Of these no agent has told, nor will: the recording was cut.
        for journey in std::mem::take(&mut self.pending) {
            let reported = journey.closed == Closed::End;
            self.show_one(&journey, reported, view)?;
        }
        Ok(())
    }

    /// Shows the sums.
    ///
    /// # Errors
    /// Those of the view.
    pub(crate) fn sum_up(&mut self, view: &mut impl View) -> io::Result<()> {
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
        self.summary.accounting = accounting;
        view.summary(&self.scene, &self.summary)
    }

    /// Whether anything is under way that time alone brings to an end.
    pub(crate) fn waits(&self) -> bool {
        !self.order.is_empty() || self.engine.open() > 0 || !self.pending.is_empty()
    }

    /// Whether a verdict waits for what agents have lost.
    pub(crate) fn waits_for_reports(&self) -> bool {
        !self.pending.is_empty()
    }

    pub(crate) fn count_reached(&self) -> bool {
        self.count.is_some_and(|count| self.matched >= count)
    }

    /// Journeys shown that are more than ARP and neighbour discovery.
    pub(crate) const fn matched(&self) -> u64 {
        self.matched
    }

    /// How many streams all agents have.
    pub(crate) const fn streams(&self) -> usize {
        self.ledger.streams()
    }

    /// The index among all streams of one of an agent's.
    pub(crate) fn stream(&self, agent: usize, stream: usize) -> usize {
        self.ledger.stream(agent, stream)
    }

    /// Packets cut off by the budget.
    pub(crate) fn limited(&self) -> u64 {
        self.ledger.limited()
    }

    /// The last report of each stream, by agent.
    pub(crate) fn reports(&self) -> Vec<Vec<&Report>> {
        let agents = 0..self.scene.nodes.len();
        agents
            .map(|agent| self.ledger.reports(agent).collect())
            .collect()
    }
}

/// An agent's monotonic time as Unix time, ns.
pub(crate) fn unix(time: u64, offset: i64) -> i64 {
    i64::try_from(time).map_or(i64::MAX, |time| time.saturating_add(offset))
}
