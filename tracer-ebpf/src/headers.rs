//! What both kinds of programs copy from a packet into its event.
//!
//! Headers are copied as they stand, from wherever the walk has found the
//! innermost packet to begin.

use network_types::{
    icmp::Icmpv4Hdr,
    ip::{IpProto, Ipv4Hdr, Ipv6Hdr},
    sctp::SctpHdr,
    tcp::TcpHdr,
    udp::UdpHdr,
};
use tracer_common::{
    config::Load,
    event::HopEvent,
    filter::{ADVERTISEMENT, SOLICITATION},
    hash::{HASHED_BYTES, Key, payload_hash},
    packet::Packet,
    tunnel::Tunnel,
    walk::{ARP_LEN, Layers, Network, is_icmp_error},
};

/// A packet of which runs of bytes can be copied.
pub(crate) trait Bytes: Packet {
    /// Copies `len` bytes at `offset` to the start of `to`; false where the
    /// packet has them not, or `to` has not the room.
    fn copy(&self, offset: usize, to: &mut [u8], len: usize) -> bool;
}

/// Fills in what the innermost packet's headers say; `event.len` is known.
#[inline(always)]
pub(crate) fn fill_headers<B: Bytes>(
    event: &mut HopEvent,
    bytes: &B,
    layers: &Layers,
    load: &Load,
) {
    event.l3 = layers.l3 as u16;
    event.l4 = layers.l4 as u16;
    event.network = layers.network as u8;
    event.proto = layers.proto;
    event.fragment = layers.fragment;
    event.fragment_id = layers.fragment_id;
    fill_tunnel(event, bytes, layers.tunnel());

    let network_len = match layers.network {
        Network::V4 => Ipv4Hdr::LEN,
        Network::V6 => Ipv6Hdr::LEN,
        Network::Arp => ARP_LEN,
    };
    let network_copied = bytes.copy(layers.l3, &mut event.network_header, network_len);
    event.network_len = if network_copied { network_len as u8 } else { 0 };

    let (header_len, copied_len) = transport_len(bytes, layers);
    // A packet that ends early still has its header, if not what else would
    // be copied.
    event.transport_len = if bytes.copy(layers.l4, &mut event.transport_header, copied_len) {
        copied_len as u8
    } else if bytes.copy(layers.l4, &mut event.transport_header, header_len) {
        header_len as u8
    } else {
        0
    };
    event.payload_hash = if layers.proto == IpProto::Tcp as u8 {
        0
    } else {
        let end = packet_end(event, layers, event.len as usize);
        hash(bytes, layers.l4 + header_len, end, load.key)
    };
}

/// Where the innermost packet ends: by its own header, which tells it from the
/// padding of a short frame, or with the frame.
#[inline(always)]
fn packet_end(event: &HopEvent, layers: &Layers, frame_end: usize) -> usize {
    let be16 = |at: usize| {
        let bytes = [event.network_header[at], event.network_header[at + 1]];
        usize::from(u16::from_be_bytes(bytes))
    };
    let (stated, fixed) = match layers.network {
        Network::V4 => (be16(2), 0),
        Network::V6 => (be16(4), Ipv6Hdr::LEN),
        Network::Arp => (0, 0),
    };
    // BIG TCP states none.
    if stated == 0 {
        frame_end
    } else {
        frame_end.min(layers.l3 + fixed + stated)
    }
}

/// Fills in the innermost tunnel.
#[inline(always)]
fn fill_tunnel<B: Bytes>(event: &mut HopEvent, bytes: &B, tunnel: Option<Tunnel>) {
    event.tunnel = 0;
    event.levels = 0;
    event.vni = 0;
    event.outer_src = [0; 16];
    event.outer_dst = [0; 16];
    let Some(tunnel) = tunnel else {
        return;
    };
    event.tunnel = tunnel.kind as u8;
    event.levels = tunnel.levels;
    event.vni = tunnel.vni;
    let at = tunnel.outer_l3;
    // The walk has read the header, so the copies cannot fail.
    if tunnel.outer == Network::V6 {
        bytes.copy(at + 8, &mut event.outer_src, 16);
        bytes.copy(at + 24, &mut event.outer_dst, 16);
    } else {
        event.outer_src[10..12].copy_from_slice(&[0xff; 2]);
        event.outer_dst[10..12].copy_from_slice(&[0xff; 2]);
        bytes.copy(at + 12, &mut event.outer_src[12..], 4);
        bytes.copy(at + 16, &mut event.outer_dst[12..], 4);
    }
}

/// How long the transport header is, and how many bytes from its start are
/// copied: those of an ICMP error include the quoted headers, those of DNS
/// its own header.
#[inline(always)]
fn transport_len<P: Packet>(packet: &P, layers: &Layers) -> (usize, usize) {
    const TCP: u8 = IpProto::Tcp as u8;
    const UDP: u8 = IpProto::Udp as u8;
    const SCTP: u8 = IpProto::Sctp as u8;
    const ICMP: u8 = IpProto::Icmp as u8;
    const ICMP6: u8 = IpProto::Ipv6Icmp as u8;
    const DNS_PORT: u16 = 53;
    const DNS_LEN: usize = 12;
    /// Type, code, checksum, flags and the target (RFC 4861, 4.3).
    const NEIGHBOUR_LEN: usize = 24;

    if !layers.has_transport() {
        return (0, 0);
    }
    match layers.proto {
        TCP => {
            let offset = packet.u8(layers.l4 + 12).unwrap_or(0) >> 4;
            let len = (usize::from(offset) * 4).max(TcpHdr::LEN);
            (len, len)
        }
        UDP => {
            let ports = packet.be32(layers.l4).unwrap_or(0);
            let dns = ports as u16 == DNS_PORT || (ports >> 16) as u16 == DNS_PORT;
            (
                UdpHdr::LEN,
                if dns {
                    UdpHdr::LEN + DNS_LEN
                } else {
                    UdpHdr::LEN
                },
            )
        }
        SCTP => (SctpHdr::LEN, SctpHdr::LEN),
        ICMP | ICMP6 => {
            let kind = packet.u8(layers.l4).unwrap_or(0);
            let quote = if layers.proto == ICMP {
                Ipv4Hdr::LEN + 8
            } else {
                Ipv6Hdr::LEN + 8
            };
            let copied = if is_icmp_error(layers.network, kind) {
                Icmpv4Hdr::LEN + quote
            } else if layers.proto == ICMP6 && (kind == SOLICITATION || kind == ADVERTISEMENT) {
                NEIGHBOUR_LEN
            } else {
                Icmpv4Hdr::LEN
            };
            (Icmpv4Hdr::LEN, copied)
        }
        _ => (0, 0),
    }
}

/// The keyed hash of what follows the headers, up to the packet's end.
#[inline(always)]
fn hash<B: Bytes>(from: &B, at: usize, packet_end: usize, key: Key) -> u64 {
    if at >= packet_end {
        return 0;
    }
    let mut bytes = [0; HASHED_BYTES];
    // At least 1 and at most HASHED_BYTES, in a form the verifier sees.
    let len = (((packet_end - at).min(HASHED_BYTES) - 1) & (HASHED_BYTES - 1)) + 1;
    if from.copy(at, &mut bytes, len) {
        payload_hash(key, &bytes, len)
    } else {
        0
    }
}
