//! Drops of a journey, and the counters of freed packets.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;
use tracer_common::drop::DropCounter;
use tracer_core::{
    journey::{self, Scene},
    model::{self, Cause},
    verdict::{DropAccounting, DropPlace},
};

use super::drop_known_by;
use crate::view::{facts, moment::Moment};

/// A drop of a journey's packet, or of a copy.
#[derive(JsonSchema, Serialize)]
pub(super) struct Drop<'a> {
    time: Moment,
    node: &'a str,
    netns: &'a str,
    interface: Option<&'a str>,
    known_by: &'static str,
    reason: &'a str,
    function: &'a str,
    offset: u64,
    class: &'static str,
    cause: Option<&'static str>,
    why: &'static str,
    source: Option<&'static str>,
    seen: u32,
    facts: Vec<Fact<'a>>,
}

impl<'a> Drop<'a> {
    pub(super) fn new(scene: &'a Scene, drop: &'a journey::Drop) -> Self {
        let judgement = &drop.judgement;
        let told = |text: &'static str| Some(text).filter(|text| !text.is_empty());
        Self {
            time: Moment(drop.time),
            node: &scene.nodes[drop.node].node,
            netns: &drop.netns,
            interface: drop.device.as_deref(),
            known_by: drop_known_by(drop),
            reason: &drop.reason,
            function: &drop.function,
            offset: drop.offset,
            class: judgement.class.name(),
            cause: judgement.cause.map(Cause::name),
            why: judgement.why,
            source: told(judgement.source),
            seen: drop.part.1 - drop.part.0,
            facts: Fact::all(&drop.facts),
        }
    }
}

/// What an agent read when the packet was dropped, with a sentence that says the same.
#[derive(JsonSchema, Serialize)]
pub(in crate::view) struct Fact<'a> {
    #[serde(flatten)]
    fact: &'a model::Fact,
    text: String,
}

impl<'a> Fact<'a> {
    pub(in crate::view) fn all(facts: &'a [model::Fact]) -> Vec<Self> {
        let told = facts.iter().map(|fact| Self {
            fact,
            text: facts::sentence(fact),
        });
        told.collect()
    }
}

/// The reset or ICMP error that refused a packet.
#[derive(JsonSchema, Serialize)]
pub(super) struct Refusal {
    by: u64,
    from: IpAddr,
    icmp_type: Option<u8>,
    icmp_code: Option<u8>,
}

impl Refusal {
    pub(super) fn new(refusal: &journey::Refusal) -> Self {
        let (icmp_type, icmp_code) = refusal.icmp.unzip();
        Self {
            by: refusal.by,
            from: refusal.from,
            icmp_type,
            icmp_code,
        }
    }
}

/// Number of journeys by the drop that decided their verdict.
#[derive(JsonSchema, Serialize)]
pub(super) struct Sum<'a> {
    node: &'a str,
    netns: &'a str,
    interface: Option<&'a str>,
    reason: &'a str,
    function: &'a str,
    journeys: u64,
}

impl<'a> Sum<'a> {
    pub(super) fn new((place, journeys): (&'a DropPlace, &u64)) -> Self {
        Self {
            node: &place.node,
            netns: &place.netns,
            interface: place.interface.as_deref(),
            reason: &place.reason,
            function: &place.function,
            journeys: *journeys,
        }
    }
}

/// What became of the packets that the kernels freed. Numbers count packets.
#[derive(JsonSchema, Serialize)]
pub(super) struct Account {
    miss: u64,
    elsewhere: u64,
    emitted: u64,
    ring_full: u64,
    rate_limited: u64,
    sampled_out: u64,
    unparsed: u64,
    missed: u64,
    malformed: u64,
    freed: u64,
    joined: u64,
    late: u64,
    alone: u64,
}

impl Account {
    pub(super) const fn new(drops: &DropAccounting) -> Self {
        let counters = &drops.counters;
        Self {
            miss: counters.get(DropCounter::Miss),
            elsewhere: counters.get(DropCounter::Elsewhere),
            emitted: counters.get(DropCounter::Emitted),
            ring_full: counters.get(DropCounter::RingFull),
            rate_limited: counters.get(DropCounter::RateLimited),
            sampled_out: counters.get(DropCounter::SampledOut),
            unparsed: counters.get(DropCounter::Unparsed),
            missed: drops.missed,
            malformed: drops.malformed,
            freed: drops.freed,
            joined: drops.joined,
            late: drops.late,
            alone: drops.alone,
        }
    }
}
