//! A recording inside a capture, so that `tracer import` reads an export without loss.
//!
//! A capture has only rebuilt headers, but verdicts also rest on facts, counters, losses and
//! cluster objects. So `tracer export --format pcapng` adds the recording's own bytes after the
//! packets. They are in blocks of a type for local use, which other programs skip
//! (draft-ietf-opsawg-pcapng, 3.1). `tracer import` extracts them.

use std::io::{self, Read};

/// Type of the blocks: the first bit means "local use", the rest is "trc".
pub(crate) const PIECE: u32 = 0x8074_7263;

/// First bytes of each block, because others may use the same type.
const MAGIC: &[u8; 8] = b"tracer.1";
/// Length of a block's head, bytes.
const HEAD: usize = 8 + 4 + 4 + 8;
/// Length of a piece, bytes, so that readers need not hold more.
const LENGTH: usize = 1 << 16;

/// A piece of a recording. An empty piece follows the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Index of the recording, from 0.
    pub(crate) recording: u32,
    /// Offset of the piece in the recording, bytes.
    pub(crate) at: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Piece {
    /// Encodes the content of a block, little endian.
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

    /// Decodes what [`Self::to_bytes`] wrote, with the padding of a block; `None` if the block
    /// is another program's.
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

    /// Passes a recording to `take` in pieces.
    ///
    /// # Errors
    /// If the recording cannot be read; also errors of `take`.
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
            // A block is padded to whole 32-bit words.
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
