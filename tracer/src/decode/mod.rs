//! Decodes the records of the ring buffer into hops.
//!
//! Any bytes are a hop or a [`Malformed`], which is counted. The program copied the headers
//! unchanged, so the sender of a packet controls nothing here but the values of fields.
//!
//! Invariant 2 (ARCHITECTURE.md): no record panics here.

#[cfg(target_os = "linux")]
mod answer;
mod frame;
mod freed;

#[cfg(target_os = "linux")]
pub(crate) use self::answer::named;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use network_types::ip::IpProto;
use tracer_common::{
    event::{EGRESS, ETHERNET, HASHED, HopEvent, INGRESS, SERVICE_TAG, VLAN, XDP, split},
    filter::{ADVERTISEMENT, SOLICITATION},
    hash::mix,
    layers::TunnelKind,
    layers::{FRAGMENT_HEADER, FRAGMENT_OFFSET, MORE_FRAGMENTS, Network},
    packet::Packet as _,
    walk::is_icmp_error,
};
use tracer_core::model::{
    Arp, Direction, Encap, EncapKind, Flags, Hop, Icmp, Mac, Neighbour, Packet, Quote, Tcp,
    Transport,
};

pub(crate) use frame::event;
#[cfg(target_os = "linux")]
pub(crate) use freed::{RawDrop, freed};

const TCP: u8 = IpProto::Tcp as u8;
const UDP: u8 = IpProto::Udp as u8;
const SCTP: u8 = IpProto::Sctp as u8;
const ICMP: u8 = IpProto::Icmp as u8;
const ICMP6: u8 = IpProto::Ipv6Icmp as u8;

/// The place at an interface at which a program sees packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum At {
    /// At tc, in one direction.
    Tc(Direction),
    /// At XDP, for incoming packets.
    Xdp,
}

impl At {
    /// The place for a number in an event ([`tracer_common::event::HopEvent::place`]); `None`
    /// for other numbers.
    pub(crate) const fn of(place: u8) -> Option<Self> {
        match place {
            INGRESS => Some(Self::Tc(Direction::Ingress)),
            EGRESS => Some(Self::Tc(Direction::Egress)),
            XDP => Some(Self::Xdp),
            _ => None,
        }
    }

    /// The place's number in events.
    pub(crate) const fn place(self) -> u8 {
        match self {
            Self::Tc(Direction::Ingress) => INGRESS,
            Self::Tc(Direction::Egress) => EGRESS,
            Self::Xdp => XDP,
        }
    }
}

/// Why bytes are no hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// The length is neither that of an event, nor of an event with captured bytes.
    Length,
    /// A field has a value that no program writes.
    Field,
    /// The network header is too short: a program would count such a packet as unparsed. A
    /// transport header may be of any length.
    Header,
    /// The event is from an interface that this agent does not observe.
    Point,
}

/// Decodes a record. `point` returns the observation point for an interface index and a place.
pub(crate) fn hop(
    record: &[u8],
    point: impl FnOnce(u32, At) -> Option<usize>,
) -> Result<Hop, Malformed> {
    let (event, frame) = split(record).ok_or(Malformed::Length)?;
    let at = At::of(event.place).ok_or(Malformed::Field)?;
    let point = point(event.ifindex, at).ok_or(Malformed::Point)?;
    let hop = hop_at(&event, point)?;
    Ok(Hop {
        frame: (!frame.is_empty()).then(|| on_the_wire(&event, frame)),
        ..hop
    })
}

/// Decodes the event of a packet that was seen at a point, without the bytes of its frame.
pub(crate) fn hop_at(event: &HopEvent, point: usize) -> Result<Hop, Malformed> {
    Ok(Hop {
        point,
        time: event.time,
        skb: event.skb,
        generation: event.generation,
        len: event.len,
        segments: u32::from(event.gso_segs.max(1)),
        src_mac: frame_mac(event, 6),
        dst_mac: frame_mac(event, 0),
        vlan: (event.flags & VLAN != 0).then_some(event.vlan_tci),
        encap: encap(event)?,
        packet: packet(event)?,
        frame: None,
    })
}

/// The frame as on the wire, with the VLAN tag that the kernel keeps beside it.
fn on_the_wire(event: &HopEvent, frame: &[u8]) -> Arc<[u8]> {
    /// Offset of a VLAN tag: after both MAC addresses.
    const AT: usize = 12;
    match frame.split_at_checked(AT) {
        Some((macs, rest)) if event.flags & VLAN != 0 => {
            let kind: u16 = if event.flags & SERVICE_TAG != 0 {
                0x88a8
            } else {
                0x8100
            };
            let tag = [kind.to_be_bytes(), event.vlan_tci.to_be_bytes()];
            [macs, tag.as_flattened(), rest].concat().into()
        }
        _ => frame.into(),
    }
}

/// The MAC address at an offset; `None` if the frame has no Ethernet header.
fn frame_mac(event: &HopEvent, at: usize) -> Option<Mac> {
    let macs = event.macs.as_slice();
    mac(macs, at).ok().filter(|_| event.flags & ETHERNET != 0)
}

fn encap(event: &HopEvent) -> Result<Option<Encap>, Malformed> {
    // An event has a tunnel if and only if it has levels.
    if (event.tunnel == 0) != (event.levels == 0) {
        return Err(Malformed::Field);
    }
    let (kind, vni) = match event.tunnel {
        0 => return Ok(None),
        kind if kind == TunnelKind::Vxlan as u8 => (EncapKind::Vxlan, Some(event.vni)),
        kind if kind == TunnelKind::IpIp as u8 => (EncapKind::IpIp, None),
        kind if kind == TunnelKind::Geneve as u8 => (EncapKind::Geneve, Some(event.vni)),
        kind if kind == TunnelKind::Gre as u8 => (EncapKind::Gre, None),
        kind if kind == TunnelKind::GreKeyed as u8 => (EncapKind::Gre, Some(event.vni)),
        _ => return Err(Malformed::Field),
    };
    Ok(Some(Encap {
        kind,
        vni,
        outer_src: mapped(event.outer_src),
        outer_dst: mapped(event.outer_dst),
        levels: event.levels,
    }))
}

fn packet(event: &HopEvent) -> Result<Packet, Malformed> {
    let network = event
        .network_header
        .get(..usize::from(event.network_len))
        .ok_or(Malformed::Field)?;
    let transport = event
        .transport_header
        .get(..usize::from(event.transport_len))
        .ok_or(Malformed::Field)?;
    match event.network {
        kind if kind == Network::V4 as u8 => {
            let src: [u8; 4] = network.read(12).ok_or(Malformed::Header)?;
            let dst: [u8; 4] = network.read(16).ok_or(Malformed::Header)?;
            let len = network.be16(2).ok_or(Malformed::Header)?;
            Ok(Packet {
                src: Ipv4Addr::from(src).into(),
                dst: Ipv4Addr::from(dst).into(),
                ttl: network.u8(8).ok_or(Malformed::Header)?,
                ip_id: Some(event.fragment_id),
                ..ip(event, Network::V4, transport, (len, 0))?
            })
        }
        kind if kind == Network::V6 as u8 => {
            let src: [u8; 16] = network.read(8).ok_or(Malformed::Header)?;
            let dst: [u8; 16] = network.read(24).ok_or(Malformed::Header)?;
            let len = network.be16(4).ok_or(Malformed::Header)?;
            Ok(Packet {
                src: Ipv6Addr::from(src).into(),
                dst: Ipv6Addr::from(dst).into(),
                ttl: network.u8(7).ok_or(Malformed::Header)?,
                ip_id: (event.fragment & FRAGMENT_HEADER != 0).then_some(event.fragment_id),
                ..ip(event, Network::V6, transport, (len, 40))?
            })
        }
        kind if kind == Network::Arp as u8 => arp(network),
        _ => Err(Malformed::Field),
    }
}

/// Decodes what IPv4 and IPv6 have in common. The caller gives addresses, TTL and
/// identification.
///
/// `stated` is the length in the header; `uncounted` is the number of header bytes that it does
/// not include.
fn ip(
    event: &HopEvent,
    network: Network,
    transport: &[u8],
    (stated, uncounted): (u16, u32),
) -> Result<Packet, Malformed> {
    let seen = event.len.saturating_sub(u32::from(event.l3));
    // BIG TCP, whose super-packets are too long for the field, states 0.
    let len = if stated == 0 && seen > uncounted + u32::from(u16::MAX) {
        seen
    } else {
        u32::from(stated) + uncounted
    };
    let header = u32::from(event.l4.checked_sub(event.l3).ok_or(Malformed::Field)?);
    let offset = event.fragment & FRAGMENT_OFFSET;
    let more = event.fragment & MORE_FRAGMENTS != 0;
    Ok(Packet {
        src: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        dst: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        ttl: 0,
        ip_id: None,
        // 13 bits of eight-byte units fit in 16 bits of bytes.
        fragment: (offset != 0 || more).then_some((offset * 8, more)),
        len,
        transport: if offset == 0 {
            self::transport(event, network, transport, len.saturating_sub(header))
        } else {
            Transport::Other(event.proto)
        },
        payload_hash: (event.flags & HASHED != 0).then_some(event.payload_hash),
    })
}

/// Decodes the transport header, as far as it is there. `len` is the length of header and
/// payload, bytes.
fn transport(event: &HopEvent, network: Network, header: &[u8], len: u32) -> Transport {
    let whole = match event.proto {
        TCP => tcp(header, len),
        UDP => udp(header),
        SCTP => sctp(header),
        ICMP if network == Network::V4 => icmp(event, header, false),
        ICMP6 if network == Network::V6 => icmp(event, header, true),
        _ => None,
    };
    let cut = || {
        let ports = has_ports(event.proto).then(|| header.be16(0).zip(header.be16(2)));
        let (src_port, dst_port) = ports.flatten()?;
        Some(Transport::Cut {
            proto: event.proto,
            src_port,
            dst_port,
        })
    };
    whole.or_else(cut).unwrap_or(Transport::Other(event.proto))
}

const fn has_ports(proto: u8) -> bool {
    matches!(proto, TCP | UDP | SCTP)
}

fn udp(header: &[u8]) -> Option<Transport> {
    let [ports @ .., _, _] = header.first_chunk::<8>()?;
    Some(Transport::Udp {
        src_port: ports.be16(0)?,
        dst_port: ports.be16(2)?,
        len: ports.be16(4)?,
        dns: header.read(8),
    })
}

fn sctp(header: &[u8]) -> Option<Transport> {
    Some(Transport::Sctp {
        src_port: header.be16(0)?,
        dst_port: header.be16(2)?,
        tag: header.be32(4)?,
    })
}

/// Decodes a TCP header; `None` if it is truncated, or states an impossible length.
fn tcp(header: &[u8], len: u32) -> Option<Transport> {
    let header_len = usize::from(header.u8(12)? >> 4) * 4;
    let options = header.get(20..header_len)?;
    Some(Transport::Tcp(Tcp {
        src_port: header.be16(0)?,
        dst_port: header.be16(2)?,
        seq: header.be32(4)?,
        ack: header.be32(8)?,
        flags: Flags(header.u8(13)?),
        window: header.be16(14)?,
        payload_len: len.saturating_sub(u32::try_from(header_len).expect("at most 60")),
        timestamps: timestamps(options),
        options_hash: options
            .iter()
            .fold(0, |hash, byte| mix(hash, u64::from(*byte))),
    }))
}

/// Timestamp value and timestamp echo reply (RFC 7323, 3.2); `None` without this option.
fn timestamps(mut options: &[u8]) -> Option<(u32, u32)> {
    const END: u8 = 0;
    const NOP: u8 = 1;
    const TIMESTAMPS: u8 = 8;
    loop {
        match *options {
            [TIMESTAMPS, 10, ..] => return Some((options.be32(2)?, options.be32(6)?)),
            [NOP, ref rest @ ..] => options = rest,
            [] | [END, ..] => return None,
            // An option's length counts its own two bytes.
            [_, len, ..] if len >= 2 => options = options.get(usize::from(len)..)?,
            _ => return None,
        }
    }
}

/// Decodes an ICMP message; `None` without type and code.
fn icmp(event: &HopEvent, header: &[u8], v6: bool) -> Option<Transport> {
    let network = if v6 { Network::V6 } else { Network::V4 };
    let (kind, code) = header.u8(0).zip(header.u8(1))?;
    let echo = if v6 {
        matches!(kind, 128 | 129)
    } else {
        matches!(kind, 0 | 8)
    };
    let target = if v6 && (kind == SOLICITATION || kind == ADVERTISEMENT) {
        header.read::<16>(8)
    } else {
        None
    };
    Some(Transport::Icmp(Icmp {
        v6,
        kind,
        code,
        echo: if echo {
            header.be16(4).zip(header.be16(6))
        } else {
            None
        },
        neighbour: target.map(|target| Neighbour {
            target: Ipv6Addr::from(target).into(),
            advertisement: kind == ADVERTISEMENT,
        }),
        quote: if is_icmp_error(network, kind) {
            let quoted = header.get(8..).unwrap_or_default();
            quote(event.quote_proto, quoted, v6).map(Box::new)
        } else {
            None
        },
    }))
}

/// Decodes the quoted packet of an ICMP error: its IP header without options or extension
/// headers, then the copied part of its transport header.
fn quote(proto: u8, bytes: &[u8], v6: bool) -> Option<Quote> {
    let (src, dst, l4) = if v6 {
        let src: [u8; 16] = bytes.read(8)?;
        let dst: [u8; 16] = bytes.read(24)?;
        (IpAddr::from(src), IpAddr::from(dst), 40)
    } else {
        let src: [u8; 4] = bytes.read(12)?;
        let dst: [u8; 4] = bytes.read(16)?;
        (IpAddr::from(src), IpAddr::from(dst), 20)
    };
    Some(Quote {
        src,
        dst,
        proto,
        ports: if has_ports(proto) {
            bytes.be16(l4).zip(bytes.be16(l4 + 2))
        } else {
            None
        },
        ip_id: if v6 { None } else { bytes.be16(4) },
        header: bytes.read(l4),
    })
}

/// Decodes ARP for IPv4 over Ethernet (RFC 826).
fn arp(header: &[u8]) -> Result<Packet, Malformed> {
    let address = |at| {
        let bytes: [u8; 4] = header.read(at).ok_or(Malformed::Header)?;
        Ok(IpAddr::from(bytes))
    };
    Ok(Packet {
        src: address(14)?,
        dst: address(24)?,
        ttl: 0,
        ip_id: None,
        fragment: None,
        len: 28,
        transport: Transport::Arp(Arp {
            operation: header.be16(6).ok_or(Malformed::Header)?,
            sender: mac(header, 8)?,
            target: mac(header, 18)?,
        }),
        payload_hash: Some(0),
    })
}

fn mac(bytes: &[u8], at: usize) -> Result<Mac, Malformed> {
    bytes.read(at).map(Mac).ok_or(Malformed::Header)
}

/// Decodes an address of an event: IPv4 is `::ffff:a.b.c.d`.
pub(crate) fn mapped(bytes: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(bytes).to_canonical()
}

#[cfg(test)]
mod drop_tests;
#[cfg(test)]
mod kept_tests;
#[cfg(test)]
mod tests;
