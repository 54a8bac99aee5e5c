//! Delivers what agents see to the collector: in batches, in any order that watermarks allow, and
//! with losses.

use std::io;

use tracer_common::{
    counters::{Counter, Counters},
    drop::{DropCounter, DropCounters},
};
use tracer_core::{
    collect::Core,
    input::{Batch, DropReport, Record, Report},
    journal::{Reader, Selected, View},
    journey::{Journey, Scene},
    verdict::{Parts, Summary, Verdict},
};

use super::world::{DROPS, Event, HOPS, MS, S, STREAMS, Sight, World, beginning};

/// Time after the last event, in which the hold time ends and all is reported.
const REST: i64 = 12 * S;

/// Choices that are made beforehand. Shrinking makes them zeros.
#[derive(Clone, Debug)]
pub(super) struct Choices {
    pub(super) made: Vec<u16>,
    pub(super) next: usize,
}

impl Choices {
    pub(super) fn below(&mut self, limit: usize) -> usize {
        let choice = self.made.get(self.next % self.made.len().max(1));
        self.next += 1;
        usize::from(choice.copied().unwrap_or(0)) % limit
    }
}

/// When agents report losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reports {
    /// Now and then, with the losses since the last report.
    Honest,
    /// Now and then, without the losses.
    Blind,
    /// At the very end.
    Final,
}

/// The journeys with their verdicts, in the order in which they were shown.
#[derive(Default)]
pub(super) struct Shown {
    pub(super) journeys: Vec<(Journey, Verdict, Parts)>,
    pub(super) summary: Summary,
}

impl View for Shown {
    fn journey(
        &mut self,
        _: &Scene,
        journey: &Journey,
        verdict: &Verdict,
        parts: &Parts,
    ) -> io::Result<()> {
        self.journeys
            .push((journey.clone(), verdict.clone(), *parts));
        Ok(())
    }

    fn summary(&mut self, _: &Scene, summary: &Summary, _: Option<&Selected>) -> io::Result<()> {
        self.summary = summary.clone();
        Ok(())
    }
}

/// Hands what agents saw to a collector. `lost` says which of the events are lost.
pub(super) fn deliver(
    world: &World,
    lost: &[bool],
    reports: Reports,
    choices: &mut Choices,
) -> Shown {
    let mut core = Core::new(beginning());
    core.take(Record::Armed(i64::MIN));
    let mut shown = Shown::default();
    let reader = &mut Reader::new(&mut shown, None);
    for (agent, batch) in sent(world, lost, reports, choices) {
        let batch = Box::new(batch);
        core.take(Record::Batch { agent, batch });
        core.show(reader).expect("memory");
    }
    core.end(reader).expect("memory");
    core.sum_up(reader).expect("memory");
    shown
}

/// The agents' batches, in a possible order of arrival.
pub(super) fn sent(
    world: &World,
    lost: &[bool],
    reports: Reports,
    choices: &mut Choices,
) -> Vec<(usize, Batch)> {
    let mut streams: Vec<Vec<(usize, Batch)>> = Vec::new();
    for node in 0..2 {
        for stream in 0..STREAMS {
            streams.push(batches(world, lost, (node, stream), reports, choices));
        }
    }
    let mut sent = Vec::new();
    // Each stream is in order, but no order holds between streams.
    streams.iter_mut().for_each(|batches| batches.reverse());
    while !streams.is_empty() {
        let chosen = choices.below(streams.len());
        match streams[chosen].pop() {
            Some(next) => sent.push(next),
            None => {
                streams.swap_remove(chosen);
            }
        }
    }
    sent
}

/// A stream's batches, in order.
fn batches(
    world: &World,
    lost: &[bool],
    (node, stream): (usize, usize),
    reports: Reports,
    choices: &mut Choices,
) -> Vec<(usize, Batch)> {
    let offset = beginning().nodes[node].realtime_offset;
    let clock = |time: i64| u64::try_from(time - offset).expect("later than the boot");
    let mine: Vec<(&Event, bool)> = world
        .events
        .iter()
        .zip(lost.iter().copied().chain(std::iter::repeat(false)))
        .filter(|(event, _)| (event.node, event.stream()) == (node, stream))
        .collect();
    let kept: Vec<&Event> = mine
        .iter()
        .filter(|(_, lost)| !lost)
        .map(|(event, _)| *event)
        .collect();

    let span = world.span();
    let end = span.end + REST;
    let mut batches = Vec::new();
    let (mut sent, mut now) = (vec![false; kept.len()], span.start);
    while now < end {
        now += i64::try_from(choices.below(600)).expect("small") * MS + MS;
        let is_last = now >= end;
        // A later event may be sent earlier, because each CPU has its own order.
        let mut events = Vec::new();
        for (index, event) in kept.iter().enumerate() {
            let soon = event.time < now + 5 * MS && choices.below(3) == 0;
            if !sent[index] && (is_last || event.time < now || soon) {
                sent[index] = true;
                events.insert(choices.below(events.len() + 1), *event);
            }
        }
        let made = now + 20 * MS;
        let reported = match reports {
            Reports::Final => is_last,
            Reports::Honest | Reports::Blind => is_last || choices.below(2) == 0,
        };
        let known = |(event, lost): &&(&Event, bool)| {
            event.time < made && !(*lost && reports == Reports::Blind)
        };
        let mut batch = Batch {
            stream,
            watermark: if is_last { u64::MAX } else { clock(now) },
            report: reported.then(|| report(stream, clock(made), mine.iter().filter(known))),
            ..Batch::default()
        };
        for event in events {
            match event.sight.clone() {
                Sight::Hop(mut hop) => {
                    hop.time = clock(event.time);
                    batch.hops.push(hop);
                }
                Sight::Freed(mut freed) => {
                    freed.time = clock(event.time);
                    batch.freed.push(*freed);
                }
            }
        }
        batches.push((node, batch));
    }
    batches
}

/// An agent's report on its stream, after these events.
fn report<'a>(
    stream: usize,
    time: u64,
    counted: impl Iterator<Item = &'a (&'a Event, bool)>,
) -> Report {
    let mut report = Report {
        time,
        sample: u32::MAX,
        ..Report::default()
    };
    let mut hops: Vec<Counters> = vec![Counters::default(); 4];
    let mut drops = DropCounters::default();
    for (event, lost) in counted {
        match &event.sight {
            Sight::Hop(hop) => {
                let counter = if *lost {
                    Counter::RingFull
                } else {
                    Counter::Emitted
                };
                hops[hop.point].packets[counter as usize] += 1;
            }
            Sight::Freed(_) => {
                let counter = if *lost {
                    DropCounter::RingFull
                } else {
                    DropCounter::Emitted
                };
                drops.packets[counter as usize] += 1;
            }
        }
    }
    match stream {
        HOPS => report.counters = hops.into_iter().enumerate().collect(),
        DROPS => {
            report.drops = Some(DropReport {
                counters: drops,
                ..DropReport::default()
            });
        }
        _ => unreachable!("an agent has two streams"),
    }
    report
}
