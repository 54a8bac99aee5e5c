//! The two hashes: a keyed one of payload bytes, and a cheap one for sampling.

/// Number of hashed payload bytes.
pub const HASHED_BYTES: usize = 32;

/// The key of a follow. Recordings that are meant to be joined share it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Key(pub [u64; 2]);

/// SipHash-1-3 (Aumasson, Bernstein: "SipHash: a fast short-input PRF", 2012) of the first
/// payload bytes. Shorter payloads are padded with zeros. The last block has the number of
/// hashed payload bytes, as in the paper.
///
/// The hash has a key, so that a reader of events cannot look up guessed payloads in a table
/// made beforehand.
#[inline(always)]
#[must_use]
pub fn payload_hash(key: Key, bytes: &[u8; HASHED_BYTES], len: usize) -> u64 {
    let Key([k0, k1]) = key;
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let (words, _) = bytes.as_chunks::<8>();
    for word in words {
        absorb(&mut v, u64::from_le_bytes(*word));
    }
    absorb(&mut v, (len as u64) << 56);
    v[2] ^= 0xff;
    round(&mut v);
    round(&mut v);
    round(&mut v);
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

#[inline(always)]
const fn absorb(v: &mut [u64; 4], word: u64) {
    v[3] ^= word;
    round(v);
    v[0] ^= word;
}

#[inline(always)]
const fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

/// Mixes one word into a sampling hash (the 64-bit finalizer of MurmurHash3 by Austin Appleby,
/// public domain). It protects no secrets.
#[inline(always)]
#[must_use]
pub const fn mix(hash: u64, word: u64) -> u64 {
    let mut x = hash ^ word;
    x ^= x >> 33;
    x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 33;
    x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The standard library's default hasher is SipHash-1-3 with both key words zero, so its
    /// values are the reference.
    #[test]
    fn agrees_with_the_standard_library() {
        extern crate std;
        use core::hash::Hasher as _;
        use std::hash::DefaultHasher;
        let mut bytes = [0_u8; HASHED_BYTES];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::try_from(at * 7 % 251).expect("below 251");
        }
        let mut hasher = DefaultHasher::new();
        hasher.write(&bytes);
        assert_eq!(
            payload_hash(Key([0, 0]), &bytes, HASHED_BYTES),
            hasher.finish()
        );
    }

    #[test]
    fn key_and_length_matter() {
        let bytes = [0_u8; HASHED_BYTES];
        let one = payload_hash(Key([1, 2]), &bytes, 8);
        assert_ne!(one, payload_hash(Key([1, 3]), &bytes, 8));
        assert_ne!(one, payload_hash(Key([1, 2]), &bytes, 9));
    }
}
