//! Tunnels of every kind, in each other, and what only looks like one.

use proptest::prelude::*;
use tracer_common::{
    layers::{Layers, Network, Unparsed},
    layers::{Tunnel, TunnelKind},
    walk::walk,
};
use tracer_tests::frames::{
    FRAME, GRE, IPV4, IPV4_IN_IP, IPV6, IPV6_IN_IP, OUTER_VLAN, TCP, UDP, VLAN, ethernet, geneve,
    gre, ipv4, ipv6, tcp, udp, vlan, vxlan,
};

use crate::{A, A6, B, B6, NODE_A, NODE_B, PORTS, found, glance_agrees, inner, wrapped};

/// What to put a frame into.
#[derive(Clone, Debug)]
enum Into {
    Vxlan,
    IpIp,
    /// With so many words of options, and with or without the frame's own
    /// Ethernet header.
    Geneve(u8, bool),
    /// With these fields, likewise.
    Gre([Option<u32>; 3], bool),
}

impl Into {
    fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            Just(Self::Vxlan),
            Just(Self::IpIp),
            (0_u8..64, any::<bool>()).prop_map(|(words, whole)| Self::Geneve(words, whole)),
            (any::<[Option<u32>; 3]>(), any::<bool>())
                .prop_map(|(fields, whole)| Self::Gre(fields, whole)),
        ]
    }

    /// The frame between two nodes that carries `frame`.
    fn wrap(&self, frame: &[u8]) -> Vec<u8> {
        let payload = |whole| {
            if whole {
                (FRAME, frame)
            } else {
                (IPV4, &frame[14..])
            }
        };
        match *self {
            Self::Vxlan => wrapped(frame),
            Self::IpIp => between_nodes(IPV4_IN_IP, &frame[14..]),
            Self::Geneve(words, whole) => {
                let (kind, payload) = payload(whole);
                let options = vec![0; usize::from(words) * 4];
                between_nodes(UDP, &geneve(6081, 7, &options, kind, payload))
            }
            Self::Gre(fields, whole) => {
                let (kind, payload) = payload(whole);
                between_nodes(GRE, &gre(fields, kind, payload))
            }
        }
    }

    /// Whether the first look leaves it to the second.
    fn is_rare(&self) -> bool {
        match *self {
            Self::Vxlan | Self::IpIp => false,
            Self::Geneve(words, whole) => words != 0 || !whole,
            Self::Gre(fields, whole) => fields != [None; 3] || whole,
        }
    }
}

fn between_nodes(proto: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(IPV4, &ipv4(proto, NODE_A, NODE_B, payload))
}

fn in_tunnels(tunnels: &[Into]) -> Vec<u8> {
    tunnels
        .iter()
        .fold(inner(), |frame, tunnel| tunnel.wrap(&frame))
}

fn tunnel_of(frame: &[u8]) -> (Layers, Tunnel) {
    let layers = found(frame);
    (layers, layers.tunnel().expect("a tunnel"))
}

#[test]
fn tunnels_up_to_two() {
    let once = wrapped(&inner());
    let layers = found(&once);
    assert_eq!((layers.l3, layers.l4), (14 + 50, 34 + 50));
    let tunnel = layers.tunnel().expect("a tunnel");
    assert_eq!((tunnel.levels, tunnel.outer_l3, tunnel.vni), (1, 14, 7));

    let twice = wrapped(&once);
    let tunnel = found(&twice).tunnel().expect("tunnels");
    assert_eq!((tunnel.levels, tunnel.outer_l3), (2, 64));

    let thrice = wrapped(&twice);
    assert_eq!(
        walk(thrice.as_slice(), true, &PORTS),
        Err(Unparsed::TooDeep)
    );
}

#[test]
fn ip_in_ip_of_any_two_versions() {
    let inner4 = ipv4(TCP, A, B, &tcp(1, 2, 3, b""));
    let inner6 = ipv6(TCP, A6, B6, &tcp(1, 2, 3, b""));
    for (inner, proto, inner_len) in [(inner4, IPV4_IN_IP, 20), (inner6, IPV6_IN_IP, 40)] {
        let in4 = ethernet(IPV4, &ipv4(proto, NODE_A, NODE_B, &inner));
        let in6 = ethernet(IPV6, &ipv6(proto, A6, B6, &inner));
        for (frame, outer, l3) in [(in4, Network::V4, 34), (in6, Network::V6, 54)] {
            let layers = found(&frame);
            assert_eq!((layers.l3, layers.l4), (l3, l3 + inner_len));
            assert_eq!(layers.proto, TCP);
            let tunnel = layers.tunnel().expect("a tunnel");
            assert_eq!((tunnel.levels, tunnel.kind), (1, TunnelKind::IpIp));
            assert_eq!((tunnel.outer, tunnel.outer_l3, tunnel.vni), (outer, 14, 0));
            // The same without the Ethernet header.
            let bare = walk(&frame[14..], false, &PORTS).expect("walked");
            assert_eq!(bare.expect("found").l3, l3 - 14);
        }
    }
}

#[test]
fn tunnels_in_tunnels_of_another_kind() {
    let packet = ipv4(UDP, A, B, &udp(1, 2, b""));
    let ip_in_ip = ethernet(IPV4, &ipv4(IPV4_IN_IP, NODE_A, NODE_B, &packet));
    let tunnel = found(&wrapped(&ip_in_ip)).tunnel().expect("tunnels");
    assert_eq!((tunnel.levels, tunnel.kind), (2, TunnelKind::IpIp));

    let in_vxlan = wrapped(&ethernet(IPV4, &packet));
    let in_both = ethernet(IPV4, &ipv4(IPV4_IN_IP, NODE_A, NODE_B, &in_vxlan[14..]));
    let tunnel = found(&in_both).tunnel().expect("tunnels");
    assert_eq!((tunnel.levels, tunnel.kind), (2, TunnelKind::Vxlan));
    assert_eq!((tunnel.outer_l3, tunnel.vni), (34, 7));

    assert_eq!(
        walk(wrapped(&in_both).as_slice(), true, &PORTS),
        Err(Unparsed::TooDeep)
    );
}

#[test]
fn what_ip_in_ip_announces_must_be_there() {
    let packet = ipv4(UDP, A, B, &udp(1, 2, b""));
    let mislabelled = ethernet(IPV4, &ipv4(IPV6_IN_IP, NODE_A, NODE_B, &packet));
    assert_eq!(
        walk(mislabelled.as_slice(), true, &PORTS),
        Err(Unparsed::Malformed)
    );
    let mut later = ethernet(IPV4, &ipv4(IPV4_IN_IP, NODE_A, NODE_B, &packet));
    later[14 + 6..14 + 8].copy_from_slice(&[0x20, 0x10]);
    assert_eq!(found(&later).tunnel(), None, "the middle of something");
    let mut no_packet = vec![0x15];
    no_packet.extend([0; 39]);
    assert_eq!(
        walk(no_packet.as_slice(), false, &PORTS),
        Err(Unparsed::Malformed)
    );
}

#[test]
fn no_vxlan_without_its_port_or_flag() {
    let other_port = ethernet(IPV4, &ipv4(UDP, NODE_A, NODE_B, &vxlan(9999, 7, &inner())));
    assert_eq!(found(&other_port).tunnel(), None);
    // Each byte of the header with a bit that Linux knows no extension for.
    for (at, value) in [(0, 0), (0, 0x0a), (0, 0x18), (1, 1), (3, 1), (7, 1)] {
        let mut changed = wrapped(&inner());
        changed[14 + 20 + 8 + at] = value;
        assert_eq!(found(&changed).tunnel(), None, "{at} {value:#x}");
    }
}

#[test]
fn vxlan_with_an_extension() {
    let changed = |flags, extension: [u8; 3], frame: &[u8]| {
        let mut frame = wrapped(frame);
        frame[14 + 20 + 8..][..4].copy_from_slice(&[
            flags,
            extension[0],
            extension[1],
            extension[2],
        ]);
        frame
    };
    let group = changed(0x88, [0x48, 0x12, 0x34], &inner());
    assert_eq!(tunnel_of(&group).0.l3, 14 + 50);
    let generic = changed(0x0c, [0, 0, 3], &inner());
    assert_eq!(tunnel_of(&generic).0.l3, 14 + 50);
    let generic = changed(0x0c, [0, 0, 1], &inner()[14..]);
    assert_eq!(tunnel_of(&generic).0.l3, 14 + 36);
    for rare in [&group, &generic] {
        assert!(!glance_agrees(rare, true));
    }
    assert_eq!(found(&changed(0x0c, [0, 0, 5], &inner())).tunnel(), None);
}

#[test]
fn geneve_with_and_without_options() {
    let packet = ipv4(TCP, A, B, &tcp(1, 2, 3, b""));
    let packet6 = ipv6(TCP, A6, B6, &tcp(1, 2, 3, b""));
    let frame = ethernet(IPV4, &packet);
    let payloads = [(IPV4, &packet, 0), (IPV6, &packet6, 0), (FRAME, &frame, 14)];
    for options in [0, 4, 8, 252] {
        for (kind, payload, ethernet_len) in payloads {
            let datagram = geneve(6081, 0x12_3456, &vec![0xff; options], kind, payload);
            for (frame, outer) in [
                (ethernet(IPV4, &ipv4(UDP, NODE_A, NODE_B, &datagram)), 20),
                (ethernet(IPV6, &ipv6(UDP, A6, B6, &datagram)), 40),
            ] {
                let (layers, tunnel) = tunnel_of(&frame);
                assert_eq!(layers.l3, 14 + outer + 8 + 8 + options + ethernet_len);
                assert_eq!(layers.proto, TCP);
                assert_eq!((tunnel.kind, tunnel.levels), (TunnelKind::Geneve, 1));
                assert_eq!((tunnel.vni, tunnel.outer_l3), (0x12_3456, 14));
            }
        }
    }
}

#[test]
fn no_geneve_without_its_port_or_with_something_else_in_it() {
    let is_none = |datagram: &[u8], what| {
        assert_eq!(
            found(&between_nodes(UDP, datagram)).tunnel(),
            None,
            "{what}"
        );
    };
    let packet = ipv4(UDP, A, B, &udp(1, 2, b""));
    let good = geneve(6081, 7, &[], IPV4, &packet);
    assert_ne!(found(&between_nodes(UDP, &good)).tunnel(), None);
    is_none(&geneve(6082, 7, &[], IPV4, &packet), "another port");
    for kind in [0x0806, 0, 0x8100] {
        is_none(&geneve(6081, 7, &[], kind, &packet), "another payload");
    }
    let mut datagram = good.clone();
    datagram[8] = 0x40;
    is_none(&datagram, "version 1");
    for (flags, what) in [(0x80, "a control packet"), (0x7f, "critical options")] {
        let mut datagram = good.clone();
        datagram[9] = flags;
        let (_, tunnel) = tunnel_of(&between_nodes(UDP, &datagram));
        assert_eq!(tunnel.kind, TunnelKind::Geneve, "{what}");
    }
}

#[test]
fn gre_with_every_field() {
    let packet = ipv4(TCP, A, B, &tcp(1, 2, 3, b""));
    let packet6 = ipv6(TCP, A6, B6, &tcp(1, 2, 3, b""));
    let frame = ethernet(IPV4, &packet);
    let payloads = [(IPV4, &packet, 0), (IPV6, &packet6, 0), (FRAME, &frame, 14)];
    for flags in 0..8 {
        let fields = [1, 2, 4].map(|flag| (flags & flag != 0).then_some(0xfedc_ba98));
        let fields_len = 4 * fields.iter().flatten().count();
        for (kind, payload, ethernet_len) in payloads {
            let header = gre(fields, kind, payload);
            for (frame, outer) in [
                (ethernet(IPV4, &ipv4(GRE, NODE_A, NODE_B, &header)), 20),
                (ethernet(IPV6, &ipv6(GRE, A6, B6, &header)), 40),
            ] {
                let (layers, tunnel) = tunnel_of(&frame);
                assert_eq!(layers.l3, 14 + outer + 4 + fields_len + ethernet_len);
                assert_eq!((layers.proto, tunnel.levels), (TCP, 1));
                let expected = match fields[1] {
                    Some(key) => (TunnelKind::GreKeyed, key),
                    None => (TunnelKind::Gre, 0),
                };
                assert_eq!((tunnel.kind, tunnel.vni), expected);
            }
        }
    }
}

#[test]
fn no_gre_of_another_version_or_with_something_else_in_it() {
    let is_none = |header: &[u8], what| {
        let layers = found(&between_nodes(GRE, header));
        assert_eq!((layers.proto, layers.tunnel()), (GRE, None), "{what}");
    };
    let packet = ipv4(UDP, A, B, &udp(1, 2, b""));
    let good = gre([None; 3], IPV4, &packet);
    for kind in [0x0806, 0x880b, 0x88be, 0] {
        is_none(&gre([None; 3], kind, &packet), "another payload");
    }
    for (at, value, what) in [
        (1, 0x01, "PPTP"),
        (0, 0x40, "source routes"),
        (0, 0xc0, "source routes and a checksum"),
    ] {
        let mut header = good.clone();
        header[at] = value;
        is_none(&header, what);
    }
}

#[test]
fn what_geneve_and_gre_announce_must_be_there() {
    let packet = ipv4(UDP, A, B, &udp(1, 2, b""));
    let frame = ethernet(IPV4, &packet);
    let mislabelled = [
        between_nodes(UDP, &geneve(6081, 7, &[], IPV6, &packet)),
        between_nodes(GRE, &gre([None; 3], IPV6, &packet)),
        // Options of four bytes where there are none: the IP header's middle.
        between_nodes(UDP, &{
            let mut datagram = geneve(6081, 7, &[], IPV4, &packet);
            datagram[8] = 1;
            datagram
        }),
    ];
    for frame in mislabelled {
        assert_eq!(
            walk(frame.as_slice(), true, &PORTS),
            Err(Unparsed::Malformed)
        );
    }
    let fields = [Some(1), Some(2), Some(3)];
    let whole = [
        between_nodes(UDP, &geneve(6081, 7, &[0; 12], FRAME, &frame)),
        between_nodes(GRE, &gre(fields, FRAME, &frame)),
        between_nodes(GRE, &gre([None, Some(2), None], IPV4, &packet)),
    ];
    for whole in whole {
        let l3 = found(&whole).l3;
        for len in 34..l3 + 20 {
            let cut = &whole[..len];
            assert_eq!(walk(cut, true, &PORTS), Err(Unparsed::Short), "{len}");
        }
    }
    // Something that is not followed, in a frame of the tunnel's.
    let lldp = ethernet(0x88cc, &[0; 46]);
    let carried = between_nodes(GRE, &gre([None; 3], FRAME, &lldp));
    assert_eq!(walk(carried.as_slice(), true, &PORTS), Ok(None));
}

#[test]
fn plain_tunnels_are_found_at_the_first_look() {
    for tunnel in [
        Into::Vxlan,
        Into::IpIp,
        Into::Geneve(0, true),
        Into::Gre([None; 3], false),
    ] {
        let frame = tunnel.wrap(&inner());
        assert!(glance_agrees(&frame, true), "{tunnel:?}");
    }
}

#[test]
fn a_tag_hides_no_tunnel_from_a_glance() {
    let frame = wrapped(&inner());
    let tagged = ethernet(VLAN, &vlan(5, IPV4, &frame[14..]));
    assert!(glance_agrees(&tagged, true));
    for outer in [VLAN, OUTER_VLAN] {
        let twice = ethernet(outer, &vlan(6, VLAN, &tagged[14..]));
        assert!(!glance_agrees(&twice, true), "{outer:#x}");
    }
}

proptest! {
    /// Whatever the tunnels, the packet inside is the same one.
    #[test]
    fn the_innermost_packet_is_found(tunnels in prop::collection::vec(Into::any(), 0..4)) {
        let frame = in_tunnels(&tunnels);
        let walked = walk(frame.as_slice(), true, &PORTS);
        if tunnels.len() > 2 {
            prop_assert_eq!(walked, Err(Unparsed::TooDeep));
            return Ok(());
        }
        let layers = walked.expect("walked").expect("found");
        prop_assert_eq!(&frame[layers.l3..], &inner()[14..]);
        let levels = layers.tunnel().map_or(0, |tunnel| tunnel.levels);
        prop_assert_eq!(usize::from(levels), tunnels.len());
        let is_plain = tunnels.len() < 2 && !tunnels.iter().any(Into::is_rare);
        prop_assert_eq!(glance_agrees(&frame, true), is_plain);
    }

    /// Close to real frames, where random bytes never get.
    #[test]
    fn changed_frames_are_walked_without_a_panic(
        changes in prop::collection::vec((0_usize..140, any::<u8>()), 0..6),
        cut in 0_usize..200,
        tunnels in prop::collection::vec(Into::any(), 1..3),
    ) {
        let mut frame = in_tunnels(&tunnels);
        for (at, value) in changes {
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        frame.truncate(cut);
        if let Ok(Some(layers)) = walk(frame.as_slice(), true, &PORTS) {
            prop_assert!(layers.l3 < frame.len());
        }
    }

    /// The first look and the thorough one never disagree, behind a VLAN tag
    /// either.
    #[test]
    fn a_glance_agrees_or_gives_up(
        changes in prop::collection::vec((0_usize..140, any::<u8>()), 0..4),
        tunnels in prop::collection::vec(Into::any(), 0..4),
        tag in prop::option::of(prop::sample::select(&[VLAN, OUTER_VLAN])),
    ) {
        let mut frame = in_tunnels(&tunnels);
        if let Some(tag) = tag {
            frame = ethernet(tag, &vlan(5, IPV4, &frame[14..]));
        }
        for (at, value) in changes {
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        glance_agrees(&frame, true);
        glance_agrees(&frame, false);
        let _walked: Result<Option<Layers>, Unparsed> = walk(frame.as_slice(), true, &PORTS);
    }
}
