//! What answers, refuses or acknowledges what, and what only seems to.

use super::*;
use crate::link::{Icmp, Quote};

/// A packet the other way.
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

/// An ICMP error of B's about a UDP datagram of A's.
fn error(v6: bool, kind: u8, code: u8) -> Packet {
    let ports = [40_000_u16.to_be_bytes(), 8080_u16.to_be_bytes()].concat();
    let header = [&ports[..], &[0, 40, 0, 0]].concat();
    back(packet(Transport::Icmp(Icmp {
        v6,
        kind,
        code,
        echo: None,
        neighbour: None,
        quote: Some(Quote {
            src: A.into(),
            dst: B.into(),
            proto: 17,
            ports: Some((40_000, 8080)),
            ip_id: Some(0),
            header: header.try_into().ok(),
        }),
    })))
}

/// RFC 792: a redirect tells of a packet that was sent on, a source quench of
/// one that may have been. RFC 4443, 2.1: types above 4 are not known.
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

/// Two SYNs that arrive, and one SYN-ACK.
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
    // The answer echoes the timestamp of the one that it answers.
    assert_eq!(
        asked([Some((5, 0)), Some((6, 0)), Some((90, 5))]),
        ([false, true], Some(1))
    );
    assert_eq!(
        asked([Some((5, 0)), Some((6, 0)), Some((90, 6))]),
        ([true, false], Some(2))
    );
    // A duplicate that the network made has the same.
    assert_eq!(asked([Some((5, 0)), Some((5, 0)), Some((90, 5))]), untold);
}

/// What comes again after it was answered does not make the answer doubtful.
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
