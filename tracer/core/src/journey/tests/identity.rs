//! Hops of one packet, hops of different packets, and answers.

use super::*;
use crate::{
    journey::Course,
    model::{Arp, Icmp, Mac},
};

fn echo(kind: u8, seq: u16) -> Packet {
    let packet = packet(Transport::Icmp(Icmp {
        v6: false,
        kind,
        code: 0,
        echo: Some((7, seq)),
        neighbour: None,
        quote: None,
    }));
    if kind == 8 {
        packet
    } else {
        Packet {
            src: packet.dst,
            dst: packet.src,
            ..packet
        }
    }
}

#[test]
fn identical_packets_after_each_other_are_two_journeys() {
    let mut stage = Stage::new();
    // The kernel uses the sk_buff again.
    stage.send(0, 7, &udp(1));
    stage.send(MS, 7, &udp(1));
    let journeys = stage.finished();
    assert_eq!(journeys.len(), 2);
    assert!(journeys.iter().all(|journey| way(journey) == WAY));
}

/// A place gets another number when its program is attached again.
#[test]
fn identical_packets_at_a_place_with_two_numbers_are_two_journeys() {
    let mut stage = Stage::new();
    let new = stage.scene.nodes[0].points.len();
    let again = stage.scene.nodes[0].points[OUT].clone();
    stage.scene.nodes[0].points.push(again);
    let packet = udp(1);
    stage.see(0, &hop(OUT, 0, 1, &packet));
    stage.see(0, &hop(new, MS, 2, &packet));
    let journeys = stage.end();
    assert_eq!(journeys.len(), 2);
}

#[test]
fn identical_packets_side_by_side_are_told_apart_by_sk_buff() {
    let mut stage = Stage::new();
    let packet = udp(1);
    for (point, time) in [(FROM_POD, 0), (OUT, 10)] {
        // The packets have changed places at the second point.
        for skb in if point == OUT { [2_u64, 1] } else { [1, 2] } {
            stage.see(0, &hop(point, time + skb.cast_signed(), skb, &packet));
        }
    }
    let journeys = stage.end();
    let times: Vec<i64> = journeys
        .iter()
        .map(|journey| journey.steps[1].time)
        .collect();
    assert_eq!(times, [11, 12]);
    assert!(journeys.iter().all(|journey| !journey.ambiguous));
}

#[test]
fn identical_packets_across_the_wire_are_paired_in_order_and_marked() {
    let mut stage = Stage::new();
    let packet = udp(1);
    for skb in [1_u64, 2] {
        stage.see(0, &hop(OUT, skb.cast_signed(), skb, &packet));
    }
    for skb in [1001_u64, 1002] {
        stage.see(1, &hop(TO_POD, skb.cast_signed(), skb, &packet));
    }
    let journeys = stage.finished();
    assert_eq!(journeys.len(), 2);
    assert!(journeys.iter().all(|journey| journey.ambiguous));
    assert_eq!(journeys[0].steps[0].time, 1);
    assert_eq!(journeys[1].steps[0].time, 2);
}

#[test]
fn a_reused_sk_buff_with_other_content_is_another_packet() {
    let mut stage = Stage::new();
    stage.see(0, &hop(FROM_POD, 0, 7, &udp(1)));
    stage.see(0, &hop(OUT, 1, 7, &udp(2)));
    assert_eq!(stage.end().len(), 2);
}

#[test]
fn a_packet_that_comes_round_again_is_the_same_while_its_ttl_falls() {
    let mut stage = Stage::new();
    for ttl in [64, 62, 60] {
        let packet = Packet { ttl, ..udp(1) };
        stage.see(0, &hop(OUT, i64::from(64 - ttl), 7, &packet));
    }
    let journeys = stage.end();
    assert_eq!(journeys.len(), 1);
    assert_eq!(journeys[0].steps.len(), 3);
}

#[test]
fn replies_know_their_request() {
    let mut stage = Stage::new();
    for seq in [1, 2] {
        let request = echo(8, seq);
        stage.send(i64::from(seq) * MS, 1, &request);
        let reply = echo(0, seq);
        stage.see(1, &hop(FROM_POD, i64::from(seq) * MS + 9000, 9, &reply));
    }
    stage.send(3 * MS, 1, &udp(1));
    let mut journeys = stage.end();
    journeys.extend(stage.finished());
    journeys.sort_by_key(|journey| journey.id);
    let told: Vec<_> = journeys
        .iter()
        .map(|journey| (journey.id, journey.direction, journey.answers))
        .collect();
    let (request, reply) = (Course::Request, Course::Reply);
    let expected = [
        (1, request, None),
        (2, reply, Some(1)),
        (3, request, None),
        (4, reply, Some(3)),
        (5, request, None),
    ];
    assert_eq!(told, expected);
    let conversations: Vec<u64> = journeys.iter().map(|one| one.conversation).collect();
    let (pings, other) = conversations.split_at(4);
    assert_eq!(pings, [pings[0]; 4]);
    assert_ne!(other, [pings[0]], "the datagram is none of them");
}

/// Two packets ask the same. An answer does not say which of them arrived.
#[test]
fn a_question_that_is_asked_again_knows_it() {
    let handshake = |flags, stamp| {
        let mut packet = tcp(7, 0, stamp);
        if let Transport::Tcp(tcp) = &mut packet.transport {
            tcp.flags = Flags(flags);
        }
        packet
    };
    let mut stage = Stage::new();
    stage.send(0, 1, &handshake(Flags::SYN, 11));
    assert!(!stage.finished().iter().any(|journey| journey.asked_again));
    stage.send(MS, 2, &handshake(Flags::SYN, 12));
    let mut answer = handshake(Flags::SYN | Flags::ACK, 3);
    (answer.src, answer.dst) = (answer.dst, answer.src);
    if let Transport::Tcp(tcp) = &mut answer.transport {
        (tcp.src_port, tcp.dst_port, tcp.ack) = (tcp.dst_port, tcp.src_port, 8);
    }
    stage.see(1, &hop(FROM_POD, 2 * MS, 3, &answer));
    let journeys = stage.end();
    assert_eq!(journeys.len(), 3);
    let asked_again: Vec<bool> = journeys
        .iter()
        .filter(|journey| journey.asks)
        .map(|journey| journey.asked_again)
        .collect();
    assert_eq!(asked_again, [true, true]);
    assert!(journeys.iter().any(|journey| journey.answers == Some(2)));
}

#[test]
fn arp_replies_know_their_request() {
    let arp = |operation, src: [u8; 4], dst: [u8; 4]| Packet {
        src: src.into(),
        dst: dst.into(),
        ..packet(Transport::Arp(Arp {
            operation,
            sender: Mac::default(),
            target: Mac::default(),
        }))
    };
    let mut stage = Stage::new();
    stage.see(0, &hop(FROM_POD, 0, 1, &arp(1, A, NODES[0])));
    stage.see(0, &hop(TO_POD, 1, 2, &arp(2, NODES[0], A)));
    let reply = stage.finished().pop().expect("the reply arrived");
    assert_eq!(reply.answers, Some(1));
    assert_eq!(reply.direction, Course::Reply);
}

/// The kernel uses a dropped packet's sk_buff again for an identical packet, while the dropped
/// packet's journey is still open. The hop at the receiver belongs to the second packet.
#[test]
fn a_reused_sk_buff_belongs_to_its_latest_packet() {
    let mut stage = Stage::new();
    let packet = udp(1);
    for (node, point) in [(0, FROM_POD), (0, OUT), (1, IN)] {
        stage.see(node, &hop(point, 0, 9, &packet));
    }
    for (time, (node, point)) in (MS..).zip(WAY) {
        stage.see(node, &hop(point, time, 9, &packet));
    }
    let arrived = stage.finished();
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].id, 2);
    assert_eq!(way(&arrived[0]), WAY);
    let dropped = stage.end();
    assert_eq!((dropped.len(), dropped[0].id), (1, 1));
}

/// A fragment's TCP header gives a length that includes bytes of other fragments.
#[test]
fn a_first_fragment_is_one_packet_whatever_its_header_says() {
    let mut stage = Stage::new();
    let fragment = Packet {
        fragment: Some((0, true)),
        ..tcp(1000, 3000, 5)
    };
    stage.send(0, 1, &fragment);
    let journeys = stage.finished();
    assert_eq!(journeys.len(), 1);
    assert_eq!(way(&journeys[0]), WAY);
    assert_eq!(journeys[0].size(), 1);
}
