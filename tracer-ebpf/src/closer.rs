//! The work that tc classifiers and XDP programs do on a packet.
//!
//! A program first glances at the packet ([`glance`]), which recognises nearly every miss. For any
//! other packet it tail-calls a closer, which walks the packet, asks the filter, and writes the
//! event ([`go_on`]). Each run ends in exactly one counter.

use core::hint::black_box;

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use network_types::ip::IpProto;
use tracer_common::{
    config::Config,
    counters::{Counter, slot},
    event::{DNS_PORT, ETHERNET, HopEvent, MAX_SNAPLEN},
    filter::{Decision, Ends, candidate_with, decide, sampling_hash},
    flow::FlowKey,
    glance::is_miss,
    headers::{Bytes as _, fill_headers},
    packet::Packet as _,
    walk::walk,
};

use crate::{
    context::{Context, Either, Linear},
    look::{self, FOUND, MISS, WALKED},
    maps::{self, Current, EVENTS, Found},
    why,
};

/// The message of a program to its closer, as bits. The place
/// ([`tracer_common::event::HopEvent::place`]) is above these bits.
mod glanced {
    /// A program made the call. Without this bit, somebody runs the closer by hand.
    pub(super) const PACKET: u32 = 1;
    pub(super) const ETHERNET: u32 = 2;
    /// The position of the place's lowest bit.
    pub(super) const PLACE: u32 = 2;
    /// A mask with the bits of all places.
    pub(super) const ANY_PLACE: u8 = 3;
}

/// What a program does after a glance.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Glance {
    /// Nothing more.
    Done,
    /// Tail-call the closer, and [`give_up`] if it is missing.
    Closer,
}

/// Glances at a packet, which settles nearly every packet.
#[inline(always)]
pub(crate) fn glance<C: Context>(context: C, place: u8, ethernet: bool) -> Glance {
    let ifindex = context.ifindex();
    let slot = slot(ifindex, place);
    if !maps::is_point(slot, ifindex) {
        return Glance::Done;
    }
    let tables = Current::new();
    let packet = Linear::new(context);
    if is_miss(&packet, ethernet, maps::ports(), &tables, tables.explains()) {
        why::miss(|| ifindex, true);
        maps::count(slot, Counter::Miss);
        return Glance::Done;
    }
    if let Some(found) = maps::found() {
        let ethernet = if ethernet { glanced::ETHERNET } else { 0 };
        let place = u32::from(place) << glanced::PLACE;
        found.glanced.set(glanced::PACKET | ethernet | place);
    }
    Glance::Closer
}

/// Counts a packet whose closer is missing.
#[inline(always)]
pub(crate) fn give_up<C: Context>(context: C, place: u8) {
    maps::count(slot(context.ifindex(), place), Counter::Unparsed);
}

/// Parses a packet that may be a match, with the message that the glancing program has left. Only a
/// closer does this. The kernel loads one closer for all programs of a kind, so the glancing
/// programs stay small, and nearly every packet passes only those.
#[inline(always)]
pub(crate) fn go_on<C: Context>(context: C) {
    let Some(found) = maps::found() else {
        return;
    };
    let glanced = found.glanced.replace(0);
    if glanced & glanced::PACKET != 0 {
        let place = (glanced >> glanced::PLACE) as u8 & glanced::ANY_PLACE;
        let ethernet = glanced & glanced::ETHERNET != 0;
        let counter = look_closer(context, place, ethernet);
        maps::count(slot(context.ifindex(), place), counter);
    }
}

/// Writes the event of a match, and returns the counter for this run.
#[inline(always)]
fn look_closer<C: Context>(context: C, place: u8, ethernet: bool) -> Counter {
    let mut looked = look_whole(context, ethernet);
    if looked == WALKED {
        looked = find_quote(context);
    }
    if looked == WALKED {
        looked = ask(context);
    }
    match looked {
        MISS => {
            why::miss(|| context.ifindex(), true);
            Counter::Miss
        }
        FOUND if belongs(context, place) => {
            let wanted = if maps::wants_dns() && is_dns_answer(context) {
                MAX_SNAPLEN as u32
            } else {
                maps::snaplen()
            };
            if wanted == 0 {
                emit(context, place, ethernet)
            } else {
                capture(context, place, ethernet, wanted)
            }
        }
        FOUND => {
            why::miss(|| context.ifindex(), false);
            Counter::Miss
        }
        _ => Counter::Unparsed,
    }
}

/// Walks a packet: [`WALKED`], [`MISS`], or why the packet cannot be parsed.
#[inline(never)]
fn look_whole<C: Context>(context: C, ethernet: bool) -> u32 {
    let walked = walk(&Either::new(context), ethernet, maps::ports());
    let walked = walked.map(|layers| layers.map_or(MISS, look::walked));
    look::told(walked, || context.ifindex())
}

/// Finds the packet that an ICMP error quotes: [`WALKED`], or why the quote cannot be parsed.
#[inline(never)]
fn find_quote<C: Context>(context: C) -> u32 {
    let quote = look::quote(&Either::new(context));
    look::told(quote.map(|()| WALKED), || context.ifindex())
}

/// Asks the filter's first stage whether the packet may belong to the follow: [`FOUND`] or
/// [`MISS`]. [`FOUND`] leaves the deciding addresses in the scratch map.
#[inline(never)]
fn ask<C: Context>(context: C) -> u32 {
    let Some(found) = maps::found() else {
        return MISS;
    };
    // SAFETY: `look_whole` has written it in this run.
    let layers = unsafe { found.layers.get() };
    let (tables, quote) = (Current::new(), look::quote_of(found));
    let ends = candidate_with(
        &Either::new(context),
        layers,
        quote,
        &tables,
        tables.explains(),
    );
    let asked = ends.map(|ends| match ends {
        Some(ends) => {
            found.ends.leave(ends);
            FOUND
        }
        None => MISS,
    });
    look::told(asked, || context.ifindex())
}

const MATCH: u32 = 1;
const ELSEWHERE: u32 = 2;

/// Whether the packet belongs to the follow. The latest decisions are cached by flow and
/// point, so the next packet of a flow needs no look-up.
#[inline(never)]
fn belongs<C: Context>(context: C, place: u8) -> bool {
    let Some(found) = maps::found() else {
        return false;
    };
    // SAFETY: `ask` has written it in this run.
    let ends = unsafe { found.ends.get() };
    let tables = Current::new();
    let Some(key) = FlowKey::of(&Either::new(context), ends, tables.generation()) else {
        return decided(context) == MATCH;
    };
    let key = FlowKey {
        ifindex: context.ifindex(),
        place,
        ..key
    };
    // SAFETY: only this function asks for one, and a run calls it once.
    let Some(flow) = (unsafe { maps::flow(key.index()) }) else {
        return false;
    };
    if !flow.key.is(&key) {
        if flow.elsewhere != 0 {
            maps::count_elsewhere(&flow.key.elsewhere(), flow.elsewhere.into());
        }
        flow.key = key;
        flow.elsewhere = 0;
        flow.decision = decided(context);
    }
    if flow.decision == ELSEWHERE && tables.explains() {
        flow.elsewhere = flow.elsewhere.wrapping_add(1);
    }
    flow.decision == MATCH
}

/// The decision by the filter's tables: [`MATCH`], [`ELSEWHERE`] or 0.
#[inline(never)]
fn decided<C: Context>(context: C) -> u32 {
    let Some(found) = maps::found() else {
        return 0;
    };
    // SAFETY: `ask` has written it in this run.
    let ends: &Ends = unsafe { found.ends.get() };
    match decide(&Either::new(context), ends, &Current::new()) {
        Decision::Match => MATCH,
        Decision::Elsewhere => ELSEWHERE,
        Decision::Miss => 0,
    }
}

/// The packet's place in the sample, 0 to `u32::MAX`.
#[inline(never)]
fn sample<C: Context>(context: C) -> u32 {
    let Some(found) = maps::found() else {
        return 0;
    };
    // SAFETY: `look_whole` and `ask` have written both in this run.
    let layers = unsafe { found.layers.get() };
    (sampling_hash(&Either::new(context), layers, look::quote_of(found)) >> 32) as u32
}

/// Writes the event of a packet that belongs to the follow.
#[inline(never)]
fn emit<C: Context>(context: C, place: u8, ethernet: bool) -> Counter {
    let Some(found) = maps::found() else {
        return Counter::Miss;
    };
    let config = maps::config();
    let time = match admit(context, &config) {
        Ok(time) => time,
        Err(counter) => return counter,
    };
    let Some(mut record) = EVENTS.reserve::<HopEvent>(0) else {
        return Counter::RingFull;
    };
    // SAFETY: any bytes are a valid event. Every field is written below, except the unused
    // ends of the two headers, which keep bytes of earlier events.
    let event = unsafe { record.assume_init_mut() };
    fill(event, context, found, &config, (time, place, ethernet));
    record.submit(0);
    Counter::Emitted
}

/// Whether the packet comes from DNS's port over UDP.
#[inline(never)]
fn is_dns_answer<C: Context>(context: C) -> bool {
    let Some(found) = maps::found() else {
        return false;
    };
    // SAFETY: `look_whole` has written it in this run.
    let layers = unsafe { found.layers.get() };
    layers.proto == IpProto::Udp as u8
        && layers.has_transport()
        && Either::new(context).be16(layers.l4) == Some(DNS_PORT)
}

/// As [`emit`], with the first `wanted` bytes of the frame.
#[inline(never)]
fn capture<C: Context>(context: C, place: u8, ethernet: bool, wanted: u32) -> Counter {
    // SAFETY: only this function asks for it, and a run calls it once.
    let captured = unsafe { maps::captured() };
    let (Some(found), Some(captured)) = (maps::found(), captured) else {
        return Counter::Miss;
    };
    let config = maps::config();
    let time = match admit(context, &config) {
        Ok(time) => time,
        Err(counter) => return counter,
    };
    fill(
        &mut captured.event,
        context,
        found,
        &config,
        (time, place, ethernet),
    );
    captured.event.flags |= context.tell_captured();
    let wanted = wanted.min(captured.event.len) as usize;
    // 1 to the buffer's length, in a form that every verifier follows.
    let last = black_box(wanted.wrapping_sub(1));
    let mut bytes = 0;
    if last < MAX_SNAPLEN && Either::new(context).copy(0, &mut captured.frame, last + 1) {
        bytes = last + 1;
    }
    if captured.emit(bytes) {
        Counter::Emitted
    } else {
        Counter::RingFull
    }
}

/// Returns the time of an event for the packet, or the counter that says why there is no event.
#[inline(always)]
fn admit<C: Context>(context: C, config: &Config) -> Result<u64, Counter> {
    if config.sample != u32::MAX && sample(context) > config.sample {
        return Err(Counter::SampledOut);
    }
    // SAFETY: no preconditions.
    let time = unsafe { bpf_ktime_get_ns() };
    if maps::spend(time, config.budget) {
        Ok(time)
    } else {
        Err(Counter::RateLimited)
    }
}

/// Fills in every field of an event. Only the unused ends of the two headers keep bytes of earlier
/// events.
#[inline(always)]
fn fill<C: Context>(
    event: &mut HopEvent,
    context: C,
    found: &Found,
    config: &Config,
    (time, place, ethernet): (u64, u8, bool),
) {
    // SAFETY: `look_whole` has written it in this run.
    let layers = unsafe { found.layers.get() };
    let quote = look::quote_of(found);
    let load = maps::load();
    event.time = time;
    event.generation = config.generation;
    event.place = place;
    event.ifindex = context.ifindex();
    event.len = context.len();
    context.tell(event, load.salt);
    if ethernet && Either::new(context).fixed::<12>(0, &mut event.macs) {
        event.flags |= ETHERNET;
    }
    fill_headers(event, &Either::new(context), layers, quote, &load);
}
