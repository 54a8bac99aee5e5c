//! From a frame's first byte to the innermost packet.
//!
//! A follow is about the innermost packet, because both nodes see that one, whatever
//! tunnel carries it between them. The walk goes Ethernet → VLAN tags → IPv4 or IPv6 →
//! VXLAN → Ethernet → …, or IP → IP, through at most [`MAX_TUNNELS`] tunnels
//! (`tunnel`). It returns offsets and copies nothing.
//!
//! The walk reads only what it needs to find the innermost packet, and no transport
//! header. It reports what it cannot parse, never guesses and never panics. Few packets
//! are walked at all: a [`mod@crate::glance`] sorts out nearly every miss before.
//!
//! Invariant 2 (ARCHITECTURE.md): any bytes are a packet or an [`Unparsed`].

use network_types::{
    eth::{EthHdr, EtherType},
    icmp::Icmpv4Hdr,
    ip::{IpProto, Ipv4Hdr, Ipv6Hdr},
    vlan::VlanHdr,
};

use crate::{
    config::TunnelPorts,
    layers::{FRAGMENT_HEADER, Layers, Network, Tunnel, Unparsed, is_unread},
    packet::Packet,
    tunnel::{Carried, ETHERNET, carried},
};

/// How many tunnels may be nested.
pub const MAX_TUNNELS: u8 = 2;

/// How many VLAN tags a frame may have (IEEE 802.1ad: two).
const MAX_VLAN_TAGS: usize = 2;

/// How many IPv6 extension headers may precede the transport header.
const MAX_EXTENSIONS: usize = 6;

/// Bytes of ARP for IPv4 over Ethernet (RFC 826).
pub const ARP_LEN: usize = 28;

/// The largest offset at which a header may begin. Two tunnels with all options fit
/// easily. The bound also shows the verifier that reads stay small.
pub const MAX_OFFSET: usize = 1024;

/// Walks `packet` from its first byte.
///
/// `ethernet` tells whether the packet begins with an Ethernet header or, on a device
/// without one, with an IP header. `Ok(None)` is a frame that carries neither IP nor
/// ARP, and so is no packet of any follow.
///
/// # Errors
/// [`Unparsed`], if the packet cannot be parsed.
#[inline(always)]
pub fn walk<P: Packet + ?Sized>(
    packet: &P,
    ethernet: bool,
    ports: &TunnelPorts,
) -> Result<Option<Layers>, Unparsed> {
    let mut at = 0;
    // IP version of the header at `at`, or [`tunnel::ETHERNET`] if an Ethernet header comes
    // first.
    let mut version = if ethernet {
        ETHERNET
    } else {
        // Read the shortest possible header, not only the first byte: from the comparison
        // that the compiler makes of a single byte, the verifier learns nothing.
        let header: [u8; Ipv4Hdr::LEN] = packet.read(0).ok_or(Unparsed::Short)?;
        header[0] >> 4
    };
    let mut tunnel = Tunnel::NONE;
    let mut levels = 0;
    // A frame does not say where it ends.
    let mut limit = usize::MAX;
    loop {
        (at, limit) = (packet.any(at), packet.any(limit));
        let network = match version {
            ETHERNET => {
                let Some((network, l3)) = ethernet_payload(packet, at)? else {
                    return Ok(None);
                };
                at = l3;
                network
            }
            4 => Network::V4,
            6 => Network::V6,
            _ => return Err(Unparsed::Malformed),
        };
        let mut layers = match network {
            Network::V4 => ipv4(packet, at, Within::Packet(limit))?,
            Network::V6 => ipv6(packet, at, Within::Packet(limit))?,
            Network::Arp => arp(packet, at)?,
        };
        layers.tunnel = tunnel;
        // A later fragment begins in the middle of a packet, so there is no header to parse.
        if !layers.has_transport() {
            return Ok(Some(layers));
        }
        let Some(Carried {
            kind,
            vni,
            version: next,
            at: begins,
        }) = carried(packet, &layers, ports)?
        else {
            return Ok(Some(layers));
        };
        levels += 1;
        if levels > MAX_TUNNELS {
            return Err(Unparsed::TooDeep);
        }
        tunnel = Tunnel {
            levels,
            kind,
            outer: layers.network,
            outer_l3: layers.l3,
            vni,
        };
        (version, at, limit) = (next, begins, layers.end);
        if at > MAX_OFFSET {
            return Err(Unparsed::TooDeep);
        }
    }
}

/// The network layer that an Ethernet header at `at` announces, and its
/// offset behind the VLAN tags.
#[inline(always)]
fn ethernet_payload<P: Packet + ?Sized>(
    packet: &P,
    at: usize,
) -> Result<Option<(Network, usize)>, Unparsed> {
    const VLAN: u16 = EtherType::Ieee8021q as u16;
    const QINQ: u16 = EtherType::Ieee8021ad as u16;
    const V4: u16 = EtherType::Ipv4 as u16;
    const V6: u16 = EtherType::Ipv6 as u16;
    const ARP: u16 = EtherType::Arp as u16;

    let mut l3 = at + EthHdr::LEN;
    let mut kind = ether_type(packet, l3)?;
    for _ in 0..MAX_VLAN_TAGS {
        if kind != VLAN && kind != QINQ {
            break;
        }
        l3 += VlanHdr::LEN;
        kind = ether_type(packet, l3)?;
    }
    Ok(Some(match kind {
        V4 => (Network::V4, l3),
        V6 => (Network::V6, l3),
        ARP => (Network::Arp, l3),
        VLAN | QINQ => return Err(Unparsed::TooDeep),
        _ if is_unread(kind) => return Err(Unparsed::Unknown),
        _ => return Ok(None),
    }))
}

/// The EtherType that ends right before `end`, as network-types numbers it.
#[inline(always)]
fn ether_type<P: Packet + ?Sized>(packet: &P, end: usize) -> Result<u16, Unparsed> {
    packet
        .read(end - 2)
        .map(u16::from_ne_bytes)
        .ok_or(Unparsed::Short)
}

/// An ARP message (RFC 826) at `l3`. The message must be complete: without addresses, it
/// could count as a miss though it is not.
///
/// # Errors
/// [`Unparsed::Short`].
#[inline(always)]
pub fn arp<P: Packet + ?Sized>(packet: &P, l3: usize) -> Result<Layers, Unparsed> {
    packet.u8(l3 + ARP_LEN - 1).ok_or(Unparsed::Short)?;
    Ok(Layers {
        l3,
        l4: l3,
        network: Network::Arp,
        proto: 0,
        end: l3 + ARP_LEN,
        fragment: 0,
        fragment_id: 0,
        tunnel: Tunnel::NONE,
    })
}

/// Where a packet must end: at the frame's end, or at the end of the packet around it.
#[derive(Clone, Copy)]
enum Within {
    /// A frame, or a packet that ends here.
    Packet(usize),
    /// An ICMP error that ends here. The packet that it quotes is usually truncated, while
    /// the quoted header still states the full length.
    Quote(usize),
}

impl Within {
    /// Where a packet ends whose header at `begins` states a length of `stated` bytes.
    #[inline(always)]
    fn end<P: Packet + ?Sized>(
        self,
        packet: &P,
        begins: usize,
        stated: u16,
    ) -> Result<usize, Unparsed> {
        match self {
            Self::Quote(limit) => Ok(limit),
            Self::Packet(limit) if stated != 0 => Ok(limit.min(begins + usize::from(stated))),
            Self::Packet(limit) => {
                let limit = limit.min(packet.end());
                // BIG TCP: the length does not fit the field, so the field is 0.
                let long = limit > begins + usize::from(u16::MAX);
                Ok(if long { limit } else { begins })
            }
        }
    }

    /// The bytes at `at`, if they lie within these bounds.
    #[inline(always)]
    fn read<const N: usize, P: Packet + ?Sized>(
        self,
        packet: &P,
        at: usize,
    ) -> Result<[u8; N], Unparsed> {
        let (Self::Packet(limit) | Self::Quote(limit)) = self;
        if at + N > limit {
            return Err(Unparsed::Short);
        }
        packet.read(at).ok_or(Unparsed::Short)
    }
}

const AUTHENTICATION: u8 = IpProto::Ah as u8;

/// RFC 791, 3.1; authentication header: RFC 4302, 2.2.
#[inline(always)]
fn ipv4<P: Packet + ?Sized>(packet: &P, l3: usize, within: Within) -> Result<Layers, Unparsed> {
    let header: [u8; Ipv4Hdr::LEN] = within.read(packet, l3)?;
    let header_len = usize::from(header[0] & 0xf) * 4;
    if header[0] >> 4 != 4 || header_len < Ipv4Hdr::LEN {
        return Err(Unparsed::Malformed);
    }
    let stated = u16::from_be_bytes([header[2], header[3]]);
    // Bit 14 is "don't fragment", which is no part of the fragment's position.
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff;
    let mut layers = Layers {
        l3,
        l4: l3 + header_len,
        network: Network::V4,
        proto: header[9],
        end: within.end(packet, l3, stated)?,
        fragment,
        fragment_id: u32::from(u16::from_be_bytes([header[4], header[5]])),
        tunnel: Tunnel::NONE,
    };
    if layers.proto == AUTHENTICATION && layers.has_transport() {
        layers.l4 = packet.any(layers.l4);
        let extension = extension(packet, &layers)?;
        layers.proto = extension[0];
        layers.l4 += usize::from(extension[1]) * 4 + 8;
        if layers.l4 > MAX_OFFSET {
            return Err(Unparsed::TooDeep);
        }
        if layers.l4 > layers.end {
            return Err(Unparsed::Short);
        }
    }
    Ok(layers)
}

/// RFC 8200, 3 and 4; authentication header: RFC 4302, 2.2.
#[inline(always)]
fn ipv6<P: Packet + ?Sized>(packet: &P, l3: usize, within: Within) -> Result<Layers, Unparsed> {
    const HOP_BY_HOP: u8 = IpProto::HopOpt as u8;
    const ROUTING: u8 = IpProto::Ipv6Route as u8;
    const OPTIONS: u8 = IpProto::Ipv6Opts as u8;
    const FRAGMENT: u8 = IpProto::Ipv6Frag as u8;

    let header: [u8; 8] = within.read(packet, l3)?;
    if header[0] >> 4 != 6 {
        return Err(Unparsed::Malformed);
    }
    // As for ARP, the last byte is read to check the length, because the addresses are read
    // later.
    let _last: [u8; 1] = within.read(packet, l3 + Ipv6Hdr::LEN - 1)?;
    let stated = u16::from_be_bytes([header[4], header[5]]);
    let mut layers = Layers {
        l3,
        l4: l3 + Ipv6Hdr::LEN,
        network: Network::V6,
        proto: header[6],
        end: within.end(packet, l3 + Ipv6Hdr::LEN, stated)?,
        fragment: 0,
        fragment_id: 0,
        tunnel: Tunnel::NONE,
    };
    for _ in 0..=MAX_EXTENSIONS {
        let unit = match layers.proto {
            HOP_BY_HOP | ROUTING | OPTIONS | FRAGMENT => 8,
            AUTHENTICATION => 4,
            _ => return Ok(layers),
        };
        layers.l4 = packet.any(layers.l4);
        let extension = extension(packet, &layers)?;
        let len = if layers.proto == FRAGMENT {
            let word = u16::from_be_bytes([extension[2], extension[3]]);
            layers.fragment = (word >> 3) | ((word & 1) << 13) | FRAGMENT_HEADER;
            layers.fragment_id =
                u32::from_be_bytes([extension[4], extension[5], extension[6], extension[7]]);
            8
        } else if unit == 4 {
            usize::from(extension[1]) * 4 + 8
        } else {
            usize::from(extension[1]) * 8 + 8
        };
        layers.proto = extension[0];
        layers.l4 += len;
        if layers.l4 > MAX_OFFSET {
            return Err(Unparsed::TooDeep);
        }
        if layers.l4 > layers.end {
            return Err(Unparsed::Short);
        }
        // A later fragment begins in the middle of a packet, so there is no header to parse.
        if !layers.has_transport() {
            return Ok(layers);
        }
    }
    Err(Unparsed::TooDeep)
}

/// The first bytes of the extension header at `l4`.
#[inline(always)]
fn extension<P: Packet + ?Sized>(packet: &P, layers: &Layers) -> Result<[u8; 8], Unparsed> {
    if !layers.has(8) {
        return Err(Unparsed::Short);
    }
    packet.read(layers.l4).ok_or(Unparsed::Short)
}

/// The packet that an ICMP or ICMPv6 error quotes, if `layers` is such an error
/// (RFC 792; RFC 4443, 3). It ends where the error does.
///
/// # Errors
/// [`Unparsed`], if the error does not quote a whole IP header, or cannot be distinguished from
/// other messages.
#[inline(always)]
pub fn quoted<P: Packet + ?Sized>(packet: &P, layers: &Layers) -> Result<Option<Layers>, Unparsed> {
    const ICMP: u8 = IpProto::Icmp as u8;
    const ICMP6: u8 = IpProto::Ipv6Icmp as u8;

    let is_icmp = match layers.network {
        Network::V4 => layers.proto == ICMP,
        Network::V6 => layers.proto == ICMP6,
        Network::Arp => false,
    };
    if !is_icmp || !layers.has_transport() {
        return Ok(None);
    }
    if !layers.has(1) {
        return Err(Unparsed::Short);
    }
    let kind = packet.u8(layers.l4).ok_or(Unparsed::Short)?;
    if !is_icmp_error(layers.network, kind) {
        return Ok(None);
    }
    let at = packet.any(layers.l4 + Icmpv4Hdr::LEN);
    let within = Within::Quote(layers.end);
    match layers.network {
        Network::V6 => ipv6(packet, at, within),
        _ => ipv4(packet, at, within),
    }
    .map(Some)
}

/// Whether an ICMP type quotes the packet that caused it: destination
/// unreachable, source quench, redirect, time exceeded, parameter problem
/// (RFC 792); all ICMPv6 types below 128 (RFC 4443, 2.1).
#[inline(always)]
#[must_use]
pub const fn is_icmp_error(network: Network, kind: u8) -> bool {
    match network {
        Network::V4 => matches!(kind, 3 | 4 | 5 | 11 | 12),
        Network::V6 => kind < 128,
        Network::Arp => false,
    }
}
