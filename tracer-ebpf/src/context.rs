//! The context that programs get for a packet, and ways to read the packet's bytes through it.
//!
//! [`Linear`] reads directly from the packet's linear part, where headers nearly always are, and
//! costs a comparison. [`Whole`] reaches every byte, page fragments included, through a helper
//! call. [`Either`] tries the linear part first.

use core::{ffi::c_void, hint::black_box, mem::MaybeUninit};

use tracer_common::{event::HopEvent, headers::Bytes, packet::Packet, walk::MAX_OFFSET};

use crate::maps;

/// The context of a program that sees packets pass: an sk_buff's, or that of XDP.
pub(crate) trait Context: Copy {
    /// The addresses of the linear part's start and end.
    fn linear(self) -> (usize, usize);

    /// The length of the packet in bytes, page fragments included.
    fn len(self) -> u32;

    /// The interface's index.
    fn ifindex(self) -> u32;

    /// Copies `len` bytes at `offset` from anywhere in the packet. Returns false if the packet does
    /// not have these bytes.
    ///
    /// # Safety
    /// `to` has room for `len` bytes.
    unsafe fn load(self, offset: usize, to: *mut c_void, len: usize) -> bool;

    /// Fills in the fields that depend on the kind of context: `skb`, which is the sk_buff's
    /// address plus `salt`, `gso_segs`, `vlan_tci` and `flags`.
    fn tell(self, event: &mut HopEvent, salt: u64);

    /// Further flags of [`HopEvent`] for captured frames.
    fn tell_captured(self) -> u8;
}

/// A packet's linear part.
#[derive(Clone, Copy)]
pub(crate) struct Linear {
    data: usize,
    end: usize,
}

impl Linear {
    /// The linear part of the context's packet.
    #[inline(always)]
    pub(crate) fn new<C: Context>(context: C) -> Self {
        let (data, end) = context.linear();
        Self { data, end }
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
        // SAFETY: the comparison shows that the bytes lie in the linear part, and the verifier
        // proves it again.
        Some(unsafe { (start as *const [u8; N]).read_unaligned() })
    }
}

/// The whole packet.
#[derive(Clone, Copy)]
pub(crate) struct Whole<C>(C);

impl<C: Context> Packet for Whole<C> {
    #[inline(always)]
    fn end(&self) -> usize {
        self.0.len() as usize
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let mut bytes = MaybeUninit::<[u8; N]>::uninit();
        // SAFETY: `bytes` holds `N` bytes.
        let loaded = unsafe { self.0.load(offset, bytes.as_mut_ptr().cast(), N) };
        // SAFETY: if the helper succeeds, it has written all of them.
        loaded.then(|| unsafe { bytes.assume_init() })
    }
}

/// A mask with every bit that an offset up to [`MAX_OFFSET`] can have.
const MASK: usize = 2 * MAX_OFFSET - 1;
const _: () = assert!(MAX_OFFSET.is_power_of_two());

/// The linear part if it suffices, otherwise the whole packet.
#[derive(Clone, Copy)]
pub(crate) struct Either<C> {
    linear: Linear,
    whole: Whole<C>,
}

impl<C: Context> Either<C> {
    #[inline(always)]
    pub(crate) fn new(context: C) -> Self {
        Self {
            linear: Linear::new(context),
            whole: Whole(context),
        }
    }
}

impl<C: Context> Packet for Either<C> {
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
        // The verifier must see that the sum stays small, and that the program compares and reads
        // the same pointer; the compiler would rather add twice. The comparison alone does not
        // convince Linux 6.12: if numbers differ by a constant, a comparison of one makes the
        // verifier forget the bounds of the others (`sync_linked_regs`).
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

impl<C: Context> Bytes for Either<C> {
    #[inline(always)]
    fn copy(&self, offset: usize, to: &mut [u8], len: usize) -> bool {
        if len == 0 || len > to.len() {
            return len == 0;
        }
        // SAFETY: `to` holds `len` bytes.
        unsafe { self.whole.0.load(offset, to.as_mut_ptr().cast(), len) }
    }
}
