//! A packet at an observation point.

use std::sync::Arc;

use super::{Encap, Mac, Packet};

/// One packet seen at one observation point, at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Index into [`super::Hello::points`].
    pub point: usize,
    /// The agent's monotonic clock, ns.
    pub time: u64,
    /// The sk_buff's address, salted per node: identity within the node,
    /// for as long as the packet lives.
    pub skb: u64,
    /// Generation of the filter that matched.
    pub generation: u32,
    /// Bytes from the frame's first header on, all segments together.
    pub len: u32,
    /// Segments that the packet will be cut into, 1 if it is whole.
    pub segments: u32,
    /// MAC addresses of the frame at this point; `None` on a device whose
    /// packets have no Ethernet header.
    pub src_mac: Option<Mac>,
    /// See `src_mac`.
    pub dst_mac: Option<Mac>,
    /// VLAN tag beside the frame: its control information.
    pub vlan: Option<u16>,
    /// The tunnel around the packet.
    pub encap: Option<Encap>,
    /// The innermost packet.
    pub packet: Packet,
    /// The first bytes of the frame as on the wire, if they were captured: `len` and what
    /// a tag beside the frame takes are all of it.
    pub frame: Option<Arc<[u8]>>,
}

/// Bytes of a VLAN tag in a frame.
const TAG: u32 = 4;

impl Hop {
    /// Bytes of the frame on the wire, all segments together.
    #[must_use]
    pub fn wire_len(&self) -> u32 {
        self.len.saturating_add(self.vlan.map_or(0, |_| TAG))
    }
}
