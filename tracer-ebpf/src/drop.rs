//! The programs on `kfree_skb`: packets that go no further.
//!
//! `void kfree_skb(struct sk_buff *skb, void *location)`, since Linux 5.17
//! with `enum skb_drop_reason reason`, since 6.11 with `struct sock *rx_sk`
//! (include/trace/events/skb.h). Reading an argument that a kernel's
//! tracepoint does not have is refused by its verifier, so there is a program
//! for each signature, and user space loads the one that fits.
//!
//! The tracepoint is the kernel's, not a namespace's: most of what comes here
//! is somebody else's. So the first question is whose namespace a packet died
//! in. The socket that refused it knows best. Then the device, if it is one:
//! UDP and TCP use the pointer's place for other things. The packet's own
//! socket comes last, because it tells who sent it: a veth pair takes a packet
//! to another namespace with its sender's socket still on it, which is taken
//! off only as the IP layer receives it (`skb_orphan` in `ip_rcv_core`).
//!
//! Everything is read with `bpf_probe_read_kernel`, which fails where a
//! pointer leads nowhere; then that source is passed over.

use aya_ebpf::{
    helpers::generated::{bpf_ktime_get_ns, bpf_probe_read_kernel},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use tracer_common::{
    drop::{DropCounter, DropEvent, DropLoad, FIRST_NAMESPACE, NAME_BYTES, Scope},
    packet::Packet,
    walk::{MAX_OFFSET, arp, walk},
};

use crate::{
    headers::{Bytes, fill_headers},
    maps::{self, DROPS, Freed},
};

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
    maps::count_drop(match maps::freed() {
        Some(scratch) => {
            // Through memory, because the verifier allows no arithmetic with
            // a pointer that it knows the type of.
            *scratch = Freed {
                skb,
                location,
                receiver,
                reason,
                netns: 0,
                scope: 0,
                layers: None,
            };
            try_freed()
        }
        // The map has this element.
        None => DropCounter::Unscoped,
    });
    0
}

/// What becomes of the freed packet in the scratch memory.
#[inline(always)]
fn try_freed() -> DropCounter {
    match find_namespace() {
        SCOPE_WANTED => emit(),
        SCOPE_ELSEWHERE => DropCounter::Elsewhere,
        _ => DropCounter::Unscoped,
    }
}

const SCOPE_NONE: u32 = 0;
const SCOPE_WANTED: u32 = 1;
const SCOPE_ELSEWHERE: u32 = 2;

/// Finds the namespace that the packet died in, and whether it is wanted.
#[inline(never)]
fn find_namespace() -> u32 {
    let Some(freed) = maps::freed() else {
        return SCOPE_NONE;
    };
    let load = maps::drop_load();
    let by_socket = |at: u64| namespace(at, load.sk_net, &load);
    let by_device = || namespace(pointer(freed.skb, load.skb_dev)?, load.dev_net, &load);
    let (netns, scope) = if let Some(netns) = by_socket(freed.receiver) {
        (netns, Scope::Receiver)
    } else if let Some(netns) = by_device() {
        (netns, Scope::Device)
    } else if let Some(netns) = pointer(freed.skb, load.skb_sk).and_then(by_socket) {
        (netns, Scope::Socket)
    } else {
        return SCOPE_NONE;
    };
    freed.netns = netns;
    freed.scope = scope as u32;
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

/// The bytes at an offset in a kernel structure.
#[inline(always)]
fn field<const N: usize>(structure: u64, offset: u32) -> Option<[u8; N]> {
    let mut bytes = [0_u8; N];
    read(structure.wrapping_add(u64::from(offset)), &mut bytes, N).then_some(bytes)
}

/// The pointer there; none where it is null.
#[inline(always)]
fn pointer(structure: u64, offset: u32) -> Option<u64> {
    field(structure, offset)
        .map(u64::from_ne_bytes)
        .filter(|pointer| *pointer != 0)
}

/// Copies `len` bytes, at most as many as `to` has, from kernel memory.
#[inline(always)]
fn read(from: u64, to: &mut [u8], len: usize) -> bool {
    // SAFETY: `to` holds `len` bytes; the helper checks what it reads.
    unsafe { bpf_probe_read_kernel(to.as_mut_ptr().cast(), len as u32, from as *const _) == 0 }
}

/// Writes the event of a packet that was freed in a wanted namespace.
#[inline(never)]
fn emit() -> DropCounter {
    let (Some(config), Some(freed)) = (maps::config(), maps::freed()) else {
        return DropCounter::Unscoped;
    };
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
    event.location = freed.location;
    event.reason = freed.reason;
    event.netns = freed.netns;
    event.scope = freed.scope as u8;
    event.hop.time = time;
    event.hop.skb = freed.skb.wrapping_add(maps::load().salt);
    fill_device(event, freed.skb, freed.scope);
    fill_packet(event, freed.skb);
    record.submit(0);
    DropCounter::Emitted
}

/// Fills in the device, if the packet has one, in the namespace it died in.
#[inline(always)]
fn fill_device(event: &mut DropEvent, skb: u64, scope: u32) {
    let load = maps::drop_load();
    let Some(dev) = pointer(skb, load.skb_dev) else {
        return;
    };
    // A pointer that is no device's may still lead somewhere.
    let known =
        scope == Scope::Device as u32 || namespace(dev, load.dev_net, &load) == Some(event.netns);
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

/// ARP's EtherType (IEEE 802, RFC 826).
const ARP: u16 = 0x0806;

/// Fills in the packet, as far as its headers can be read.
#[inline(always)]
fn fill_packet(event: &mut DropEvent, skb: u64) {
    let load = maps::drop_load();
    event.protocol = field(skb, load.skb_protocol).map_or(0, u16::from_be_bytes);
    let Some(head) = pointer(skb, load.skb_head) else {
        return;
    };
    let Some(data) = pointer(skb, load.skb_data) else {
        return;
    };
    let offset = |at| field(skb, at).map_or(0, u16::from_ne_bytes);
    let word = |at| field(skb, at).map_or(0, u32::from_ne_bytes);
    let network = offset(load.skb_network_header);
    let mac = offset(load.skb_mac_header);
    let tail = word(load.skb_tail);
    let present = (data.wrapping_sub(head) as u32).wrapping_add(word(load.skb_len));
    event.hop.len = present.wrapping_sub(u32::from(network));
    event.hop.gso_segs = pointer(skb, load.skb_head)
        .and_then(|head| field(head + u64::from(word(load.skb_end)), load.shared_gso_segs))
        .map_or(0, |bytes| u32::from(u16::from_ne_bytes(bytes)));
    // 0xffff stands for "not set", and lies behind every tail.
    if u32::from(mac) + 12 <= u32::from(network) {
        read(head + u64::from(mac), &mut event.hop.macs, 12);
    }
    let headers = Headers {
        start: head + u64::from(network),
        len: u64::from(tail.saturating_sub(u32::from(network)) & 0xffff),
    };
    if network == 0 || u32::from(network) >= tail {
        return;
    }
    let located = if event.protocol == ARP {
        locate_arp(&headers)
    } else {
        locate(&headers)
    };
    if !located {
        return;
    }
    fill_located(event, &headers);
    // On kernels that let programs of this kind interrupt each other, another
    // packet's headers may have been where this one's were looked for.
    if maps::freed().is_none_or(|freed| freed.skb != skb) {
        event.hop.network = 0;
    }
}

/// Finds the innermost packet; where it lies is then in the scratch memory.
#[inline(never)]
fn locate(headers: &Headers) -> bool {
    let Some(freed) = maps::freed() else {
        return false;
    };
    match walk(headers, false, &maps::load().vxlan_ports) {
        Ok(Some(layers)) => {
            freed.layers = Some(layers);
            true
        }
        _ => false,
    }
}

/// As [`locate`], for ARP: without an Ethernet header, nothing in it says so.
#[inline(never)]
fn locate_arp(headers: &Headers) -> bool {
    let Some(freed) = maps::freed() else {
        return false;
    };
    freed.layers = arp(headers, 0).ok();
    freed.layers.is_some()
}

/// Copies the headers that [`locate`] has found.
#[inline(never)]
fn fill_located(event: &mut DropEvent, headers: &Headers) {
    let Some(Freed {
        layers: Some(layers),
        ..
    }) = maps::freed()
    else {
        return;
    };
    fill_headers(&mut event.hop, headers, layers, &maps::load());
}

/// A packet's linear part from its network header on.
struct Headers {
    /// Kernel address.
    start: u64,
    /// Bytes that may be read.
    len: u64,
}

impl Packet for Headers {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        if (offset + N) as u64 > self.len {
            return None;
        }
        read(self.start + offset as u64, &mut bytes, N).then_some(bytes)
    }
}

impl Bytes for Headers {
    #[inline(always)]
    fn copy(&self, offset: usize, to: &mut [u8], len: usize) -> bool {
        if len == 0 || len > to.len() {
            return len == 0;
        }
        offset <= MAX_OFFSET
            && (offset + len) as u64 <= self.len
            && read(self.start + offset as u64, to, len)
    }
}
