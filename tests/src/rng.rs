//! Random numbers for labs. A seed repeats a lab, so the same seed must give the same numbers on
//! every machine and with every crate version. SplitMix64 does this in six lines.

use std::hash::{BuildHasher, Hasher, RandomState};

/// The letters in names that Kubernetes generates, which spell no words.
const SUFFIX: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A reproducible sequence of numbers.
#[derive(Debug)]
pub struct Rng(u64);

impl Rng {
    /// The sequence of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A seed that differs from run to run.
    #[must_use]
    pub fn fresh_seed() -> u64 {
        RandomState::new().build_hasher().finish()
    }

    /// The sequence's next number.
    #[expect(
        clippy::should_implement_trait,
        reason = "it never ends, and is asked one by one"
    )]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub fn range(&mut self, low: u32, high: u32) -> u32 {
        let width = u64::from(high - low) + 1;
        let offset = u32::try_from(self.next() % width).expect("the width is a u32's at most");
        low + offset
    }

    /// As [`Rng::range`], for one byte of an address.
    pub(crate) fn byte(&mut self, low: u8, high: u8) -> u8 {
        u8::try_from(self.range(low.into(), high.into())).expect("both ends are bytes")
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[usize::try_from(self.next() % from.len() as u64).expect("an index of a slice")]
    }

    /// A random suffix as in the name of a pod of a Deployment.
    pub(crate) fn suffix(&mut self, len: usize) -> String {
        let letters = SUFFIX.len() as u64;
        (0..len)
            .map(|_| usize::try_from(self.next() % letters).expect("an index of a slice"))
            .map(|index| char::from(SUFFIX[index]))
            .collect()
    }

    /// A locally administered unicast MAC address.
    pub(crate) fn mac(&mut self) -> String {
        let [_, _, a, b, c, d, e, f] = self.next().to_be_bytes();
        let first = (a & 0xfc) | 0x02;
        format!("{first:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }

    /// A random (version 4) UUID, as Kubernetes gives objects.
    pub(crate) fn uuid(&mut self) -> String {
        let high = (self.next() & !0xf000) | 0x4000;
        let low = (self.next() & !(0b11 << 62)) | (0b10 << 62);
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff,
        )
    }
}
