//! A recording inside a capture, so that an export can be read back without loss.
//!
//! Headers in a capture are rebuilt, and a verdict rests on more than packets: on facts,
//! counters, losses and objects. So `tracer export --format pcapng` puts the recording's
//! own bytes behind the packets, into blocks of a type that is free for local use, which
//! other programs skip (draft-ietf-opsawg-pcapng, 3.1). `tracer import` takes them out.

use std::io::{self, Read};

/// The type of the blocks: the first bit says "local use", the rest is "trc".
pub(crate) const PIECE: u32 = 0x8074_7263;

/// What each begins with, for the number may be somebody else's, too.
const MAGIC: &[u8; 8] = b"tracer.1";
/// Bytes before those of the recording.
const HEAD: usize = 8 + 4 + 4 + 8;
/// Bytes of a recording in one piece: readers need not hold more.
const LENGTH: usize = 1 << 16;

/// A piece of a recording. An empty one is behind the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Which of the recordings, from 0.
    pub(crate) recording: u32,
    /// Where its bytes begin.
    pub(crate) at: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Piece {
    /// The content of a block.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).expect("a piece is short");
        let mut block = Vec::with_capacity(HEAD + self.bytes.len());
        block.extend(MAGIC);
        block.extend(self.recording.to_le_bytes());
        block.extend(length.to_le_bytes());
        block.extend(self.at.to_le_bytes());
        block.extend(&self.bytes);
        block
    }

    /// What [`Self::to_bytes`] wrote, with what a block is filled up with behind it.
    pub(crate) fn from_bytes(block: &[u8]) -> Option<Self> {
        let (head, bytes) = block.split_first_chunk::<HEAD>()?;
        let (magic, head) = head.split_first_chunk::<8>()?;
        let (recording, head) = head.split_first_chunk::<4>()?;
        let (length, at) = head.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        (magic == MAGIC).then_some(())?;
        Some(Self {
            recording: u32::from_le_bytes(*recording),
            at: u64::from_le_bytes(at.try_into().ok()?),
            bytes: bytes.get(..length)?.to_vec(),
        })
    }

    /// Hands out a recording in pieces.
    ///
    /// # Errors
    /// If it cannot be read, and those of `take`.
    pub(crate) fn each(
        recording: u32,
        mut from: impl Read,
        mut take: impl FnMut(&Self) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut at = 0;
        loop {
            let mut bytes = Vec::with_capacity(LENGTH);
            (&mut from).take(LENGTH as u64).read_to_end(&mut bytes)?;
            let piece = Self {
                recording,
                at,
                bytes,
            };
            take(&piece)?;
            if piece.bytes.is_empty() {
                return Ok(());
            }
            at += piece.bytes.len() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_comes_back_out_of_its_pieces() {
        let recording: Vec<u8> = (0..200_001_u32).map(|at| (at % 251) as u8).collect();
        let mut back: Vec<u8> = Vec::new();
        let mut last = None;
        Piece::each(3, &*recording, |piece| {
            let mut block = piece.to_bytes();
            // As a block is filled up to whole words.
            block.resize(block.len().next_multiple_of(4), 0);
            let read = Piece::from_bytes(&block).expect("a piece");
            assert_eq!(read, *piece);
            assert_eq!((read.recording, read.at), (3, back.len() as u64));
            back.extend(&read.bytes);
            last = Some(read.bytes.is_empty());
            Ok(())
        })
        .expect("memory");
        assert_eq!((back == recording, last), (true, Some(true)));
        for length in 0..HEAD {
            assert_eq!(Piece::from_bytes(&vec![0x74; length]), None);
        }
        assert_eq!(Piece::from_bytes(&[0; 64]), None);
    }
}
