//! Captures inside and outside of tunnels: a packet is one journey through both.

use std::net::{IpAddr, Ipv6Addr};

use tracer_core::{model::EncapKind, verdict::Kind};
use tracer_tests::frames::{
    FRAME, GRE, IPV4, IPV4_IN_IP, IPV6, UDP, ethernet, geneve, gre, ipv4, ipv6, vxlan,
};

use super::{
    BACK, PLACES, Stage, THERE,
    made::{BEGIN, ETHERNET, MICROSECOND, NODE_A, NODE_B, RAW, echo, pcap},
    pings_in,
};

/// A tunnel, and what a journey says of it.
struct Tunnel {
    name: &'static str,
    /// The packet between the nodes, as a frame.
    frame: fn(u16, bool) -> Vec<u8>,
    kind: EncapKind,
    vni: Option<u32>,
    outer: [IpAddr; 2],
}

/// The addresses of the nodes over IPv6.
const OUTER_6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2),
];
const OUTER: [IpAddr; 2] = [IpAddr::V4(NODE_A), IpAddr::V4(NODE_B)];

/// The IPv4 packet between the nodes that carries a payload.
fn outside(proto: u8, answer: bool, payload: &[u8]) -> Vec<u8> {
    let [from, to] = if answer {
        [NODE_B, NODE_A]
    } else {
        [NODE_A, NODE_B]
    };
    ethernet(IPV4, &ipv4(proto, from, to, payload))
}

/// The packet between the pods, as a frame and without the frame's header.
fn frame(seq: u16, answer: bool) -> Vec<u8> {
    echo(seq, answer, 1)
}

fn packet(seq: u16, answer: bool) -> Vec<u8> {
    frame(seq, answer).split_off(14)
}

const TUNNELS: &[Tunnel] = &[
    Tunnel {
        name: "VXLAN at Linux' port",
        frame: |seq, answer| outside(UDP, answer, &vxlan(8472, 7, &frame(seq, answer))),
        kind: EncapKind::Vxlan,
        vni: Some(7),
        outer: OUTER,
    },
    Tunnel {
        name: "VXLAN at IANA's port",
        frame: |seq, answer| outside(UDP, answer, &vxlan(4789, 8, &frame(seq, answer))),
        kind: EncapKind::Vxlan,
        vni: Some(8),
        outer: OUTER,
    },
    Tunnel {
        name: "Geneve with a frame and options",
        frame: |seq, answer| {
            let inside = frame(seq, answer);
            outside(UDP, answer, &geneve(6081, 9, &[0; 8], FRAME, &inside))
        },
        kind: EncapKind::Geneve,
        vni: Some(9),
        outer: OUTER,
    },
    Tunnel {
        name: "Geneve with an IP packet",
        frame: |seq, answer| {
            let inside = packet(seq, answer);
            outside(UDP, answer, &geneve(6081, 9, &[], IPV4, &inside))
        },
        kind: EncapKind::Geneve,
        vni: Some(9),
        outer: OUTER,
    },
    Tunnel {
        name: "IP-in-IP",
        frame: |seq, answer| outside(IPV4_IN_IP, answer, &packet(seq, answer)),
        kind: EncapKind::IpIp,
        vni: None,
        outer: OUTER,
    },
    Tunnel {
        name: "IPv4 in IPv6",
        frame: |seq, answer| {
            let [a, b] = OUTER_6;
            let [from, to] = if answer { [b, a] } else { [a, b] };
            ethernet(IPV6, &ipv6(IPV4_IN_IP, from, to, &packet(seq, answer)))
        },
        kind: EncapKind::IpIp,
        vni: None,
        outer: [IpAddr::V6(OUTER_6[0]), IpAddr::V6(OUTER_6[1])],
    },
    Tunnel {
        name: "GRE without a key",
        frame: |seq, answer| outside(GRE, answer, &gre([None; 3], IPV4, &packet(seq, answer))),
        kind: EncapKind::Gre,
        vni: None,
        outer: OUTER,
    },
    Tunnel {
        name: "GRE with all fields, and a frame",
        frame: |seq, answer| {
            let fields = [Some(0), Some(77), Some(seq.into())];
            outside(GRE, answer, &gre(fields, FRAME, &frame(seq, answer)))
        },
        kind: EncapKind::Gre,
        vni: Some(77),
        outer: OUTER,
    },
];

#[test]
fn a_packet_inside_and_outside_of_a_tunnel_is_one_journey() {
    for Tunnel {
        name,
        frame,
        kind,
        vni,
        outer,
    } in TUNNELS
    {
        let shown = Stage::new().at_all_places(&pings_in(*frame, 3, 0));
        assert_eq!(shown.ways.len(), 6, "{name}: three there, three back");
        for ((journey, verdict), way) in shown.journeys.iter().zip(&shown.ways) {
            let is_answer = journey.answers.is_some();
            let expected = if is_answer { BACK } else { THERE };
            assert_eq!(way[..], expected, "{name}");
            assert_eq!(verdict.kind, Kind::Delivered, "{name}");
            let [a, b] = *outer;
            let ends = if is_answer { (b, a) } else { (a, b) };
            for (index, step) in journey.steps.iter().enumerate() {
                let around = step.encap.map(|encap| {
                    assert_eq!((encap.outer_src, encap.outer_dst), ends, "{name}");
                    (encap.kind, encap.vni, encap.levels)
                });
                // The pods' interfaces see the packet without a tunnel.
                let is_outside = matches!(index, 1 | 2);
                assert_eq!(around, is_outside.then_some((*kind, *vni, 1)), "{name}");
            }
        }
        let answered = shown
            .journeys
            .iter()
            .filter(|(one, _)| one.answers.is_some());
        assert_eq!(answered.count(), 3, "{name}");
    }
}

/// A tunnel device of an IP tunnel has packets without an Ethernet header.
#[test]
fn a_tunnel_device_itself_is_a_place_on_the_way() {
    for Tunnel {
        name,
        frame: outside,
        ..
    } in TUNNELS
    {
        let stage = Stage::new();
        let seen = [
            (ETHERNET, echo(1, false, 0)),
            (RAW, packet(1, false)),
            (ETHERNET, outside(1, false)),
            (ETHERNET, outside(1, false)),
            (RAW, packet(1, false)),
            (ETHERNET, echo(1, false, 2)),
        ];
        let files = (0..).zip(seen).map(|(nth, (link, bytes))| {
            let time = BEGIN + nth * 10 * MICROSECOND;
            stage.file(
                &format!("{nth}.pcap"),
                &pcap(link, 65_535, &[(time, bytes)]),
            )
        });
        let places = [
            PLACES[0],
            "node-a/tunl0/out",
            "node-a/eth0/out",
            "node-b/eth0/in",
            "node-b/tunl0/in",
            PLACES[3],
        ];
        let shown = stage.imported(&files.collect::<Vec<_>>(), &places);
        let way = [
            THERE[0],
            "node-a/tunl0/egress",
            THERE[1],
            THERE[2],
            "node-b/tunl0/ingress",
            THERE[3],
        ];
        assert_eq!(shown.ways, [way], "{name}");
    }
}

/// A port that nobody says is VXLAN's is that of a datagram between the nodes.
#[test]
fn vxlan_at_another_port_is_read_if_the_port_is_given() {
    let frame = |seq, answer| outside(UDP, answer, &vxlan(14_789, 5, &frame(seq, answer)));
    for (ports, hops) in [(vec![14_789], 4), (Vec::new(), 2)] {
        let stage = Stage::new();
        let places = pings_in(frame, 1, 0);
        let files = places.iter().zip("abcd".chars()).map(|(packets, name)| {
            stage.file(&format!("{name}.pcap"), &pcap(ETHERNET, 65_535, packets))
        });
        let mut args = stage.args(&files.collect::<Vec<_>>(), &PLACES);
        args.vxlan_ports = ports;
        let shown = stage.imported_by(&args);
        let of_pods = shown.journeys.iter().zip(&shown.ways);
        let of_pods = of_pods.filter(|((journey, _), _)| !OUTER.contains(&journey.packet.src));
        let lengths: Vec<usize> = of_pods.map(|(_, way)| way.len()).collect();
        assert_eq!(lengths, [hops; 2]);
    }
}
