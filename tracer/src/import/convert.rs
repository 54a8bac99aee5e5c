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
use crate::{
    decode::hop_at,
    store::{Writer, unix},
};

/// How far one file is read ahead of the others, ns.
const AHEAD: i64 = 100_000_000;
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

/// A packet of a capture.
pub(super) enum Frame {
    /// Its hop, without a point and an sk_buff, and the direction, if the capture has it.
    Hop(Box<Hop>, Option<Direction>),
    /// It is neither IP nor ARP.
    Other,
    /// Its headers cannot be parsed.
    Unparsed,
}

/// A reader of one file.
struct Source<'a> {
    input: &'a Input,
    survey: &'a Survey,
    capture: Option<Capture>,
    packet: Captured,
    /// Nanoseconds that turn the capture's times into the Unix time of all nodes when added.
    offset: i64,
    /// Time of the next packet by the capture's clock, ns; `None` at the end.
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
    begin: i64,
    writer: &mut Writer,
) -> Result<Rest, ImportError> {
    let files = inputs.iter().zip(surveys).enumerate();
    let sources = files.map(|(file, (input, survey))| {
        let keys = survey.spots.keys();
        let streams = keys.filter_map(|key| {
            let route = layout.routes.get(&(file, *key))?;
            Some((*key, Stream::new(route)))
        });
        let streams: BTreeMap<_, _> = streams.collect();
        let node = streams.values().next().map(|stream| stream.route.node);
        let firsts = survey.spots.values().map(|spot| spot.first);
        Source {
            input,
            survey,
            offset: node.map_or(0, |node| layout.nodes[node].realtime_offset),
            capture: None,
            packet: Captured::default(),
            next: firsts.min(),
            streams,
        }
    });
    let mut sources: Vec<Source<'_>> = sources.collect();
    for source in &mut sources {
        source.begin(begin, layout, writer)?;
    }
    let mut rest = Rest::default();
    let mut buffers = vec![0; layout.nodes.len()];
    while let Some((turn, _)) = earliest(&sources) {
        let others = sources.iter().enumerate().filter(|(at, _)| *at != turn);
        let others = others.filter_map(|(_, source)| source.time()).min();
        let until = others.map_or(i64::MAX, |time| time.saturating_add(AHEAD));
        let source = &mut sources[turn];
        source.read(until, load, &mut buffers, &mut rest)?;
        source.hand_on(writer)?;
    }
    Ok(rest)
}

/// The place of a packet in its file, and what the packet is. `None` for an interface that the
/// survey did not see, because the file has grown since.
pub(super) fn frame(
    survey: &Survey,
    packet: &Captured,
    load: &Load,
) -> Option<((usize, Option<u32>), Frame)> {
    let interface = survey.interfaces.get(packet.interface)?;
    let link = Link::of(interface.link)?;
    let key = (packet.interface, link.index(&packet.data));
    let Ok(read) = link::read(link, packet, load) else {
        return Some((key, Frame::Unparsed));
    };
    let Some(event) = read.event else {
        return Some((key, Frame::Other));
    };
    let event = HopEvent {
        time: packet.time,
        generation: GENERATION,
        ..event
    };
    let Ok(mut hop) = hop_at(&event, 0) else {
        return Some((key, Frame::Unparsed));
    };
    hop.src_mac = hop.src_mac.or(read.sender);
    Some((key, Frame::Hop(Box::new(hop), read.direction)))
}

/// The source with the earliest next packet, and that packet's time, Unix time, ns.
fn earliest(sources: &[Source<'_>]) -> Option<(usize, i64)> {
    let times = sources.iter().enumerate();
    let times = times.filter_map(|(at, source)| Some((at, source.time()?)));
    times.min_by_key(|(at, time)| (*time, *at))
}

impl Source<'_> {
    /// Time of the next packet, Unix time, ns, by the clock of all nodes.
    fn time(&self) -> Option<i64> {
        self.next.map(|time| unix(time, self.offset))
    }

    /// Writes the state of each stream before its first packet. `begin` is Unix time, ns.
    fn begin(&self, begin: i64, layout: &Layout, writer: &mut Writer) -> Result<(), ImportError> {
        for stream in self.streams.values() {
            let Route {
                node,
                stream: own,
                vouched,
                ..
            } = stream.route;
            let begin = begin.saturating_sub(layout.nodes[*node].realtime_offset);
            let begin = u64::try_from(begin).unwrap_or(0);
            let first = self.next.unwrap_or(begin);
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

    /// Reads packets up to a time, Unix time, ns, by the clock of all nodes, and the time of the
    /// next one.
    fn read(
        &mut self,
        until: i64,
        load: &Load,
        buffers: &mut [u64],
        rest: &mut Rest,
    ) -> Result<(), ImportError> {
        if self.capture.is_none() {
            self.capture = Some(self.input.capture()?);
            self.advance();
        }
        for _ in 0..PACKETS {
            if self.time().is_none_or(|time| time > until) {
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
        let Some((key, frame)) = frame(self.survey, &self.packet, load) else {
            return;
        };
        let Some(stream) = self.streams.get_mut(&key) else {
            return;
        };
        match frame {
            Frame::Hop(mut hop, told) => {
                // Each packet has its own sk_buff address, because a capture does not have
                // them.
                let buffer = &mut buffers[stream.route.node];
                *buffer += 1;
                hop.skb = *buffer;
                let direction = stream.route.direction(&hop, told);
                hop.point = stream.route.point(direction);
                stream.count(direction, Counter::Emitted);
                stream.hops.push(*hop);
            }
            Frame::Other => {
                rest.others += 1;
                stream.count(Direction::Ingress, Counter::Miss);
            }
            Frame::Unparsed => {
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
    pub(super) fn direction(&self, hop: &Hop, told: Option<Direction>) -> Direction {
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
