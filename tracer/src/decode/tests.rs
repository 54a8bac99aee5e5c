//! Tests of the decoder, on records as programs write them, and on any other bytes.

use proptest::prelude::*;
use tracer_common::{
    event::{MAX_SNAPLEN, NETWORK_BYTES, PLACES, TRANSPORT_BYTES},
    packet::Packet as _,
};
use tracer_tests::frames::{ICMP, ICMPV6, TCP, UDP, arp_request, icmp, ipv4, ipv6, tcp, udp};

use super::*;
use tracer_core::model::Direction;

const A: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 5);
const B: Ipv4Addr = Ipv4Addr::new(10, 244, 2, 7);
const A6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 5);
const B6: Ipv6Addr = Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 7);

/// The event of a packet with its transport header at `l4`.
fn event(network: Network, l4: usize, transport_len: usize, packet: &[u8]) -> HopEvent {
    let mut event = HopEvent {
        ifindex: 2,
        len: u32::try_from(14 + packet.len()).expect("short"),
        l3: 14,
        l4: u16::try_from(14 + l4).expect("short"),
        network: network as u8,
        ..HopEvent::ZERO
    };
    event.proto = match network {
        Network::V4 => packet[9],
        Network::V6 => packet[6],
        Network::Arp => 0,
    };
    event.fragment_id = 0x1234;
    event.flags = HASHED;
    let network_len = packet.len().min(NETWORK_BYTES);
    event.network_len = u8::try_from(network_len).expect("40");
    event.network_header[..network_len].copy_from_slice(&packet[..network_len]);
    event.transport_len = u8::try_from(transport_len).expect("60");
    event.transport_header[..transport_len].copy_from_slice(&packet[l4..l4 + transport_len]);
    event
}

fn decoded(event: &HopEvent) -> Result<Hop, Malformed> {
    hop(&bytes(event), |ifindex, at| {
        (ifindex == 2 && at == At::Tc(Direction::Ingress)).then_some(5)
    })
}

fn packet_of(event: &HopEvent) -> Packet {
    decoded(event).expect("a hop").packet
}

/// The record of an event.
fn bytes(event: &HopEvent) -> Vec<u8> {
    // SAFETY: an event has no padding, so that all its bytes are initialized.
    let bytes: &[u8; size_of::<HopEvent>()] = unsafe { &*std::ptr::from_ref(event).cast() };
    bytes.to_vec()
}

/// The decoded frame of an event with captured bytes.
fn captured(event: &HopEvent, frame: &[u8]) -> Result<Option<Arc<[u8]>>, Malformed> {
    let record = [bytes(event).as_slice(), frame].concat();
    hop(&record, |_, _| Some(0)).map(|hop| hop.frame)
}

#[test]
fn a_captured_frame_is_as_on_the_wire() {
    let packet = ipv4(UDP, A, B, &udp(1, 2, b"hello"));
    let mut event = event(Network::V4, 20, 8, &packet);
    let frame = [[2; 6].as_slice(), &[3; 6], &[8, 0], &packet].concat();
    assert_eq!(captured(&event, &[]), Ok(None));
    assert_eq!(captured(&event, &frame), Ok(Some(frame.clone().into())));
    // A tag that the kernel keeps beside the frame returns to its place in it.
    event.vlan_tci = 0x6007;
    event.flags |= VLAN;
    let (macs, rest) = frame.split_at(12);
    for (flag, kind) in [(0, [0x81, 0]), (SERVICE_TAG, [0x88, 0xa8])] {
        event.flags |= flag;
        let tagged = [macs, &kind, &[0x60, 7], rest].concat();
        assert_eq!(captured(&event, &frame), Ok(Some(tagged.into())));
    }
    // If the capture ends within the two addresses, the tag has no place.
    assert_eq!(
        captured(&event, &frame[..7]),
        Ok(Some(Arc::from(&frame[..7])))
    );
    let most = vec![0; MAX_SNAPLEN + 1];
    assert!(captured(&event, &most[1..]).is_ok());
    assert_eq!(captured(&event, &most), Err(Malformed::Length));
}

#[test]
fn tcp_with_its_timestamps() {
    let packet = ipv4(TCP, A, B, &tcp(40_000, 8080, 77, b"hello"));
    let hop = decoded(&event(Network::V4, 20, 32, &packet)).expect("a hop");
    assert_eq!((hop.point, hop.segments), (5, 1));
    assert_eq!((hop.packet.src, hop.packet.dst), (A.into(), B.into()));
    assert_eq!((hop.packet.ttl, hop.packet.ip_id), (64, Some(0x1234)));
    let Transport::Tcp(tcp) = hop.packet.transport else {
        panic!("TCP");
    };
    assert_eq!((tcp.src_port, tcp.dst_port, tcp.seq), (40_000, 8080, 77));
    assert_eq!((tcp.payload_len, tcp.timestamps), (5, Some((7, 9))));
    assert_eq!(tcp.flags.to_string(), "ACK");
}

#[test]
fn a_super_packet_of_more_than_64_kib_has_the_length_of_its_buffer() {
    let mut packet = ipv4(TCP, A, B, &tcp(1, 2, 3, b""));
    packet[2..4].copy_from_slice(&[0, 0]);
    let mut event = event(Network::V4, 20, 32, &packet);
    event.len = 14 + 52 + 100_000;
    event.gso_segs = 72;
    let hop = decoded(&event).expect("a hop");
    assert_eq!(hop.segments, 72);
    let Transport::Tcp(tcp) = hop.packet.transport else {
        panic!("TCP");
    };
    assert_eq!(tcp.payload_len, 100_000);
}

#[test]
fn padding_of_a_short_frame_is_no_payload() {
    let packet = ipv4(TCP, A, B, &tcp(1, 2, 3, b""));
    let mut event = event(Network::V4, 20, 32, &packet);
    event.len += 6;
    let Transport::Tcp(tcp) = packet_of(&event).transport else {
        panic!("TCP");
    };
    assert_eq!(tcp.payload_len, 0);
}

#[test]
fn dns_and_other_datagrams() {
    let query = [0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let packet = ipv6(UDP, A6, B6, &udp(999, 53, &query));
    let Transport::Udp { dst_port, dns, .. } =
        packet_of(&event(Network::V6, 40, 20, &packet)).transport
    else {
        panic!("UDP");
    };
    assert_eq!((dst_port, dns), (53, Some(query)));
    let packet = ipv4(UDP, A, B, &udp(999, 5000, b"x"));
    let Transport::Udp { len, dns, .. } = packet_of(&event(Network::V4, 20, 8, &packet)).transport
    else {
        panic!("UDP");
    };
    assert_eq!((len, dns), (9, None));
}

#[test]
fn an_error_and_what_it_quotes() {
    let quote = ipv4(UDP, A, B, &udp(999, 53, b""));
    let rest = [&[0; 4], quote.as_slice()].concat();
    let packet = ipv4(ICMP, B, A, &icmp(3, 3, &rest));
    let mut event = event(Network::V4, 20, 36, &packet);
    event.quote_proto = UDP;
    let Transport::Icmp(icmp) = packet_of(&event).transport else {
        panic!("ICMP");
    };
    assert_eq!((icmp.kind, icmp.code, icmp.echo), (3, 3, None));
    let quote = icmp.quote.expect("a quote");
    assert_eq!((quote.src, quote.dst), (A.into(), B.into()));
    assert_eq!((quote.proto, quote.ports), (UDP, Some((999, 53))));
}

#[test]
fn neighbours() {
    let rest = [&[0; 4], B6.octets().as_slice()].concat();
    let packet = ipv6(ICMPV6, A6, B6, &icmp(135, 0, &rest));
    let Transport::Icmp(icmp) = packet_of(&event(Network::V6, 40, 24, &packet)).transport else {
        panic!("ICMPv6");
    };
    let neighbour = icmp.neighbour.expect("a solicitation");
    assert_eq!(
        (neighbour.target, neighbour.advertisement),
        (B6.into(), false)
    );

    let packet = packet_of(&event(Network::Arp, 0, 0, &arp_request(A, B)));
    assert_eq!((packet.src, packet.dst), (A.into(), B.into()));
    let Transport::Arp(arp) = packet.transport else {
        panic!("ARP");
    };
    assert_eq!(arp.operation, 1);
}

#[test]
fn what_is_no_event_is_malformed() {
    let packet = ipv4(TCP, A, B, &tcp(1, 2, 3, b""));
    let good = event(Network::V4, 20, 32, &packet);
    let refused = |change: &dyn Fn(&mut HopEvent)| {
        let mut event = good;
        change(&mut event);
        decoded(&event).expect_err("malformed")
    };
    assert_eq!(refused(&|event| event.network = 9), Malformed::Field);
    assert_eq!(refused(&|event| event.tunnel = 9), Malformed::Field);
    assert_eq!(refused(&|event| event.place = PLACES), Malformed::Field);
    assert_eq!(refused(&|event| event.network_len = 41), Malformed::Field);
    assert_eq!(refused(&|event| event.transport_len = 61), Malformed::Field);
    assert_eq!(refused(&|event| event.l4 = 13), Malformed::Field);
    assert_eq!(refused(&|event| event.network_len = 19), Malformed::Header);
    assert_eq!(refused(&|event| event.ifindex = 3), Malformed::Point);
    assert_eq!(hop(&[0; 100], |_, _| Some(0)), Err(Malformed::Length));
}

#[test]
fn a_tunnel_of_each_kind_and_a_frame_without_ethernet_header() {
    let packet = ipv4(UDP, A, B, &udp(999, 5000, b"x"));
    let mut event = event(Network::V4, 20, 8, &packet);
    event.macs = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    event.flags |= ETHERNET;
    let hop = decoded(&event).expect("a hop");
    let macs = [hop.dst_mac, hop.src_mac].map(|mac| mac.expect("a frame").0[5]);
    assert_eq!((macs, hop.encap), ([1, 2], None));

    event.levels = 1;
    event.vni = 7;
    event.flags &= !ETHERNET;
    event.outer_src = Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().octets();
    event.outer_dst = A6.octets();
    for (kind, expected) in [
        (TunnelKind::Vxlan, (EncapKind::Vxlan, Some(7))),
        (TunnelKind::IpIp, (EncapKind::IpIp, None)),
        (TunnelKind::Geneve, (EncapKind::Geneve, Some(7))),
        (TunnelKind::Gre, (EncapKind::Gre, None)),
        (TunnelKind::GreKeyed, (EncapKind::Gre, Some(7))),
    ] {
        event.tunnel = kind as u8;
        let hop = decoded(&event).expect("a hop");
        assert_eq!((hop.src_mac, hop.dst_mac), (None, None));
        let encap = hop.encap.expect("a tunnel");
        assert_eq!((encap.kind, encap.vni), expected);
        assert_eq!(encap.outer_src, Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(encap.outer_dst, A6);
    }
}

#[test]
fn odd_options_end_the_search() {
    for options in [
        &[8, 1, 0, 0][..],
        &[8, 10, 0, 0],
        &[99, 0, 0, 0],
        &[5, 40],
        &[1, 1, 0, 8],
    ] {
        assert_eq!(timestamps(options), None, "{options:?}");
    }
    assert_eq!(
        timestamps(&[1, 2, 4, 5, 6, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]),
        Some((1, 2))
    );
}

proptest! {
    #[test]
    fn any_bytes_are_a_hop_or_malformed(record in prop::collection::vec(any::<u8>(), 0..300)) {
        let _hop: Result<Hop, Malformed> = hop(&record, |_, _| Some(0));
    }

    /// Records of the right length with plausible discriminants, which random bytes seldom
    /// have.
    #[test]
    fn any_event_is_a_hop_or_malformed(
        mut record in prop::collection::vec(any::<u8>(), size_of::<HopEvent>()),
        network in prop::sample::select(vec![4_u8, 6, 8]),
        proto in prop::sample::select(vec![TCP, UDP, ICMP, ICMPV6, 132, 0]),
        lens in (0_u8..=NETWORK_BYTES as u8, 0_u8..=TRANSPORT_BYTES as u8),
        place in 0_u8..PLACES,
        tunnel in 0_u8..7,
        frame in prop::collection::vec(any::<u8>(), 0..MAX_SNAPLEN + 2),
    ) {
        let mut event = HopEvent::from_bytes(&record).expect("as long as an event");
        event.network = network;
        event.proto = proto;
        (event.network_len, event.transport_len) = lens;
        event.place = place;
        event.tunnel = tunnel;
        record = bytes(&event);
        if let Ok(hop) = hop(&record, |_, _| Some(0)) {
            prop_assert!(hop.segments >= 1);
            prop_assert_eq!(hop.time, record.as_slice().read(0).map(u64::from_ne_bytes).expect("bytes"));
            let captured = captured(&event, &frame);
            prop_assert_eq!(captured.is_ok(), frame.len() <= MAX_SNAPLEN);
            let len = captured.ok().flatten().map_or(0, |bytes| bytes.len());
            prop_assert!(len == 0 || len == frame.len() || len == frame.len() + 4);
        }
    }
}
