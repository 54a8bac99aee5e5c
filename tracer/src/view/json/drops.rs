//! Drops as JSON lines, as docs/json.md describes them.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    net::IpAddr,
};

use schemars::JsonSchema;
use serde::Serialize;
use tracer_common::drop::{DropCounter, Scope};
use tracer_core::{
    input::DropReport,
    journey::Class,
    model::{EncapKind, Hello},
    verdict::{DropKind, Ports, Tally},
};

use super::{Json, dropped::Fact, packet::Packet};
use crate::view::{DropScene, DropView, moment::Moment};

/// The line `tracer.drops_started/1`: from here on, tracer sees drops.
#[derive(JsonSchema, Serialize)]
pub(super) struct Started<'a> {
    #[schemars(extend("const" = "tracer.drops_started/1"))]
    schema: &'static str,
    time: Moment,
    pod: Option<&'a str>,
    nodes: Vec<Node<'a>>,
}

/// A watched node.
#[derive(JsonSchema, Serialize)]
struct Node<'a> {
    node: &'a str,
    pods: Vec<&'a str>,
    warnings: &'a [String],
}

impl<'a> Node<'a> {
    fn new(hello: &'a Hello) -> Self {
        Self {
            node: &hello.node,
            pods: hello.drops.iter().flatten().map(|name| &**name).collect(),
            warnings: &hello.notes,
        }
    }
}

/// The line `tracer.drop/2`: packets of one kind that a kernel dropped.
#[derive(JsonSchema, Serialize)]
pub(super) struct Drop<'a> {
    #[schemars(extend("const" = "tracer.drop/2"))]
    schema: &'static str,
    time: Moment,
    last: Moment,
    node: &'a str,
    netns: Option<&'a str>,
    interface: Option<&'a str>,
    known_by: Option<&'static str>,
    reason: &'a str,
    function: &'a str,
    offset: u64,
    class: &'static str,
    why: &'static str,
    source: Option<&'static str>,
    facts: Vec<Fact<'a>>,
    src_pod: Option<&'a str>,
    dst_pod: Option<&'a str>,
    packet: Option<Packet>,
    encap: Option<Encap>,
    packets: u64,
    total: u64,
    src_ports: Option<usize>,
    dst_ports: Option<usize>,
}

/// The tunnel around the packet.
#[derive(JsonSchema, Serialize)]
struct Encap {
    kind: EncapKind,
    vni: Option<u32>,
    outer_src: IpAddr,
    outer_dst: IpAddr,
}

/// The line `tracer.drops_summary/1`: the sums at the end.
#[derive(JsonSchema, Serialize)]
pub(super) struct Summary {
    #[schemars(extend("const" = "tracer.drops_summary/1"))]
    schema: &'static str,
    packets: BTreeMap<&'static str, u64>,
    not_shown: u64,
    accounting: Accounting,
}

/// What became of the buffers that the kernels freed.
#[derive(JsonSchema, Serialize)]
struct Accounting {
    elsewhere: u64,
    unscoped: u64,
    emitted: u64,
    not_packets: u64,
    malformed: u64,
    ring_full: u64,
    rate_limited: u64,
    missed: u64,
}

/// Number of different ports; `None` without ports.
fn number_of(ports: &Ports) -> Option<usize> {
    Some(ports.count().0).filter(|ports| *ports > 0)
}

/// How the agent found the network namespace of a drop, as the value of `known_by`.
pub(super) const fn known_by(scope: Scope) -> &'static str {
    match scope {
        Scope::Receiver => "receiving socket",
        Scope::Device => "device",
        Scope::Socket => "socket",
    }
}

impl<W: Write> DropView for Json<W> {
    fn started(&mut self, scene: &DropScene, time: i64) -> io::Result<()> {
        self.line(&Started {
            schema: "tracer.drops_started/1",
            time: Moment(time),
            pod: scene.pod.as_deref(),
            nodes: scene.nodes.iter().map(Node::new).collect(),
        })
    }

    fn drop(&mut self, scene: &DropScene, kind: &DropKind) -> io::Result<()> {
        let freed = &kind.example;
        let packet = freed.packet.as_ref();
        self.line(&Drop {
            schema: "tracer.drop/2",
            time: Moment(kind.first),
            last: Moment(kind.last),
            node: &scene.nodes[kind.node].node,
            netns: freed.netns.as_deref(),
            interface: freed.device.as_deref(),
            known_by: freed.scope.map(known_by),
            reason: &freed.reason,
            function: &freed.place.function,
            offset: freed.place.offset,
            class: kind.judgement.class.name(),
            why: kind.judgement.why,
            source: Some(kind.judgement.source).filter(|source| !source.is_empty()),
            facts: Fact::all(&freed.facts),
            src_pod: packet.and_then(|packet| scene.pod_of(packet.src, kind.first)),
            dst_pod: packet.and_then(|packet| scene.pod_of(packet.dst, kind.first)),
            packet: packet.map(Packet::new),
            encap: freed.encap.map(|encap| Encap {
                kind: encap.kind,
                vni: encap.vni,
                outer_src: encap.outer_src,
                outer_dst: encap.outer_dst,
            }),
            packets: kind.packets,
            total: kind.total,
            src_ports: number_of(&kind.src_ports),
            dst_ports: number_of(&kind.dst_ports),
        })
    }

    fn summary(&mut self, _: &DropScene, tally: &Tally, report: &DropReport) -> io::Result<()> {
        let counted = |counter| report.counters.get(counter);
        self.line(&Summary {
            schema: "tracer.drops_summary/1",
            packets: Class::ALL
                .iter()
                .map(|class| (class.name(), tally.of(*class)))
                .collect(),
            not_shown: tally.crowded(),
            accounting: Accounting {
                elsewhere: counted(DropCounter::Elsewhere),
                unscoped: counted(DropCounter::Unscoped),
                emitted: counted(DropCounter::Emitted),
                not_packets: tally.not_packets(),
                malformed: report.malformed,
                ring_full: counted(DropCounter::RingFull),
                rate_limited: counted(DropCounter::RateLimited),
                missed: report.missed,
            },
        })
    }
}
