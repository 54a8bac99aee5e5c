//! The tc classifiers: one for each direction.
//!
//! `int cls(struct __sk_buff *skb)`, `BPF_PROG_TYPE_SCHED_CLS`; the return
//! value is a verdict on the packet, and ours is always
//! `TCX_NEXT` / `TC_ACT_UNSPEC`, "the next program decides".
//!
//! Invariant 1 (ARCHITECTURE.md): passive. No path returns anything else, and no helper
//! called here changes a packet.

use core::hint::black_box;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{__sk_buff, TC_ACT_UNSPEC},
    helpers::generated::bpf_ktime_get_ns,
    macros::classifier,
    programs::TcContext,
};
use tracer_common::{
    config::EXPLAIN_MISSES,
    counters::{Counter, slot},
    elsewhere::Elsewhere,
    event::{ETHERNET, HopEvent, VLAN},
    filter::{Decision, Ends, candidate, decide, sampling_hash},
    packet::Packet,
    walk::{Layers, Unparsed, tag_len, walk},
};

use crate::{
    headers::{Bytes as _, fill_headers},
    look::{self, FOUND, MISS, SHORT},
    maps::{self, Current, EVENTS},
    skb::{Either, Linear, Whole},
    why,
};

/// Packets that come in from the interface.
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
#[classifier]
pub(crate) fn tracer_ingress(ctx: TcContext) -> i32 {
    observe(ctx.as_ptr().cast(), false, true)
}

/// Packets that go out through it.
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
#[classifier]
pub(crate) fn tracer_egress(ctx: TcContext) -> i32 {
    observe(ctx.as_ptr().cast(), true, true)
}

/// As [`tracer_ingress`], for an interface whose packets have no Ethernet
/// header: an IP-in-IP tunnel's.
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
#[classifier]
pub(crate) fn tracer_l3_in(ctx: TcContext) -> i32 {
    observe(ctx.as_ptr().cast(), false, false)
}

/// As [`tracer_egress`], likewise.
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
#[classifier]
pub(crate) fn tracer_l3_out(ctx: TcContext) -> i32 {
    observe(ctx.as_ptr().cast(), true, false)
}

/// The least that a classifier can do. Never attached: the benchmark compares
/// with it.
#[classifier]
pub(crate) fn tracer_empty(_ctx: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

#[inline(always)]
fn observe(skb: *mut __sk_buff, egress: bool, ethernet: bool) -> i32 {
    let ifindex = ifindex(skb);
    let slot = slot(ifindex, egress);
    if maps::is_point(slot, ifindex) {
        maps::count(slot, try_observe(skb, egress, ethernet));
    }
    TC_ACT_UNSPEC
}

/// What becomes of the packet, and the side effect that goes with it.
#[inline(always)]
fn try_observe(skb: *mut __sk_buff, egress: bool, ethernet: bool) -> Counter {
    // Perhaps only the linear part is short, or a header is a rare one.
    let looked = look::in_stages(
        look_plain(skb, ethernet),
        || look_whole(skb, ethernet),
        || ask_whole(skb),
    );
    match looked {
        MISS => {
            why::miss(|| ifindex(skb), true);
            Counter::Miss
        }
        FOUND if belongs(skb, egress) => emit(skb, egress, ethernet),
        FOUND => {
            why::miss(|| ifindex(skb), false);
            Counter::Miss
        }
        _ => Counter::Unparsed,
    }
}

#[inline(always)]
fn ifindex(skb: *mut __sk_buff) -> u32 {
    // SAFETY: the context pointer is valid while the program runs.
    unsafe { (*skb).ifindex }
}

/// Walks a packet that has its headers in the linear part, and no rare ones but
/// for a VLAN tag.
#[inline(never)]
fn look_plain(skb: *mut __sk_buff, ethernet: bool) -> u32 {
    // The compiler would rather be given both ends of the packet than the context,
    // as numbers, which the verifier does not allow.
    let frame = Linear::new(black_box(skb));
    let tag = if ethernet { tag_len(&frame) } else { Ok(0) };
    let Ok(tag) = tag else {
        return SHORT;
    };
    let packet = frame.behind(tag);
    let looked = match walk(&packet, ethernet, maps::ports()) {
        Ok(Some(layers)) => ask(&packet, layers),
        Ok(None) => Ok(MISS),
        Err(unparsed) => Err(unparsed),
    };
    match looked {
        // What was found behind a tag counts from there.
        Ok(FOUND) if tag != 0 => SHORT,
        Ok(looked) => looked,
        Err(Unparsed::Short) => SHORT,
        Err(unparsed) => why::unparsed(|| ifindex(skb), unparsed),
    }
}

/// As [`look_plain`], for a packet with rare headers or headers in page fragments.
/// What it found is still to be asked about.
#[inline(never)]
fn look_whole(skb: *mut __sk_buff, ethernet: bool) -> u32 {
    match walk(&Whole(skb), ethernet, maps::ports()) {
        Ok(Some(layers)) => look::walked(layers),
        Ok(None) => MISS,
        Err(unparsed) => why::unparsed(|| ifindex(skb), unparsed),
    }
}

/// As [`ask`], about what [`look_whole`] has found.
#[inline(never)]
fn ask_whole(skb: *mut __sk_buff) -> u32 {
    let Some(found) = maps::found() else {
        return MISS;
    };
    // SAFETY: `look_whole` has written it in this run.
    let layers = *unsafe { found.layers.get() };
    ask(&Whole(skb), layers).unwrap_or_else(|unparsed| why::unparsed(|| ifindex(skb), unparsed))
}

/// Whether the packet may belong to the follow: [`FOUND`] or [`MISS`]. If so, what
/// was found is in the scratch memory.
#[inline(always)]
fn ask<P: Packet>(packet: &P, layers: Layers) -> Result<u32, Unparsed> {
    let (Some(config), Some(found)) = (maps::config(), maps::found()) else {
        return Ok(MISS);
    };
    let explain = config.flags & EXPLAIN_MISSES != 0;
    let Some(ends) = candidate(packet, &layers, &Current::of(config), explain)? else {
        return Ok(MISS);
    };
    found.layers.leave(layers);
    found.ends.leave(ends);
    Ok(FOUND)
}

/// Decides about a packet that may belong to the follow.
#[inline(never)]
fn belongs(skb: *mut __sk_buff, egress: bool) -> bool {
    let (Some(config), Some(found)) = (maps::config(), maps::found()) else {
        return false;
    };
    // SAFETY: `look` has written it in this run.
    let ends = unsafe { found.ends.get() };
    match decide(&Either::new(skb), ends, &Current::of(config)) {
        Decision::Match => true,
        Decision::Elsewhere if config.flags & EXPLAIN_MISSES != 0 => {
            elsewhere(skb, ends, egress);
            false
        }
        Decision::Elsewhere | Decision::Miss => false,
    }
}

#[inline(always)]
fn elsewhere(skb: *mut __sk_buff, ends: &Ends, egress: bool) {
    let whole = Whole(skb);
    let (Some(src), Some(dst)) = (ends.src(&whole), ends.dst(&whole)) else {
        return;
    };
    maps::count_elsewhere(&Elsewhere {
        src,
        dst,
        ifindex: ifindex(skb),
        dst_port: ends.ports(&whole).1,
        proto: ends.proto,
        egress: egress.into(),
    });
}

/// The packet's place in the sample, 0 to `u32::MAX`.
#[inline(never)]
fn sample(skb: *mut __sk_buff) -> u32 {
    let Some(found) = maps::found() else {
        return 0;
    };
    // SAFETY: `look` has written both in this run.
    let layers = unsafe { found.layers.get() };
    // SAFETY: as above.
    let ends = unsafe { found.ends.get() };
    (sampling_hash(&Whole(skb), layers, ends) >> 32) as u32
}

/// Whether the packet is an ICMP error; what it quotes is in the scratch memory.
#[inline(never)]
fn find_quote(skb: *mut __sk_buff) -> bool {
    look::find_quote(&Whole(skb))
}

/// Writes the event of a packet that belongs to the follow.
#[inline(never)]
fn emit(skb: *mut __sk_buff, egress: bool, ethernet: bool) -> Counter {
    let (Some(config), Some(found)) = (maps::config(), maps::found()) else {
        return Counter::Miss;
    };
    // SAFETY: `look` has written it in this run.
    let layers = unsafe { found.layers.get() };
    if config.sample != u32::MAX && sample(skb) > config.sample {
        return Counter::SampledOut;
    }
    // SAFETY: no preconditions.
    let time = unsafe { bpf_ktime_get_ns() };
    if !maps::spend(time, config.budget) {
        return Counter::RateLimited;
    }
    let quote = if find_quote(skb) {
        // SAFETY: it was just written.
        Some(unsafe { found.quote.get() })
    } else {
        None
    };
    let load = maps::load();
    let Some(mut record) = EVENTS.reserve::<HopEvent>(0) else {
        return Counter::RingFull;
    };
    // SAFETY: any bytes are a valid event. Every field is written below; what
    // is not, the ends of the two headers, keeps bytes of earlier events.
    let event = unsafe { record.assume_init_mut() };
    event.time = time;
    // Through memory, because the verifier allows no arithmetic with the
    // context pointer itself.
    event.skb = skb as u64;
    // SAFETY: the field was just written.
    let address = unsafe { core::ptr::read_volatile(&raw const event.skb) };
    event.skb = address.wrapping_add(load.salt);
    event.generation = config.generation;
    event.egress = egress.into();
    fill_frame(event, skb, ethernet);
    fill_headers(event, &Either::new(skb), layers, quote, &load);
    record.submit(0);
    Counter::Emitted
}

/// Fills in what can be read off the frame.
#[inline(always)]
fn fill_frame(event: &mut HopEvent, skb: *mut __sk_buff, ethernet: bool) {
    // SAFETY: the context pointer is valid while the program runs.
    let context = unsafe { &*skb };
    event.ifindex = context.ifindex;
    event.len = context.len;
    event.gso_segs = context.gso_segs as u16;
    event.vlan_tci = context.vlan_tci as u16;
    event.flags = if context.vlan_present != 0 { VLAN } else { 0 };
    if ethernet && Either::new(skb).copy(0, &mut event.macs, 12) {
        event.flags |= ETHERNET;
    }
}
