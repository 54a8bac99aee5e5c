//! What programs are given of a packet, and ways to read its bytes from there.
//!
//! [`Linear`] reads straight from the packet's linear part, where headers
//! nearly always are, at the cost of a comparison. [`Whole`] reaches every
//! byte, page fragments included, through a helper call. [`Either`] tries one
//! after the other.

use core::{ffi::c_void, hint::black_box, mem::MaybeUninit};

use tracer_common::{event::HopEvent, headers::Bytes, packet::Packet, walk::MAX_OFFSET};

use crate::maps;

/// The context of a program that sees packets pass: an sk_buff's, or that of XDP.
pub(crate) trait Context: Copy {
    /// Where the linear part begins, and where it ends.
    fn linear(self) -> (usize, usize);

    /// Bytes of the packet, page fragments included.
    fn len(self) -> u32;

    /// The interface's index.
    fn ifindex(self) -> u32;

    /// Copies `len` bytes at `offset` from wherever they are; false where the packet has
    /// them not.
    ///
    /// # Safety
    /// There is room for so many bytes at `to`.
    unsafe fn load(self, offset: usize, to: *mut c_void, len: usize) -> bool;

    /// Fills in what only this kind of context knows of the packet: `skb`, which is
    /// `salt` more than the sk_buff's address, `gso_segs`, `vlan_tci` and `flags`.
    fn tell(self, event: &mut HopEvent, salt: u64);

    /// More flags of [`HopEvent`], where the frame is captured.
    fn tell_captured(self) -> u8;
}

/// The linear part.
#[derive(Clone, Copy)]
pub(crate) struct Linear {
    data: usize,
    end: usize,
}

impl Linear {
    /// That of a packet.
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
        // SAFETY: the bytes lie in the linear part, as was just compared; the
        // verifier proves it again.
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
        // SAFETY: the helper has written all of them.
        loaded.then(|| unsafe { bytes.assume_init() })
    }
}

/// Has every bit that an offset up to [`MAX_OFFSET`] has.
const MASK: usize = 2 * MAX_OFFSET - 1;
const _: () = assert!(MAX_OFFSET.is_power_of_two());

/// The linear part where it suffices, else the whole packet.
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
