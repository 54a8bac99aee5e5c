//! The tc classifiers: one for each direction.
//!
//! `int cls(struct __sk_buff *skb)`, `BPF_PROG_TYPE_SCHED_CLS`; the return
//! value is a verdict on the packet, and ours is always
//! `TCX_NEXT` / `TC_ACT_UNSPEC`, "the next program decides".

use aya_ebpf::{
    EbpfContext as _,
    bindings::{__sk_buff, TC_ACT_UNSPEC},
    helpers::generated::bpf_ktime_get_ns,
    macros::classifier,
    programs::TcContext,
};
use network_types::{
    icmp::Icmpv4Hdr,
    ip::{IpProto, Ipv4Hdr, Ipv6Hdr},
    sctp::SctpHdr,
    tcp::TcpHdr,
    udp::UdpHdr,
};
use tracer_common::{
    config::{EXPLAIN_MISSES, Load},
    counters::{Counter, slot},
    elsewhere::Elsewhere,
    event::HopEvent,
    filter::{ADVERTISEMENT, Decision, Ends, SOLICITATION, candidate, decide, sampling_hash},
    hash::{HASHED_BYTES, payload_hash},
    packet::Packet,
    walk::{ARP_LEN, Layers, Network, Tunnel, Unparsed, is_icmp_error, walk},
};

use crate::{
    maps::{self, Current, EVENTS, Found},
    skb::{Either, Linear, Whole, copy},
};

/// Packets that come in from the interface.
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
#[classifier]
pub(crate) fn tracer_ingress(ctx: TcContext) -> i32 {
    observe(ctx.as_ptr().cast(), false)
}

/// Packets that go out through it.
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
#[classifier]
pub(crate) fn tracer_egress(ctx: TcContext) -> i32 {
    observe(ctx.as_ptr().cast(), true)
}

/// The least that a classifier can do. Never attached: the benchmark compares
/// with it.
#[classifier]
pub(crate) fn tracer_empty(_ctx: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

#[inline(always)]
fn observe(skb: *mut __sk_buff, egress: bool) -> i32 {
    // SAFETY: the context pointer is valid while the program runs.
    let ifindex = unsafe { (*skb).ifindex };
    maps::count(slot(ifindex, egress), try_observe(skb, egress));
    TC_ACT_UNSPEC
}

/// What becomes of the packet, and the side effect that goes with it.
#[inline(always)]
fn try_observe(skb: *mut __sk_buff, egress: bool) -> Counter {
    let looked = match look(&Linear::new(skb)) {
        Ok(false) => LOOK_MISS,
        Ok(true) => LOOK_FOUND,
        // Perhaps only the linear part is short, or a header is a rare one.
        Err(Unparsed::Short) => look_whole(skb),
        Err(_) => LOOK_UNPARSED,
    };
    match looked {
        LOOK_MISS => Counter::Miss,
        LOOK_FOUND if belongs(skb, egress) => emit(skb, egress),
        LOOK_FOUND => Counter::Miss,
        _ => Counter::Unparsed,
    }
}

/// As [`look`], for a packet with rare headers or headers in page fragments.
#[inline(never)]
fn look_whole(skb: *mut __sk_buff) -> u32 {
    match look(&Whole(skb)) {
        Ok(false) => LOOK_MISS,
        Ok(true) => LOOK_FOUND,
        Err(_) => LOOK_UNPARSED,
    }
}

const LOOK_MISS: u32 = 0;
const LOOK_FOUND: u32 = 1;
const LOOK_UNPARSED: u32 = 2;

/// Walks the packet. False if it certainly does not belong to the follow;
/// else what was found is in the scratch memory.
///
/// That it goes through there, not through arguments, is for the verifier:
/// what it reads from a map it takes for any value, so that it checks
/// [`belongs`] once and not for every path that leads there.
#[inline(always)]
fn look<P: Packet>(packet: &P) -> Result<bool, Unparsed> {
    let Some(config) = maps::config() else {
        return Ok(false);
    };
    let Some(layers) = walk(packet, true, &maps::load().vxlan_ports)? else {
        return Ok(false);
    };
    let explain = config.flags & EXPLAIN_MISSES != 0;
    let Some(ends) = candidate(packet, &layers, &Current::of(config), explain) else {
        return Ok(false);
    };
    let Some(found) = maps::found() else {
        return Ok(false);
    };
    found.write(Found { layers, ends });
    Ok(true)
}

/// Decides about a packet that may belong to the follow.
#[inline(never)]
fn belongs(skb: *mut __sk_buff, egress: bool) -> bool {
    let (Some(config), Some(found)) = (maps::config(), maps::found()) else {
        return false;
    };
    // SAFETY: `look` has written it in this run.
    let ends = unsafe { &found.assume_init_ref().ends };
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
        // SAFETY: the context pointer is valid while the program runs.
        ifindex: unsafe { (*skb).ifindex },
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
    // SAFETY: `look` has written it in this run.
    let Found { layers, ends } = unsafe { found.assume_init_ref() };
    (sampling_hash(&Whole(skb), layers, ends) >> 32) as u32
}

/// Writes the event of a packet that belongs to the follow.
#[inline(never)]
fn emit(skb: *mut __sk_buff, egress: bool) -> Counter {
    let (Some(config), Some(found)) = (maps::config(), maps::found()) else {
        return Counter::Miss;
    };
    // SAFETY: `look` has written it in this run.
    let layers = unsafe { &found.assume_init_ref().layers };
    if config.sample != u32::MAX && sample(skb) > config.sample {
        return Counter::SampledOut;
    }
    // SAFETY: no preconditions.
    let time = unsafe { bpf_ktime_get_ns() };
    if !maps::spend(time, config.budget) {
        return Counter::RateLimited;
    }
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
    fill(event, skb, layers, &load);
    record.submit(0);
    Counter::Emitted
}

/// Fills in what can be read off the packet.
#[inline(always)]
fn fill(event: &mut HopEvent, skb: *mut __sk_buff, layers: &Layers, load: &Load) {
    // SAFETY: the context pointer is valid while the program runs.
    let context = unsafe { &*skb };
    event.ifindex = context.ifindex;
    event.len = context.len;
    event.gso_segs = context.gso_segs;
    event.vlan_tci = context.vlan_tci as u16;
    event.vlan_present = (context.vlan_present != 0).into();

    event.l3 = layers.l3 as u16;
    event.l4 = layers.l4 as u16;
    event.network = layers.network as u8;
    event.proto = layers.proto;
    event.fragment = layers.fragment;
    event.fragment_id = layers.fragment_id;

    if !copy(skb, 0, &mut event.macs, 12) {
        event.macs = [0; 12];
    }
    fill_tunnel(event, skb, layers.tunnel);

    let network_len = match layers.network {
        Network::V4 => Ipv4Hdr::LEN,
        Network::V6 => Ipv6Hdr::LEN,
        Network::Arp => ARP_LEN,
    };
    let network_copied = copy(skb, layers.l3, &mut event.network_header, network_len);
    event.network_len = if network_copied { network_len as u8 } else { 0 };

    let (header_len, copied_len) = transport_len(&Either::new(skb), layers);
    // A packet that ends early still has its header, if not what else would
    // be copied.
    event.transport_len = if copy(skb, layers.l4, &mut event.transport_header, copied_len) {
        copied_len as u8
    } else if copy(skb, layers.l4, &mut event.transport_header, header_len) {
        header_len as u8
    } else {
        0
    };
    event.payload_hash = if layers.proto == IpProto::Tcp as u8 {
        0
    } else {
        let end = packet_end(event, layers, context.len as usize);
        hash(skb, layers.l4 + header_len, end, load)
    };
}

/// Where the innermost packet ends: by its own header, which tells it from the
/// padding of a short frame, or with the frame.
#[inline(always)]
fn packet_end(event: &HopEvent, layers: &Layers, frame_end: usize) -> usize {
    let be16 = |at: usize| {
        let bytes = [event.network_header[at], event.network_header[at + 1]];
        usize::from(u16::from_be_bytes(bytes))
    };
    let (stated, fixed) = match layers.network {
        Network::V4 => (be16(2), 0),
        Network::V6 => (be16(4), Ipv6Hdr::LEN),
        Network::Arp => (0, 0),
    };
    // BIG TCP states none.
    if stated == 0 {
        frame_end
    } else {
        frame_end.min(layers.l3 + fixed + stated)
    }
}

/// Fills in the innermost tunnel.
#[inline(always)]
fn fill_tunnel(event: &mut HopEvent, skb: *mut __sk_buff, tunnel: Option<Tunnel>) {
    event.outer = 0;
    event.levels = 0;
    event.vni = 0;
    event.outer_src = [0; 16];
    event.outer_dst = [0; 16];
    let Some(tunnel) = tunnel else {
        return;
    };
    event.outer = tunnel.outer as u8;
    event.levels = tunnel.levels;
    event.vni = tunnel.vni;
    let at = tunnel.outer_l3;
    // The walk has read the header, so the copies cannot fail.
    if tunnel.outer == Network::V6 {
        copy(skb, at + 8, &mut event.outer_src, 16);
        copy(skb, at + 24, &mut event.outer_dst, 16);
    } else {
        event.outer_src[10..12].copy_from_slice(&[0xff; 2]);
        event.outer_dst[10..12].copy_from_slice(&[0xff; 2]);
        copy(skb, at + 12, &mut event.outer_src[12..], 4);
        copy(skb, at + 16, &mut event.outer_dst[12..], 4);
    }
}

/// How long the transport header is, and how many bytes from its start are
/// copied: those of an ICMP error include the quoted headers, those of DNS
/// its own header.
#[inline(always)]
fn transport_len(packet: &Either, layers: &Layers) -> (usize, usize) {
    const TCP: u8 = IpProto::Tcp as u8;
    const UDP: u8 = IpProto::Udp as u8;
    const SCTP: u8 = IpProto::Sctp as u8;
    const ICMP: u8 = IpProto::Icmp as u8;
    const ICMP6: u8 = IpProto::Ipv6Icmp as u8;
    const DNS_PORT: u16 = 53;
    const DNS_LEN: usize = 12;
    /// Type, code, checksum, flags and the target (RFC 4861, 4.3).
    const NEIGHBOUR_LEN: usize = 24;

    if !layers.has_transport() {
        return (0, 0);
    }
    match layers.proto {
        TCP => {
            let offset = packet.u8(layers.l4 + 12).unwrap_or(0) >> 4;
            let len = (usize::from(offset) * 4).max(TcpHdr::LEN);
            (len, len)
        }
        UDP => {
            let ports = packet.be32(layers.l4).unwrap_or(0);
            let dns = ports as u16 == DNS_PORT || (ports >> 16) as u16 == DNS_PORT;
            (
                UdpHdr::LEN,
                if dns {
                    UdpHdr::LEN + DNS_LEN
                } else {
                    UdpHdr::LEN
                },
            )
        }
        SCTP => (SctpHdr::LEN, SctpHdr::LEN),
        ICMP | ICMP6 => {
            let kind = packet.u8(layers.l4).unwrap_or(0);
            let quote = if layers.proto == ICMP {
                Ipv4Hdr::LEN + 8
            } else {
                Ipv6Hdr::LEN + 8
            };
            let copied = if is_icmp_error(layers.network, kind) {
                Icmpv4Hdr::LEN + quote
            } else if layers.proto == ICMP6 && (kind == SOLICITATION || kind == ADVERTISEMENT) {
                NEIGHBOUR_LEN
            } else {
                Icmpv4Hdr::LEN
            };
            (Icmpv4Hdr::LEN, copied)
        }
        _ => (0, 0),
    }
}

/// The keyed hash of what follows the headers, up to the packet's end.
#[inline(always)]
fn hash(skb: *mut __sk_buff, at: usize, packet_end: usize, load: &Load) -> u64 {
    if at >= packet_end {
        return 0;
    }
    let mut bytes = [0; HASHED_BYTES];
    // At least 1 and at most HASHED_BYTES, in a form the verifier sees.
    let len = (((packet_end - at).min(HASHED_BYTES) - 1) & (HASHED_BYTES - 1)) + 1;
    if copy(skb, at, &mut bytes, len) {
        payload_hash(load.key, &bytes, len)
    } else {
        0
    }
}
