//! A packet at an observation point.

use std::sync::Arc;

use super::{Encap, Mac, Packet};

/// One packet seen at one observation point, at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The observation point: index into [`super::Hello::points`].
    pub point: usize,
    /// Time of the sighting, the agent's monotonic clock, ns.
    pub time: u64,
    /// Address of the sk_buff, salted per node. It identifies a packet only within the node,
    /// and only while the packet lives. 0 at XDP, where no sk_buff exists yet.
    pub skb: u64,
    /// Generation of the filter that matched the packet.
    pub generation: u32,
    /// Bytes from the frame's first header on, all segments together.
    pub len: u32,
    /// Number of segments that the packet will be cut into; 1 if it will not be cut.
    pub segments: u32,
    /// Source MAC address of the frame at this point; `None` on a device whose packets have no
    /// Ethernet header.
    pub src_mac: Option<Mac>,
    /// Destination MAC address of the frame at this point; `None` as for `src_mac`.
    pub dst_mac: Option<Mac>,
    /// Control information (TCI) of the VLAN tag that the kernel keeps beside the frame.
    pub vlan: Option<u16>,
    /// The innermost tunnel around the packet.
    pub encap: Option<Encap>,
    /// The innermost packet.
    pub packet: Packet,
    /// The first bytes of the frame as on the wire, if the agent captured them. The whole frame
    /// has `len` bytes, and four more for a VLAN tag that the kernel keeps beside it.
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
