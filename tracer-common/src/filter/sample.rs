//! The sample: which packets are kept if there are too many.

use network_types::ip::IpProto;

use super::{Ends, prefilter::fold};
use crate::{hash::mix, layers::Layers, packet::Packet};

/// A hash that is the same for one packet at every point it passes, so that
/// sampling takes whole journeys.
///
/// TCP is hashed by flow and timestamp. Segmentation and GRO keep both, so a super-packet and
/// its segments are sampled alike. Other packets are hashed by flow and IP identification, ICMP
/// also by identifier and sequence number.
#[inline(always)]
pub fn sampling_hash<P: Packet + ?Sized>(packet: &P, layers: &Layers, ends: &Ends) -> u64 {
    /// The options NOP, NOP, timestamp, length 10, in the order in which Linux writes them (RFC
    /// 7323, A).
    const TIMESTAMP: u32 = 0x0101_080a;

    let src = fold(packet, ends.src, ends.v4).unwrap_or(0);
    let dst = fold(packet, ends.dst, ends.v4).unwrap_or(0);
    let (src_port, dst_port) = ends.ports(packet);
    let flow = mix(
        u64::from(src) << 32 | u64::from(dst),
        u64::from(src_port) << 32 | u64::from(dst_port) << 16 | u64::from(ends.proto),
    );
    if layers.proto == IpProto::Tcp as u8 && layers.has_transport() {
        // Bytes after the packet's end (padding) are not there at every point.
        let options = layers.has(28).then(|| packet.be32(layers.l4 + 20));
        return match options.flatten() {
            Some(TIMESTAMP) => mix(flow, u64::from(packet.be32(layers.l4 + 24).unwrap_or(0))),
            _ => flow,
        };
    }
    let echo = match layers.proto {
        proto
            if (proto == IpProto::Icmp as u8 || proto == IpProto::Ipv6Icmp as u8)
                && layers.has(8) =>
        {
            packet.be32(layers.l4 + 4).unwrap_or(0)
        }
        _ => 0,
    };
    mix(flow, u64::from(layers.fragment_id) << 32 | u64::from(echo))
}
