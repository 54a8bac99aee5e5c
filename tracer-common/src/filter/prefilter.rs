//! The first stage: a Bloom filter of addresses that grows with the follow.
//!
//! An address sets two bits of one word, so a look-up is a single load however many addresses
//! the filter has. With as many words as addresses, one other address in some hundreds passes.

use crate::packet::Packet;

/// Limit of words of a [`Prefilter`]: 512 Kibit.
pub const PREFILTER_WORDS: usize = 1 << 13;

/// Least number of words: a few cache lines.
const LEAST_WORDS: usize = 1 << 6;

/// The Bloom filters of both slots, as the kernel keeps them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefilters {
    /// Words by the filter's slot. Only the first words are in use, as many as
    /// [`crate::config::Config::prefilter_masks`] says.
    pub words: [[u64; PREFILTER_WORDS]; 2],
}

/// Folds an address into 32 bits.
#[inline(always)]
pub(crate) fn fold<P: Packet + ?Sized>(packet: &P, at: usize, v4: bool) -> Option<u32> {
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

/// Position of a folded address in the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Number of the word, before the mask for the number of words.
    pub word: u32,
    /// The address's bits in the word: two, or one if they coincide.
    pub bits: u64,
}

impl Spot {
    /// Position of a folded address. Fibonacci hashing spreads neighbouring addresses.
    #[inline(always)]
    #[must_use]
    pub(crate) const fn of(folded: u32) -> Self {
        let hash = (folded as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self {
            word: (hash >> 32) as u32,
            bits: (1 << (hash >> 58)) | (1 << ((hash >> 52) & 63)),
        }
    }

    /// Whether a word with these bits may hold the address.
    #[inline(always)]
    #[must_use]
    pub const fn is_in(self, word: u64) -> bool {
        word & self.bits == self.bits
    }
}

/// The Bloom filter of one follow, before it is written to the kernel.
#[derive(Debug, PartialEq, Eq)]
pub struct Prefilter<'a> {
    words: &'a mut [u64],
}

impl<'a> Prefilter<'a> {
    /// Number of words for a number of addresses.
    #[must_use]
    pub fn words_for(addresses: usize) -> usize {
        addresses
            .next_power_of_two()
            .clamp(LEAST_WORDS, PREFILTER_WORDS)
    }

    /// Creates a filter in these words, which must be zeros. Their number must be a power of
    /// two.
    #[must_use]
    pub const fn new(words: &'a mut [u64]) -> Self {
        Self { words }
    }

    /// Adds an IPv4 address, network byte order.
    pub const fn insert_v4(&mut self, address: [u8; 4]) {
        self.insert(u32::from_ne_bytes(address));
    }

    /// Adds an IPv6 address, network byte order.
    pub const fn insert_v6(&mut self, address: [u8; 16]) {
        self.insert(fold_v6(address));
    }

    const fn insert(&mut self, folded: u32) {
        let spot = Spot::of(folded);
        let mask = self.words.len() - 1;
        self.words[spot.word as usize & mask] |= spot.bits;
    }
}
