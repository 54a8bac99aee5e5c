//! From packets of captures to the records that agents would have sent.
//!
//! Files are read side by side, the one with the earliest packet first, so that a recording
//! is in the order of time and no more of a file is in memory than a few thousand packets.
//!
//! **What was missed.** A stream says until when all is there that it saw, and a batch that
//! is overdue says that something may be missing before. That is what captures say: each
//! batch of one is overdue, so that nothing is concluded from what is not in it. Where a
//! capture vouches for a span of time, its batches of that span are not.

use std::collections::BTreeMap;

use tracer_common::{
    config::Load,
    counters::{Counter, Counters},
    event::HopEvent,
};
use tracer_core::{
    input::{Batch, Report},
    model::{Direction, Hop},
};

use super::{
    ImportError,
    capture::{Capture, Captured, Input, Item},
    link::{self, Link},
    points::{Layout, Route, Ways},
    survey::Survey,
};
use crate::{node::decode::hop_at, store::Writer};

/// How far one file is read on before others are, ns.
const AHEAD: u64 = 100_000_000;
/// Packets of one file that are read at once, at most.
const PACKETS: usize = 4096;
/// That of all packets: there was no other filter.
const GENERATION: u32 = 1;

/// Packets that are no hops.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rest {
    /// Neither IP nor ARP.
    pub(super) others: u64,
    /// Headers that cannot be read.
    pub(super) unparsed: u64,
}

/// A file that is being read.
struct Source<'a> {
    input: &'a Input,
    survey: &'a Survey,
    capture: Option<Capture>,
    packet: Captured,
    /// When the next packet was there, Unix time, ns.
    next: Option<u64>,
    streams: BTreeMap<(usize, Option<u32>), Stream<'a>>,
}

/// A capture at one place, on its way into the recording.
struct Stream<'a> {
    route: &'a Route,
    hops: Vec<Hop>,
    /// Of packets that came in, and of those that went out.
    counters: [Counters; 2],
}

/// Makes records of all files, and writes them.
pub(super) fn convert(
    inputs: &[Input],
    surveys: &[Survey],
    layout: &Layout,
    load: &Load,
    begin: u64,
    writer: &mut Writer,
) -> Result<Rest, ImportError> {
    let files = inputs.iter().zip(surveys).enumerate();
    let sources = files.map(|(file, (input, survey))| {
        let keys = survey.spots.keys();
        let streams = keys.filter_map(|key| {
            let route = layout.routes.get(&(file, *key))?;
            Some((*key, Stream::new(route)))
        });
        let firsts = survey.spots.values().map(|spot| spot.first);
        Source {
            input,
            survey,
            capture: None,
            packet: Captured::default(),
            next: firsts.min(),
            streams: streams.collect(),
        }
    });
    let mut sources: Vec<Source<'_>> = sources.collect();
    for source in &mut sources {
        source.begin(begin, writer)?;
    }
    let mut rest = Rest::default();
    let mut buffers = vec![0; layout.nodes.len()];
    while let Some((turn, _)) = earliest(&sources) {
        let others = sources.iter().enumerate().filter(|(at, _)| *at != turn);
        let others = others.filter_map(|(_, source)| source.next).min();
        let until = others.map_or(u64::MAX, |time| time.saturating_add(AHEAD));
        let source = &mut sources[turn];
        source.read(until, load, &mut buffers, &mut rest)?;
        source.hand_on(writer)?;
    }
    Ok(rest)
}

/// The source whose next packet comes first.
fn earliest(sources: &[Source<'_>]) -> Option<(usize, u64)> {
    let times = sources.iter().enumerate();
    let times = times.filter_map(|(at, source)| Some((at, source.next?)));
    times.min_by_key(|(at, time)| (*time, *at))
}

impl Source<'_> {
    /// Says what is known of each stream before its first packet.
    fn begin(&self, begin: u64, writer: &mut Writer) -> Result<(), ImportError> {
        let first = self.next.unwrap_or(begin);
        for stream in self.streams.values() {
            let Route {
                node,
                stream: own,
                vouched,
                ..
            } = stream.route;
            let batch = Batch {
                stream: *own,
                report: Some(stream.report(begin)),
                ..Batch::default()
            };
            writer.batch(*node, &batch)?;
            let batch = Batch {
                stream: *own,
                watermark: vouched.map_or(first, |(since, _)| since),
                overdue: true,
                ..Batch::default()
            };
            writer.batch(*node, &batch)?;
        }
        Ok(())
    }

    /// Reads packets until a time, Unix time, ns, and finds out when the next one is.
    fn read(
        &mut self,
        until: u64,
        load: &Load,
        buffers: &mut [u64],
        rest: &mut Rest,
    ) -> Result<(), ImportError> {
        if self.capture.is_none() {
            self.capture = Some(self.input.capture()?);
            self.advance();
        }
        for _ in 0..PACKETS {
            if self.next.is_none_or(|time| time > until) {
                break;
            }
            self.take(load, buffers, rest);
            self.advance();
        }
        Ok(())
    }

    fn advance(&mut self) {
        self.next = None;
        while let Some(item) = self
            .capture
            .as_mut()
            .and_then(|capture| capture.next(&mut self.packet))
        {
            if matches!(item, Item::Packet) {
                self.next = Some(self.packet.time);
                return;
            }
        }
    }

    /// Takes the packet that is next.
    fn take(&mut self, load: &Load, buffers: &mut [u64], rest: &mut Rest) {
        let packet = &self.packet;
        let interface = self.survey.interfaces.get(packet.interface);
        // A file that grows while it is read has more than there was.
        let Some(link) = interface.and_then(|interface| Link::of(interface.link)) else {
            return;
        };
        let key = (packet.interface, link.index(&packet.data));
        let Some(stream) = self.streams.get_mut(&key) else {
            return;
        };
        let buffer = &mut buffers[stream.route.node];
        *buffer += 1;
        let seen = link::read(link, packet, load).ok();
        let hop = seen.as_ref().and_then(|seen| {
            let event = HopEvent {
                time: packet.time,
                // Each has a buffer of its own: a capture does not know them.
                skb: *buffer,
                generation: GENERATION,
                ..seen.event?
            };
            Some(hop_at(&event, 0))
        });
        match (seen, hop) {
            (Some(seen), Some(Ok(mut hop))) => {
                hop.src_mac = hop.src_mac.or(seen.sender);
                let direction = stream.route.direction(&hop, seen.direction);
                hop.point = stream.route.point(direction);
                stream.count(direction, Counter::Emitted);
                stream.hops.push(hop);
            }
            (Some(_), None) => {
                rest.others += 1;
                stream.count(Direction::Ingress, Counter::Miss);
            }
            _ => {
                rest.unparsed += 1;
                stream.count(Direction::Ingress, Counter::Unparsed);
            }
        }
    }

    /// Writes what was read.
    fn hand_on(&mut self, writer: &mut Writer) -> Result<(), ImportError> {
        for stream in self.streams.values_mut() {
            let hops = std::mem::take(&mut stream.hops);
            let route = stream.route;
            let batch = match (self.next, route.vouched) {
                // Behind the last packet nothing is known any more.
                (None, vouched) => {
                    let last = self.survey.spots.values().map(|spot| spot.last).max();
                    let end = vouched.map_or(last.unwrap_or(0), |(_, end)| end);
                    let batch = Batch {
                        stream: route.stream,
                        hops,
                        watermark: end,
                        overdue: vouched.is_none(),
                        report: Some(stream.report(end)),
                        ..Batch::default()
                    };
                    writer.batch(route.node, &batch)?;
                    Batch {
                        stream: route.stream,
                        watermark: u64::MAX,
                        overdue: true,
                        report: batch.report,
                        ..Batch::default()
                    }
                }
                (Some(next), vouched) => {
                    let time = next.saturating_sub(self.survey.disorder);
                    Batch {
                        stream: route.stream,
                        hops,
                        watermark: time,
                        overdue: vouched.is_none(),
                        report: vouched.map(|_| stream.report(time)),
                        ..Batch::default()
                    }
                }
            };
            writer.batch(route.node, &batch)?;
        }
        if self.next.is_none() {
            self.capture = None;
        }
        Ok(())
    }
}

impl<'a> Stream<'a> {
    fn new(route: &'a Route) -> Self {
        let mut counters = [Counters::default(); 2];
        counters[0].packets[Counter::RingFull as usize] = route.missed;
        Self {
            route,
            hops: Vec::new(),
            counters,
        }
    }

    fn count(&mut self, direction: Direction, counter: Counter) {
        let counters = &mut self.counters[usize::from(direction == Direction::Egress)];
        counters.packets[counter as usize] += 1;
    }

    /// What became of packets so far.
    fn report(&self, time: u64) -> Report {
        let [into, out] = self.route.points;
        let mut counters = vec![(into, self.counters[0])];
        if into == out {
            counters[0].1.add(&self.counters[1]);
        } else {
            counters.push((out, self.counters[1]));
        }
        Report {
            time,
            counters,
            sample: u32::MAX,
            ..Report::default()
        }
    }
}

impl Route {
    /// Which way a packet goes. `told`: what the capture says.
    fn direction(&self, hop: &Hop, told: Option<Direction>) -> Direction {
        let (is, way) = match &self.ways {
            Ways::One(direction) => return *direction,
            Ways::Told => return told.unwrap_or(Direction::Ingress),
            Ways::Mac(mac) => (hop.src_mac == Some(*mac), Direction::Egress),
            Ways::From(addresses, way) => (addresses.contains(&hop.packet.src), *way),
        };
        match (is, way) {
            (true, way) => way,
            (false, Direction::Ingress) => Direction::Egress,
            (false, Direction::Egress) => Direction::Ingress,
        }
    }
}
