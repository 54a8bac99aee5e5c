//! Which of two transmissions of the same bytes an acknowledgement is for.

use super::*;

/// Sent before the follow began, and now again, in one super-packet.
const AGAIN: u32 = 9;

/// What B acknowledges, and which timestamp it echoes.
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

/// Bytes 1000 to 3000 are sent in so many segments, then B acknowledges. Which of
/// them are known to have come with that.
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

/// B echoes a segment only if that follows on what B has acknowledged. It had
/// acknowledged all before 1000 then, and perhaps all of it.
#[test]
fn an_echo_of_what_is_further_on_tells_nothing() {
    assert_eq!(brought(1, &[(1, 5), (3000, AGAIN)]), []);
}

/// The second segment may have come before, and waited for the first.
#[test]
fn an_echo_tells_of_the_first_segment_only() {
    let acks = [(1000, 5), (3000, AGAIN)];
    assert_eq!(brought(2, &acks), [(0, 1000)]);
    assert_eq!(brought(3, &acks), [(0, 666)], "at least");
}
