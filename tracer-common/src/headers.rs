//! Copies headers from a packet into its event.
//!
//! Headers are copied unchanged, from where the walk found the innermost packet. In the kernel,
//! programs on frames and on drops do so; in user space, the import of captures does.
//!
//! Invariant 8 (ARCHITECTURE.md): no payload leaves the kernel, only headers and a keyed
//! hash.

use core::hint::black_box;

use network_types::{
    icmp::Icmpv4Hdr,
    ip::{IpProto, Ipv4Hdr, Ipv6Hdr},
    sctp::SctpHdr,
    tcp::TcpHdr,
    udp::UdpHdr,
};

use crate::{
    config::Load,
    event::{DNS_PORT, HASHED, HopEvent, TRANSPORT_BYTES},
    filter::{ADVERTISEMENT, SOLICITATION},
    hash::{HASHED_BYTES, Key, payload_hash},
    layers::Tunnel,
    layers::{Layers, Network},
    packet::Packet,
    walk::ARP_LEN,
};

/// A packet from which byte ranges can be copied.
pub trait Bytes: Packet {
    /// Copies `len` bytes at `offset` to the start of `to`. False if the packet does not have
    /// these bytes, or `to` has no room for them.
    fn copy(&self, offset: usize, to: &mut [u8], len: usize) -> bool;

    /// As [`Bytes::copy`], with a length that is known at compile time, which is faster.
    #[inline(always)]
    fn fixed<const N: usize>(&self, offset: usize, to: &mut [u8]) -> bool {
        match (self.read::<N>(offset), to.first_chunk_mut::<N>()) {
            (Some(bytes), Some(to)) => {
                *to = bytes;
                true
            }
            _ => false,
        }
    }
}

impl Bytes for [u8] {
    fn copy(&self, offset: usize, to: &mut [u8], len: usize) -> bool {
        let end = offset.checked_add(len);
        let from = end.and_then(|end| self.get(offset..end));
        match from.zip(to.get_mut(..len)) {
            Some((from, to)) => {
                to.copy_from_slice(from);
                true
            }
            None => false,
        }
    }
}

/// Fills in the fields from the innermost packet's headers. The caller has set `event.len`, and
/// all flags except [`HASHED`]. `quote` is the packet that an ICMP error quotes.
#[inline(always)]
pub fn fill_headers<B: Bytes + ?Sized>(
    event: &mut HopEvent,
    bytes: &B,
    layers: &Layers,
    quote: Option<&Layers>,
    load: &Load,
) {
    event.l3 = layers.l3 as u16;
    event.l4 = layers.l4 as u16;
    event.network = layers.network as u8;
    event.proto = layers.proto;
    event.fragment = layers.fragment;
    event.fragment_id = layers.fragment_id;
    fill_tunnel(event, bytes, layers.tunnel());

    let network_len = network_len(layers);
    let to = &mut event.network_header;
    let network_copied = match layers.network {
        Network::V4 => bytes.fixed::<{ Ipv4Hdr::LEN }>(layers.l3, to),
        Network::V6 => bytes.fixed::<{ Ipv6Hdr::LEN }>(layers.l3, to),
        Network::Arp => bytes.fixed::<ARP_LEN>(layers.l3, to),
    };
    event.network_len = if network_copied { network_len as u8 } else { 0 };

    let end = layers.end.min(event.len as usize);
    let (header_len, copied_len) = transport_len(bytes, layers);
    let header = &mut event.transport_header;
    event.transport_len = copy_up_to(bytes, (layers.l4, end), header, copied_len);
    // Of a freed packet, perhaps only the header is readable.
    if event.transport_len == 0 {
        event.transport_len = copy_up_to(bytes, (layers.l4, end), header, header_len);
    }
    fill_quote(event, bytes, quote);
    let hash = if layers.proto == IpProto::Tcp as u8 {
        Some(0)
    } else {
        hash(bytes, layers.l4 + header_len, end, load.key)
    };
    event.payload_hash = hash.unwrap_or(0);
    if hash.is_some() {
        event.flags |= HASHED;
    }
}

/// Number of bytes of a network header that are copied.
#[inline(always)]
const fn network_len(layers: &Layers) -> usize {
    match layers.network {
        Network::V4 => Ipv4Hdr::LEN,
        Network::V6 => Ipv6Hdr::LEN,
        Network::Arp => ARP_LEN,
    }
}

/// Copies at most `len` bytes at `at` from a packet that ends at `end`. Returns the number of
/// copied bytes.
#[inline(always)]
fn copy_up_to<B: Bytes + ?Sized>(
    from: &B,
    (at, end): (usize, usize),
    to: &mut [u8],
    len: usize,
) -> u8 {
    if at >= end {
        return 0;
    }
    // The usual lengths of headers: UDP, TCP without options, and TCP with timestamps.
    let known = match len {
        _ if end - at < len => false,
        8 => from.fixed::<8>(at, to),
        20 => from.fixed::<20>(at, to),
        32 => from.fixed::<32>(at, to),
        _ => false,
    };
    if known {
        return len as u8;
    }
    // The length is 1 to the buffer's size, in a form that every verifier understands.
    let last = black_box(len.min(end - at).wrapping_sub(1));
    if last < to.len() && from.copy(at, to, last + 1) {
        (last + 1) as u8
    } else {
        0
    }
}

/// Adds the quoted headers after an ICMP error's own header.
#[inline(always)]
fn fill_quote<B: Bytes + ?Sized>(event: &mut HopEvent, bytes: &B, quote: Option<&Layers>) {
    /// Number of bytes that are copied after the quoted network header.
    const BEHIND: usize = 8;
    const _: () = assert!(Icmpv4Hdr::LEN + Ipv6Hdr::LEN + BEHIND <= TRANSPORT_BYTES);

    event.quote_proto = 0;
    event.padding = 0;
    let Some(quote) = quote else {
        return;
    };
    let len = network_len(quote);
    let to = &mut event.transport_header;
    if !bytes.copy(quote.l3, &mut to[Icmpv4Hdr::LEN..], len) {
        return;
    }
    event.quote_proto = quote.proto;
    event.transport_len = (Icmpv4Hdr::LEN + len) as u8;
    if !quote.has_transport() {
        return;
    }
    let behind = (quote.l4, quote.end.min(event.len as usize));
    let to = if quote.network == Network::V6 {
        &mut to[Icmpv4Hdr::LEN + Ipv6Hdr::LEN..][..BEHIND]
    } else {
        &mut to[Icmpv4Hdr::LEN + Ipv4Hdr::LEN..][..BEHIND]
    };
    event.transport_len += copy_up_to(bytes, behind, to, BEHIND);
}

/// Fills in the fields of the innermost tunnel.
#[inline(always)]
fn fill_tunnel<B: Bytes + ?Sized>(event: &mut HopEvent, bytes: &B, tunnel: Option<Tunnel>) {
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
        bytes.fixed::<16>(at + 8, &mut event.outer_src);
        bytes.fixed::<16>(at + 24, &mut event.outer_dst);
    } else {
        event.outer_src[10..12].copy_from_slice(&[0xff; 2]);
        event.outer_dst[10..12].copy_from_slice(&[0xff; 2]);
        bytes.fixed::<4>(at + 12, &mut event.outer_src[12..]);
        bytes.fixed::<4>(at + 16, &mut event.outer_dst[12..]);
    }
}

/// Length of the transport header, and number of bytes from its start that are copied, in
/// bytes. For DNS, the copy includes the DNS header; for neighbour discovery, the target.
#[inline(always)]
fn transport_len<P: Packet + ?Sized>(packet: &P, layers: &Layers) -> (usize, usize) {
    const TCP: u8 = IpProto::Tcp as u8;
    const UDP: u8 = IpProto::Udp as u8;
    const SCTP: u8 = IpProto::Sctp as u8;
    const ICMP: u8 = IpProto::Icmp as u8;
    const ICMP6: u8 = IpProto::Ipv6Icmp as u8;
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
            let copied = if layers.proto == ICMP6 && (kind == SOLICITATION || kind == ADVERTISEMENT)
            {
                NEIGHBOUR_LEN
            } else {
                Icmpv4Hdr::LEN
            };
            (Icmpv4Hdr::LEN, copied)
        }
        _ => (0, 0),
    }
}

/// The keyed hash of the payload, which ends at `packet_end`; 0 for an empty payload. `None` if
/// the payload cannot be read.
#[inline(always)]
fn hash<B: Bytes + ?Sized>(from: &B, at: usize, packet_end: usize, key: Key) -> Option<u64> {
    if at >= packet_end {
        return Some(0);
    }
    if packet_end - at >= HASHED_BYTES
        && let Some(bytes) = from.read::<HASHED_BYTES>(at)
    {
        return Some(payload_hash(key, &bytes, HASHED_BYTES));
    }
    let mut bytes = [0; HASHED_BYTES];
    // At least 1 and at most HASHED_BYTES, in a form the verifier sees.
    let len = (((packet_end - at).min(HASHED_BYTES) - 1) & (HASHED_BYTES - 1)) + 1;
    from.copy(at, &mut bytes, len)
        .then(|| payload_hash(key, &bytes, len))
}
