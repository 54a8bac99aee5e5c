//! Reads a packet's bytes from any kind of storage.

/// A packet whose bytes can be read at an offset from its first byte.
///
/// Reads are checked: an offset or a length beyond the packet is `None`,
/// never a panic and never a partial read.
pub trait Packet {
    /// Returns `offset`, as a value of which the verifier knows nothing.
    ///
    /// The verifier follows a program separately for each value that it can distinguish, and so
    /// for each way through the headers before. A reader that accepts any offset hides the
    /// difference, so that the verifier checks the rest only once. Other readers return the
    /// offset unchanged.
    #[inline(always)]
    fn any(&self, offset: usize) -> usize {
        offset
    }

    /// Offset after the packet's last byte, readable or not. [`crate::glance`] does not call
    /// it.
    fn end(&self) -> usize;

    /// Reads `N` bytes at `offset`; `None` if the packet does not have all of them.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// Reads one byte.
    #[inline(always)]
    fn u8(&self, offset: usize) -> Option<u8> {
        self.read::<1>(offset).map(|[byte]| byte)
    }

    /// Reads two bytes in network byte order.
    #[inline(always)]
    fn be16(&self, offset: usize) -> Option<u16> {
        self.read(offset).map(u16::from_be_bytes)
    }

    /// Reads four bytes in network byte order.
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
