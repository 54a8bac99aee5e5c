//! Finds the addresses that decide about a packet.

use network_types::ip::IpProto;

use crate::{
    layers::{Layers, Network, Unparsed},
    packet::Packet,
};

/// The two addresses by which a packet is judged, as offsets into the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub(super) src: usize,
    pub(super) dst: usize,
    pub(super) v4: bool,
    /// IANA protocol number of the judged packet.
    pub proto: u8,
    /// Offset of the judged packet's ports; 0 without ports.
    pub(super) ports: usize,
    pub(super) kind: Kind,
    /// Whether everything that a rule asks for is known. That is not so for a later fragment,
    /// and for a packet that ends before its ports.
    pub(crate) is_told: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The packet is judged by its pair of addresses.
    Pair,
    /// The packet is ARP or a neighbour solicitation: `dst` is the target.
    Question,
    /// The packet is a neighbour advertisement: `src` is the target.
    Answer,
}

impl Ends {
    /// Source address, IPv4 as `::ffff:a.b.c.d`.
    #[inline(always)]
    pub fn src<P: Packet + ?Sized>(&self, packet: &P) -> Option<[u8; 16]> {
        address(packet, self.src, self.v4)
    }

    /// Destination address, IPv4 as `::ffff:a.b.c.d`.
    #[inline(always)]
    pub fn dst<P: Packet + ?Sized>(&self, packet: &P) -> Option<[u8; 16]> {
        address(packet, self.dst, self.v4)
    }

    /// Source and destination address of a packet that is judged by its pair.
    #[inline(always)]
    pub(crate) fn pair<P: Packet + ?Sized>(&self, packet: &P) -> Option<[[u8; 16]; 2]> {
        if self.kind != Kind::Pair {
            return None;
        }
        Some([self.src(packet)?, self.dst(packet)?])
    }

    /// Source and destination port, host byte order; 0 without ports.
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

/// Finds the addresses that decide about a packet: its own, those of the quoted packet
/// (`quote`), or the two parties of ARP and neighbour discovery.
///
/// # Errors
/// [`Unparsed`], if these addresses are missing: an ICMP error without a quote, or a neighbour
/// solicitation without a target.
#[inline(always)]
pub(super) fn ends<P: Packet + ?Sized>(
    packet: &P,
    layers: &Layers,
    quote: Option<&Layers>,
) -> Result<Option<Ends>, Unparsed> {
    if layers.network == Network::Arp {
        let be16 = |at| packet.be16(layers.l3 + at).ok_or(Unparsed::Short);
        // Hardware Ethernet, protocol IPv4, lengths 6 and 4 (RFC 826).
        let known = be16(0)? == 1 && be16(2)? == 0x0800 && be16(4)? == 0x0604;
        return Ok(known.then_some(Ends {
            src: layers.l3 + 14,
            dst: layers.l3 + 24,
            kind: Kind::Question,
            ..Ends::of(layers)
        }));
    }
    if let Some(quote) = quote {
        return Ok(Some(Ends::of(quote)));
    }
    let ends = Ends::of(layers);
    if layers.network != Network::V6
        || layers.proto != IpProto::Ipv6Icmp as u8
        || !layers.has_transport()
    {
        return Ok(Some(ends));
    }
    // RFC 4861, 4.3 and 4.4: the target follows eight bytes.
    let target = layers.l4 + 8;
    let ends = match packet.u8(layers.l4).ok_or(Unparsed::Short)? {
        SOLICITATION => Ends {
            dst: target,
            kind: Kind::Question,
            ..ends
        },
        ADVERTISEMENT => Ends {
            src: target,
            kind: Kind::Answer,
            ..ends
        },
        _ => return Ok(Some(ends)),
    };
    if layers.has(8 + 16) {
        Ok(Some(ends))
    } else {
        Err(Unparsed::Short)
    }
}

impl Ends {
    /// The addresses in a packet's own header.
    #[inline(always)]
    fn of(layers: &Layers) -> Self {
        let v4 = layers.network != Network::V6;
        let src = layers.l3 + if v4 { 12 } else { 8 };
        let has_ports = has_ports(layers.proto);
        let ports = if has_ports && layers.has(4) {
            layers.l4
        } else {
            0
        };
        Self {
            src,
            dst: src + if v4 { 4 } else { 16 },
            v4,
            proto: layers.proto,
            ports,
            kind: Kind::Pair,
            is_told: layers.has_transport() && (!has_ports || ports != 0),
        }
    }
}

/// ICMPv6 type of a neighbour solicitation.
pub const SOLICITATION: u8 = 135;
/// ICMPv6 type of a neighbour advertisement.
pub const ADVERTISEMENT: u8 = 136;

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
        // Such addresses do not occur on the wire (RFC 4291, 2.5.5.2), and the tables use them
        // for IPv4.
        packet
            .read(at)
            .filter(|address: &[u8; 16]| address[..12] != V4_UNSPECIFIED[..12])
    }
}

/// The unspecified IPv4 address, as `::ffff:0.0.0.0`.
pub(super) const V4_UNSPECIFIED: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
