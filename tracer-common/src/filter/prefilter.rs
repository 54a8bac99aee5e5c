//! The first stage: a bit array of addresses.

use crate::packet::Packet;

/// Words of the bit array: 4,096 bits.
pub const PREFILTER_WORDS: usize = 64;

/// The bit array. A set bit says that an address with this
/// index may be of interest.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefilter {
    /// 64 bits each.
    pub words: [u64; PREFILTER_WORDS],
}

/// An address in 32 bits.
#[inline(always)]
pub(super) fn fold<P: Packet + ?Sized>(packet: &P, at: usize, v4: bool) -> Option<u32> {
    if v4 {
        packet.read(at).map(u32::from_ne_bytes)
    } else {
        packet.read(at).map(fold_v6)
    }
}

#[inline(always)]
const fn fold_v6(address: [u8; 16]) -> u32 {
    let bits = u128::from_ne_bytes(address);
    (bits as u32) ^ ((bits >> 32) as u32) ^ ((bits >> 64) as u32) ^ ((bits >> 96) as u32)
}

/// Position in the [`Prefilter`] of a folded address (Fibonacci hashing: the
/// golden ratio's bits spread neighbouring addresses).
#[inline(always)]
pub(super) const fn prefilter_index(word: u32) -> u32 {
    word.wrapping_mul(0x9e37_79b1) >> 20
}

const _: () = assert!(PREFILTER_WORDS * 64 == 1 << 12);

impl Prefilter {
    /// Nothing is of interest.
    pub const EMPTY: Self = Self {
        words: [0; PREFILTER_WORDS],
    };
    /// Everything may be.
    pub const FULL: Self = Self {
        words: [u64::MAX; PREFILTER_WORDS],
    };

    /// Marks an IPv4 address.
    pub const fn insert_v4(&mut self, address: [u8; 4]) {
        self.set(prefilter_index(u32::from_ne_bytes(address)));
    }

    /// Marks an IPv6 address.
    pub const fn insert_v6(&mut self, address: [u8; 16]) {
        self.set(prefilter_index(fold_v6(address)));
    }

    const fn set(&mut self, index: u32) {
        self.words[index as usize / 64] |= 1 << (index % 64);
    }

    /// Whether the bit at `index` is set.
    #[must_use]
    pub const fn contains(&self, index: u32) -> bool {
        self.words[index as usize / 64] & (1 << (index % 64)) != 0
    }
}
