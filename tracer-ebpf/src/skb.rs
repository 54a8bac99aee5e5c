//! Ways to read an sk_buff's bytes.
//!
//! [`Linear`] reads straight from the buffer's linear part, where headers
//! nearly always are, at the cost of a comparison. [`Whole`] reaches every
//! byte, page fragments included, through a helper call. [`Either`] tries one
//! after the other.

use core::{hint::black_box, mem::MaybeUninit};

use aya_ebpf::{bindings::__sk_buff, helpers::generated::bpf_skb_load_bytes};
use tracer_common::{headers::Bytes, packet::Packet, walk::MAX_OFFSET};

use crate::maps;

/// The linear part.
#[derive(Clone, Copy)]
pub(crate) struct Linear {
    data: usize,
    end: usize,
}

impl Linear {
    /// That of `skb`.
    #[inline(always)]
    pub(crate) fn new(skb: *mut __sk_buff) -> Self {
        // SAFETY: the context pointer is valid while the program runs.
        let context = unsafe { &*skb };
        Self {
            data: context.data as usize,
            end: context.data_end as usize,
        }
    }
}

impl Packet for Linear {
    #[inline(always)]
    fn end(&self) -> usize {
        self.end - self.data
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let start = self.data + offset;
        if start + N > self.end {
            return None;
        }
        // SAFETY: the bytes lie in the linear part, as was just compared; the
        // verifier proves it again.
        Some(unsafe { (start as *const [u8; N]).read_unaligned() })
    }
}

/// The whole packet.
#[derive(Clone, Copy)]
pub(crate) struct Whole(pub(crate) *mut __sk_buff);

impl Packet for Whole {
    #[inline(always)]
    fn end(&self) -> usize {
        // SAFETY: the context pointer is valid while the program runs.
        unsafe { (*self.0).len as usize }
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let mut bytes = MaybeUninit::<[u8; N]>::uninit();
        // SAFETY: the context pointer is valid, and `bytes` holds `N` bytes.
        let error = unsafe {
            bpf_skb_load_bytes(
                self.0.cast(),
                offset as u32,
                bytes.as_mut_ptr().cast(),
                N as u32,
            )
        };
        // SAFETY: the helper has written all of them.
        (error == 0).then(|| unsafe { bytes.assume_init() })
    }
}

/// Has every bit that an offset up to [`MAX_OFFSET`] has.
const MASK: usize = 2 * MAX_OFFSET - 1;
const _: () = assert!(MAX_OFFSET.is_power_of_two());

/// The linear part where it suffices, else the whole packet.
#[derive(Clone, Copy)]
pub(crate) struct Either {
    linear: Linear,
    whole: Whole,
}

impl Either {
    #[inline(always)]
    pub(crate) fn new(skb: *mut __sk_buff) -> Self {
        Self {
            linear: Linear::new(skb),
            whole: Whole(skb),
        }
    }
}

impl Packet for Either {
    #[inline(always)]
    fn end(&self) -> usize {
        self.whole.end()
    }

    #[inline(always)]
    fn any(&self, offset: usize) -> usize {
        maps::forget(offset)
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        // The verifier must see that the sum stays small, and that it is the
        // same pointer that is compared and then read from: the compiler
        // would rather add twice. The comparison alone does not show it to
        // Linux 6.12: of numbers that differ by a constant, a comparison of one
        // makes it forget the bounds of the others (`sync_linked_regs`).
        if offset <= MAX_OFFSET {
            let start = black_box(self.linear.data + (black_box(offset) & MASK));
            if start + N <= self.linear.end {
                // SAFETY: the bytes lie in the linear part.
                return Some(unsafe { (start as *const [u8; N]).read_unaligned() });
            }
        }
        self.whole.read(offset)
    }
}

impl Bytes for Either {
    #[inline(always)]
    fn copy(&self, offset: usize, to: &mut [u8], len: usize) -> bool {
        if len == 0 || len > to.len() {
            return len == 0;
        }
        // SAFETY: the context pointer is valid, and `to` holds `len` bytes.
        unsafe {
            bpf_skb_load_bytes(
                self.whole.0.cast(),
                offset as u32,
                to.as_mut_ptr().cast(),
                len as u32,
            ) == 0
        }
    }
}
