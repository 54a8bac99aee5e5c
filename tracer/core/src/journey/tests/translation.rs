//! Packets whose ends a node's NAT rewrites.
//!
//! Pod A asks a Service's address. Its node sends the request to pod B, with or without a
//! masquerade. The node undoes the translation for the reply.

use super::{
    drops::{LOSS, freed},
    *,
};
use crate::{
    journey::{Course, Translated},
    model::{Ends, Icmp, Proto, Quote},
};

const SERVICE: [u8; 4] = [10, 96, 0, 10];

/// The ends of A's packets, of the packets that arrive at B, and of B's replies.
fn ends(src: [u8; 4], src_port: u16, dst: [u8; 4], dst_port: u16) -> Ends {
    Ends {
        src: src.into(),
        dst: dst.into(),
        src_port,
        dst_port,
    }
}

fn asked() -> Ends {
    ends(A, 40_000, SERVICE, 80)
}

fn arrived() -> Ends {
    ends(A, 40_000, B, 8080)
}

/// The ends at B if A's node masquerades as well.
fn masqueraded() -> Ends {
    ends(NODE_A, 52_011, B, 8080)
}

fn flagged(flags: u8, seq: u32, ack: u32) -> Packet {
    let mut packet = tcp(seq, 0, seq);
    if let Transport::Tcp(tcp) = &mut packet.transport {
        (tcp.flags, tcp.ack) = (Flags(flags), ack);
    }
    packet
}

/// The path of a request. NAT is between the pod's interface and the uplink.
fn request(stage: &mut Stage, start: i64, packet: &Packet, behind: Ends) {
    let sent = packet.with_ends(&asked());
    let there = packet.with_ends(&behind);
    for (time, (node, point)) in (start..).step_by(1000).zip(WAY) {
        let packet = if point == FROM_POD { &sent } else { &there };
        stage.see(
            node,
            &hop(point, time, 1 + start.cast_unsigned() + node as u64, packet),
        );
    }
}

/// The path of a reply. The translation is undone at its end.
fn reply(stage: &mut Stage, start: i64, packet: &Packet, behind: Ends) {
    const BACK: [(usize, usize); 4] = [(1, FROM_POD), (1, OUT), (0, IN), (0, TO_POD)];
    let sent = packet.with_ends(&behind.reversed());
    let there = packet.with_ends(&asked().reversed());
    for (time, (node, point)) in (start..).step_by(1000).zip(BACK) {
        let packet = if point == TO_POD { &there } else { &sent };
        stage.see(
            node,
            &hop(point, time, 1 + start.cast_unsigned() + node as u64, packet),
        );
    }
}

fn shown(journey: &Journey) -> Vec<Option<Ends>> {
    let steps = journey.steps.iter();
    steps.map(|step| step.ends.as_deref().copied()).collect()
}

#[test]
fn a_connection_through_a_service_has_one_journey_a_packet() {
    for behind in [arrived(), masqueraded()] {
        let mut stage = Stage::new();
        request(&mut stage, 0, &flagged(Flags::SYN, 1, 0), behind);
        reply(
            &mut stage,
            MS,
            &flagged(Flags::SYN | Flags::ACK, 70, 2),
            behind,
        );
        request(&mut stage, 2 * MS, &tcp(2, 500, 9), behind);
        reply(&mut stage, 3 * MS, &tcp(71, 900, 8), behind);
        let journeys = stage.finished();
        assert_eq!(journeys.len(), 4, "{behind:?}");
        assert!(journeys.iter().all(|journey| journey.steps.len() == 4));
        let conversations = journeys.iter().map(|journey| journey.conversation);
        assert_eq!(conversations.clone().min(), conversations.max());
        for journey in &journeys {
            let (first, last) = match journey.direction {
                Course::Request => (asked(), behind),
                Course::Reply => (behind.reversed(), asked().reversed()),
            };
            assert_eq!(journey.packet.ends(), Some(first));
            assert_eq!(journey.destination(), Some(last.dst));
            assert_eq!(journey.ends_at(&journey.steps[3]), Some(last));
            let translated = journey.translated.as_deref().copied();
            assert_eq!(
                translated,
                Some(Translated {
                    first,
                    last,
                    told: None,
                    is_reply: Some(journey.direction == Course::Reply),
                })
            );
        }
        let [syn, syn_ack, data, answer] = &journeys[..] else {
            unreachable!("there are four");
        };
        assert_eq!(shown(syn), [None, Some(behind), Some(behind), Some(behind)]);
        let undone = Some(asked().reversed());
        assert_eq!(shown(syn_ack), [None, None, None, undone]);
        assert_eq!(syn.answered_by, Some(syn_ack.id));
        assert_eq!(data.direction, Course::Request);
        assert_eq!(answer.direction, Course::Reply);
    }
}

#[test]
fn what_was_on_its_way_when_its_translation_is_first_seen_is_still_found() {
    let mut stage = Stage::new();
    let data = tcp(500, 900, 1).with_ends(&arrived().reversed());
    stage.see(1, &hop(FROM_POD, 0, 1, &data));
    stage.see(1, &hop(OUT, 1, 1, &data));
    // A packet in the other direction shows the translation.
    request(&mut stage, 10, &tcp(2, 10, 1), arrived());
    stage.see(0, &hop(IN, MS, 7, &data));
    let there = data.with_ends(&asked().reversed());
    stage.see(0, &hop(TO_POD, MS + 1, 7, &there));
    let journeys = stage.finished();
    assert_eq!(journeys.len(), 2);
    assert!(journeys.iter().all(|journey| journey.steps.len() == 4));
}

#[test]
fn another_packet_in_the_same_memory_is_not_a_translation() {
    // The other packet comes in from outside, or from a pod.
    for (point, src) in [(IN, NODE_B), (FROM_POD, A)] {
        let mut stage = Stage::new();
        let first = udp(1).with_ends(&ends(NODE_B, 1, NODE_A, 2));
        stage.see(0, &hop(OUT, 0, 7, &first));
        let other = udp(1).with_ends(&ends(src, 3, B, 4));
        stage.see(0, &hop(point, 1, 7, &other));
        assert_eq!(stage.end().len(), 2);
    }
    // The packet is like others, and comes late.
    let mut stage = Stage::new();
    stage.see(0, &hop(FROM_POD, 0, 7, &udp(1).with_ends(&asked())));
    stage.see(0, &hop(OUT, 60 * MS, 7, &udp(1).with_ends(&arrived())));
    assert_eq!(stage.end().len(), 2);
    // The payload or the length differs.
    for other in [udp(2), Packet { len: 61, ..udp(1) }] {
        let mut stage = Stage::new();
        stage.see(0, &hop(FROM_POD, 0, 7, &udp(1).with_ends(&asked())));
        stage.see(0, &hop(OUT, 1, 7, &other.with_ends(&arrived())));
        assert_eq!(stage.end().len(), 2);
    }
}

#[test]
fn an_answer_from_another_port_than_that_of_dns_answers() {
    let dns = |id: u8, answers: bool| {
        let mut packet = udp(u64::from(id) * 2 + u64::from(answers));
        let header = [
            0,
            id,
            if answers { 0x80 } else { 0 },
            0,
            0,
            1,
            0,
            0,
            0,
            0,
            0,
            0,
        ];
        if let Transport::Udp { dns, .. } = &mut packet.transport {
            *dns = Some(header);
        }
        packet
    };
    // The DNS header is read at DNS's port only.
    let on = |packet: &Packet, ends: Ends| {
        let mut packet = packet.with_ends(&ends);
        if let Transport::Udp {
            src_port,
            dst_port,
            dns,
            ..
        } = &mut packet.transport
            && *src_port != 53
            && *dst_port != 53
        {
            *dns = None;
        }
        packet
    };
    let mut stage = Stage::new();
    let (asked, arrived) = (ends(A, 40_000, SERVICE, 53), ends(A, 40_000, B, 5353));
    for (id, start) in [(1, 0), (2, 10 * MS)] {
        for (time, (node, point)) in (start..).zip(WAY) {
            let ends = if point == FROM_POD { asked } else { arrived };
            stage.see(
                node,
                &hop(
                    point,
                    time,
                    1 + start.cast_unsigned(),
                    &on(&dns(id, false), ends),
                ),
            );
        }
        let back = [(1, FROM_POD), (1, OUT), (0, IN), (0, TO_POD)];
        for (time, (node, point)) in (start + MS..).zip(back) {
            let ends = if point == TO_POD { asked } else { arrived };
            let packet = on(&dns(id, true), ends.reversed());
            stage.see(node, &hop(point, time, 1 + node as u64, &packet));
        }
        let journeys = stage.finished();
        let steps: Vec<usize> = journeys.iter().map(|it| it.steps.len()).collect();
        assert_eq!(steps, [4, 4]);
        assert_eq!(journeys[0].answered_by, Some(journeys[1].id));
        assert_eq!(journeys[1].answers, Some(journeys[0].id));
    }
}

#[test]
fn what_is_dropped_behind_its_translation_is_the_same_packet() {
    let mut stage = Stage::new();
    let data = tcp(2, 500, 9);
    stage.see(0, &hop(FROM_POD, 0, 7, &data.with_ends(&asked())));
    let drop = freed(1, 7, &data.with_ends(&arrived()));
    stage.engine.push_freed(&stage.scene, (0, 1), &drop, LOSS);
    let journeys = stage.end();
    assert_eq!(journeys.len(), 1);
    assert_eq!(journeys[0].drops[0].ends.as_deref(), Some(&arrived()));
    assert!(journeys[0].drops[0].same_buffer);
}

/// The packet waited for a neighbour until its journey was over. Its drop has the ends of an
/// endpoint, so the translation holds, although a SYN may open another connection.
#[test]
fn a_late_drop_of_a_translated_syn_knows_the_translation() {
    let mut stage = Stage::new();
    let syn = |seq| flagged(Flags::SYN, seq, 0);
    request(&mut stage, 0, &syn(1), arrived());
    let late = Limits::default().hold * 3;
    let drop = freed(late, 9, &syn(2).with_ends(&arrived()));
    stage
        .engine
        .push_freed(&stage.scene, (0, late), &drop, LOSS);
    let journeys = stage.end();
    assert_eq!(journeys.len(), 2);
    assert_eq!(journeys[1].packet.ends(), Some(asked()));
    let translated = journeys[1].translated.as_deref().expect("it is translated");
    assert_eq!(translated.last, arrived());
}

#[test]
fn an_error_refuses_the_packet_that_it_quotes_behind_its_translation() {
    let mut stage = Stage::new();
    request(&mut stage, 0, &udp(1), arrived());
    let quote = |ends: Ends| {
        let [high, low] = ends.dst_port.to_be_bytes();
        Quote {
            src: ends.src,
            dst: ends.dst,
            proto: 17,
            ports: Some((ends.src_port, ends.dst_port)),
            ip_id: Some(0),
            header: Some([0x9c, 0x40, high, low, 0, 40, 0, 0]),
        }
    };
    let error = |src: [u8; 4], ends: Ends| Packet {
        src: src.into(),
        dst: A.into(),
        ..packet(Transport::Icmp(Icmp {
            v6: false,
            kind: 3,
            code: 3,
            echo: None,
            neighbour: None,
            quote: Some(Box::new(quote(ends))),
        }))
    };
    let back = [(1, FROM_POD), (1, OUT), (0, IN), (0, TO_POD)];
    for (time, (node, point)) in (MS..).zip(back) {
        let packet = match point {
            TO_POD => error(SERVICE, asked()),
            _ => error(B, arrived()),
        };
        stage.see(node, &hop(point, time, 1 + node as u64, &packet));
    }
    let journeys = stage.finished();
    assert_eq!(journeys.len(), 2);
    let refusal = journeys[0].refusal.expect("it is refused");
    assert_eq!((refusal.by, refusal.from), (journeys[1].id, B.into()));
    assert_eq!(journeys[1].steps.len(), 4);
    assert_eq!(journeys[1].packet.proto(), Proto::Ip(1));
}

#[test]
fn ends_that_lead_back_or_have_nothing_in_common_are_no_translation() {
    let there = ends(A, 40_000, SERVICE, 80);
    for (to, journeys) in [
        (there.reversed(), 2),
        (ends(NODE_A, 1, B, 8080), 2),
        (ends(A, 40_000, B, 8080), 1),
        (ends(NODE_A, 1, SERVICE, 80), 1),
    ] {
        let mut stage = Stage::new();
        stage.see(0, &hop(FROM_POD, 0, 7, &udp(1).with_ends(&there)));
        stage.see(0, &hop(OUT, 1, 7, &udp(1).with_ends(&to)));
        assert_eq!(stage.end().len(), journeys, "{to:?}");
    }
}

/// B's answer repeats the payload in the same memory, and the hop where it came in was lost.
#[test]
fn an_answer_is_no_translation_of_its_question() {
    let mut stage = Stage::new();
    let at = |ttl, ends: &Ends| Packet {
        ttl,
        ..udp(1).with_ends(ends)
    };
    stage.see(0, &hop(FROM_POD, 0, 7, &at(64, &asked())));
    stage.see(0, &hop(OUT, 1, 7, &at(63, &masqueraded())));
    stage.see(0, &hop(TO_POD, 2, 7, &at(62, &asked().reversed())));
    assert_eq!(stage.end().len(), 2);
}

/// UDP datagrams over IPv6 have no identification. A proxy on the node sends datagrams with a TTL
/// of its own, perhaps in the same memory.
#[test]
fn both_ends_are_rewritten_of_what_the_node_forwards() {
    let rewritten = ends(NODE_A, 1, B, 8080);
    for (payload, ttl, time, journeys) in [
        (1, 63, 1, 1),
        (1, 63, 20 * MS, 2),
        (1, 64, 1, 2),
        (1, 62, 1, 2),
        (0, 63, 1, 2),
    ] {
        let mut stage = Stage::new();
        let there = Packet {
            ttl,
            ..udp(payload).with_ends(&rewritten)
        };
        stage.see(0, &hop(FROM_POD, 0, 7, &udp(payload).with_ends(&asked())));
        stage.see(0, &hop(OUT, time, 7, &there));
        assert_eq!(stage.end().len(), journeys, "{payload} {ttl} {time}");
    }
}
