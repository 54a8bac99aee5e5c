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
    model::{EncapKind, Hello, Kernel},
    verdict::{DropKind, Ports, Tally},
};

use super::{Json, dropped::Fact, packet::Packet};
use crate::view::{Chosen, DropScene, DropView, moment::Moment};

/// The line `tracer.drops_started/1`: from here on, tracer sees drops.
#[derive(JsonSchema, Serialize)]
pub(in crate::view) struct Started<'a> {
    /// Kind and version of the line.
    #[schemars(extend("const" = "tracer.drops_started/1"))]
    schema: &'static str,
    /// When the programs were attached on all nodes; from then on, tracer sees drops.
    time: Moment,
    /// `namespace/name` of the only pod of interest; null without one.
    pod: Option<&'a str>,
    /// Namespace of the only pods of interest; null without one.
    namespace: Option<&'a str>,
    /// Nodes that tracer watches.
    nodes: Vec<Node<'a>>,
}

/// A watched node.
#[derive(JsonSchema, Serialize)]
struct Node<'a> {
    /// Name of the node, as the cluster knows it.
    node: &'a str,
    /// The node's kernel, on which drop reasons depend; null if it is not known.
    kernel: Option<&'a Kernel>,
    /// `namespace/name` of each pod whose own network namespace tracer watches too.
    pods: Vec<&'a str>,
    /// What was not found or is not seen, one sentence each.
    warnings: &'a [String],
}

impl<'a> Node<'a> {
    fn new(hello: &'a Hello) -> Self {
        Self {
            node: &hello.node,
            kernel: hello.kernel.as_ref(),
            pods: hello.drops.iter().flatten().map(|name| &**name).collect(),
            warnings: &hello.notes,
        }
    }
}

/// The line `tracer.drop/2`: packets of one kind that a kernel dropped.
#[derive(JsonSchema, Serialize)]
pub(in crate::view) struct Drop<'a> {
    /// Kind and version of the line.
    #[schemars(extend("const" = "tracer.drop/2"))]
    schema: &'static str,
    /// When the kernel dropped the first of these packets.
    time: Moment,
    /// When the kernel dropped the last of these packets.
    last: Moment,
    /// Name of the node, as the cluster knows it.
    node: &'a str,
    /// `host`, or `namespace/name` of the pod in whose network namespace the drop was; null if
    /// unknown.
    netns: Option<&'a str>,
    /// Interface of the drop; null if the kernel no longer knows the interface.
    interface: Option<&'a str>,
    /// What names the network namespace: `receiving socket`, `device`, or `socket`, the packet's
    /// own; null if the namespace is unknown.
    known_by: Option<&'static str>,
    /// The kernel's name of the drop reason; `NO_REASON` before Linux 5.17.
    reason: &'a str,
    /// Kernel function that freed the packet; the raw address without CAP_SYSLOG.
    function: &'a str,
    /// Offset within that function, in bytes; 0 without CAP_SYSLOG.
    offset: u64,
    /// What reason and function mean: `loss`, or `unknown` if the packet may not be lost.
    class: &'static str,
    /// What reason and function mean, in a phrase.
    why: &'static str,
    /// Files and functions of the kernel's source that show this; null if unknown.
    source: Option<&'static str>,
    /// Contents of the sk_buff, and with `--explain`, what the agent read right after the drop.
    facts: Vec<Fact<'a>>,
    /// `namespace/name` of the pod that has the packet's source address; null if no pod has it.
    src_pod: Option<&'a str>,
    /// `namespace/name` of the pod that has the packet's destination address; null if no pod has
    /// it.
    dst_pod: Option<&'a str>,
    /// The innermost packet of the first drop; null if its headers could not be read.
    packet: Option<Packet>,
    /// The innermost tunnel around that packet; null without a tunnel.
    encap: Option<Encap>,
    /// Number of packets since the last line of this kind.
    packets: u64,
    /// Number of packets of this kind since the beginning.
    total: u64,
    /// Number of different source ports that all packets of this kind had, 1000 at most; null
    /// without ports.
    src_ports: Option<usize>,
    /// Number of different destination ports that all packets of this kind had, 1000 at most; null
    /// without ports.
    dst_ports: Option<usize>,
}

/// The tunnel around the packet.
#[derive(JsonSchema, Serialize)]
struct Encap {
    /// Protocol of the tunnel.
    kind: EncapKind,
    /// VNI of VXLAN or Geneve, or key of GRE; null without one.
    vni: Option<u32>,
    /// Source address of the tunnel's own IP header.
    outer_src: IpAddr,
    /// Destination address of the tunnel's own IP header.
    outer_dst: IpAddr,
}

/// The line `tracer.drops_summary/1`: the sums at the end.
#[derive(JsonSchema, Serialize)]
pub(in crate::view) struct Summary {
    /// Kind and version of the line.
    #[schemars(extend("const" = "tracer.drops_summary/1"))]
    schema: &'static str,
    /// Number of freed packets by class, of which only `loss` and `unknown` may be losses.
    packets: BTreeMap<&'static str, u64>,
    /// Packets of the classes `loss` and `unknown` without a line, because there are more kinds
    /// than tracer keeps.
    not_shown: u64,
    /// What became of every freed buffer.
    accounting: Accounting,
}

/// What became of the buffers that the kernels freed.
#[derive(JsonSchema, Serialize)]
struct Accounting {
    /// Runs in namespaces that are not watched; of several agents on one kernel, each counts the
    /// others' runs.
    elsewhere: u64,
    /// Runs in an unknown namespace; of agents on one kernel, the most that one of them saw.
    unscoped: u64,
    /// Buffers that programs reported as events.
    emitted: u64,
    /// Reported buffers that were never packets on their way, such as messages between processes.
    not_packets: u64,
    /// Events that agents could not decode.
    malformed: u64,
    /// Lost events, because the ring buffer was full.
    ring_full: u64,
    /// Lost events, because the event budget was spent.
    rate_limited: u64,
    /// Runs that the kernel skipped, because the program was already running on that CPU.
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
        let (pod, namespace) = match &scene.chosen {
            Some(Chosen::Pod(name)) => (Some(&**name), None),
            Some(Chosen::Namespace(name)) => (None, Some(&**name)),
            None => (None, None),
        };
        self.line(&Started {
            schema: "tracer.drops_started/1",
            time: Moment(time),
            pod,
            namespace,
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
