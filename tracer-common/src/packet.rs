//! Reading a packet's bytes, whatever holds them.

/// A packet whose bytes can be read at an offset from its first byte.
///
/// Reads are checked: an offset or a length beyond the packet is `None`,
/// never a panic and never a partial read.
pub trait Packet {
    /// `offset`, as one of which nothing is known.
    ///
    /// The verifier follows a program for each value that it can tell from
    /// another: for each way through the headers before. A reader that can
    /// read at any offset makes it forget the difference, so that it checks
    /// what comes next once; others return it as it is.
    #[inline(always)]
    fn any(&self, offset: usize) -> usize {
        offset
    }

    /// Offset behind its last byte, whatever of it can be read. Nobody asks a
    /// reader of plain headers ([`crate::glance`]).
    fn end(&self) -> usize;

    /// The `N` bytes at `offset`, if the packet has them all.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// One byte.
    #[inline(always)]
    fn u8(&self, offset: usize) -> Option<u8> {
        self.read::<1>(offset).map(|[byte]| byte)
    }

    /// Two bytes, from network byte order.
    #[inline(always)]
    fn be16(&self, offset: usize) -> Option<u16> {
        self.read(offset).map(u16::from_be_bytes)
    }

    /// Four bytes, from network byte order.
    #[inline(always)]
    fn be32(&self, offset: usize) -> Option<u32> {
        self.read(offset).map(u32::from_be_bytes)
    }
}

impl Packet for [u8] {
    #[inline(always)]
    fn end(&self) -> usize {
        self.len()
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk().copied()
    }
}
