//! Ways to read a packet that the kernel frees.
//!
//! A program on a tracepoint has no context to read packets through, but it
//! has the sk_buff itself. The verifier knows the type of that pointer, and
//! admits loads of its fields at constant offsets, which cost next to nothing.
//! What the fields point to is plain memory; it takes a helper call, whose
//! price hardly depends on how much it copies.

use core::hint::black_box;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use network_types::eth::EthHdr;
use tracer_common::{headers::Bytes, packet::Packet, walk::MAX_OFFSET};

use crate::maps::{self, DROP_LOAD, FRONT, Freed};

/// Loads the field at `offset` of the sk_buff that a program was given.
///
/// The offset is one of [`DROP_LOAD`]'s: a constant for the verifier, as user
/// space has written it and the map is frozen. Only for the pointer out of the
/// program's arguments: through memory it would be a number like any other.
#[inline(always)]
pub(crate) fn direct<T: Copy>(skb: u64, offset: &'static u32) -> T {
    let at = skb.wrapping_add(u64::from(constant(offset)));
    // SAFETY: the verifier admits the load only where the sk_buff has these
    // bytes, and it is valid while the program runs.
    unsafe { core::ptr::read_volatile(at as *const T) }
}

/// A read-only global, as user space has written it.
#[inline(always)]
fn constant(global: &'static u32) -> u32 {
    // SAFETY: a reference is valid. Volatile, because user space replaced the
    // value that the compiler saw.
    unsafe { core::ptr::read_volatile(global) }
}

/// The bytes at an offset in any kernel structure.
#[inline(always)]
pub(crate) fn field<const N: usize>(structure: u64, offset: u32) -> Option<[u8; N]> {
    let mut bytes = [0_u8; N];
    read(structure.wrapping_add(u64::from(offset)), &mut bytes, N).then_some(bytes)
}

/// The pointer there; none where it is null.
#[inline(always)]
pub(crate) fn pointer(structure: u64, offset: u32) -> Option<u64> {
    field(structure, offset)
        .map(u64::from_ne_bytes)
        .filter(|pointer| *pointer != 0)
}

/// Copies `len` bytes, at most as many as `to` has, from kernel memory. False
/// where the address leads nowhere.
#[inline(always)]
pub(crate) fn read(from: u64, to: &mut [u8], len: usize) -> bool {
    // SAFETY: `to` holds `len` bytes; the helper checks what it reads.
    unsafe { bpf_probe_read_kernel(to.as_mut_ptr().cast(), len as u32, from as *const _) == 0 }
}

/// Finds the network header of the sk_buff that the program was given, and
/// copies what begins there to the scratch memory. False if it has none.
#[inline(always)]
pub(crate) fn find(skb: u64, freed: &Freed) -> bool {
    let head: u64 = direct(skb, &DROP_LOAD.skb_head);
    let network: u16 = direct(skb, &DROP_LOAD.skb_network_header);
    let tail: u32 = direct(skb, &DROP_LOAD.skb_tail);
    let data: u64 = direct(skb, &DROP_LOAD.skb_data);
    let len: u32 = direct(skb, &DROP_LOAD.skb_len);
    // 0xffff stands for "not set", and lies behind every tail.
    if network == 0 || u32::from(network) >= tail {
        return false;
    }
    freed.start.set(head.wrapping_add(u64::from(network)));
    freed
        .len
        .set(u64::from((tail - u32::from(network)) & 0xffff));
    let end = (data.wrapping_sub(head) as u32).wrapping_add(len);
    freed.end.set(end.wrapping_sub(u32::from(network)));
    // All of it can be read, if not all of it is the packet: behind a
    // buffer's end lies `struct skb_shared_info`, which is larger.
    // SAFETY: the pointer is valid, and nobody has a reference to the bytes yet.
    let front = unsafe { &mut *freed.front.as_ptr() };
    read(freed.start.get(), front, FRONT)
}

/// Lets what [`find`] found begin where an Ethernet header would, if it is one:
/// its EtherType is right before what the kernel takes for the network header.
/// False if there is no room for one.
#[inline(always)]
pub(crate) fn begin_before(skb: u64, freed: &Freed) -> bool {
    let network: u16 = direct(skb, &DROP_LOAD.skb_network_header);
    if usize::from(network) < EthHdr::LEN {
        return false;
    }
    freed
        .start
        .set(freed.start.get().wrapping_sub(EthHdr::LEN as u64));
    freed.len.set(freed.len.get() + EthHdr::LEN as u64);
    freed
        .end
        .set(freed.end.get().wrapping_add(EthHdr::LEN as u32));
    freed.ethernet.set(1);
    true
}

/// The first bytes from a packet's network header on: what [`find`] copied.
pub(crate) struct Front<'a> {
    /// How many bytes the packet has: perhaps more than there are here.
    len: usize,
    bytes: &'a [u8; FRONT],
}

impl<'a> Front<'a> {
    #[inline(always)]
    pub(crate) fn of(freed: &'a Freed) -> Self {
        Self {
            len: freed.len.get() as usize,
            // SAFETY: the pointer is valid, and only `find`, which comes before,
            // writes there.
            bytes: unsafe { &*freed.front.as_ptr() },
        }
    }
}

impl Packet for Front<'_> {
    #[inline(always)]
    fn end(&self) -> usize {
        self.len
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        // Linux 5.10 forgets what is known of a number that was put on the stack before it
        // was compared: so that the one compared is the one used, it is made anew here.
        let offset = black_box(offset);
        // Two comparisons, each with something that the verifier knows: to see
        // that one with the lesser of both suffices takes Linux 6.8.
        if offset > FRONT - N || offset + N > self.len {
            return None;
        }
        self.bytes.get(offset..)?.first_chunk().copied()
    }
}

/// A packet's linear part from its network header on, or from its Ethernet
/// header.
pub(crate) struct Headers {
    /// Kernel address.
    start: u64,
    /// Bytes that may be read.
    len: u64,
    /// Bytes that it has, page fragments included.
    end: u32,
}

impl Headers {
    /// Those that [`find`] found.
    #[inline(always)]
    pub(crate) const fn of(freed: &Freed) -> Self {
        Self {
            start: freed.start.get(),
            len: freed.len.get(),
            end: freed.end.get(),
        }
    }
}

impl Packet for Headers {
    #[inline(always)]
    fn end(&self) -> usize {
        self.end as usize
    }

    #[inline(always)]
    fn any(&self, offset: usize) -> usize {
        maps::forget(offset)
    }

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
