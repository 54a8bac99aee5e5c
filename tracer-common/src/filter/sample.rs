//! The sample: which packets are kept if there are too many.

use network_types::ip::IpProto;

use crate::{
    hash::mix,
    layers::{Layers, Network},
    packet::Packet,
};

/// A hash that is the same for one packet at every point it passes, so that sampling takes whole
/// journeys. It uses no address and no port, because NAT changes these.
///
/// - TCP is hashed by its timestamp, or else by its acknowledgement number. A SYN without a
///   timestamp has its sequence number instead. Segmentation and GRO keep these, so a super-packet
///   and its segments are sampled alike.
/// - Other packets are hashed by their IP identification, which all fragments share. A packet
///   without one is hashed by words that follow its ports, and an echo by its sequence number.
/// - An ICMP error is hashed as the packet that it quotes. Some routers quote too little for that:
///   8 bytes behind the IP header (RFC 792). Such an error is sampled apart, unless the packet has an
///   IP identification and is no TCP.
///
/// A retransmission has another timestamp, so it is sampled apart from the first transmission. A
/// window of sequence numbers would divide super-packets that their segments do not follow.
#[inline(always)]
pub fn sampling_hash<P: Packet + ?Sized>(
    packet: &P,
    layers: &Layers,
    quote: Option<&Layers>,
) -> u64 {
    /// The options NOP, NOP, timestamp, length 10, in the order in which Linux writes them (RFC
    /// 7323, A).
    const TIMESTAMP: u32 = 0x0101_080a;

    let layers = quote.unwrap_or(layers);
    // Bytes after the packet's end (padding) are not there at every point.
    let word = |at: usize| match layers.has(at + 4) {
        true => packet.be32(layers.l4 + at).unwrap_or(0),
        false => 0,
    };
    let proto = u64::from(layers.proto);
    if layers.proto == IpProto::Tcp as u8 && layers.has_transport() {
        if word(20) == TIMESTAMP {
            return mix(proto, word(24).into());
        }
        let number = match word(8) {
            0 => word(4),
            acknowledged => acknowledged,
        };
        return mix(proto, number.into());
    }
    if layers.fragment_id != 0 || !layers.has_transport() {
        return mix(proto, layers.fragment_id.into());
    }
    // A masquerade may change an echo's identifier, but not its sequence number.
    let is_icmp = layers.proto == IpProto::Icmp as u8 || layers.proto == IpProto::Ipv6Icmp as u8;
    let number = if is_icmp { word(4) & 0xffff } else { 0 };
    let (one, two) = if layers.network == Network::Arp {
        // The addresses of sender and target: ARP is never translated.
        (14, 24)
    } else if layers.proto == IpProto::Sctp as u8 {
        // The verification tag, and the first chunk's TSN.
        (4, 16)
    } else {
        // The payload of UDP and of ICMP's echo, and the target of neighbour discovery.
        (8, 16)
    };
    mix(
        u64::from(number) << 8 | proto,
        u64::from(word(one)) << 32 | u64::from(word(two)),
    )
}
