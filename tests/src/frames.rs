//! Builds frames, byte by byte, for tests to inject, walk and measure.
//!
//! Each function wraps its payload, innermost first: `ethernet(IPV4, &ipv4(TCP, A, B, &tcp(…)))`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of a VLAN tag.
pub const VLAN: u16 = 0x8100;
/// EtherType of the outer one of two VLAN tags (IEEE 802.1ad).
pub const OUTER_VLAN: u16 = 0x88a8;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// EtherType of a frame in a tunnel ("Transparent Ethernet Bridging").
pub const FRAME: u16 = 0x6558;

/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of IPv4 in IP.
pub const IPV4_IN_IP: u8 = 4;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Protocol number of IPv6 in IP.
pub const IPV6_IN_IP: u8 = 41;
/// Protocol number of GRE.
pub const GRE: u8 = 47;
/// Protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;

/// An Ethernet frame between two invented MAC addresses.
#[must_use]
pub fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(kind.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The bytes after the EtherType [`VLAN`] or [`OUTER_VLAN`]: tag `id`, then a payload of `kind`.
#[must_use]
pub fn vlan(id: u16, kind: u16, payload: &[u8]) -> Vec<u8> {
    [&id.to_be_bytes(), &kind.to_be_bytes(), payload].concat()
}

/// An IPv4 packet without options, with a valid header checksum.
#[must_use]
pub fn ipv4(proto: u8, src: Ipv4Addr, dst: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    ipv4_with_options(proto, src, dst, &[], payload)
}

/// An IPv4 packet with options, whose length must be a multiple of four.
#[must_use]
pub fn ipv4_with_options(
    proto: u8,
    src: Ipv4Addr,
    dst: Ipv4Addr,
    options: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let header_len = 20 + options.len();
    let total = u16::try_from(header_len + payload.len()).expect("a packet fits in 64 KiB");
    let words = u8::try_from(header_len / 4).expect("at most 15");
    let mut header = vec![0x40 | words, 0];
    header.extend(total.to_be_bytes());
    header.extend([0x12, 0x34, 0x40, 0, 64, proto, 0, 0]);
    header.extend(src.octets());
    header.extend(dst.octets());
    header.extend(options);
    let checksum = checksum(&header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    header.extend(payload);
    header
}

/// An IPv6 packet.
#[must_use]
pub fn ipv6(next: u8, src: Ipv6Addr, dst: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).expect("a packet fits in 64 KiB");
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(len.to_be_bytes());
    packet.extend([next, 64]);
    packet.extend(src.octets());
    packet.extend(dst.octets());
    packet.extend(payload);
    packet
}

/// A TCP segment with Linux's usual options: NOP, NOP, timestamps.
#[must_use]
pub fn tcp(src_port: u16, dst_port: u16, seq: u32, payload: &[u8]) -> Vec<u8> {
    let mut segment = [src_port.to_be_bytes(), dst_port.to_be_bytes()].concat();
    segment.extend(seq.to_be_bytes());
    segment.extend([0, 0, 0, 2, 0x80, 0x10, 1, 0, 0, 0, 0, 0]);
    segment.extend([1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9]);
    segment.extend(payload);
    segment
}

/// A UDP datagram without checksum.
#[must_use]
pub fn udp(src_port: u16, dst_port: u16, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + payload.len()).expect("a datagram fits in 64 KiB");
    let mut datagram = [src_port, dst_port, len, 0].map(u16::to_be_bytes).concat();
    datagram.extend(payload);
    datagram
}

/// An ICMP or ICMPv6 message; `rest` comes after the checksum.
#[must_use]
pub fn icmp(kind: u8, code: u8, rest: &[u8]) -> Vec<u8> {
    [&[kind, code, 0, 0], rest].concat()
}

/// A UDP datagram to `port` that carries a frame in VXLAN.
#[must_use]
pub fn vxlan(port: u16, vni: u32, frame: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = vni.to_be_bytes();
    let mut payload = vec![8, 0, 0, 0, a, b, c, 0];
    payload.extend(frame);
    udp(40_000, port, &payload)
}

/// A UDP datagram to `port` that carries `payload`, with an EtherType, in Geneve. The length of
/// `options` is a multiple of four, up to the header's limit.
#[must_use]
pub fn geneve(port: u16, vni: u32, options: &[u8], kind: u16, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = vni.to_be_bytes();
    let words = u8::try_from(options.len() / 4).expect("at most 63");
    let mut header = vec![words, 0];
    header.extend(kind.to_be_bytes());
    header.extend([a, b, c, 0]);
    udp(40_000, port, &[&header, options, payload].concat())
}

/// The bytes after an IP header of protocol [`GRE`]: a payload with an EtherType. The fields are
/// checksum and reserved, key, and sequence number.
#[must_use]
pub fn gre(fields: [Option<u32>; 3], kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0, 0];
    header.extend(kind.to_be_bytes());
    for (field, flag) in fields.into_iter().zip([0x80, 0x20, 0x10]) {
        if let Some(value) = field {
            header[0] |= flag;
            header.extend(value.to_be_bytes());
        }
    }
    header.extend(payload);
    header
}

/// An ARP request for IPv4 over Ethernet.
#[must_use]
pub fn arp_request(sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 2];
    packet.extend(sender.octets());
    packet.extend([0; 6]);
    packet.extend(target.octets());
    packet
}

/// A frame of `frames.txt`, which has the expected result for it.
///
/// # Panics
/// If there is none of that name.
#[must_use]
pub fn kept(name: &str) -> Vec<u8> {
    let (_, frame) = all_kept()
        .into_iter()
        .find(|(other, _)| *other == name)
        .unwrap_or_else(|| panic!("no frame is called {name}"));
    frame
}

/// All frames of `frames.txt`, with their names.
///
/// # Panics
/// If the file is no list of names and hexadecimal digits.
#[must_use]
pub fn all_kept() -> Vec<(&'static str, Vec<u8>)> {
    let lines = include_str!("frames.txt").lines();
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (name, hex) = line.split_once(' ').expect("a name and its bytes");
            let bytes = (0..hex.len()).step_by(2).map(|at| {
                let byte = u8::from_str_radix(&hex[at..at + 2], 16);
                byte.expect("two hexadecimal digits")
            });
            (name, bytes.collect())
        })
        .collect()
}

/// A frame with an IPv4 or IPv6 packet between two MAC addresses, as `ip link` prints them.
///
/// # Panics
/// If an address is no MAC address.
#[must_use]
pub fn between(from: &str, to: &str, packet: &[u8]) -> Vec<u8> {
    let kind = if packet[0] >> 4 == 6 { IPV6 } else { IPV4 };
    let mut frame = ethernet(kind, packet);
    let bytes = [to, from].into_iter().flat_map(|mac| mac.split(':'));
    for (byte, hex) in frame.iter_mut().zip(bytes) {
        *byte = u8::from_str_radix(hex, 16).expect("two hexadecimal digits");
    }
    frame
}

/// The packet that opens a TCP connection, with a timestamp and valid checksums.
///
/// # Panics
/// If the ends are of two families.
#[must_use]
pub fn syn([from, to]: [SocketAddr; 2], seq: u32, timestamp: u32) -> Vec<u8> {
    let mut segment = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    segment.extend(seq.to_be_bytes());
    segment.extend([0, 0, 0, 0, 0x90, 2, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend([2, 4, 5, 0, 1, 1, 8, 10]);
    segment.extend(timestamp.to_be_bytes());
    segment.extend([0; 4]);
    let length = u8::try_from(segment.len()).expect("36 bytes");
    let addresses = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => [from.octets(), to.octets()].concat(),
        (IpAddr::V6(from), IpAddr::V6(to)) => [from.octets(), to.octets()].concat(),
        _ => panic!("one family for both ends"),
    };
    let summed = [&addresses[..], &[0, TCP, 0, length], &segment].concat();
    segment[16..18].copy_from_slice(&checksum(&summed).to_be_bytes());
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ipv4(TCP, from, to, &segment),
        (IpAddr::V6(from), IpAddr::V6(to)) => ipv6(TCP, from, to, &segment),
        _ => unreachable!("checked above"),
    }
}

/// The Internet checksum (RFC 1071) of bytes whose own checksum field is 0.
fn checksum(bytes: &[u8]) -> u16 {
    let (words, _) = bytes.as_chunks::<2>();
    let sum: u32 = words
        .iter()
        .map(|word| u32::from(u16::from_be_bytes(*word)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded twice")
}
