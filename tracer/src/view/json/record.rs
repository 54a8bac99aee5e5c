//! The types of the lines. Every key is always there; a missing value is null.

use std::{collections::BTreeMap, net::IpAddr};

use schemars::JsonSchema;
use serde::Serialize;
use tracer_common::counters::Counter;
use tracer_core::{
    journal,
    journey::{self, Course, Scene, Step},
    model::{Cause, EncapKind, Hello, Kernel, Mac, Point, Proto, Role},
    verdict::{self, Accounting, Confidence, Kind, Parts},
};

use super::{
    dns::Dns,
    dropped::{self, Drop, Refusal},
    evidence::Evidence,
    packet::{Packet, shown_or_null},
    place::Place,
};
use crate::view::{
    legs::{self, Leg},
    moment::Moment,
    outcome::text,
    selected::Where,
    translation::{self, Change},
};

/// The line `tracer.started/1`: the start of a follow.
#[derive(JsonSchema, Serialize)]
pub(in crate::view) struct Started<'a> {
    /// Kind and version of the line.
    #[schemars(extend("const" = "tracer.started/1"))]
    schema: &'static str,
    /// When all programs were attached; from then on, tracer sees packets.
    time: Moment,
    /// What tracer follows, in words for people.
    follow: &'a str,
    /// The nodes whose agents have started.
    nodes: Vec<Node<'a>>,
    /// Observation points of all nodes.
    points: Vec<Observer<'a>>,
    /// What may hide packets or was not found, one sentence each.
    warnings: &'a [String],
}

/// A node, as the start lists it.
#[derive(JsonSchema, Serialize)]
struct Node<'a> {
    /// Name of the node, as the cluster knows it.
    node: &'a str,
    /// The node's kernel; null if it is not known.
    kernel: Option<&'a Kernel>,
}

/// The line `tracer.points/1`: observation points came or went.
#[derive(JsonSchema, Serialize)]
pub(in crate::view) struct Changed<'a> {
    /// Kind and version of the line.
    #[schemars(extend("const" = "tracer.points/1"))]
    schema: &'static str,
    /// Time from which tracer observes the new points.
    time: Moment,
    /// New observation points; empty if points only went.
    points: Vec<Observer<'a>>,
    /// Points that no longer see packets; all points of the node if `leaves` is true.
    gone: Vec<Place<'a>>,
    /// Whether the agent leaves the node, because the follow has no end there any more.
    leaves: bool,
    /// What may hide packets or was not found, one sentence each.
    warnings: &'a [String],
}

/// An observation point, as the start and changes list it.
#[derive(JsonSchema, Serialize)]
struct Observer<'a> {
    #[serde(flatten)]
    place: Place<'a>,
    /// Place of the interface on the path.
    role: Role,
    /// Kind of the interface as the kernel names it, such as `veth`; empty for a physical
    /// interface.
    kind: &'a str,
    /// Addresses behind the point: those of the pod, else those of the interface.
    addresses: &'a [IpAddr],
    /// How the agent found the interface, in a phrase.
    why: &'a str,
    /// Kernel identifiers of other tools' programs at this point, which may hide packets; 0 for a
    /// tc filter without a program.
    foreign: Vec<u32>,
}

/// The line `tracer.journey/2`: one transmission of one packet, with its hops and its verdict.
#[derive(JsonSchema, Serialize)]
pub(in crate::view) struct Journey<'a> {
    /// Kind and version of the line.
    #[schemars(extend("const" = "tracer.journey/2"))]
    schema: &'static str,
    /// Number of the journey within this run, from 1, in order of the first sighting.
    id: u64,
    /// Time of the first hop or drop.
    time: Moment,
    /// The innermost packet, as it was first seen.
    packet: Packet,
    /// `namespace/name` of the pod that had the source address when the journey began; null if no
    /// pod had it.
    src_pod: Option<&'a str>,
    /// `namespace/name` of the pod that had the destination address when the journey began; null if
    /// no pod had it.
    dst_pod: Option<&'a str>,
    /// `namespace/name` of the Service that had the source address as its virtual address then;
    /// null if none had it.
    src_service: Option<&'a str>,
    /// `namespace/name` of the Service that had the destination address as its virtual address
    /// then; null if none had it.
    dst_service: Option<&'a str>,
    /// Name that a DNS answer gave to the source address before, with `--dns-names`; null without
    /// one, and for an address of the cluster.
    src_dns_name: Option<&'a str>,
    /// Name that a DNS answer gave to the destination address before, with `--dns-names`; null
    /// without one, and for an address of the cluster.
    dst_dns_name: Option<&'a str>,
    /// Whether the packet comes from the follow's source or goes towards it.
    direction: Course,
    /// 16 hexadecimal digits, the same for both directions of a flow.
    conversation: String,
    /// `id` of the journey that this one answers or refuses; null if no such journey is known.
    answers: Option<u64>,
    /// How long the asker waited for this answer, in ns, by the sightings on one node; null if
    /// unknown, and for other packets.
    took_ns: Option<u64>,
    /// `id` of the journey that carried the same TCP bytes before, or the same DNS question from
    /// the same port; null without one.
    retransmits: Option<u64>,
    /// Whether an identical packet was on its way, so that tracer paired the hops of the two in
    /// order.
    ambiguous: bool,
    /// Sightings in causal order; empty if a kernel dropped the packet before the first observation
    /// point.
    hops: Vec<Hop<'a>>,
    /// Where kernels freed the packet or copies of it, in order of time.
    drops: Vec<Drop<'a>>,
    /// `id` of the first journey that answers this one; null if none does.
    answered_by: Option<u64>,
    /// The reset or ICMP error that told the sender; null without one.
    refused_by: Option<Refusal>,
    /// How much of the journey arrived, and how much did not.
    parts: &'a Parts,
    /// What happened to the packet, and how tracer knows.
    verdict: Verdict<'a>,
}

/// A sighting of the packet at an observation point.
#[derive(JsonSchema, Serialize)]
pub(super) struct Hop<'a> {
    #[serde(flatten)]
    place: Place<'a>,
    /// When the point saw the packet, or its first piece.
    time: Moment,
    /// Time since the first hop, in ns; may be negative between nodes with different clocks.
    offset_ns: i64,
    /// Time since the hop before, in ns; may be negative between nodes with different clocks; null
    /// for the first hop.
    since_previous_ns: Option<i64>,
    /// Bytes from the frame's first header on, tunnel headers included, all pieces together.
    len: u32,
    /// Number of segments that were merged into this packet or that it will be cut into; 1 for a
    /// single packet.
    segments: u32,
    /// How much of the journey this point saw: payload bytes of TCP data, else 1.
    seen: u32,
    /// TTL or hop limit of the innermost packet; null for ARP.
    ttl: Option<u8>,
    /// Source MAC address of the outermost frame at this point; null without an Ethernet header.
    #[serde(serialize_with = "shown_or_null")]
    #[schemars(with = "Option<String>")]
    src_mac: Option<Mac>,
    /// Destination MAC address of the outermost frame at this point; null without an Ethernet
    /// header.
    #[serde(serialize_with = "shown_or_null")]
    #[schemars(with = "Option<String>")]
    dst_mac: Option<Mac>,
    /// VLAN identifier that the kernel keeps beside the frame; null without one, even if the frame
    /// itself has a tag.
    vlan: Option<u16>,
    /// The innermost tunnel around the packet at this point; null without a tunnel.
    encap: Option<Encap>,
    /// What network address translation rewrote since the hop before, at most one entry for each
    /// end.
    translations: Vec<Change>,
}

/// The innermost tunnel around the packet.
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
    /// Number of tunnels around the packet, this one included.
    levels: u8,
}

/// What happened to the packet.
#[derive(JsonSchema, Serialize)]
struct Verdict<'a> {
    /// Kind of the verdict.
    kind: Kind,
    /// How sure the verdict is.
    confidence: Confidence,
    /// Name of the cause, such as `netfilter`; null if no cause is known.
    cause: Option<&'a str>,
    /// The entry of the journey's `drops` that decides the verdict; null if no drop decides.
    drop: Option<Drop<'a>>,
    /// What the verdict rests on.
    evidence: Vec<Evidence<'a>>,
    /// The verdict in a sentence.
    text: String,
}

/// The line `tracer.summary/1`: the sums at the end.
#[derive(JsonSchema, Serialize)]
pub(in crate::view) struct Summary<'a> {
    /// Kind and version of the line.
    #[schemars(extend("const" = "tracer.summary/1"))]
    schema: &'static str,
    /// Number of journeys by verdict, with all eight kinds.
    journeys: BTreeMap<Kind, u64>,
    /// With `--where`, how many of these journeys match, which are the ones written; null without
    /// `--where`.
    r#where: Option<Where<'a>>,
    /// Number of journeys by the drop that decided their verdict.
    drops: Vec<dropped::Sum<'a>>,
    /// Number of journeys that turned out not to belong to the follow; no other sum includes them.
    others: u64,
    /// Sums of DNS over UDP port 53, and of connections to TCP port 53; null without either.
    dns: Option<Dns<'a>>,
    /// Latency by leg, from one point to the next one of a journey, in the order of the way.
    latency: Vec<Latency<'a>>,
    /// What became of every packet and event.
    accounting: Account,
}

/// Latency of a leg between two observation points, ns.
#[derive(JsonSchema, Serialize)]
struct Latency<'a> {
    /// Point where the leg begins.
    from: Place<'a>,
    /// Point where the leg ends.
    to: Place<'a>,
    /// Whether both times come from one clock; if not, tracer leaves negative spans out.
    one_clock: bool,
    /// Number of packets.
    count: u64,
    /// Time that half of the packets took at most, in ns, with three significant figures.
    p50_ns: u64,
    /// Time that 99 % of the packets took at most, in ns, with three significant figures.
    p99_ns: u64,
    /// Longest time of a packet, in ns, with three significant figures.
    max_ns: u64,
}

/// What became of all packets and events.
#[derive(JsonSchema, Serialize)]
struct Account {
    /// Runs of the programs at all points, by outcome.
    packets: Packets,
    /// Events that agents could not decode.
    malformed: u64,
    /// Events that arrived as hops.
    hops: u64,
    /// Hops that are part of a journey.
    joined: u64,
    /// Hops that came after their journey was written.
    late: u64,
    /// Journeys that tracer gave up unfinished, because too many were open or carried the same
    /// bytes.
    evicted: u64,
    /// Lost events: the sum of `ring_full`, `rate_limited` and `malformed`.
    lost: u64,
    /// Whether `emitted` equals `hops` plus `malformed`, and `hops` equals `joined` plus `late`.
    balances: bool,
    /// What became of every freed packet.
    drops: dropped::Account,
}

/// What became of the packets at all observation points. Numbers count packets.
#[derive(JsonSchema, Serialize)]
struct Packets {
    /// Packets that do not belong to the follow.
    miss: u64,
    /// Packets of the follow that programs reported as events.
    emitted: u64,
    /// Packets of the follow whose event was lost, because the ring buffer was full.
    ring_full: u64,
    /// Packets of the follow whose event was lost, because the event budget was spent.
    rate_limited: u64,
    /// Packets of the follow that sampling left out, the same ones at every point.
    sampled_out: u64,
    /// Packets with headers that cannot be parsed, so that tracer does not know whether they belong
    /// to the follow.
    unparsed: u64,
}

impl<'a> Started<'a> {
    pub(super) fn new(scene: &'a Scene, started: &'a journal::Started) -> Self {
        let points = scene.nodes.iter().flat_map(|hello| {
            let points = hello.points.iter();
            points.map(move |point| Observer::of(hello, point))
        });
        let nodes = scene.nodes.iter().map(|hello| Node {
            node: &hello.node,
            kernel: hello.kernel.as_ref(),
        });
        Self {
            schema: "tracer.started/1",
            time: Moment(started.time),
            follow: &started.follow,
            nodes: nodes.collect(),
            points: points.collect(),
            warnings: &started.warnings,
        }
    }
}

impl<'a> Changed<'a> {
    pub(super) fn new(scene: &'a Scene, changed: &'a journal::Changed) -> Self {
        let hello = &scene.nodes[changed.node];
        let points = hello.points.get(changed.points.clone()).unwrap_or_default();
        let gone = changed.gone.iter().filter_map(|at| hello.points.get(*at));
        Self {
            schema: "tracer.points/1",
            time: Moment(changed.time),
            points: points
                .iter()
                .map(|point| Observer::of(hello, point))
                .collect(),
            gone: gone.map(|point| Place::of(hello, point)).collect(),
            leaves: changed.leaves,
            warnings: &changed.notes,
        }
    }
}

impl<'a> Observer<'a> {
    fn of(hello: &'a Hello, point: &'a Point) -> Self {
        Self {
            place: Place::of(hello, point),
            role: point.role,
            kind: &point.kind,
            addresses: &point.addresses,
            why: &point.why,
            foreign: point.foreign.iter().map(|program| program.id).collect(),
        }
    }
}

impl<'a> Journey<'a> {
    pub(super) fn new(
        scene: &'a Scene,
        journey: &'a journey::Journey,
        verdict: &'a verdict::Verdict,
        parts: &'a Parts,
    ) -> Self {
        Self {
            schema: "tracer.journey/2",
            id: journey.id,
            time: Moment(journey.start()),
            packet: Packet::new(&journey.packet),
            src_pod: scene.pod(journey.packet.src, journey.start()),
            dst_pod: scene.pod(journey.packet.dst, journey.start()),
            src_service: scene.service(journey.packet.src, journey.start()),
            dst_service: scene.service(journey.packet.dst, journey.start()),
            src_dns_name: scene.dns_name(journey.packet.src, journey.start()),
            dst_dns_name: scene.dns_name(journey.packet.dst, journey.start()),
            direction: journey.direction,
            conversation: format!("{:016x}", journey.conversation),
            answers: journey.answers,
            took_ns: journey.took,
            retransmits: journey.retransmits,
            ambiguous: journey.ambiguous,
            hops: (0..journey.steps.len())
                .map(|number| Hop::numbered(scene, journey, number))
                .collect(),
            drops: journey
                .drops
                .iter()
                .map(|drop| Drop::new(scene, drop))
                .collect(),
            answered_by: journey.answered_by,
            refused_by: journey.refusal.as_ref().map(Refusal::new),
            parts,
            verdict: Verdict {
                kind: verdict.kind,
                confidence: verdict.confidence,
                cause: verdict.cause.map(Cause::name),
                drop: verdict
                    .drop
                    .map(|index| Drop::new(scene, &journey.drops[index])),
                evidence: Evidence::all(scene, journey, &verdict.evidence),
                text: text(scene, journey, verdict, parts),
            },
        }
    }
}

impl<'a> Hop<'a> {
    /// The journey's hop with this number, from 0.
    pub(super) fn numbered(scene: &'a Scene, journey: &journey::Journey, number: usize) -> Self {
        let steps = &journey.steps;
        let previous = number.checked_sub(1).map(|previous| &steps[previous]);
        Self::new(scene, journey, &steps[number], previous)
    }

    fn new(
        scene: &'a Scene,
        journey: &journey::Journey,
        step: &Step,
        previous: Option<&Step>,
    ) -> Self {
        let point = scene.point(step);
        let arp = journey.packet.proto() == Proto::Arp;
        Self {
            place: Place::of(&scene.nodes[step.node], point),
            time: Moment(step.time),
            offset_ns: step.time.saturating_sub(journey.steps[0].time),
            since_previous_ns: previous.map(|previous| step.time.saturating_sub(previous.time)),
            len: step.len,
            segments: step.segments,
            seen: step.seen,
            ttl: (!arp).then_some(step.ttl),
            src_mac: step.src_mac,
            dst_mac: step.dst_mac,
            vlan: step.vlan,
            encap: step.encap.map(|encap| Encap {
                kind: encap.kind,
                vni: encap.vni,
                outer_src: encap.outer_src,
                outer_dst: encap.outer_dst,
                levels: encap.levels,
            }),
            translations: translation::of(scene, journey, previous, step),
        }
    }
}

impl<'a> Summary<'a> {
    pub(super) fn new(
        scene: &'a Scene,
        summary: &'a verdict::Summary,
        selected: Option<&'a journal::Selected>,
    ) -> Self {
        let journeys = |kind| summary.verdicts.get(&kind).copied().unwrap_or_default();
        Self {
            schema: "tracer.summary/1",
            journeys: Kind::ALL.map(|kind| (kind, journeys(kind))).into(),
            r#where: selected.map(Where::new),
            drops: summary.drops.iter().map(dropped::Sum::new).collect(),
            others: summary.others,
            dns: Dns::new(&summary.dns),
            latency: legs::in_path_order(scene, summary)
                .iter()
                .map(Latency::new)
                .collect(),
            accounting: Account::new(&summary.accounting),
        }
    }
}

impl<'a> Latency<'a> {
    fn new(leg: &Leg<'a>) -> Self {
        Self {
            from: Place::named(leg.from),
            to: Place::named(leg.to),
            one_clock: leg.one_clock,
            count: leg.latency.len(),
            p50_ns: leg.quantile(0.5),
            p99_ns: leg.quantile(0.99),
            max_ns: leg.latency.max(),
        }
    }
}

impl Account {
    fn new(accounting: &Accounting) -> Self {
        let Accounting {
            packets,
            malformed,
            hops,
            joined,
            late,
            evicted,
            drops,
        } = *accounting;
        Self {
            packets: Packets {
                miss: packets.get(Counter::Miss),
                emitted: packets.get(Counter::Emitted),
                ring_full: packets.get(Counter::RingFull),
                rate_limited: packets.get(Counter::RateLimited),
                sampled_out: packets.get(Counter::SampledOut),
                unparsed: packets.get(Counter::Unparsed),
            },
            malformed,
            hops,
            joined,
            late,
            evicted,
            lost: accounting.lost(),
            balances: accounting.balances(),
            drops: dropped::Account::new(&drops),
        }
    }
}
