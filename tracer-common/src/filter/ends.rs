//! Whose addresses decide about a packet.

use network_types::ip::IpProto;

use crate::{
    packet::Packet,
    walk::{Layers, Network, quoted},
};

/// The two addresses by which a packet is judged, as offsets into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub(super) src: usize,
    pub(super) dst: usize,
    pub(super) v4: bool,
    /// Protocol of the judged packet.
    pub proto: u8,
    /// Offset of the judged packet's ports, 0 where it has none.
    ports: usize,
    pub(super) kind: Kind,
    /// Whether the packet is whole or a first fragment.
    pub(super) has_transport: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Judged by its pair.
    Pair,
    /// ARP, or a neighbour solicitation: `dst` is the target.
    Question,
    /// A neighbour advertisement: `src` is the target.
    Answer,
}

impl Ends {
    /// Source address, IPv4 as `::ffff:a.b.c.d`.
    #[inline(always)]
    pub fn src<P: Packet + ?Sized>(&self, packet: &P) -> Option<[u8; 16]> {
        address(packet, self.src, self.v4)
    }

    /// Destination address, likewise.
    #[inline(always)]
    pub fn dst<P: Packet + ?Sized>(&self, packet: &P) -> Option<[u8; 16]> {
        address(packet, self.dst, self.v4)
    }

    /// Source and destination port, host byte order, 0 where there is none.
    #[inline(always)]
    pub fn ports<P: Packet + ?Sized>(&self, packet: &P) -> (u16, u16) {
        if self.ports == 0 {
            return (0, 0);
        }
        match packet.be32(self.ports) {
            Some(ports) => ((ports >> 16) as u16, ports as u16),
            None => (0, 0),
        }
    }
}

/// Whose addresses decide about a packet: its own, those of the packet it
/// quotes, or the two parties of ARP and ND.
#[inline(always)]
pub(super) fn ends<P: Packet + ?Sized>(packet: &P, layers: &Layers) -> Option<Ends> {
    let pair = Ends {
        src: 0,
        dst: 0,
        v4: true,
        proto: layers.proto,
        ports: 0,
        kind: Kind::Pair,
        has_transport: layers.has_transport(),
    };
    match layers.network {
        Network::Arp => {
            // Hardware Ethernet, protocol IPv4, lengths 6 and 4 (RFC 826).
            let known =
                packet.be32(layers.l3)? == 0x0001_0800 && packet.be16(layers.l3 + 4)? == 0x0604;
            known.then_some(Ends {
                src: layers.l3 + 14,
                dst: layers.l3 + 24,
                kind: Kind::Question,
                ..pair
            })
        }
        network => {
            if let Some(inner) = quoted(packet, layers) {
                return quoted_ends(packet, network, inner, pair);
            }
            let v4 = network == Network::V4;
            let addresses = layers.l3 + if v4 { 12 } else { 8 };
            let ends = Ends {
                src: addresses,
                dst: addresses + if v4 { 4 } else { 16 },
                v4,
                ports: if layers.has_transport() && has_ports(layers.proto) {
                    layers.l4
                } else {
                    0
                },
                ..pair
            };
            if layers.proto == IpProto::Ipv6Icmp as u8 && layers.has_transport() {
                // RFC 4861, 4.3 and 4.4: the target follows eight bytes.
                match packet.u8(layers.l4)? {
                    SOLICITATION => {
                        return Some(Ends {
                            dst: layers.l4 + 8,
                            kind: Kind::Question,
                            ..ends
                        });
                    }
                    ADVERTISEMENT => {
                        return Some(Ends {
                            src: layers.l4 + 8,
                            kind: Kind::Answer,
                            ..ends
                        });
                    }
                    _ => {}
                }
            }
            Some(ends)
        }
    }
}

/// ICMPv6 type of a neighbour solicitation.
pub const SOLICITATION: u8 = 135;
/// ICMPv6 type of a neighbour advertisement.
pub const ADVERTISEMENT: u8 = 136;

/// The ends of the packet that an ICMP error quotes at `at`.
#[inline(always)]
fn quoted_ends<P: Packet + ?Sized>(
    packet: &P,
    network: Network,
    at: usize,
    pair: Ends,
) -> Option<Ends> {
    let v4 = network == Network::V4;
    let (addresses, proto, l4) = if v4 {
        let header_len = usize::from(packet.u8(at)? & 0xf) * 4;
        (at + 12, packet.u8(at + 9)?, at + header_len)
    } else {
        (at + 8, packet.u8(at + 6)?, at + 40)
    };
    Some(Ends {
        src: addresses,
        dst: addresses + if v4 { 4 } else { 16 },
        v4,
        proto,
        ports: if has_ports(proto) { l4 } else { 0 },
        ..pair
    })
}

#[inline(always)]
const fn has_ports(proto: u8) -> bool {
    const TCP: u8 = IpProto::Tcp as u8;
    const UDP: u8 = IpProto::Udp as u8;
    const SCTP: u8 = IpProto::Sctp as u8;
    matches!(proto, TCP | UDP | SCTP)
}

#[inline(always)]
fn address<P: Packet + ?Sized>(packet: &P, at: usize, v4: bool) -> Option<[u8; 16]> {
    if v4 {
        let mut mapped = V4_UNSPECIFIED;
        mapped[12..].copy_from_slice(&packet.read::<4>(at)?);
        Some(mapped)
    } else {
        // On the wire these stand for nothing (RFC 4291, 2.5.5.2), and in the
        // tables for IPv4.
        packet
            .read(at)
            .filter(|address: &[u8; 16]| address[..12] != V4_UNSPECIFIED[..12])
    }
}

/// 0.0.0.0 as `::ffff:0.0.0.0`.
pub(super) const V4_UNSPECIFIED: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
