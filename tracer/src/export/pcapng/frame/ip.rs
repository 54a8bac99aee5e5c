//! IP headers.

use std::net::IpAddr;

use etherparse::{IpFragOffset, IpNumber, Ipv4Header, Ipv4Options, Ipv6FragmentHeader, Ipv6Header};
use tracer_core::model::{Packet, Proto, Transport};

use super::{Range, transport};

/// The longest options of an IPv4 header.
const MAX_OPTIONS: u32 = 40;
/// No-operation (RFC 791).
const NOP: u8 = 1;
/// Destination options of IPv6, and padding in them (RFC 8200).
pub(super) const DESTINATION: u8 = 60;
const PAD: u8 = 1;

/// An IP packet: its headers, and how long it is.
pub(super) fn packet(packet: &Packet, ttl: u8, range: Range) -> (Vec<u8>, u32) {
    let proto = match packet.proto() {
        Proto::Ip(number) => number,
        Proto::Arp => unreachable!("ARP is no IP"),
    };
    let v6 = packet.src.is_ipv6();
    let fragment = if v6 && packet.fragment.is_some() {
        8
    } else {
        0
    };
    let least = if v6 { 40 } else { 20 } + fragment;
    let room = packet.len.saturating_sub(least);
    let is_whole = packet.fragment.is_none();
    // What is behind the header's fixed part, and how much of that are IP's options.
    let (length, options, mut body) = match &packet.transport {
        Transport::Tcp(tcp) if is_whole => {
            // Headers are as long in each range as in all of it.
            let headers = room.saturating_sub(tcp.payload_len);
            let length = packet.stream_data().map_or(0, |_| range.1 - range.0);
            let header = headers.clamp(20, 60) & !3;
            let body = transport::tcp(tcp, range.0, header);
            (headers + length, headers.saturating_sub(header), body)
        }
        Transport::Udp { len, .. } if is_whole => {
            let options = room.saturating_sub((*len).into());
            (room, options, transport::bytes(packet))
        }
        _ => (room, 0, transport::bytes(packet)),
    };
    let options = if v6 {
        options & !7
    } else {
        options.min(MAX_OPTIONS) & !3
    };
    let of_transport = length - options;
    body.truncate(of_transport as usize);
    transport::sum(packet, proto, &mut body, of_transport);
    let mut bytes = match (packet.src, packet.dst) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let nops = [NOP; MAX_OPTIONS as usize];
            let nops = &nops[..options as usize];
            let (offset, more) = packet.fragment.unwrap_or_default();
            let mut header = Ipv4Header {
                // One that is longer than the field can say has 0 there, as kernels do.
                total_len: u16::try_from(least + length).unwrap_or(0),
                #[expect(clippy::cast_possible_truncation, reason = "it has 16 bits in IPv4")]
                identification: packet.ip_id.unwrap_or_default() as u16,
                dont_fragment: false,
                more_fragments: more,
                fragment_offset: IpFragOffset::try_new(offset / 8).unwrap_or_default(),
                time_to_live: ttl,
                protocol: IpNumber(proto),
                source: source.octets(),
                destination: destination.octets(),
                options: Ipv4Options::try_from(nops).unwrap_or_default(),
                ..Ipv4Header::default()
            };
            header.header_checksum = header.calc_header_checksum();
            header.to_bytes().to_vec()
        }
        (source, destination) => v6_headers(
            packet,
            ttl,
            proto,
            options,
            fragment + length,
            [source, destination],
        ),
    };
    bytes.extend(body);
    (bytes, least + length)
}

fn v6_headers(
    packet: &Packet,
    ttl: u8,
    proto: u8,
    options: u32,
    length: u32,
    ends: [IpAddr; 2],
) -> Vec<u8> {
    let octets = |address| match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
    };
    const FRAGMENT: u8 = 44;
    let inner = if options > 0 { DESTINATION } else { proto };
    let first = if packet.fragment.is_some() {
        FRAGMENT
    } else {
        inner
    };
    let header = Ipv6Header {
        payload_length: u16::try_from(length).unwrap_or(0),
        next_header: IpNumber(first),
        hop_limit: ttl,
        source: octets(ends[0]),
        destination: octets(ends[1]),
        ..Ipv6Header::default()
    };
    let mut bytes = header.to_bytes().to_vec();
    if let Some((offset, more)) = packet.fragment {
        let header = Ipv6FragmentHeader {
            next_header: IpNumber(inner),
            fragment_offset: IpFragOffset::try_new(offset / 8).unwrap_or_default(),
            more_fragments: more,
            identification: packet.ip_id.unwrap_or_default(),
        };
        bytes.extend(header.to_bytes());
    }
    if options > 0 {
        bytes.extend(padding(proto, options));
    }
    bytes
}

/// A header of destination options of so many bytes that say nothing, before a
/// protocol.
pub(super) fn padding(proto: u8, length: u32) -> Vec<u8> {
    let mut header = vec![0; length as usize];
    header[0] = proto;
    header[1] = u8::try_from(length / 8 - 1).unwrap_or(u8::MAX);
    pad(&mut header[2..]);
    header
}

/// Fills a header of options with padding, of at most 257 bytes each.
fn pad(mut options: &mut [u8]) {
    while options.len() >= 2 {
        let length = (options.len() - 2).min(255);
        options[0] = PAD;
        options[1] = u8::try_from(length).unwrap_or(u8::MAX);
        options = &mut options[length + 2..];
    }
}
