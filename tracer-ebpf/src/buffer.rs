//! Ways to read a packet that the kernel frees.
//!
//! A program on a tracepoint has no context to read packets through, but it has the sk_buff itself.
//! The verifier knows the type of that pointer, and admits loads of its fields at constant offsets,
//! which cost next to nothing. Memory behind these fields is plain kernel memory. To read it takes
//! a helper call, whose cost hardly depends on the number of copied bytes.

use core::hint::black_box;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use network_types::eth::EthHdr;
use tracer_common::{headers::Bytes, packet::Packet, walk::MAX_OFFSET};

use crate::maps::{self, DROP_LOAD, FRONT, Freed};

/// Loads the field at `offset` of the sk_buff that a program was given.
///
/// The offset is one of [`DROP_LOAD`]'s. The verifier takes it for a constant, because user space
/// has written it and the map is frozen. `skb` must come straight from the program's arguments: a
/// copy from memory is a plain number for the verifier.
#[inline(always)]
pub(crate) fn direct<T: Copy>(skb: u64, offset: &'static u32) -> T {
    let at = skb.wrapping_add(u64::from(constant(offset)));
    // SAFETY: the verifier admits the load only if the sk_buff has these bytes, and the sk_buff is
    // valid while the program runs.
    unsafe { core::ptr::read_volatile(at as *const T) }
}

/// A read-only global, as user space has written it.
#[inline(always)]
fn constant(global: &'static u32) -> u32 {
    // SAFETY: a reference is valid. The read is volatile, because user space has replaced the value
    // that the compiler knows.
    unsafe { core::ptr::read_volatile(global) }
}

/// The bytes at an offset in any kernel structure.
#[inline(always)]
pub(crate) fn field<const N: usize>(structure: u64, offset: u32) -> Option<[u8; N]> {
    let mut bytes = [0_u8; N];
    read(structure.wrapping_add(u64::from(offset)), &mut bytes, N).then_some(bytes)
}

/// The pointer at an offset in any kernel structure, or none if it is null.
#[inline(always)]
pub(crate) fn pointer(structure: u64, offset: u32) -> Option<u64> {
    field(structure, offset)
        .map(u64::from_ne_bytes)
        .filter(|pointer| *pointer != 0)
}

/// Copies `len` bytes, at most as many as `to` has, from kernel memory. Returns false if the
/// address is not readable.
#[inline(always)]
pub(crate) fn read(from: u64, to: &mut [u8], len: usize) -> bool {
    // SAFETY: `to` holds `len` bytes; the helper checks the source.
    unsafe { bpf_probe_read_kernel(to.as_mut_ptr().cast(), len as u32, from as *const _) == 0 }
}

/// Finds the network header of the sk_buff that the program was given, and copies the first bytes
/// from there to the scratch memory. Returns false if the sk_buff has no network header.
#[inline(always)]
pub(crate) fn find(skb: u64, freed: &Freed) -> bool {
    let head: u64 = direct(skb, &DROP_LOAD.skb_head);
    let network: u16 = direct(skb, &DROP_LOAD.skb_network_header);
    let tail: u32 = direct(skb, &DROP_LOAD.skb_tail);
    let data: u64 = direct(skb, &DROP_LOAD.skb_data);
    let len: u32 = direct(skb, &DROP_LOAD.skb_len);
    // 0xffff stands for "not set", and is at or above every tail of a sensible buffer.
    if network == 0 || u32::from(network) >= tail {
        return false;
    }
    freed.start.set(head.wrapping_add(u64::from(network)));
    freed
        .len
        .set(u64::from((tail - u32::from(network)) & 0xffff));
    let end = (data.wrapping_sub(head) as u32).wrapping_add(len);
    freed.end.set(end.wrapping_sub(u32::from(network)));
    // All these bytes are readable, even past the packet's tail: `struct skb_shared_info` follows
    // the buffer's end, and is larger than `FRONT`. SAFETY: the pointer is valid, and nobody has a
    // reference to the bytes yet.
    let front = unsafe { &mut *freed.front.as_ptr() };
    read(freed.start.get(), front, FRONT)
}

/// Moves the start of what [`find`] found back to the Ethernet header, whose EtherType is right
/// before the kernel's network header. Returns false if there is no room for an Ethernet header.
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

/// The first bytes of a packet from its network header on, as [`find`] copied them.
pub(crate) struct Front<'a> {
    /// The number of bytes that the linear part has from there on, perhaps more than `bytes`.
    len: usize,
    bytes: &'a [u8; FRONT],
}

impl<'a> Front<'a> {
    #[inline(always)]
    pub(crate) fn of(freed: &'a Freed) -> Self {
        Self {
            len: freed.len.get() as usize,
            // SAFETY: the pointer is valid, and only `find`, which runs before, writes there.
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
        // Linux 5.10 forgets the bounds of a number that was put on the stack before the
        // comparison. The black box makes sure that the compared number is the one used.
        let offset = black_box(offset);
        // Two comparisons, each with a number that the verifier knows. Only from Linux 6.8 on does
        // the verifier accept one comparison with the smaller of the two numbers.
        if offset > FRONT - N || offset + N > self.len {
            return None;
        }
        self.bytes.get(offset..)?.first_chunk().copied()
    }
}

/// A packet's linear part, from its network header or its Ethernet header on.
pub(crate) struct Headers {
    /// Kernel address.
    start: u64,
    /// The number of bytes that may be read.
    len: u64,
    /// The number of bytes up to the packet's end, page fragments included.
    end: u32,
}

impl Headers {
    /// The headers that [`find`] found.
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
