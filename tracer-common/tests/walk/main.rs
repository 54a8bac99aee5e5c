//! The header walk, on frames as they should and should not be.

mod kept;
mod tunnels;

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use tracer_common::{
    config::TunnelPorts,
    filter::{Identity, Rule, Spot, Tables, candidate},
    glance::is_miss,
    layers::{FRAGMENT_HEADER, Layers, MORE_FRAGMENTS, Network, Unparsed},
    walk::{quoted, walk},
};
use tracer_tests::frames::{
    ARP, ICMP, ICMPV6, IPV4, IPV6, OUTER_VLAN, TCP, UDP, VLAN, arp_request, ethernet, icmp, ipv4,
    ipv4_with_options, ipv6, tcp, udp, vlan, vxlan,
};

const PORTS: TunnelPorts = TunnelPorts {
    vxlan: [8472, 4789, 0, 0],
    geneve: [6081, 0, 0, 0],
};
const A: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 5);
const B: Ipv4Addr = Ipv4Addr::new(10, 244, 2, 7);
const NODE_A: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 1);
const NODE_B: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 2);
const A6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 5);
const B6: Ipv6Addr = Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 7);

/// A filter whose first stage lets a part of all addresses through.
struct Sparse(u32);

impl Tables for Sparse {
    fn may_concern(&self, spot: Spot) -> bool {
        spot.word & self.0 == 0
    }

    fn identity(&self, _: &[u8; 16]) -> Identity {
        Identity::default()
    }

    fn pair(&self, _: u32, _: u32) -> Option<u32> {
        None
    }

    fn rule(&self, _: u32, _: u32) -> Rule {
        Rule::default()
    }
}

/// What a glance calls a miss is one for who walks it. Returns whether it does.
fn glance_agrees(frame: &[u8], ethernet: bool) -> bool {
    let mut misses = false;
    for (mask, explain) in [
        (0, true),
        (0, false),
        (1, true),
        (1, false),
        (u32::MAX, false),
    ] {
        let tables = Sparse(mask);
        if is_miss(frame, ethernet, &PORTS, &tables, explain) {
            misses = true;
            let walked = walk(frame, ethernet, &PORTS).expect("a miss can be walked");
            let Some(layers) = walked else {
                continue;
            };
            let candidate = candidate(frame, &layers, &tables, explain);
            assert_eq!(candidate, Ok(None), "{mask:#x} {explain} {layers:?}");
        }
    }
    misses
}

fn found(frame: &[u8]) -> Layers {
    walk(frame, true, &PORTS)
        .expect("a frame that can be walked")
        .expect("a packet that can be followed")
}

fn inner() -> Vec<u8> {
    ethernet(IPV4, &ipv4(TCP, A, B, &tcp(40_000, 8080, 1, b"hello")))
}

fn wrapped(frame: &[u8]) -> Vec<u8> {
    ethernet(IPV4, &ipv4(UDP, NODE_A, NODE_B, &vxlan(8472, 7, frame)))
}

#[test]
fn plain_packets() {
    let layers = found(&inner());
    assert_eq!((layers.l3, layers.l4), (14, 34));
    assert_eq!((layers.network, layers.proto), (Network::V4, TCP));
    assert_eq!(layers.fragment_id, 0x1234);
    assert_eq!(layers.tunnel(), None);

    let layers = found(&ethernet(IPV6, &ipv6(UDP, A6, B6, &udp(1, 2, b""))));
    assert_eq!((layers.l3, layers.l4), (14, 54));
    assert_eq!((layers.network, layers.proto), (Network::V6, UDP));

    let layers = found(&ethernet(ARP, &arp_request(A, B)));
    assert_eq!((layers.l3, layers.network), (14, Network::Arp));
}

#[test]
fn without_ethernet() {
    let packet = ipv4(ICMP, A, B, &icmp(8, 0, &[0; 4]));
    let layers = walk(packet.as_slice(), false, &PORTS)
        .expect("walked")
        .expect("found");
    assert_eq!((layers.l3, layers.l4), (0, 20));
}

#[test]
fn options_vlan_tags_and_extension_headers() {
    let options = [1, 1, 1, 1, 1, 1, 1, 1];
    let packet = ipv4_with_options(TCP, A, B, &options, &tcp(1, 2, 3, b""));
    assert_eq!(found(&ethernet(IPV4, &packet)).l4, 14 + 28);

    for outer in [VLAN, OUTER_VLAN] {
        let once = ethernet(outer, &vlan(5, IPV4, &packet));
        assert_eq!(found(&once).l3, 14 + 4, "{outer:#x}");
        let twice = ethernet(outer, &vlan(5, VLAN, &vlan(6, IPV4, &packet)));
        assert_eq!(found(&twice).l3, 14 + 8, "{outer:#x}");
    }

    // Hop-by-hop options of 16 bytes, then destination options of 8.
    let mut extended = vec![60, 1];
    extended.extend([0; 14]);
    extended.extend([UDP, 0, 0, 0, 0, 0, 0, 0]);
    extended.extend(udp(1, 2, b""));
    let layers = found(&ethernet(IPV6, &ipv6(0, A6, B6, &extended)));
    assert_eq!((layers.proto, layers.l4), (UDP, 14 + 40 + 24));
}

#[test]
fn fragments() {
    let mut first = ethernet(IPV4, &ipv4(UDP, NODE_A, NODE_B, &vxlan(8472, 7, &inner())));
    first[14 + 6] = 0x20;
    let layers = found(&first);
    assert!(
        layers.tunnel().is_some(),
        "the first fragment has the headers"
    );

    let mut later = first.clone();
    later[14 + 6..14 + 8].copy_from_slice(&[0x20, 0x10]);
    let layers = found(&later);
    assert_eq!(layers.fragment, MORE_FRAGMENTS | 0x10);
    assert!(!layers.has_transport());
    assert_eq!(layers.tunnel(), None);

    // Offset 185 × 8 bytes, last one, id 0xabcd.
    let mut fragment = vec![UDP, 0];
    fragment.extend((185_u16 << 3).to_be_bytes());
    fragment.extend(0xabcd_u32.to_be_bytes());
    fragment.extend([0; 16]);
    let layers = found(&ethernet(IPV6, &ipv6(44, A6, B6, &fragment)));
    assert_eq!(layers.fragment, FRAGMENT_HEADER | 185);
    assert_eq!(layers.fragment_id, 0xabcd);
}

#[test]
fn errors_quote() {
    let quote = ipv4(UDP, A, B, &udp(1, 2, b""));
    let error = ethernet(
        IPV4,
        &ipv4(
            ICMP,
            NODE_A,
            A,
            &icmp(3, 1, &[&[0; 4], quote.as_slice()].concat()),
        ),
    );
    let begins = |frame: &[u8]| {
        let quote = quoted(frame, &found(frame)).expect("all is there");
        quote.map(|quote| (quote.l3, quote.l4))
    };
    assert_eq!(begins(&error), Some((34 + 8, 34 + 8 + 20)));
    let echo = ethernet(IPV4, &ipv4(ICMP, A, B, &icmp(8, 0, &[0; 4])));
    assert_eq!(begins(&echo), None);
    let solicitation = ethernet(IPV6, &ipv6(ICMPV6, A6, B6, &icmp(135, 0, &[0; 20])));
    assert_eq!(begins(&solicitation), None);
}

#[test]
fn broken_headers_are_reported() {
    let broken = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = wrapped(&inner());
        change(&mut frame);
        walk(frame.as_slice(), true, &PORTS)
    };
    for len in [0, 1, 13, 14, 33, 41, 49, 50, 63, 83] {
        let cut = broken(&|frame| frame.truncate(len));
        assert_eq!(cut, Err(Unparsed::Short), "cut at {len}");
    }
    assert_eq!(
        broken(&|frame| frame[14] = 0x44),
        Err(Unparsed::Malformed),
        "IHL of 16"
    );
    assert_eq!(
        broken(&|frame| frame[14] = 0x65),
        Err(Unparsed::Malformed),
        "version 6"
    );
    assert_eq!(
        broken(&|frame| frame[64] = 0x05),
        Err(Unparsed::Malformed),
        "inner version 0"
    );
    let mut chain = Vec::new();
    for _ in 0..8 {
        chain.extend([60, 0, 0, 0, 0, 0, 0, 0]);
    }
    let endless = ethernet(IPV6, &ipv6(60, A6, B6, &chain));
    assert_eq!(
        walk(endless.as_slice(), true, &PORTS),
        Err(Unparsed::TooDeep)
    );
    for kind in [VLAN, OUTER_VLAN] {
        let tags = (0..3).fold(Vec::new(), |inner, id| vlan(id, kind, &inner));
        let tagged = ethernet(kind, &tags);
        assert_eq!(
            walk(tagged.as_slice(), true, &PORTS),
            Err(Unparsed::TooDeep)
        );
    }
}

#[test]
fn what_nobody_can_follow_is_no_error() {
    // LLDP, and an IEEE 802.3 length.
    for kind in [0x88cc, 0x0026] {
        let frame = ethernet(kind, &[0; 46]);
        assert_eq!(walk(frame.as_slice(), true, &PORTS), Ok(None));
    }
}

/// What may carry a packet of the follow is not passed over in silence.
#[test]
fn what_is_not_read_is_reported() {
    for kind in [0x8847, 0x8848, 0x8864] {
        let frame = ethernet(kind, &inner()[14..]);
        for frame in [&frame, &wrapped(&frame)] {
            let walked = walk(frame.as_slice(), true, &PORTS);
            assert_eq!(walked, Err(Unparsed::Unknown), "{kind:#x}");
        }
    }
}

/// An authentication header (RFC 4302) may stand behind either IP header.
#[test]
fn authentication_headers() {
    const AH: u8 = 51;
    let segment = tcp(40_000, 8080, 1, b"hello");
    // Next header, length in words less two, then index, number and 12 bytes.
    let header = [&[TCP, 4][..], &[0; 22], &segment].concat();
    let layers = found(&ethernet(IPV4, &ipv4(AH, A, B, &header)));
    assert_eq!((layers.proto, layers.l4), (TCP, 14 + 20 + 24));
    let layers = found(&ethernet(IPV6, &ipv6(AH, A6, B6, &header)));
    assert_eq!((layers.proto, layers.l4), (TCP, 14 + 40 + 24));
    let cut = ethernet(IPV4, &ipv4(AH, A, B, &header[..7]));
    assert_eq!(walk(cut.as_slice(), true, &PORTS), Err(Unparsed::Short));
}

/// BIG TCP states a length of 0, and so does a packet without payload.
#[test]
fn where_a_packet_ends() {
    let mut packet = ipv6(TCP, A6, B6, &tcp(1, 2, 3, b""));
    packet[4..6].copy_from_slice(&[0, 0]);
    packet.resize(40 + 70_000, 0);
    assert_eq!(found(&ethernet(IPV6, &packet)).end, 14 + 40 + 70_000);
    packet.truncate(40 + 46);
    assert_eq!(found(&ethernet(IPV6, &packet)).end, 14 + 40);

    let mut padded = inner();
    let len = padded.len();
    padded.extend([0; 20]);
    assert_eq!(found(&padded).end, len);
    // A tunnel's packet ends where the one around it does.
    let mut short = wrapped(&inner());
    short[14 + 2..14 + 4].copy_from_slice(&100_u16.to_be_bytes());
    assert_eq!(found(&short).end, 14 + 100);
}

proptest! {
    #[test]
    fn any_bytes_are_walked_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        ethernet: bool,
    ) {
        glance_agrees(&bytes, ethernet);
        if let Ok(Some(layers)) = walk(bytes.as_slice(), ethernet, &PORTS) {
            prop_assert!(layers.l3 < bytes.len());
            prop_assert!(layers.l4 >= layers.l3);
            let _quote: Result<Option<Layers>, Unparsed> = quoted(bytes.as_slice(), &layers);
        }
    }
}
