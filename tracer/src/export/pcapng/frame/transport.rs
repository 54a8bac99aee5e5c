//! What is in an IP packet: headers of TCP, UDP, SCTP and ICMP, and ARP.

use std::net::IpAddr;

use etherparse::{IpNumber, Ipv4Header, Ipv6Header, TcpHeader, UdpHeader, checksum::Sum16BitWords};
use tracer_core::model::{Arp, Flags, Icmp, Packet, Quote, Tcp, Transport};

/// No-operation (RFC 9293).
const NOP: u8 = 1;

/// A TCP header of so many bytes, of the stream's bytes from an offset on.
pub(super) fn tcp(tcp: &Tcp, offset: u32, length: u32) -> Vec<u8> {
    let has = |bit| tcp.flags.has(bit);
    let mut header = TcpHeader {
        acknowledgment_number: tcp.ack,
        fin: has(Flags::FIN),
        syn: has(Flags::SYN),
        rst: has(Flags::RST),
        psh: has(Flags::PSH),
        ack: has(Flags::ACK),
        urg: has(0x20),
        ece: has(0x40),
        cwr: has(0x80),
        ..TcpHeader::new(
            tcp.src_port,
            tcp.dst_port,
            tcp.seq.wrapping_add(offset),
            tcp.window,
        )
    };
    let mut options = vec![NOP; length.saturating_sub(20) as usize];
    if let (Some((value, echo)), 12..) = (tcp.timestamps, options.len()) {
        options[2..4].copy_from_slice(&[8, 10]);
        options[4..8].copy_from_slice(&value.to_be_bytes());
        options[8..12].copy_from_slice(&echo.to_be_bytes());
    }
    let set = header.set_options_raw(&options);
    set.expect("at most 40 bytes, four at a time");
    header.to_bytes().to_vec()
}

/// The known bytes of a packet's transport header and payload.
pub(super) fn bytes(packet: &Packet) -> Vec<u8> {
    match &packet.transport {
        // A fragment does not have its header's length.
        Transport::Tcp(header) => tcp(header, 0, if header.timestamps.is_some() { 32 } else { 20 }),
        Transport::Udp {
            src_port,
            dst_port,
            len,
            dns,
        } => {
            let header = UdpHeader {
                source_port: *src_port,
                destination_port: *dst_port,
                length: *len,
                checksum: 0,
            };
            let mut bytes = header.to_bytes().to_vec();
            bytes.extend(dns.iter().flatten());
            bytes
        }
        Transport::Sctp {
            src_port,
            dst_port,
            tag,
        } => {
            let mut bytes = ports(*src_port, *dst_port);
            bytes.extend(tag.to_be_bytes());
            bytes.extend([0; 4]);
            bytes
        }
        Transport::Icmp(message) => icmp(message),
        Transport::Cut {
            src_port, dst_port, ..
        } => ports(*src_port, *dst_port),
        Transport::Arp(_) | Transport::Other(_) => Vec::new(),
    }
}

fn ports(source: u16, destination: u16) -> Vec<u8> {
    [source.to_be_bytes(), destination.to_be_bytes()].concat()
}

fn icmp(message: &Icmp) -> Vec<u8> {
    let mut bytes = vec![message.kind, message.code, 0, 0];
    match message.echo {
        Some((id, sequence)) => bytes.extend(ports(id, sequence)),
        None => bytes.extend([0; 4]),
    }
    if let Some(neighbour) = &message.neighbour {
        bytes.extend(octets(neighbour.target));
    }
    if let Some(quote) = &message.quote {
        bytes.extend(quoted(quote));
    }
    bytes
}

/// A quoted packet: its IP header, and eight bytes of what is in it.
fn quoted(quote: &Quote) -> Vec<u8> {
    /// How long it was, an error does not tell: as much as errors have to quote.
    const LENGTH: u16 = 8;

    let mut bytes = match (quote.src, quote.dst) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut header = Ipv4Header {
                total_len: 20 + LENGTH,
                identification: quote.ip_id.unwrap_or_default(),
                dont_fragment: false,
                time_to_live: 64,
                protocol: IpNumber(quote.proto),
                source: source.octets(),
                destination: destination.octets(),
                ..Ipv4Header::default()
            };
            header.header_checksum = header.calc_header_checksum();
            header.to_bytes().to_vec()
        }
        (source, destination) => {
            let header = Ipv6Header {
                payload_length: LENGTH,
                next_header: IpNumber(quote.proto),
                hop_limit: 64,
                source: v6(source),
                destination: v6(destination),
                ..Ipv6Header::default()
            };
            header.to_bytes().to_vec()
        }
    };
    match (quote.header, quote.ports) {
        (Some(header), _) => bytes.extend(header),
        (None, Some((source, destination))) => bytes.extend(ports(source, destination)),
        (None, None) => {}
    }
    bytes
}

/// Writes the checksum of a packet's transport, as far as there is one.
pub(super) fn sum(packet: &Packet, proto: u8, bytes: &mut [u8], length: u32) {
    let at = match packet.transport {
        Transport::Tcp(_) => 16,
        Transport::Udp { .. } => UDP_SUM,
        Transport::Icmp(_) => 2,
        _ => return,
    };
    let is_v4_icmp = matches!(&packet.transport, Transport::Icmp(icmp) if !icmp.v6);
    let ends = (!is_v4_icmp).then_some([packet.src, packet.dst]);
    let is_cut = packet.fragment.is_some() || bytes.len() != length as usize;
    if is_cut && matches!(packet.transport, Transport::Icmp(_)) {
        return;
    }
    put_sum(bytes, at, ends, proto, length, is_cut);
}

/// Where UDP has its checksum.
pub(super) const UDP_SUM: usize = 6;

/// Writes a checksum: of all bytes, or, if they are cut off, of the pseudo-header alone.
/// Either way with the full length.
pub(super) fn put_sum(
    bytes: &mut [u8],
    at: usize,
    ends: Option<[IpAddr; 2]>,
    proto: u8,
    length: u32,
    is_cut: bool,
) {
    let mut sum = Sum16BitWords::new();
    if let Some([source, destination]) = ends {
        sum = sum
            .add_slice(&octets(source))
            .add_slice(&octets(destination));
        sum = sum.add_4bytes([0, 0, 0, proto]);
        sum = sum.add_4bytes(length.to_be_bytes());
    }
    let value = if is_cut {
        // The sum is not inverted, because the rest is still to be added.
        !sum.ones_complement().to_be()
    } else {
        match sum.add_slice(bytes).ones_complement().to_be() {
            // In UDP, 0 means that there is no checksum (RFC 768).
            0 if at == UDP_SUM => u16::MAX,
            value => value,
        }
    };
    if let Some(place) = bytes.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

/// An ARP message (RFC 826) of Ethernet and IPv4.
pub(super) fn arp(packet: &Packet, arp: &Arp) -> Vec<u8> {
    let mut bytes = vec![0, 1, 8, 0, 6, 4];
    bytes.extend(arp.operation.to_be_bytes());
    bytes.extend(arp.sender.0);
    bytes.extend(octets(packet.src));
    bytes.extend(arp.target.0);
    bytes.extend(octets(packet.dst));
    bytes
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
    }
}
