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
    /// When the kernel freed the packet.
    time: Moment,
    /// Name of the node, as the cluster knows it.
    node: &'a str,
    /// `host`, or `namespace/name` of the pod in whose network namespace the drop was.
    netns: &'a str,
    /// Interface of the drop; null if the kernel no longer knows the interface.
    interface: Option<&'a str>,
    /// What names the network namespace: `receiving socket`, `device`, `socket` (the packet's own),
    /// or the packet's `last hop`.
    known_by: &'static str,
    /// The kernel's name of the drop reason; `NO_REASON` before Linux 5.17.
    reason: &'a str,
    /// Kernel function that freed the packet; the raw address without CAP_SYSLOG.
    function: &'a str,
    /// Offset within that function, in bytes; 0 without CAP_SYSLOG.
    offset: u64,
    /// What reason and function mean: `loss`, `refusal`, `duplicate`, `delivered`, `flooded` or
    /// `unknown`.
    class: &'static str,
    /// Name of the cause, such as `netfilter`; null if reason and function do not tell.
    cause: Option<&'static str>,
    /// What reason and function mean, in a phrase.
    why: &'static str,
    /// Files and functions of the kernel's source that show this; null if unknown.
    source: Option<&'static str>,
    /// How much of the journey the kernel freed here: payload bytes of TCP data, else 1.
    seen: u32,
    /// Contents of the sk_buff, and with `--explain`, what the agent read right after the drop.
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
    /// The fact in a sentence.
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
    /// `id` of the journey of the reset or ICMP error.
    by: u64,
    /// Source address of the reset or ICMP error.
    from: IpAddr,
    /// Type of the ICMP error; null for a reset.
    icmp_type: Option<u8>,
    /// Code of the ICMP error; null for a reset.
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
    /// Name of the node, as the cluster knows it.
    node: &'a str,
    /// `host`, or `namespace/name` of the pod in whose network namespace the drop was.
    netns: &'a str,
    /// Interface of the drop; null if the kernel no longer knows the interface.
    interface: Option<&'a str>,
    /// The kernel's name of the drop reason; `NO_REASON` before Linux 5.17.
    reason: &'a str,
    /// Kernel function that freed the packet; the raw address without CAP_SYSLOG.
    function: &'a str,
    /// Number of journeys.
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
    /// Packets that do not belong to the follow.
    miss: u64,
    /// Packets of the follow, freed in a namespace that is not watched; agents on one kernel count
    /// each other's packets here.
    elsewhere: u64,
    /// Packets of the follow that programs reported as events.
    emitted: u64,
    /// Packets of the follow whose event was lost, because the ring buffer was full.
    ring_full: u64,
    /// Packets of the follow whose event was lost, because the event budget was spent.
    rate_limited: u64,
    /// Packets of the follow that sampling left out.
    sampled_out: u64,
    /// Packets with headers that cannot be read, so that tracer does not know whether they belong
    /// to the follow.
    unparsed: u64,
    /// Runs that the kernel skipped, because the program was already running on that CPU.
    missed: u64,
    /// Events that agents could not decode.
    malformed: u64,
    /// Events that arrived.
    freed: u64,
    /// Arrived events that are part of a journey.
    joined: u64,
    /// Arrived events of a journey that was written already.
    late: u64,
    /// Arrived events of no known journey.
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
