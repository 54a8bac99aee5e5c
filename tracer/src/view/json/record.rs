//! The types of the lines. Every key is always there; a missing value is null.

use std::{collections::BTreeMap, net::IpAddr};

use schemars::JsonSchema;
use serde::Serialize;
use tracer_common::counters::Counter;
use tracer_core::{
    journal,
    journey::{self, Course, Scene, Step},
    model::{Cause, EncapKind, Hello, Mac, Point, Proto, Role},
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
pub(super) struct Started<'a> {
    #[schemars(extend("const" = "tracer.started/1"))]
    schema: &'static str,
    time: Moment,
    follow: &'a str,
    points: Vec<Observer<'a>>,
    warnings: &'a [String],
}

/// The line `tracer.points/1`: observation points came or went.
#[derive(JsonSchema, Serialize)]
pub(super) struct Changed<'a> {
    #[schemars(extend("const" = "tracer.points/1"))]
    schema: &'static str,
    time: Moment,
    points: Vec<Observer<'a>>,
    gone: Vec<Place<'a>>,
    /// Whether the agent leaves the node, because the follow has no end there any more.
    leaves: bool,
    warnings: &'a [String],
}

/// An observation point, as the start and changes list it.
#[derive(JsonSchema, Serialize)]
struct Observer<'a> {
    #[serde(flatten)]
    place: Place<'a>,
    role: Role,
    kind: &'a str,
    addresses: &'a [IpAddr],
    why: &'a str,
    foreign: Vec<u32>,
}

/// The line `tracer.journey/2`: one transmission of one packet, with its hops and its verdict.
#[derive(JsonSchema, Serialize)]
pub(super) struct Journey<'a> {
    #[schemars(extend("const" = "tracer.journey/2"))]
    schema: &'static str,
    id: u64,
    time: Moment,
    packet: Packet,
    src_pod: Option<&'a str>,
    dst_pod: Option<&'a str>,
    src_service: Option<&'a str>,
    dst_service: Option<&'a str>,
    direction: Course,
    conversation: String,
    answers: Option<u64>,
    took_ns: Option<u64>,
    retransmits: Option<u64>,
    ambiguous: bool,
    hops: Vec<Hop<'a>>,
    drops: Vec<Drop<'a>>,
    answered_by: Option<u64>,
    refused_by: Option<Refusal>,
    parts: &'a Parts,
    verdict: Verdict<'a>,
}

/// A sighting of the packet at an observation point.
#[derive(JsonSchema, Serialize)]
pub(super) struct Hop<'a> {
    #[serde(flatten)]
    place: Place<'a>,
    time: Moment,
    offset_ns: i64,
    since_previous_ns: Option<i64>,
    len: u32,
    segments: u32,
    seen: u32,
    ttl: Option<u8>,
    #[serde(serialize_with = "shown_or_null")]
    #[schemars(with = "Option<String>")]
    src_mac: Option<Mac>,
    #[serde(serialize_with = "shown_or_null")]
    #[schemars(with = "Option<String>")]
    dst_mac: Option<Mac>,
    vlan: Option<u16>,
    encap: Option<Encap>,
    translations: Vec<Change>,
}

/// The innermost tunnel around the packet.
#[derive(JsonSchema, Serialize)]
struct Encap {
    kind: EncapKind,
    vni: Option<u32>,
    outer_src: IpAddr,
    outer_dst: IpAddr,
    levels: u8,
}

/// What happened to the packet.
#[derive(JsonSchema, Serialize)]
struct Verdict<'a> {
    kind: Kind,
    confidence: Confidence,
    cause: Option<&'a str>,
    drop: Option<Drop<'a>>,
    evidence: Vec<Evidence<'a>>,
    text: String,
}

/// The line `tracer.summary/1`: the sums at the end.
#[derive(JsonSchema, Serialize)]
pub(super) struct Summary<'a> {
    #[schemars(extend("const" = "tracer.summary/1"))]
    schema: &'static str,
    journeys: BTreeMap<Kind, u64>,
    r#where: Option<Where<'a>>,
    drops: Vec<dropped::Sum<'a>>,
    others: u64,
    dns: Option<Dns<'a>>,
    latency: Vec<Latency<'a>>,
    accounting: Account,
}

/// Latency of a leg between two observation points, ns.
#[derive(JsonSchema, Serialize)]
struct Latency<'a> {
    from: Place<'a>,
    to: Place<'a>,
    one_clock: bool,
    count: u64,
    p50_ns: u64,
    p99_ns: u64,
    max_ns: u64,
}

/// What became of all packets and events.
#[derive(JsonSchema, Serialize)]
struct Account {
    packets: Packets,
    malformed: u64,
    hops: u64,
    joined: u64,
    late: u64,
    evicted: u64,
    lost: u64,
    balances: bool,
    drops: dropped::Account,
}

/// What became of the packets at all observation points. Numbers count packets.
#[derive(JsonSchema, Serialize)]
struct Packets {
    miss: u64,
    emitted: u64,
    ring_full: u64,
    rate_limited: u64,
    sampled_out: u64,
    unparsed: u64,
}

impl<'a> Started<'a> {
    pub(super) fn new(scene: &'a Scene, started: &'a journal::Started) -> Self {
        let points = scene.nodes.iter().flat_map(|hello| {
            let points = hello.points.iter();
            points.map(move |point| Observer::of(hello, point))
        });
        Self {
            schema: "tracer.started/1",
            time: Moment(started.time),
            follow: &started.follow,
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
