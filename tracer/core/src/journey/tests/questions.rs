//! Packets that answer, refuse or acknowledge others, and packets that only seem to.

use super::*;
use crate::{
    journey::Impostor,
    model::{Arp, Icmp, Mac, Point, Quote},
};

/// The same packet in the other direction.
fn back(packet: Packet) -> Packet {
    let mut back = Packet {
        src: packet.dst,
        dst: packet.src,
        ..packet
    };
    if let Transport::Tcp(tcp) = &mut back.transport {
        (tcp.src_port, tcp.dst_port) = (tcp.dst_port, tcp.src_port);
    }
    back
}

/// A segment without data, with an acknowledgement number and timestamps.
fn segment(flags: u8, seq: u32, ack: u32, timestamps: Option<(u32, u32)>) -> Packet {
    let mut packet = tcp(seq, 0, 0);
    if let Transport::Tcp(tcp) = &mut packet.transport {
        (tcp.flags, tcp.ack, tcp.timestamps) = (Flags(flags), ack, timestamps);
    }
    packet
}

const SYN: u8 = Flags::SYN;
const SYN_ACK: u8 = Flags::SYN | Flags::ACK;
const RST_ACK: u8 = Flags::RST | Flags::ACK;

/// An ICMP error from B about a UDP datagram from A.
fn error(v6: bool, kind: u8, code: u8) -> Packet {
    let ports = [40_000_u16.to_be_bytes(), 8080_u16.to_be_bytes()].concat();
    let header = [&ports[..], &[0, 40, 0, 0]].concat();
    back(packet(Transport::Icmp(Icmp {
        v6,
        kind,
        code,
        echo: None,
        neighbour: None,
        quote: Some(Box::new(Quote {
            src: A.into(),
            dst: B.into(),
            proto: 17,
            ports: Some((40_000, 8080)),
            ip_id: Some(0),
            header: header.try_into().ok(),
        })),
    })))
}

/// A redirect is about a packet that was forwarded, and a source quench about one that may have
/// been (RFC 792). ICMPv6 error types above 4 are unknown (RFC 4443, 2.1).
#[test]
fn not_every_error_refuses_what_it_quotes() {
    let refuses = |v6, kind, code| {
        let mut stage = Stage::new();
        stage.send(0, 1, &udp(1));
        stage.see(1, &hop(FROM_POD, MS, 9, &error(v6, kind, code)));
        let journeys = stage.end();
        let quoted = journeys.iter().find(|one| one.id == 1).expect("it is told");
        let error = journeys.iter().find(|one| one.id == 2).expect("it is told");
        assert_eq!(quoted.refusal.is_some(), error.answers == Some(1));
        quoted.refusal.is_some()
    };
    for (kind, code) in [(3, 3), (3, 4), (3, 13), (11, 0), (11, 1), (12, 0)] {
        assert!(refuses(false, kind, code), "type {kind} code {code}");
    }
    for (kind, code) in [(4, 0), (5, 0), (5, 1), (5, 3)] {
        assert!(!refuses(false, kind, code), "type {kind} code {code}");
    }
    for (kind, code) in [(1, 4), (2, 0), (3, 0), (4, 1)] {
        assert!(refuses(true, kind, code), "ICMPv6 type {kind} code {code}");
    }
    for kind in [0, 5, 100, 127] {
        assert!(!refuses(true, kind, 0), "ICMPv6 type {kind}");
    }
}

/// Two SYNs arrive, and B sends one SYN-ACK.
#[test]
fn an_answer_answers_the_question_however_often_it_was_asked() {
    let asked = |stamps: [Option<(u32, u32)>; 3]| {
        let [first, second, answer] = stamps;
        let mut stage = Stage::new();
        stage.send(0, 1, &segment(SYN, 7, 0, first));
        stage.send(MS, 2, &segment(SYN, 7, 0, second));
        let answer = back(segment(SYN_ACK, 100, 8, answer));
        stage.see(1, &hop(FROM_POD, 2 * MS, 3, &answer));
        let mut journeys = stage.end();
        journeys.sort_by_key(|journey| journey.id);
        let [first, second, answer] = journeys.try_into().expect("three packets");
        assert_eq!(
            (first.answered_by, second.answered_by),
            (Some(answer.id), Some(answer.id))
        );
        let unsure = [first.asked_again, second.asked_again];
        (unsure, answer.answers)
    };
    let untold = ([true, true], Some(2));
    assert_eq!(asked([None, None, None]), untold);
    // The answer echoes the timestamp of the SYN that it answers.
    assert_eq!(
        asked([Some((5, 0)), Some((6, 0)), Some((90, 5))]),
        ([false, true], Some(1))
    );
    assert_eq!(
        asked([Some((5, 0)), Some((6, 0)), Some((90, 6))]),
        ([true, false], Some(2))
    );
    // A duplicate of the SYN has the same timestamp.
    assert_eq!(asked([Some((5, 0)), Some((5, 0)), Some((90, 5))]), untold);
}

/// A question that is repeated after its answer does not make the answer doubtful.
#[test]
fn a_question_that_was_answered_before_it_was_asked_again() {
    let mut stage = Stage::new();
    stage.send(0, 1, &segment(SYN, 7, 0, None));
    let answer = back(segment(SYN_ACK, 100, 8, None));
    stage.see(1, &hop(FROM_POD, MS, 3, &answer));
    stage.send(2 * MS, 2, &segment(SYN, 7, 0, Some((6, 0))));
    let journeys = stage.end();
    let of = |id| journeys.iter().find(move |journey| journey.id == id);
    let (first, again) = (of(1).expect("first"), of(3).expect("again"));
    assert_eq!((first.answered_by, first.asked_again), (Some(2), false));
    assert_eq!((again.answered_by, again.asked_again), (Some(2), true));
}

#[test]
fn a_reset_refuses_the_question_however_often_it_was_asked() {
    let mut stage = Stage::new();
    stage.send(0, 1, &segment(SYN, 7, 0, Some((5, 0))));
    stage.send(MS, 2, &segment(SYN, 7, 0, Some((6, 0))));
    let reset = back(segment(RST_ACK, 0, 8, None));
    stage.see(1, &hop(FROM_POD, 2 * MS, 3, &reset));
    let journeys = stage.end();
    let refused: Vec<Option<bool>> = journeys
        .iter()
        .filter(|journey| journey.asks)
        .map(|journey| Some(journey.refusal?.alike))
        .collect();
    assert_eq!(refused, [Some(true), Some(true)]);
}

/// The acknowledged parts of a journey.
fn acked(journeys: &[Journey], id: u64) -> Vec<(u32, u32)> {
    let journey = journeys.iter().find(|journey| journey.id == id);
    journey.expect("it is told").acked.to_vec()
}

/// A connection from handshake to FIN, without sightings at the receiver.
#[test]
fn a_client_acknowledges_the_handshake_the_first_data_and_the_end() {
    let mut stage = Stage::new();
    let server = |packet| (1, back(packet));
    let client = |packet| (0, packet);
    let data = |seq, len, ack| {
        let mut packet = tcp(seq, len, 20);
        if let Transport::Tcp(tcp) = &mut packet.transport {
            tcp.ack = ack;
        }
        packet
    };
    let exchange = [
        client(segment(SYN, 6, 0, Some((10, 0)))),
        server(segment(SYN_ACK, 100, 7, Some((90, 10)))),
        client(segment(Flags::ACK, 7, 101, Some((11, 90)))),
        client(data(7, 1000, 101)),
        server(segment(Flags::ACK, 101, 1007, Some((91, 20)))),
        client(segment(Flags::FIN | Flags::ACK, 1007, 101, Some((21, 91)))),
        server(segment(Flags::ACK, 101, 1008, Some((92, 21)))),
    ];
    for (time, (node, packet)) in (0..).step_by(1000).zip(&exchange) {
        stage.see(*node, &hop(FROM_POD, time, time.cast_unsigned(), packet));
    }
    let journeys = stage.end();
    assert_eq!(acked(&journeys, 2), [(0, 1)], "SYN|ACK");
    assert_eq!(acked(&journeys, 4), [(0, 1000)], "data");
    assert_eq!(acked(&journeys, 6), [(0, 1)], "FIN");
    for id in [3, 5, 7] {
        assert_eq!(acked(&journeys, id), [], "an ACK is not acknowledged");
    }
}

/// The server has sent its SYN-ACK twice, and the client's ACK echoes the timestamp of one of them.
#[test]
fn the_timestamp_tells_which_of_two_was_acknowledged() {
    let which = |stamps: Option<[u32; 3]>| {
        let stamp = |at: usize| stamps.map(|stamps| stamps[at]);
        let mut stage = Stage::new();
        let syn = segment(SYN, 6, 0, Some((10, 0)));
        stage.see(0, &hop(FROM_POD, 0, 1, &syn));
        for at in [0, 1] {
            let answer = back(segment(SYN_ACK, 100, 7, stamp(at).map(|stamp| (stamp, 10))));
            let time = MS + i64::try_from(at).expect("small");
            stage.see(1, &hop(FROM_POD, time, 2 + at as u64, &answer));
        }
        let ack = segment(Flags::ACK, 7, 101, stamp(2).map(|echoed| (11, echoed)));
        stage.see(0, &hop(FROM_POD, 2 * MS, 9, &ack));
        let journeys = stage.end();
        [2, 3].map(|id| !acked(&journeys, id).is_empty())
    };
    assert_eq!(which(Some([90, 95, 90])), [true, false]);
    assert_eq!(which(Some([90, 95, 95])), [false, true]);
    assert_eq!(which(Some([90, 95, 80])), [false, false], "an unseen one");
    assert_eq!(which(Some([90, 90, 90])), [false, false]);
    assert_eq!(which(None), [false, false]);
}

#[test]
fn a_part_is_acknowledged_by_itself() {
    let after = |acks: &[u32]| {
        let mut stage = Stage::new();
        stage.see(0, &hop(FROM_POD, 0, 1, &segment(SYN, 6, 0, None)));
        stage.see(0, &hop(FROM_POD, 1, 2, &tcp(7, 3000, 20)));
        // The last bytes are sent again, before anything is acknowledged.
        stage.see(0, &hop(FROM_POD, 2, 3, &tcp(2507, 500, 30)));
        for (time, ack) in (3..).zip(acks) {
            let ack = back(segment(Flags::ACK, 1, *ack, None));
            stage.see(1, &hop(FROM_POD, time, time.cast_unsigned(), &ack));
        }
        let journeys = stage.end();
        [2, 3].map(|id| acked(&journeys, id))
    };
    assert_eq!(after(&[]), [vec![], vec![]]);
    assert_eq!(after(&[1007]), [vec![(0, 1000)], vec![]]);
    // Either transmission may have brought the rest.
    assert_eq!(after(&[1007, 3007]), [vec![(0, 2500)], vec![]]);
}

const OWN: Mac = Mac([2, 0, 0, 0, 0, 7]);
const OTHER: Mac = Mac([2, 0, 0, 0, 0, 9]);

/// A SYN is handed to B's pod. Its SYN-ACK comes out of `point` on node 1, from this MAC address.
/// Returns the other owner of B's address, if there is one.
fn answered_from(stage: &mut Stage, point: usize, mac: Mac, asked: [u8; 4]) -> Option<Impostor> {
    let question = Packet {
        dst: asked.into(),
        ..segment(SYN, 7, 0, None)
    };
    let answer = Packet {
        src: asked.into(),
        ..back(segment(SYN_ACK, 100, 8, None))
    };
    let handed = Hop {
        dst_mac: Some(OWN),
        ..hop(TO_POD, 0, 1, &question)
    };
    stage.see(1, &handed);
    let out = Hop {
        src_mac: Some(mac),
        ..hop(point, 1, 2, &answer)
    };
    stage.see(1, &out);
    let journeys = std::mem::replace(stage, Stage::new()).end();
    assert_eq!(journeys[0].answered_by, Some(2));
    journeys.into_iter().find(|one| one.id == 1)?.impostor
}

/// Adds a pair of points on node 1, of an interface that leads to `address`.
fn with_another_port(address: [u8; 4]) -> Stage {
    let mut stage = Stage::new();
    let points = &mut stage.scene.nodes[1].points;
    for of in [FROM_POD, TO_POD] {
        let port = Point {
            interface: "veth9".to_owned(),
            ifindex: 9,
            addresses: vec![address.into()],
            ..points[of].clone()
        };
        points.push(port);
    }
    stage
}

const OTHER_PORT: usize = 4;

#[test]
fn an_answer_of_somebody_else_with_the_same_address_is_told_apart() {
    let mut plain = Stage::new();
    assert_eq!(answered_from(&mut plain, FROM_POD, OWN, B), None);
    let other_mac = answered_from(&mut Stage::new(), FROM_POD, OTHER, B).expect("two MACs");
    assert_eq!(other_mac.macs, Some((OTHER, OWN)));
    let mut stage = with_another_port(B);
    let elsewhere = answered_from(&mut stage, OTHER_PORT, OWN, B).expect("two ports");
    assert_eq!((elsewhere.at, elsewhere.macs), ((1, OTHER_PORT), None));
}

#[test]
fn addresses_that_are_shared_by_design_have_many_owners() {
    let calico = Mac([0xee; 6]);
    assert_eq!(answered_from(&mut Stage::new(), FROM_POD, calico, B), None);
    for shared in [[169, 254, 1, 1], [169, 254, 20, 10]] {
        let mut stage = with_another_port(shared);
        for at in [TO_POD, FROM_POD] {
            let point = &mut stage.scene.nodes[1].points[at];
            point.addresses = vec![shared.into()];
        }
        assert_eq!(answered_from(&mut stage, OTHER_PORT, OTHER, shared), None);
    }
}

#[test]
fn two_answers_to_one_arp_request_show_two_owners() {
    let second = |sender| {
        let arp = |operation, sender| {
            packet(Transport::Arp(Arp {
                operation,
                sender,
                target: Mac::default(),
            }))
        };
        let mut stage = Stage::new();
        stage.see(0, &hop(FROM_POD, 0, 1, &arp(1, Mac::default())));
        for (time, mac) in [(1_i64, OWN), (2, sender)] {
            let reply = back(arp(2, mac));
            stage.see(1, &hop(FROM_POD, time, time.cast_unsigned() + 1, &reply));
        }
        let journeys = stage.end();
        let asked = journeys.iter().find(|one| one.id == 1).expect("it is told");
        asked.impostor.and_then(|impostor| impostor.macs)
    };
    assert_eq!(second(OTHER), Some((OTHER, OWN)));
    assert_eq!(second(Mac([0xee; 6])), None);
}

/// In the middle of a connection, an acknowledgement of new bytes echoes the transmission that
/// brought them.
#[test]
fn an_acknowledgement_echoes_which_transmission_came() {
    for (known, stamps, echo) in [
        (true, [5, 6], 5),
        (true, [5, 6], 4),
        (true, [5, 5], 5),
        (false, [5, 6], 5),
    ] {
        let mut stage = Stage::new();
        let ack = |ack, echo| back(segment(Flags::ACK, 1, ack, Some((9, echo))));
        stage.see(0, &hop(FROM_POD, 0, 1, &tcp(0, 1000, stamps[0])));
        if known {
            stage.see(1, &hop(FROM_POD, MS, 6, &ack(0, 1)));
        }
        stage.see(0, &hop(FROM_POD, 2 * MS, 2, &tcp(1000, 1000, stamps[1])));
        stage.see(1, &hop(FROM_POD, 3 * MS, 7, &ack(2000, echo)));
        let journeys = stage.end();
        let told = known && stamps == [5, 6] && echo == 5;
        let expected = if told { vec![(0, 1000)] } else { Vec::new() };
        assert_eq!(acked(&journeys, 1), expected, "{known} {stamps:?} {echo}");
    }
}

/// A follow that begins in the middle of a connection may see retransmissions, which earlier
/// transmissions have brought.
#[test]
fn only_from_its_first_byte_on_it_is_known_what_was_sent_before() {
    for opened in [false, true] {
        let mut stage = Stage::new();
        let first = if opened { SYN } else { Flags::ACK };
        stage.see(0, &hop(FROM_POD, 0, 1, &segment(first, 999, 0, None)));
        for (skb, seq) in [(2, 1000), (3, 2000)] {
            stage.see(0, &hop(FROM_POD, MS, skb, &tcp(seq, 1000, 5)));
        }
        let ack = back(segment(Flags::ACK, 1, 3000, None));
        stage.see(1, &hop(FROM_POD, 2 * MS, 7, &ack));
        let journeys = stage.end();
        assert_eq!(!acked(&journeys, 3).is_empty(), opened);
    }
}
