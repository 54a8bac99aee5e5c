//! Captures, byte by byte.

use std::net::Ipv4Addr;

use tracer_tests::frames::{IPV4, UDP, ethernet, icmp, ipv4, vxlan};

pub(super) const A: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 5);
pub(super) const B: Ipv4Addr = Ipv4Addr::new(10, 244, 2, 7);
pub(super) const NODE_A: Ipv4Addr = Ipv4Addr::new(192, 168, 50, 1);
pub(super) const NODE_B: Ipv4Addr = Ipv4Addr::new(192, 168, 50, 2);

/// 2023-11-14, ns.
pub(super) const BEGIN: u64 = 1_700_000_000_000_000_000;
pub(super) const MICROSECOND: u64 = 1_000;
pub(super) const SECOND: u64 = 1_000_000_000;

pub(super) const ETHERNET: u32 = 1;
pub(super) const RAW: u32 = 101;
pub(super) const SLL: u32 = 113;
pub(super) const SLL2: u32 = 276;

/// A packet: when it was there, and its bytes.
pub(super) type Timed = (u64, Vec<u8>);

/// A pcap file of nanoseconds; of each packet at most `most` bytes.
pub(super) fn pcap(link: u32, most: usize, packets: &[Timed]) -> Vec<u8> {
    pcap_with(link, most, packets, u32::to_le_bytes, true)
}

pub(super) fn pcap_with(
    link: u32,
    most: usize,
    packets: &[Timed],
    bytes: fn(u32) -> [u8; 4],
    nanoseconds: bool,
) -> Vec<u8> {
    let magic = if nanoseconds {
        0xa1b2_3c4d
    } else {
        0xa1b2_c3d4
    };
    let version = if bytes(1) == [1, 0, 0, 0] {
        0x0004_0002
    } else {
        0x0002_0004
    };
    let snaplen = u32::try_from(most).expect("short");
    let mut file = [magic, version, 0, 0, snaplen, link].map(bytes).concat();
    for (time, packet) in packets {
        let kept = &packet[..packet.len().min(most)];
        let fraction = time % SECOND / if nanoseconds { 1 } else { 1_000 };
        let words = [
            time / SECOND,
            fraction,
            kept.len() as u64,
            packet.len() as u64,
        ];
        let words = words.map(|word| bytes(u32::try_from(word).expect("32 bits")));
        file.extend(words.concat());
        file.extend(kept);
    }
    file
}

/// A block of pcapng, little endian.
pub(super) fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    body.resize(body.len().next_multiple_of(4), 0);
    let length = u32::try_from(body.len() + 12).expect("short").to_le_bytes();
    [&kind.to_le_bytes(), &length[..], &body, &length].concat()
}

pub(super) fn option(code: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("short");
    let mut option = [code.to_le_bytes(), length.to_le_bytes()].concat();
    option.extend(value);
    option.resize(option.len().next_multiple_of(4), 0);
    option
}

/// Options, and that they end.
fn all(options: &[Vec<u8>]) -> Vec<u8> {
    let end = (!options.is_empty()).then(|| option(0, &[]));
    options
        .iter()
        .cloned()
        .chain(end)
        .collect::<Vec<_>>()
        .concat()
}

/// What a pcapng file begins with.
pub(super) fn section() -> Vec<u8> {
    let mut body = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
    body.extend([1, 0, 0, 0]);
    body.extend([0xff; 8]);
    block(0x0a0d_0d0a, &body)
}

pub(super) fn interface(link: u16, options: &[Vec<u8>]) -> Vec<u8> {
    let mut body = link.to_le_bytes().to_vec();
    body.extend([0; 6]);
    body.extend(all(options));
    block(1, &body)
}

/// Time as pcapng has it: two words, the upper one first.
pub(super) fn stamp(units: u64) -> Vec<u8> {
    let (high, low) = ((units >> 32) as u32, units as u32);
    [high.to_le_bytes(), low.to_le_bytes()].concat()
}

pub(super) fn packet(interface: u32, units: u64, bytes: &[u8], options: &[Vec<u8>]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("short").to_le_bytes();
    let mut body = interface.to_le_bytes().to_vec();
    body.extend(stamp(units));
    body.extend(length);
    body.extend(length);
    body.extend(bytes);
    body.resize(body.len().next_multiple_of(4), 0);
    body.extend(all(options));
    block(6, &body)
}

/// That nothing was missed of so many packets, from when to when, ns.
pub(super) fn statistics(packets: u64, from: u64, to: u64) -> Vec<u8> {
    let mut body = 0_u32.to_le_bytes().to_vec();
    body.extend(stamp(to));
    body.extend(option(2, &stamp(from)));
    body.extend(option(3, &stamp(to)));
    body.extend(option(4, &packets.to_le_bytes()));
    body.extend(option(5, &0_u64.to_le_bytes()));
    body.extend(option(0, &[]));
    block(5, &body)
}

/// A pcapng file of one interface in nanoseconds, with what it says at its end.
pub(super) fn vouched(packets: &[Timed], from: u64, to: u64) -> Vec<u8> {
    let mut file = section();
    file.extend(interface(1, &[option(9, &[9])]));
    for (time, bytes) in packets {
        file.extend(packet(0, *time, bytes, &[]));
    }
    file.extend(statistics(packets.len() as u64, from, to));
    file
}

/// An echo request, or its answer, as a frame whose TTL is less by `hops`.
pub(super) fn echo(seq: u16, answer: bool, hops: u8) -> Vec<u8> {
    let (kind, from, to) = if answer { (0, B, A) } else { (8, A, B) };
    let mut rest = [7, seq].map(u16::to_be_bytes).concat();
    rest.extend([b'x'; 40]);
    let mut packet = ipv4(1, from, to, &icmp(kind, 0, &rest));
    packet[4..6].copy_from_slice(&(seq + if answer { 1000 } else { 0 }).to_be_bytes());
    packet[8] -= hops;
    ethernet(IPV4, &packet)
}

/// The same between nodes.
pub(super) fn tunnelled(seq: u16, answer: bool) -> Vec<u8> {
    let (from, to) = if answer {
        (NODE_B, NODE_A)
    } else {
        (NODE_A, NODE_B)
    };
    let outer = ipv4(UDP, from, to, &vxlan(8472, 1, &echo(seq, answer, 1)));
    ethernet(IPV4, &outer)
}

/// A packet as `-i any` has it.
pub(super) fn cooked2(index: u32, went: u8, packet: &[u8]) -> Vec<u8> {
    let mut bytes = IPV4.to_be_bytes().to_vec();
    bytes.extend([0; 2]);
    bytes.extend(index.to_be_bytes());
    bytes.extend([0, 1, went, 6]);
    bytes.extend([2, 0, 0, 0, 0, 9, 0, 0]);
    bytes.extend(packet);
    bytes
}
