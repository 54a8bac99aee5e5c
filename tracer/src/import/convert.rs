//! Converts packets of captures into the records that agents would have sent.
//!
//! Files are read in parallel, the one with the earliest packet first. So the recording is in
//! the order of time, and only a few thousand packets of a file are in memory.
//!
//! **Missed packets.** The watermark of a stream says that everything before it is there. An
//! overdue batch says that something before it may be missing. All batches of a capture are
//! overdue, because a capture may have missed packets. So nothing is concluded from a packet
//! that is not in it. If a capture vouches for a time span, its batches of that span are not
//! overdue.

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
use crate::{decode::hop_at, store::Writer};

/// How far one file is read ahead of the others, ns.
const AHEAD: u64 = 100_000_000;
/// Limit of packets that are read from one file at once.
const PACKETS: usize = 4096;
/// Generation of the filter, the same for all packets.
const GENERATION: u32 = 1;

/// Numbers of packets that are no hops.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rest {
    /// Packets that are neither IP nor ARP.
    pub(super) others: u64,
    /// Packets whose headers cannot be parsed.
    pub(super) unparsed: u64,
}

/// A reader of one file.
struct Source<'a> {
    input: &'a Input,
    survey: &'a Survey,
    capture: Option<Capture>,
    packet: Captured,
    /// Time of the next packet, Unix time, ns; `None` at the end.
    next: Option<u64>,
    streams: BTreeMap<(usize, Option<u32>), Stream<'a>>,
}

/// The stream of a capture at one place.
struct Stream<'a> {
    route: &'a Route,
    hops: Vec<Hop>,
    /// Counters of incoming and of outgoing packets.
    counters: [Counters; 2],
}

/// Converts all files into records, and writes these.
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

/// The source with the earliest next packet, and that packet's time.
fn earliest(sources: &[Source<'_>]) -> Option<(usize, u64)> {
    let times = sources.iter().enumerate();
    let times = times.filter_map(|(at, source)| Some((at, source.next?)));
    times.min_by_key(|(at, time)| (*time, *at))
}

impl Source<'_> {
    /// Writes the state of each stream before its first packet.
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

    /// Reads packets up to a time, Unix time, ns, and the time of the next one.
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

    /// Takes the next packet.
    fn take(&mut self, load: &Load, buffers: &mut [u64], rest: &mut Rest) {
        let packet = &self.packet;
        let interface = self.survey.interfaces.get(packet.interface);
        // A file that grows during the import has more interfaces than the survey saw.
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
                // Each packet has its own sk_buff address, because a capture does not have
                // them.
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

    /// Writes the packets that were read.
    fn hand_on(&mut self, writer: &mut Writer) -> Result<(), ImportError> {
        for stream in self.streams.values_mut() {
            let hops = std::mem::take(&mut stream.hops);
            let route = stream.route;
            let batch = match (self.next, route.vouched) {
                // After the last packet, nothing is known.
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

    /// Counters of packets so far.
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
    /// Direction of a packet. `told` is the capture's own statement.
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
