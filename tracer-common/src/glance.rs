//! The hot path: finds out for nearly every packet that it does not belong to the follow.
//!
//! A glance reads only enough to find the innermost addresses of a packet with plain headers,
//! and asks the filter's first stage about them. That is less than half of the work of a
//! [`walk`]. A glance leaves other packets to the walk: rare headers (IP options, extension
//! headers, fragments, nested tunnels, ICMP errors, ARP), broken headers, and possible matches.
//!
//! So a glance may miss a miss. But it never calls a packet a miss that [`walk`] and
//! [`candidate`] would let pass. A property test and a fuzz target check that.
//!
//! [`walk`]: crate::walk::walk
//! [`candidate`]: crate::filter::candidate

use network_types::{
    eth::{EthHdr, EtherType},
    geneve::GeneveHdr,
    ip::{IpProto, Ipv4Hdr, Ipv6Hdr},
    udp::UdpHdr,
    vlan::VlanHdr,
    vxlan::VxlanHdr,
};

use crate::{
    config::TunnelPorts,
    filter::{Spot, Tables, prefilter::fold},
    layers::Network,
    packet::Packet,
    walk::is_icmp_error,
};

/// Where a header says that the innermost addresses are.
enum Next {
    /// The addresses are in this header.
    Here {
        /// Offset of the source address.
        src: usize,
        v4: bool,
    },
    /// The header carries a frame at `at`, which ends at `limit` at the latest.
    Frame { at: usize, limit: usize },
    /// The header carries an IP packet without an Ethernet header.
    Packet { at: usize, limit: usize, v4: bool },
}

/// Whether `packet` certainly does not belong to the follow. Arguments are those of
/// [`crate::walk::walk`] and [`crate::filter::candidate`].
#[inline(always)]
pub fn is_miss<P: Packet + ?Sized, T: Tables>(
    packet: &P,
    ethernet: bool,
    ports: &TunnelPorts,
    tables: &T,
    explain: bool,
) -> bool {
    let Some((src, v4)) = innermost(packet, ethernet, ports) else {
        return false;
    };
    let dst = src + if v4 { 4 } else { 16 };
    let may_concern = |at| fold(packet, at, v4).map(|word| tables.may_concern(Spot::of(word)));
    match may_concern(src) {
        Some(false) => true,
        Some(true) if !explain => may_concern(dst) == Some(false),
        _ => false,
    }
}

/// Offset of the innermost source address, and whether it is an IPv4 address.
#[inline(always)]
fn innermost<P: Packet + ?Sized>(
    packet: &P,
    ethernet: bool,
    ports: &TunnelPorts,
) -> Option<(usize, bool)> {
    let next = if ethernet {
        frame(packet, 0, usize::MAX, ports)
    } else {
        // As in the walk, the shortest possible header is read: from a comparison of a single
        // byte with the end, the verifier learns nothing.
        let header: [u8; Ipv4Hdr::LEN] = packet.read(0)?;
        let v4 = match header[0] >> 4 {
            4 => true,
            6 => false,
            _ => return None,
        };
        ip(packet, 0, usize::MAX, v4, ports)
    }?;
    let inner = match next {
        Next::Here { src, v4 } => return Some((src, v4)),
        Next::Frame { at, limit } => frame(packet, at, limit, ports),
        Next::Packet { at, limit, v4 } => ip(packet, at, limit, v4, ports),
    }?;
    match inner {
        Next::Here { src, v4 } => Some((src, v4)),
        Next::Frame { .. } | Next::Packet { .. } => None,
    }
}

/// Parses an Ethernet header with at most one VLAN tag.
#[inline(always)]
fn frame<P: Packet + ?Sized>(
    packet: &P,
    at: usize,
    limit: usize,
    ports: &TunnelPorts,
) -> Option<Next> {
    const VLAN: u16 = EtherType::Ieee8021q as u16;
    const V4: u16 = EtherType::Ipv4 as u16;
    const V6: u16 = EtherType::Ipv6 as u16;

    let ether_type = |end: usize| packet.read(end - 2).map(u16::from_ne_bytes);
    let mut l3 = at + EthHdr::LEN;
    let mut kind = ether_type(l3)?;
    if kind == VLAN {
        l3 += VlanHdr::LEN;
        kind = ether_type(l3)?;
    }
    match kind {
        V4 => ip(packet, l3, limit, true, ports),
        V6 => ip(packet, l3, limit, false, ports),
        _ => None,
    }
}

#[inline(always)]
fn ip<P: Packet + ?Sized>(
    packet: &P,
    at: usize,
    limit: usize,
    v4: bool,
    ports: &TunnelPorts,
) -> Option<Next> {
    const ICMP: u8 = IpProto::Icmp as u8;
    const ICMP6: u8 = IpProto::Ipv6Icmp as u8;
    const UDP: u8 = IpProto::Udp as u8;
    const GRE: u8 = IpProto::Gre as u8;
    const IN_V4: u8 = IpProto::Ipv4 as u8;
    const IN_V6: u8 = IpProto::Ipv6 as u8;
    const AUTHENTICATION: u8 = IpProto::Ah as u8;
    const HOP_BY_HOP: u8 = IpProto::HopOpt as u8;
    const ROUTING: u8 = IpProto::Ipv6Route as u8;
    const OPTIONS: u8 = IpProto::Ipv6Opts as u8;
    const FRAGMENT: u8 = IpProto::Ipv6Frag as u8;
    const VERSION_AND_LENGTH: u8 = 0x45;
    /// Bits of the fragment field: more fragments, and the offset.
    const FRAGMENTED: u16 = 0x3fff_u16.to_be();

    let (l4, stated, proto, src) = if v4 {
        let header: [u8; Ipv4Hdr::LEN] = packet.read(at)?;
        let fragment = u16::from_ne_bytes([header[6], header[7]]);
        if header[0] != VERSION_AND_LENGTH || fragment & FRAGMENTED != 0 {
            return None;
        }
        let l4 = at + Ipv4Hdr::LEN;
        let stated = u16::from_be_bytes([header[2], header[3]]);
        (l4, at + usize::from(stated), header[9], at + 12)
    } else {
        let header: [u8; Ipv6Hdr::LEN] = packet.read(at)?;
        if header[0] >> 4 != 6 {
            return None;
        }
        let l4 = at + Ipv6Hdr::LEN;
        let stated = u16::from_be_bytes([header[4], header[5]]);
        (l4, l4 + usize::from(stated), header[6], at + 8)
    };
    // A packet in a tunnel ends where the tunnel's packet ends.
    if l4 > limit {
        return None;
    }
    let here = Some(Next::Here { src, v4 });
    let has = |bytes: usize| l4 + bytes <= stated && l4 + bytes <= limit;
    match proto {
        UDP => {
            // Only after a whole header may something other than data follow.
            let port = packet.be16(l4 + 2)?;
            if port == 0 {
                return None;
            }
            if ports.vxlan.contains(&port) {
                let begins = UdpHdr::LEN + VxlanHdr::LEN;
                return (has(begins) && is_plain_vxlan(packet, l4 + UdpHdr::LEN)?).then_some(
                    Next::Frame {
                        at: l4 + begins,
                        limit: stated,
                    },
                );
            }
            if ports.geneve.contains(&port) {
                let begins = UdpHdr::LEN + GeneveHdr::LEN;
                return (has(begins) && is_plain_geneve(packet, l4 + UdpHdr::LEN)?).then_some(
                    Next::Frame {
                        at: l4 + begins,
                        limit: stated,
                    },
                );
            }
            here
        }
        ICMP if v4 => {
            let [kind, ..] = packet.read::<2>(l4)?;
            if has(1) && !is_icmp_error(Network::V4, kind) {
                here
            } else {
                None
            }
        }
        // Neighbour discovery is judged by other addresses than those of the IP header.
        ICMP6 if !v4 => match packet.read::<2>(l4)? {
            [128 | 129, _] if has(1) => here,
            _ => None,
        },
        IN_V4 | IN_V6 => Some(Next::Packet {
            at: l4,
            limit: stated,
            v4: proto == IN_V4,
        }),
        GRE => {
            const LEN: usize = 4;
            let header: [u8; LEN] = packet.read(l4)?;
            let inner_v4 = match header {
                [0, 0, 0x08, 0x00] => true,
                [0, 0, 0x86, 0xdd] => false,
                _ => return None,
            };
            if !has(LEN) {
                return None;
            }
            Some(Next::Packet {
                at: l4 + LEN,
                limit: stated,
                v4: inner_v4,
            })
        }
        AUTHENTICATION => None,
        HOP_BY_HOP | ROUTING | OPTIONS | FRAGMENT if !v4 => None,
        _ => here,
    }
}

/// Whether a VXLAN header uses no extension (RFC 7348, 5).
#[inline(always)]
fn is_plain_vxlan<P: Packet + ?Sized>(packet: &P, at: usize) -> Option<bool> {
    const PLAIN: u32 = 0x0800_0000_u32.to_be();
    const RESERVED: u32 = 0x0000_00ff_u32.to_be();

    let [flags, vni] = words(packet.read(at)?);
    Some(flags == PLAIN && vni & RESERVED == 0)
}

/// Whether a Geneve header has no options and carries a frame (RFC 8926, 3.4).
#[inline(always)]
fn is_plain_geneve<P: Packet + ?Sized>(packet: &P, at: usize) -> Option<bool> {
    const FRAME: u32 = 0x6558_u32.to_be();
    const VERSION_OPTIONS_AND_KIND: u32 = 0xff00_ffff_u32.to_be();

    let [first, _] = words(packet.read(at)?);
    Some(first & VERSION_OPTIONS_AND_KIND == FRAME)
}

#[inline(always)]
const fn words([a, b, c, d, e, f, g, h]: [u8; 8]) -> [u32; 2] {
    [
        u32::from_ne_bytes([a, b, c, d]),
        u32::from_ne_bytes([e, f, g, h]),
    ]
}
