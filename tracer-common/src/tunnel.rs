//! Tunnels: whether a packet carries another one, and where the inner packet begins.
//!
//! Without a valid tunnel header, the packet counts as an ordinary one. Examples are a datagram
//! to the tunnel's port that is too short, or whose header Linux drops, and a payload that no
//! follow can match.

use network_types::{eth::EtherType, geneve::GeneveHdr, ip::IpProto, udp::UdpHdr, vxlan::VxlanHdr};

use crate::{
    config::TunnelPorts,
    layers::{Layers, TunnelKind, Unparsed, is_unread},
    packet::Packet,
};

/// The inner packet, as a tunnel's header describes it.
pub(crate) struct Carried {
    pub(crate) kind: TunnelKind,
    pub(crate) vni: u32,
    /// IP version of the inner packet, or [`ETHERNET`].
    pub(crate) version: u8,
    /// Offset of the inner packet.
    pub(crate) at: usize,
}

/// In place of an IP version, which has four bits in a header: the inner packet begins with an
/// Ethernet header.
pub(crate) const ETHERNET: u8 = u8::MAX;

/// The inner packet of the packet in `layers`; `None` if that is no tunnel's.
#[inline(always)]
pub(crate) fn carried<P: Packet + ?Sized>(
    packet: &P,
    layers: &Layers,
    ports: &TunnelPorts,
) -> Result<Option<Carried>, Unparsed> {
    const V4: u8 = IpProto::Ipv4 as u8;
    const V6: u8 = IpProto::Ipv6 as u8;
    const GRE: u8 = IpProto::Gre as u8;
    const UDP: u8 = IpProto::Udp as u8;

    let ip = |version| Carried {
        kind: TunnelKind::IpIp,
        vni: 0,
        version,
        at: layers.l4,
    };
    match layers.proto {
        V4 => Ok(Some(ip(4))),
        V6 => Ok(Some(ip(6))),
        GRE if layers.has(GRE_LEN) => gre(packet, layers.l4),
        UDP if layers.has(4) => {
            let port = packet.be16(layers.l4 + 2).ok_or(Unparsed::Short)?;
            let at = layers.l4 + UdpHdr::LEN;
            if port == 0 {
                Ok(None)
            } else if ports.vxlan.contains(&port) && layers.has(UdpHdr::LEN + VxlanHdr::LEN) {
                vxlan(packet, at)
            } else if ports.geneve.contains(&port) && layers.has(UdpHdr::LEN + GeneveHdr::LEN) {
                geneve(packet, at)
            } else {
                Ok(None)
            }
        }
        _ => Ok(None),
    }
}

/// Parses VXLAN (RFC 7348, 5) as Linux does (`vxlan_rcv` in drivers/net/vxlan). If a reserved
/// bit is set, the header is that of an extension, or no tunnel's.
#[inline(always)]
fn vxlan<P: Packet + ?Sized>(packet: &P, at: usize) -> Result<Option<Carried>, Unparsed> {
    /// "The I flag MUST be set to 1 for a valid VXLAN Network ID."
    const VALID_VNI: u8 = 0x08;
    /// Group policy (draft-smith-vxlan-group-policy), which uses three of the reserved bytes.
    const GROUP: u8 = VALID_VNI | 0x80;
    /// Generic protocol extension (draft-ietf-nvo3-vxlan-gpe): a byte names the kind of
    /// payload.
    const GENERIC: u8 = VALID_VNI | 0x04;

    let header: [u8; VxlanHdr::LEN] = packet.read(at).ok_or(Unparsed::Short)?;
    let [flags, extension @ .., reserved] = header;
    let extension = [extension[0], extension[1], extension[2]];
    let version = match flags {
        VALID_VNI if extension == [0; 3] => ETHERNET,
        GROUP => ETHERNET,
        GENERIC => match extension {
            [0, 0, 1] => 4,
            [0, 0, 2] => 6,
            [0, 0, 3] => ETHERNET,
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    Ok((reserved == 0).then_some(Carried {
        kind: TunnelKind::Vxlan,
        vni: u32::from_be_bytes([0, header[4], header[5], header[6]]),
        version,
        at: at + VxlanHdr::LEN,
    }))
}

/// Parses Geneve (RFC 8926, 3.4). The O flag marks a control packet, but Linux handles it as
/// any other (`geneve_rx` in drivers/net/geneve.c).
#[inline(always)]
fn geneve<P: Packet + ?Sized>(packet: &P, at: usize) -> Result<Option<Carried>, Unparsed> {
    const VERSION: u8 = 0xc0;

    let header: [u8; GeneveHdr::LEN] = packet.read(at).ok_or(Unparsed::Short)?;
    if header[0] & VERSION != 0 {
        return Ok(None);
    }
    let Some(version) = version_of([header[2], header[3]])? else {
        return Ok(None);
    };
    let options = usize::from(header[0] & !VERSION) * 4;
    Ok(Some(Carried {
        kind: TunnelKind::Geneve,
        vni: u32::from_be_bytes([0, header[4], header[5], header[6]]),
        version,
        at: at + GeneveHdr::LEN + options,
    }))
}

/// Bytes of GRE's header without optional fields: flags and version, then the
/// payload's EtherType.
const GRE_LEN: usize = 4;

/// Parses GRE (RFC 2784, 2; RFC 2890, 2) as Linux does, which skips further fields of RFC 1701
/// (`gre_parse_header` in net/ipv4/gre_demux.c).
#[inline(always)]
fn gre<P: Packet + ?Sized>(packet: &P, at: usize) -> Result<Option<Carried>, Unparsed> {
    /// Bytes of each optional field: checksum and reserved, key, sequence number.
    const FIELD: usize = 4;
    const CHECKSUM: u8 = 0x80;
    const ROUTING: u8 = 0x40;
    const KEY: u8 = 0x20;
    const SEQUENCE: u8 = 0x10;
    const VERSION: u8 = 0x07;

    let header: [u8; GRE_LEN] = packet.read(at).ok_or(Unparsed::Short)?;
    let flags = header[0];
    if flags & ROUTING != 0 || header[1] & VERSION != 0 {
        return Ok(None);
    }
    let Some(version) = version_of([header[2], header[3]])? else {
        return Ok(None);
    };
    let mut carried = Carried {
        kind: TunnelKind::Gre,
        vni: 0,
        version,
        at: at + GRE_LEN,
    };
    if flags & CHECKSUM != 0 {
        carried.at += FIELD;
    }
    if flags & KEY != 0 {
        carried.kind = TunnelKind::GreKeyed;
        carried.vni = packet.be32(carried.at).ok_or(Unparsed::Short)?;
        carried.at += FIELD;
    }
    if flags & SEQUENCE != 0 {
        carried.at += FIELD;
    }
    Ok(Some(carried))
}

/// The IP version for an EtherType, which is in network byte order. [`ETHERNET`] for a frame
/// ("Transparent Ethernet Bridging"); `None` for a payload that is no packet.
#[inline(always)]
fn version_of(ether_type: [u8; 2]) -> Result<Option<u8>, Unparsed> {
    // network-types has EtherTypes in this byte order.
    const V4: u16 = EtherType::Ipv4 as u16;
    const V6: u16 = EtherType::Ipv6 as u16;
    const FRAME: u16 = 0x6558_u16.to_be();

    match u16::from_ne_bytes(ether_type) {
        V4 => Ok(Some(4)),
        V6 => Ok(Some(6)),
        FRAME => Ok(Some(ETHERNET)),
        other if is_unread(other) => Err(Unparsed::Unknown),
        _ => Ok(None),
    }
}
