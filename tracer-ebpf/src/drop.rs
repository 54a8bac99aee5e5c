//! The programs on `kfree_skb`, for packets that the kernel drops.
//!
//! `void kfree_skb(struct sk_buff *skb, void *location)`, since Linux 5.17 with `enum
//! skb_drop_reason reason`, since 6.11 with `struct sock *rx_sk` (include/trace/events/skb.h). The
//! verifier rejects a program that reads an argument which the kernel's tracepoint does not have.
//! There is a program for each signature, and user space loads the one that fits.
//!
//! The tracepoint belongs to the kernel, not to a namespace, so most packets here are of no
//! interest. A program first asks whether the packet belongs to the follow, with the same filter as
//! at the observation points. If user space wants every drop of a node, only the namespace of the
//! drop counts.
//!
//! The namespace has three possible sources. The socket that refused the packet is the best. The
//! device comes next, if the pointer leads to a device: UDP and TCP use the pointer's place for
//! other things. The packet's own socket comes last, because it names the sender. A veth pair moves
//! a packet to another namespace with its sender's socket. Only the IP layer releases that socket
//! (`skb_orphan` in `ip_rcv_core`). The program reads all three with `bpf_probe_read_kernel`, which
//! fails if a pointer is not readable, and then tries the next source.
//!
//! Invariant 1 (ARCHITECTURE.md): passive. The programs only read the sk_buff.

use aya_ebpf::{
    helpers::generated::bpf_ktime_get_ns, macros::btf_tracepoint, programs::BtfTracePointContext,
};
use network_types::eth::EtherType;
use tracer_common::{
    config::DROPS_ALL,
    drop::{ABSENT, DropCounter, DropEvent, DropLoad, FIRST_NAMESPACE, NAME_BYTES, Scope},
    event::ETHERNET,
    filter::{Decision, candidate_with, decide, sampling_hash},
    glance::is_miss,
    headers::fill_headers,
    layers::{Unparsed, is_unread},
    walk::{arp, walk},
};

use crate::{
    buffer::{self, Front, Headers, direct, field, pointer, read},
    look::{self, FOUND, MISS, UNPARSED, WALKED},
    maps::{self, Current, DROP_LOAD, DROPS},
    why,
};

/// The packet's start is found: a glance may settle the packet, or a walk follows.
const BEGUN: u32 = 4;

/// Before Linux 5.17.
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
#[btf_tracepoint(function = "kfree_skb")]
pub(crate) fn tracer_drop_2(ctx: BtfTracePointContext) -> i32 {
    freed(ctx.arg(0), ctx.arg(1), 0, 0)
}

/// With a reason.
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
#[btf_tracepoint(function = "kfree_skb")]
pub(crate) fn tracer_drop_3(ctx: BtfTracePointContext) -> i32 {
    freed(ctx.arg(0), ctx.arg(1), ctx.arg(2), 0)
}

/// With a reason and the receiving socket.
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
#[btf_tracepoint(function = "kfree_skb")]
pub(crate) fn tracer_drop_4(ctx: BtfTracePointContext) -> i32 {
    freed(ctx.arg(0), ctx.arg(1), ctx.arg(2), ctx.arg(3))
}

#[inline(always)]
fn freed(skb: u64, location: u64, reason: u32, receiver: u64) -> i32 {
    // The map has this element on every CPU.
    let Some(freed) = maps::freed() else {
        return 0;
    };
    // Since Linux 6.2, the kernel does not run the program inside of itself. Before, an interrupt
    // that frees a packet would overwrite the scratch memory of the run that it interrupts.
    if freed.is_running() {
        maps::count_nested();
        return 0;
    }
    freed.set_running(true);
    maps::count_drop(try_freed(freed, skb, location, reason, receiver));
    freed.set_running(false);
    0
}

/// Writes the event of a dropped packet, if one is due, and returns the counter for this run.
#[inline(always)]
fn try_freed(
    freed: &maps::Freed,
    skb: u64,
    location: u64,
    reason: u32,
    receiver: u64,
) -> DropCounter {
    let config = maps::config();
    let all = config.flags & DROPS_ALL != 0;
    if !all && config.generation == 0 {
        return DropCounter::Miss;
    }
    freed.skb.set(skb);
    freed.location.set(location);
    freed.receiver.set(receiver);
    freed.reason.set(reason);
    freed.netns.set(0);
    freed.scope.set(0);
    if !all {
        match look(skb) {
            FOUND if belongs() => {}
            looked @ (FOUND | MISS) => {
                why::miss(|| 0, looked == MISS);
                return DropCounter::Miss;
            }
            _ => return DropCounter::Unparsed,
        }
        if config.sample != u32::MAX && sample() > config.sample {
            return DropCounter::SampledOut;
        }
    }
    match find_namespace() {
        SCOPE_WANTED => {}
        SCOPE_ELSEWHERE => return DropCounter::Elsewhere,
        _ if all => return DropCounter::Unscoped,
        // A follow keeps this drop: its earlier hops can tell its namespace.
        _ => {}
    }
    freed.located.set(!all || look(skb) == FOUND);
    emit(skb)
}

/// Finds the packet's headers and walks them. The results are in the scratch memory, unless the
/// packet certainly does not belong to the follow.
#[inline(always)]
fn look(skb: u64) -> u32 {
    let mut looked = begin(skb);
    if looked == BEGUN {
        looked = look_whole();
    }
    if looked == WALKED {
        looked = find_quote();
    }
    if looked == WALKED {
        looked = ask();
    }
    looked
}

/// Finds the start of a packet, and glances at the packet.
///
/// The kernel's EtherType in the sk_buff decides what the packet is, not its bytes: an MPLS label
/// may look like the first byte of an IPv4 header.
#[inline(never)]
fn begin(skb: u64) -> u32 {
    // As network-types has them, in network byte order.
    const V4: u16 = EtherType::Ipv4 as u16;
    const V6: u16 = EtherType::Ipv6 as u16;
    const ARP: u16 = EtherType::Arp as u16;
    const VLAN: u16 = EtherType::Ieee8021q as u16;
    const QINQ: u16 = EtherType::Ieee8021ad as u16;

    let Some(freed) = maps::freed() else {
        return MISS;
    };
    let protocol: u16 = direct(skb, &DROP_LOAD.skb_protocol);
    freed.protocol.set(u16::from_be(protocol));
    freed.ethernet.set(0);
    let found = buffer::find(skb, freed);
    let version = freed.front.as_array_of_cells()[0].get() >> 4;
    match protocol {
        // The kernel has not set an EtherType yet.
        0 => {
            if !found {
                return MISS;
            }
        }
        V4 | V6 => {
            if !found || (version == 4) != (protocol == V4) {
                return UNPARSED;
            }
        }
        ARP if found => return look_arp(),
        // The kernel has moved one tag out of the frame, and the frame has another.
        VLAN | QINQ if found && buffer::begin_before(skb, freed) => return BEGUN,
        ARP | VLAN | QINQ => return UNPARSED,
        other if is_unread(other) => return UNPARSED,
        _ => return MISS,
    }
    let all = maps::config().flags & DROPS_ALL != 0;
    if !all
        && is_miss(
            &Front::of(freed),
            false,
            maps::ports(),
            &Current::new(),
            false,
        )
    {
        MISS
    } else {
        BEGUN
    }
}

/// Walks the packet. The filter has not answered yet.
#[inline(never)]
fn look_whole() -> u32 {
    let Some(freed) = maps::freed() else {
        return MISS;
    };
    match walk(
        &Headers::of(freed),
        freed.ethernet.get() != 0,
        maps::ports(),
    ) {
        Ok(Some(layers)) => look::walked(layers),
        Ok(None) => MISS,
        Err(unparsed) if unparsed != Unparsed::Short && freed.protocol.get() == 0 => MISS,
        Err(unparsed) => look::told(Err(unparsed), || 0),
    }
}

/// Parses the quote of an ICMP error: [`WALKED`], or [`UNPARSED`].
#[inline(never)]
fn find_quote() -> u32 {
    let Some(freed) = maps::freed() else {
        return MISS;
    };
    let quote = look::quote(&Headers::of(freed)).map(|()| WALKED);
    // If user space wants every drop, it also wants an ICMP error whose quote cannot be parsed.
    let all = maps::config().flags & DROPS_ALL != 0;
    look::told(if all { Ok(WALKED) } else { quote }, || 0)
}

/// Asks the filter's first stage whether the packet may belong to the follow: [`FOUND`] or
/// [`MISS`]. Without a follow the answer is [`FOUND`]. With one, the deciding addresses are in the
/// scratch memory.
#[inline(never)]
fn ask() -> u32 {
    let (Some(freed), Some(found)) = (maps::freed(), maps::found()) else {
        return MISS;
    };
    let config = maps::config();
    if config.flags & DROPS_ALL != 0 {
        return FOUND;
    }
    // SAFETY: the walk has written it in this run.
    let layers = unsafe { found.layers.get() };
    let (tables, quote) = (Current::of(&config), look::quote_of(found));
    let ends = candidate_with(&Headers::of(freed), layers, quote, &tables, false);
    let asked = ends.map(|ends| match ends {
        Some(ends) => {
            found.ends.leave(ends);
            FOUND
        }
        None => MISS,
    });
    look::told(asked, || 0)
}

/// As [`look_whole`], for ARP, which only the kernel's EtherType identifies if there is no Ethernet
/// header.
#[inline(never)]
fn look_arp() -> u32 {
    let Some(freed) = maps::freed() else {
        return MISS;
    };
    look::told(arp(&Front::of(freed), 0).map(look::walked), || 0)
}

/// Decides whether a packet that may belong to the follow does.
#[inline(never)]
fn belongs() -> bool {
    let (Some(freed), Some(found)) = (maps::freed(), maps::found()) else {
        return false;
    };
    // SAFETY: with a follow, `look` has written it in this run.
    let ends = unsafe { found.ends.get() };
    decide(&Headers::of(freed), ends, &Current::new()) == Decision::Match
}

/// The packet's place in the sample, as at the observation points.
#[inline(never)]
fn sample() -> u32 {
    let (Some(freed), Some(found)) = (maps::freed(), maps::found()) else {
        return 0;
    };
    // SAFETY: with a follow, `look` has written both in this run.
    let layers = unsafe { found.layers.get() };
    (sampling_hash(&Headers::of(freed), layers, look::quote_of(found)) >> 32) as u32
}

const SCOPE_NONE: u32 = 0;
const SCOPE_WANTED: u32 = 1;
const SCOPE_ELSEWHERE: u32 = 2;

/// Finds the namespace of the drop, and whether its drops are wanted.
#[inline(never)]
fn find_namespace() -> u32 {
    let Some(freed) = maps::freed() else {
        return SCOPE_NONE;
    };
    let load = maps::drop_load();
    let by_socket = |at: u64| namespace(at, load.sk_net, &load);
    let by_device = || namespace(pointer(freed.skb.get(), load.skb_dev)?, load.dev_net, &load);
    let (netns, scope) = if let Some(netns) = by_socket(freed.receiver.get()) {
        (netns, Scope::Receiver)
    } else if let Some(netns) = by_device() {
        (netns, Scope::Device)
    } else if let Some(netns) = pointer(freed.skb.get(), load.skb_sk).and_then(by_socket) {
        (netns, Scope::Socket)
    } else {
        return SCOPE_NONE;
    };
    freed.netns.set(netns);
    freed.scope.set(scope as u32);
    if maps::is_wanted(netns) {
        SCOPE_WANTED
    } else {
        SCOPE_ELSEWHERE
    }
}

/// The inode number of the namespace that `owner` points to at `offset`.
#[inline(always)]
fn namespace(owner: u64, offset: u32, load: &DropLoad) -> Option<u32> {
    if owner == 0 {
        return None;
    }
    let net = pointer(owner, offset)?;
    let inum = u32::from_ne_bytes(field(net, load.net_inum)?);
    (inum >= FIRST_NAMESPACE).then_some(inum)
}

/// Writes the event of the packet in the scratch memory.
#[inline(never)]
fn emit(skb: u64) -> DropCounter {
    let Some(freed) = maps::freed() else {
        return DropCounter::Miss;
    };
    let config = maps::config();
    // SAFETY: no preconditions.
    let time = unsafe { bpf_ktime_get_ns() };
    if !maps::spend(time, config.budget) {
        return DropCounter::RateLimited;
    }
    let Some(mut record) = DROPS.reserve::<DropEvent>(0) else {
        return DropCounter::RingFull;
    };
    // SAFETY: every field is written below, and any bytes are a valid event.
    let event = unsafe { record.assume_init_mut() };
    *event = DropEvent::ZERO;
    event.location = freed.location.get();
    event.reason = freed.reason.get();
    event.netns = freed.netns.get();
    event.scope = freed.scope.get() as u8;
    event.protocol = freed.protocol.get();
    event.hop.time = time;
    event.hop.generation = config.generation;
    // Through memory, because the verifier allows no arithmetic with a pointer whose type it knows.
    event.hop.skb = skb;
    // SAFETY: the field was just written.
    let skb = unsafe { core::ptr::read_volatile(&raw const event.hop.skb) };
    event.hop.skb = skb.wrapping_add(maps::load().salt);
    fill_device(event, skb);
    fill_buffer(event, skb);
    fill_way(event, skb);
    fill_packet(event);
    // On kernels that let programs of this kind interrupt each other, another packet may have
    // overwritten the scratch memory.
    if maps::freed().is_none_or(|freed| freed.skb.get() != skb) {
        event.hop.network = 0;
    }
    record.submit(0);
    DropCounter::Emitted
}

/// Fills in the device, if the packet has one in the namespace of the drop.
#[inline(always)]
fn fill_device(event: &mut DropEvent, skb: u64) {
    let load = maps::drop_load();
    let Some(dev) = pointer(skb, load.skb_dev) else {
        return;
    };
    // A pointer that leads to no device may still be readable.
    let known = event.scope == Scope::Device as u8
        || namespace(dev, load.dev_net, &load) == Some(event.netns);
    if !known {
        return;
    }
    let (Some(name), Some(ifindex)) = (
        field::<NAME_BYTES>(dev, load.dev_name),
        field(dev, load.dev_ifindex),
    ) else {
        return;
    };
    event.device = name;
    event.hop.ifindex = u32::from_ne_bytes(ifindex);
}

/// Fills in the MAC addresses and the segments from the sk_buff.
#[inline(always)]
fn fill_buffer(event: &mut DropEvent, skb: u64) {
    let load = maps::drop_load();
    let Some(head) = pointer(skb, load.skb_head) else {
        return;
    };
    let offset = |at| field(skb, at).map_or(0, u16::from_ne_bytes);
    let end = field(skb, load.skb_end).map_or(0, u32::from_ne_bytes);
    let network = offset(load.skb_network_header);
    let mac = offset(load.skb_mac_header);
    event.hop.gso_segs =
        field(head + u64::from(end), load.shared_gso_segs).map_or(0, u16::from_ne_bytes);
    // 0xffff stands for "not set", and the comparison excludes it.
    let has_frame = u32::from(mac) + 12 <= u32::from(network);
    if has_frame && read(head + u64::from(mac), &mut event.hop.macs, 12) {
        event.hop.flags |= ETHERNET;
    }
}

/// The lowest bits of `sk_buff._nfct` (`NFCT_INFOMASK`).
const NFCT_INFO: u64 = 7;
/// The lowest bit of `sk_buff._skb_refdst` (`SKB_DST_NOREF`).
const DST_NOREF: u64 = 1;

/// Fills in the decisions of netfilter and routing about the packet, which no later look at their
/// tables can tell.
#[inline(always)]
fn fill_way(event: &mut DropEvent, skb: u64) {
    let load = maps::drop_load();
    event.mark = field(skb, load.skb_mark).map_or(0, u32::from_ne_bytes);
    if load.skb_nfct != ABSENT
        && let Some(nfct) = pointer(skb, load.skb_nfct)
    {
        event.ct_info = (nfct & NFCT_INFO) as u8;
        let connection = nfct & !NFCT_INFO;
        if load.ct_status != ABSENT && connection != 0 {
            event.ct_status = field(connection, load.ct_status).map_or(0, u32::from_ne_bytes);
        }
    }
    // TCP uses the field for other things, so a pointer counts only if it leads to a device of this
    // namespace.
    let outlet = pointer(skb, load.skb_refdst)
        .and_then(|route| pointer(route & !DST_NOREF, load.dst_dev))
        .filter(|dev| namespace(*dev, load.dev_net, &load) == Some(event.netns))
        .and_then(|dev| field(dev, load.dev_name));
    if let Some(name) = outlet {
        event.outlet = name;
    }
}

/// Copies the headers that [`look`] has found.
#[inline(never)]
fn fill_packet(event: &mut DropEvent) {
    let (Some(freed), Some(found)) = (maps::freed(), maps::found()) else {
        return;
    };
    if !freed.located.get() {
        return;
    }
    event.hop.len = freed.end.get();
    let quote = look::quote_of(found);
    // SAFETY: `look` has written it in this run.
    let layers = unsafe { found.layers.get() };
    let headers = Headers::of(freed);
    fill_headers(&mut event.hop, &headers, layers, quote, &maps::load());
}
