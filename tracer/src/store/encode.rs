//! Encodes what agents send as rows.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use tracer_common::drop::Scope;
use tracer_core::{
    input::{Batch, OwnersChange, Report},
    model::{Encap, Freed, Hello, Hop, Icmp, Packet, Point, Tcp, Transport},
};

use super::table::{Builders, Record};

/// Rows on their way to a file.
pub(super) struct Rows {
    schema: SchemaRef,
    nodes: Vec<Node>,
    builders: Builders,
}

/// What rows of a node need: its name, clock and points.
struct Node {
    name: Arc<str>,
    /// Nanoseconds that turn the agent's monotonic time into Unix time when added.
    offset: i64,
    points: Vec<Place>,
}

struct Place {
    netns: Arc<str>,
    interface: Arc<str>,
    direction: tracer_core::model::Direction,
}

impl Place {
    fn of(point: &Point) -> Self {
        Self {
            netns: Arc::from(&*point.netns),
            interface: Arc::from(&*point.interface),
            direction: point.direction,
        }
    }
}

impl Node {
    fn of(hello: &Hello) -> Self {
        Self {
            name: Arc::from(&*hello.node),
            offset: hello.realtime_offset,
            points: hello.points.iter().map(Place::of).collect(),
        }
    }
}

impl Builders {
    /// Begins a row of this kind, at a Unix time, ns. Returns the row's index.
    fn begin(&mut self, kind: Record, time: i64) -> usize {
        let row = self.rows;
        self.record.set(row, &kind);
        self.time.set(row, time);
        self.rows += 1;
        row
    }
}

impl Rows {
    pub(super) fn new(schema: SchemaRef, nodes: &[Hello]) -> Self {
        Self {
            schema,
            nodes: nodes.iter().map(Node::of).collect(),
            builders: Builders::default(),
        }
    }

    /// Number of rows.
    pub(super) const fn len(&self) -> usize {
        self.builders.rows
    }

    /// Takes all rows out.
    pub(super) fn finish(&mut self) -> RecordBatch {
        RecordBatch::try_new(Arc::clone(&self.schema), self.builders.finish())
            .expect("builders make the columns of the schema")
    }

    /// Adds a batch of an agent.
    pub(super) fn batch(&mut self, agent: usize, batch: &Batch) {
        for hop in &batch.hops {
            self.hop(agent, hop);
        }
        for freed in &batch.freed {
            self.freed(agent, freed);
        }
        if batch.overdue {
            self.builders.overdue.set(self.builders.rows, true);
        }
        if let Some(change) = &batch.change {
            let json = serde_json::to_string(change).expect("a change has names and numbers only");
            self.builders.change.set(self.builders.rows, &json);
            let points = change.points.iter().map(Place::of);
            self.nodes[agent].points.extend(points);
        }
        let report = batch.report.as_ref();
        self.border(Record::Batch, agent, batch.stream, batch.watermark, report);
    }

    /// Adds the state of a stream from before this file.
    pub(super) fn state(
        &mut self,
        agent: usize,
        stream: usize,
        watermark: u64,
        report: Option<&Report>,
    ) {
        self.border(Record::State, agent, stream, watermark, report);
    }

    /// Adds a change of owners.
    pub(super) fn owners(&mut self, change: &OwnersChange) {
        let json = serde_json::to_string(change).expect("a change has names and addresses only");
        let row = self.builders.begin(Record::Owners, change.time);
        self.builders.owners.set(row, &json);
    }

    /// Adds that all points are observed from `time` on, Unix time, ns.
    pub(super) fn armed(&mut self, time: i64) {
        self.builders.begin(Record::Armed, time);
    }

    /// Adds that an agent is gone, or that the connection to it is broken.
    pub(super) fn gone(&mut self, agent: usize, time: i64) {
        let row = self.builders.begin(Record::Gone, time);
        self.builders.node.set(row, &self.nodes[agent].name);
    }

    /// Adds that an agent of another node has started.
    pub(super) fn joined(&mut self, hello: &Hello, time: i64) {
        let json = serde_json::to_string(hello).expect("it has names and numbers only");
        let node = Node::of(hello);
        let row = self.builders.begin(Record::Joined, time);
        self.builders.node.set(row, &node.name);
        self.builders.agent.set(row, &json);
        self.nodes.push(node);
    }

    /// Adds an agent's answer about its clock: its monotonic clock when the question came, ns.
    pub(super) fn clock(&mut self, agent: usize, question: u16, time: u64) {
        let Node { name, offset, .. } = &self.nodes[agent];
        let to = &mut self.builders;
        let row = to.begin(Record::Clock, unix(time, *offset));
        to.node.set(row, name);
        to.stream.set(row, question);
        to.watermark.set(row, time);
    }

    /// Adds that nothing more will come.
    pub(super) fn end(&mut self, time: i64) {
        self.builders.begin(Record::End, time);
    }

    fn border(
        &mut self,
        kind: Record,
        agent: usize,
        stream: usize,
        watermark: u64,
        report: Option<&Report>,
    ) {
        let node = &self.nodes[agent];
        let to = &mut self.builders;
        let row = to.rows;
        to.record.set(row, &kind);
        let last = report.filter(|_| watermark == u64::MAX);
        let time = last.map_or(watermark, |report| report.time);
        to.time.set(row, unix(time, node.offset));
        to.node.set(row, &node.name);
        to.stream
            .set(row, u16::try_from(stream).unwrap_or(u16::MAX));
        to.watermark.set(row, watermark);
        if let Some(report) = report {
            let json = serde_json::to_string(report).expect("a report has names and numbers only");
            to.report.set(row, &json);
        }
        to.rows += 1;
    }

    fn hop(&mut self, agent: usize, hop: &Hop) {
        let node = &self.nodes[agent];
        let place = &node.points[hop.point];
        let to = &mut self.builders;
        let row = to.rows;
        to.record.set(row, &Record::Hop);
        to.time.set(row, unix(hop.time, node.offset));
        to.node.set(row, &node.name);
        to.netns.set(row, &place.netns);
        to.interface.set(row, &place.interface);
        to.direction.set(row, &place.direction);
        to.point
            .set(row, u16::try_from(hop.point).unwrap_or(u16::MAX));
        to.skb.set(row, hop.skb);
        to.generation.set(row, hop.generation);
        to.len.set(row, hop.len);
        to.segments.set(row, hop.segments);
        if let Some(mac) = &hop.src_mac {
            to.src_mac.set(row, mac);
        }
        if let Some(mac) = &hop.dst_mac {
            to.dst_mac.set(row, mac);
        }
        to.vlan.set_some(row, hop.vlan);
        encap(to, hop.encap.as_ref());
        packet(to, &hop.packet);
        if let Some(frame) = &hop.frame {
            to.frame.set(row, frame);
        }
        to.rows += 1;
    }

    fn freed(&mut self, agent: usize, freed: &Freed) {
        let node = &self.nodes[agent];
        let to = &mut self.builders;
        let row = to.rows;
        to.record.set(row, &Record::Drop);
        to.time.set(row, unix(freed.time, node.offset));
        to.node.set(row, &node.name);
        if let Some(netns) = &freed.netns {
            to.netns.set(row, netns);
        }
        if let Some(device) = &freed.device {
            to.interface.set(row, device);
        }
        to.skb.set(row, freed.skb);
        if let Some(mac) = &freed.dst_mac {
            to.dst_mac.set(row, mac);
        }
        encap(to, freed.encap.as_ref());
        if let Some(freed) = &freed.packet {
            packet(to, freed);
        }
        to.reason.set(row, &freed.reason);
        to.function.set(row, &freed.place.function);
        to.function_offset.set(row, freed.place.offset);
        if let Some(scope) = freed.scope {
            to.scope.set(row, &Arc::from(scope_name(scope)));
        }
        to.ethertype.set(row, freed.protocol);
        if !freed.facts.is_empty() {
            let json = |fact| serde_json::to_string(fact).expect("a fact is JSON");
            let facts: Vec<String> = freed.facts.iter().map(json).collect();
            to.facts.set(row, &facts);
        }
        to.rows += 1;
    }
}

/// An agent's monotonic time as Unix time, ns.
pub(crate) fn unix(time: u64, offset: i64) -> i64 {
    i64::try_from(time).map_or(i64::MAX, |time| time.saturating_add(offset))
}

/// What told a drop's namespace, as in the column `scope`.
pub(super) const fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Receiver => "receiver",
        Scope::Device => "device",
        Scope::Socket => "socket",
    }
}

fn encap(to: &mut Builders, encap: Option<&Encap>) {
    let row = to.rows;
    if let Some(Encap {
        kind,
        vni,
        outer_src,
        outer_dst,
        levels,
    }) = encap
    {
        to.encap.set(row, kind);
        to.vni.set_some(row, *vni);
        to.outer_src.set(row, outer_src);
        to.outer_dst.set(row, outer_dst);
        to.encap_levels.set(row, *levels);
    }
}

fn packet(to: &mut Builders, packet: &Packet) {
    let Packet {
        src,
        dst,
        ttl,
        ip_id,
        fragment,
        len,
        transport,
        payload_hash,
    } = packet;
    let row = to.rows;
    to.src.set(row, src);
    to.dst.set(row, dst);
    to.proto.set(row, &packet.proto());
    to.ttl.set(row, *ttl);
    to.ip_id.set_some(row, *ip_id);
    if let Some((offset, more)) = fragment {
        to.fragment_offset.set(row, *offset);
        to.more_fragments.set(row, *more);
    }
    to.ip_len.set(row, *len);
    // Readers expect a value for every packet.
    to.payload_hash.set(row, payload_hash.unwrap_or(0));
    if payload_hash.is_none() {
        to.payload_unread.set(row, true);
    }
    if let Some((src, dst)) = packet.ports() {
        to.src_port.set(row, src);
        to.dst_port.set(row, dst);
    }
    match transport {
        Transport::Tcp(header) => tcp(to, header),
        Transport::Udp {
            src_port: _,
            dst_port: _,
            len,
            dns,
        } => {
            to.udp_len.set(row, *len);
            if let Some(dns) = dns {
                to.dns.set(row, *dns);
            }
        }
        Transport::Sctp {
            src_port: _,
            dst_port: _,
            tag,
        } => to.sctp_tag.set(row, *tag),
        Transport::Icmp(message) => icmp(to, message),
        Transport::Arp(arp) => {
            to.arp_operation.set(row, arp.operation);
            to.arp_sender.set(row, &arp.sender);
            to.arp_target.set(row, &arp.target);
        }
        Transport::Cut { .. } | Transport::Other(_) => {}
    }
}

fn tcp(to: &mut Builders, header: &Tcp) {
    let Tcp {
        src_port: _,
        dst_port: _,
        seq,
        ack,
        flags,
        window,
        payload_len,
        timestamps,
        options_hash,
    } = header;
    let row = to.rows;
    to.tcp_seq.set(row, *seq);
    to.tcp_ack.set(row, *ack);
    to.tcp_flags.set(row, flags.0);
    to.tcp_window.set(row, *window);
    to.tcp_len.set(row, *payload_len);
    if let Some((value, echo)) = timestamps {
        to.tcp_tsval.set(row, *value);
        to.tcp_tsecr.set(row, *echo);
    }
    to.tcp_options.set(row, *options_hash);
}

fn icmp(to: &mut Builders, message: &Icmp) {
    let Icmp {
        v6: _,
        kind,
        code,
        echo,
        neighbour,
        quote,
    } = message;
    let row = to.rows;
    to.icmp_type.set(row, *kind);
    to.icmp_code.set(row, *code);
    if let Some((id, seq)) = echo {
        to.icmp_id.set(row, *id);
        to.icmp_seq.set(row, *seq);
    }
    if let Some(neighbour) = neighbour {
        to.nd_target.set(row, &neighbour.target);
        to.nd_advertisement.set(row, neighbour.advertisement);
    }
    if let Some(quote) = quote {
        to.quote_src.set(row, &quote.src);
        to.quote_dst.set(row, &quote.dst);
        to.quote_proto.set(row, quote.proto);
        if let Some((src, dst)) = quote.ports {
            to.quote_src_port.set(row, src);
            to.quote_dst_port.set(row, dst);
        }
        to.quote_ip_id.set_some(row, quote.ip_id);
        if let Some(header) = quote.header {
            to.quote_header.set(row, header);
        }
    }
}
