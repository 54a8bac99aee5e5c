//! Two transmissions of the same bytes, and which one an acknowledgement is for.

use super::*;

/// Timestamp of a super-packet. Its bytes may have been sent before the follow began.
const AGAIN: u32 = 9;

/// An acknowledgement of B. `echoed`: the timestamp that it echoes.
fn ack(ack: u32, echoed: u32) -> Packet {
    let packet = tcp(1, 0, 6);
    let Transport::Tcp(mut tcp) = packet.transport.clone() else {
        panic!("TCP");
    };
    (tcp.src_port, tcp.dst_port) = (8080, 40_000);
    (tcp.ack, tcp.timestamps) = (ack, Some((50, echoed)));
    Packet {
        src: B.into(),
        dst: A.into(),
        transport: Transport::Tcp(tcp),
        ..packet
    }
}

/// Bytes 1000 to 3000 are sent in `segments` segments, then B acknowledges. Returns the bytes that
/// B certainly has from this transmission.
fn brought(segments: u32, acks: &[(u32, u32)]) -> Vec<(u32, u32)> {
    let mut stage = Stage::new();
    let sent = Hop {
        segments,
        ..hop(FROM_POD, 0, 1, &tcp(1000, 2000, AGAIN))
    };
    stage.see(0, &sent);
    for (time, (number, echoed)) in (1..).zip(acks) {
        let ack = ack(*number, *echoed);
        stage.see(1, &hop(FROM_POD, time, time.cast_unsigned(), &ack));
    }
    let journeys = stage.end();
    journeys[0].acked.to_vec()
}

#[test]
fn an_echo_tells_that_a_segment_sent_again_has_arrived() {
    assert_eq!(brought(1, &[(1000, 5), (3000, AGAIN)]), [(0, 2000)]);
    assert_eq!(brought(1, &[(1000, 5), (3000, 5)]), [], "another did");
    assert_eq!(brought(1, &[(3000, AGAIN)]), [], "B may have had it");
}

/// B echoes a segment's timestamp only if that segment follows the bytes that B has acknowledged.
/// So B had acknowledged all bytes before 1000, and perhaps more.
#[test]
fn an_echo_of_what_is_further_on_tells_nothing() {
    assert_eq!(brought(1, &[(1, 5), (3000, AGAIN)]), []);
}

/// The second segment may have come in an earlier transmission, and waited for the first.
#[test]
fn an_echo_tells_of_the_first_segment_only() {
    let acks = [(1000, 5), (3000, AGAIN)];
    assert_eq!(brought(2, &acks), [(0, 1000)]);
    assert_eq!(brought(3, &acks), [(0, 666)], "at least");
}
