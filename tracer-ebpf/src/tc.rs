//! The tc classifiers: one for each direction.
//!
//! `int cls(struct __sk_buff *skb)`, `BPF_PROG_TYPE_SCHED_CLS`. The return
//! value is tc's verdict on the packet. These programs always return
//! `TCX_NEXT` / `TC_ACT_UNSPEC`, "the next program decides".
//!
//! A classifier first glances at the packet, which recognises nearly every miss. For any other
//! packet it tail-calls [`tracer_closer`]. That program walks the packet, asks the filter, and
//! writes the event. Each run ends in exactly one counter.
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
    config::Config,
    counters::{Counter, slot},
    event::{ETHERNET, HopEvent, MAX_SNAPLEN, SERVICE_TAG, VLAN},
    filter::{Decision, Ends, candidate_with, decide, sampling_hash},
    flow::FlowKey,
    glance::is_miss,
    headers::{Bytes as _, fill_headers},
    walk::walk,
};

use crate::{
    look::{self, FOUND, MISS, WALKED},
    maps::{self, CLOSER, Current, EVENTS, Found},
    skb::{Either, Linear},
    why,
};

/// Packets that come in from the interface.
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
#[classifier]
pub(crate) fn tracer_ingress(ctx: TcContext) -> i32 {
    observe(&ctx, false, true)
}

/// Packets that go out through the interface.
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
#[classifier]
pub(crate) fn tracer_egress(ctx: TcContext) -> i32 {
    observe(&ctx, true, true)
}

/// As [`tracer_ingress`], for an interface whose packets have no Ethernet
/// header: an IP-in-IP tunnel's.
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
#[classifier]
pub(crate) fn tracer_l3_in(ctx: TcContext) -> i32 {
    observe(&ctx, false, false)
}

/// As [`tracer_egress`], for an interface whose packets have no Ethernet header.
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
#[classifier]
pub(crate) fn tracer_l3_out(ctx: TcContext) -> i32 {
    observe(&ctx, true, false)
}

/// An empty classifier. It is never attached; the benchmark compares costs with it.
#[classifier]
pub(crate) fn tracer_empty(_ctx: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// What a classifier tells [`tracer_closer`] about the packet, as bits.
mod glanced {
    /// A classifier made the call. Without this bit, somebody runs the program by hand.
    pub(super) const PACKET: u32 = 1;
    pub(super) const EGRESS: u32 = 2;
    pub(super) const ETHERNET: u32 = 4;
}

/// Glances at a packet, which settles nearly all of them.
#[inline(always)]
fn observe(ctx: &TcContext, egress: bool, ethernet: bool) -> i32 {
    let skb = ctx.as_ptr().cast::<__sk_buff>();
    let ifindex = ifindex(skb);
    let slot = slot(ifindex, egress);
    if !maps::is_point(slot, ifindex) {
        return TC_ACT_UNSPEC;
    }
    let tables = Current::new();
    let packet = Linear::new(skb);
    if is_miss(&packet, ethernet, maps::ports(), &tables, tables.explains()) {
        why::miss(|| ifindex, true);
        maps::count(slot, Counter::Miss);
        return TC_ACT_UNSPEC;
    }
    if let Some(found) = maps::found() {
        let of = |is: bool, bit: u32| if is { bit } else { 0 };
        found
            .glanced
            .set(glanced::PACKET | of(egress, glanced::EGRESS) | of(ethernet, glanced::ETHERNET));
        // SAFETY: the map holds programs of this kind only. If the program is missing, this
        // one continues below.
        unsafe { CLOSER.tail_call(ctx, 0) };
    }
    maps::count(slot, Counter::Unparsed);
    TC_ACT_UNSPEC
}

/// Looks at a packet that may be a match. It is attached to nothing: the classifiers
/// tail-call it. It is loaded once for all of them, so they stay small, and nearly every
/// packet passes only them.
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
#[classifier]
pub(crate) fn tracer_closer(ctx: TcContext) -> i32 {
    let skb = ctx.as_ptr().cast();
    let Some(found) = maps::found() else {
        return TC_ACT_UNSPEC;
    };
    let glanced = found.glanced.replace(0);
    if glanced & glanced::PACKET != 0 {
        let egress = glanced & glanced::EGRESS != 0;
        let ethernet = glanced & glanced::ETHERNET != 0;
        let counter = look_closer(skb, egress, ethernet);
        maps::count(slot(ifindex(skb), egress), counter);
    }
    TC_ACT_UNSPEC
}

/// Writes the event of a match, and returns the counter for this run.
#[inline(always)]
fn look_closer(skb: *mut __sk_buff, egress: bool, ethernet: bool) -> Counter {
    let mut looked = look_whole(skb, ethernet);
    if looked == WALKED {
        looked = find_quote(skb);
    }
    if looked == WALKED {
        looked = ask(skb);
    }
    match looked {
        MISS => {
            why::miss(|| ifindex(skb), true);
            Counter::Miss
        }
        FOUND if belongs(skb, egress) => {
            if maps::snaplen() == 0 {
                emit(skb, egress, ethernet)
            } else {
                capture(skb, egress, ethernet)
            }
        }
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

/// Walks a packet: [`WALKED`], [`MISS`], or why the packet cannot be parsed.
#[inline(never)]
fn look_whole(skb: *mut __sk_buff, ethernet: bool) -> u32 {
    let walked = walk(&Either::new(skb), ethernet, maps::ports());
    let walked = walked.map(|layers| layers.map_or(MISS, look::walked));
    look::told(walked, || ifindex(skb))
}

/// Finds the packet that an ICMP error quotes: [`WALKED`], or why the quote cannot be parsed.
#[inline(never)]
fn find_quote(skb: *mut __sk_buff) -> u32 {
    let quote = look::quote(&Either::new(skb));
    look::told(quote.map(|()| WALKED), || ifindex(skb))
}

/// Asks the filter's first stage whether the packet may belong to the follow: [`FOUND`] or
/// [`MISS`]. [`FOUND`] leaves the deciding addresses in the scratch map.
#[inline(never)]
fn ask(skb: *mut __sk_buff) -> u32 {
    let Some(found) = maps::found() else {
        return MISS;
    };
    // SAFETY: `look_whole` has written it in this run.
    let layers = unsafe { found.layers.get() };
    let (tables, quote) = (Current::new(), look::quote_of(found));
    let ends = candidate_with(&Either::new(skb), layers, quote, &tables, tables.explains());
    let asked = ends.map(|ends| match ends {
        Some(ends) => {
            found.ends.leave(ends);
            FOUND
        }
        None => MISS,
    });
    look::told(asked, || ifindex(skb))
}

/// `ETH_P_8021AD` as the context has it, in network byte order.
const SERVICE_TAG_PROTOCOL: u32 = 0x88a8_u16.to_be() as u32;

const MATCH: u32 = 1;
const ELSEWHERE: u32 = 2;

/// Whether the packet belongs to the follow. The latest decisions are cached by flow and
/// point, so the next packet of a flow needs no look-up.
#[inline(never)]
fn belongs(skb: *mut __sk_buff, egress: bool) -> bool {
    let Some(found) = maps::found() else {
        return false;
    };
    // SAFETY: `ask` has written it in this run.
    let ends = unsafe { found.ends.get() };
    let tables = Current::new();
    let Some(key) = FlowKey::of(&Either::new(skb), ends, tables.generation()) else {
        return decided(skb) == MATCH;
    };
    let key = FlowKey {
        ifindex: ifindex(skb),
        egress: egress.into(),
        ..key
    };
    let Some(flow) = maps::flow(key.index()) else {
        return false;
    };
    if !flow.key.is(&key) {
        if flow.elsewhere != 0 {
            maps::count_elsewhere(&flow.key.elsewhere(), flow.elsewhere.into());
        }
        flow.key = key;
        flow.elsewhere = 0;
        flow.decision = decided(skb);
    }
    if flow.decision == ELSEWHERE && tables.explains() {
        flow.elsewhere = flow.elsewhere.wrapping_add(1);
    }
    flow.decision == MATCH
}

/// The decision by the filter's tables: [`MATCH`], [`ELSEWHERE`] or 0.
#[inline(never)]
fn decided(skb: *mut __sk_buff) -> u32 {
    let Some(found) = maps::found() else {
        return 0;
    };
    // SAFETY: `ask` has written it in this run.
    let ends: &Ends = unsafe { found.ends.get() };
    match decide(&Either::new(skb), ends, &Current::new()) {
        Decision::Match => MATCH,
        Decision::Elsewhere => ELSEWHERE,
        Decision::Miss => 0,
    }
}

/// The packet's place in the sample, 0 to `u32::MAX`.
#[inline(never)]
fn sample(skb: *mut __sk_buff) -> u32 {
    let Some(found) = maps::found() else {
        return 0;
    };
    // SAFETY: `look_whole` and `ask` have written both in this run.
    let layers = unsafe { found.layers.get() };
    // SAFETY: as above.
    let ends = unsafe { found.ends.get() };
    (sampling_hash(&Either::new(skb), layers, ends) >> 32) as u32
}

/// Writes the event of a packet that belongs to the follow.
#[inline(never)]
fn emit(skb: *mut __sk_buff, egress: bool, ethernet: bool) -> Counter {
    let Some(found) = maps::found() else {
        return Counter::Miss;
    };
    let config = maps::config();
    let time = match admit(skb, &config) {
        Ok(time) => time,
        Err(counter) => return counter,
    };
    let Some(mut record) = EVENTS.reserve::<HopEvent>(0) else {
        return Counter::RingFull;
    };
    // SAFETY: any bytes are a valid event. Every field is written below, except the unused
    // ends of the two headers, which keep bytes of earlier events.
    let event = unsafe { record.assume_init_mut() };
    fill(event, skb, found, &config, (time, egress, ethernet));
    record.submit(0);
    Counter::Emitted
}

/// As [`emit`], with the first bytes of the frame.
#[inline(never)]
fn capture(skb: *mut __sk_buff, egress: bool, ethernet: bool) -> Counter {
    let (Some(found), Some(captured)) = (maps::found(), maps::captured()) else {
        return Counter::Miss;
    };
    let config = maps::config();
    let time = match admit(skb, &config) {
        Ok(time) => time,
        Err(counter) => return counter,
    };
    fill(
        &mut captured.event,
        skb,
        found,
        &config,
        (time, egress, ethernet),
    );
    // SAFETY: the context pointer is valid while the program runs.
    if unsafe { (*skb).vlan_proto } == SERVICE_TAG_PROTOCOL {
        captured.event.flags |= SERVICE_TAG;
    }
    let wanted = maps::snaplen().min(captured.event.len) as usize;
    // 1 to the buffer's length, in a form that every verifier follows.
    let last = black_box(wanted.wrapping_sub(1));
    let mut bytes = 0;
    if last < MAX_SNAPLEN && Either::new(skb).copy(0, &mut captured.frame, last + 1) {
        bytes = last + 1;
    }
    if captured.emit(bytes) {
        Counter::Emitted
    } else {
        Counter::RingFull
    }
}

/// When a packet that belongs to the follow is emitted, or why it is not.
#[inline(always)]
fn admit(skb: *mut __sk_buff, config: &Config) -> Result<u64, Counter> {
    if config.sample != u32::MAX && sample(skb) > config.sample {
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

/// Fills in an event: every field. What is not written, the ends of the two headers, keeps
/// bytes of earlier events.
#[inline(always)]
fn fill(
    event: &mut HopEvent,
    skb: *mut __sk_buff,
    found: &Found,
    config: &Config,
    (time, egress, ethernet): (u64, bool, bool),
) {
    // SAFETY: `look_whole` has written it in this run.
    let layers = unsafe { found.layers.get() };
    let quote = look::quote_of(found);
    let load = maps::load();
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
}

/// Fills in the fields that describe the frame.
#[inline(always)]
fn fill_frame(event: &mut HopEvent, skb: *mut __sk_buff, ethernet: bool) {
    // SAFETY: the context pointer is valid while the program runs.
    let context = unsafe { &*skb };
    event.ifindex = context.ifindex;
    event.len = context.len;
    event.gso_segs = context.gso_segs as u16;
    event.vlan_tci = context.vlan_tci as u16;
    event.flags = if context.vlan_present != 0 { VLAN } else { 0 };
    if ethernet && Either::new(skb).fixed::<12>(0, &mut event.macs) {
        event.flags |= ETHERNET;
    }
}
