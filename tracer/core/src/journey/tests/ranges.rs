//! TCP data: one packet at one point may be several packets at another.

use proptest::prelude::*;

use super::*;

/// Number of bytes of a journey that were seen at a point.
fn seen(journey: &Journey, at: (usize, usize)) -> u32 {
    journey
        .steps
        .iter()
        .filter(|step| (step.node, step.point) == at)
        .map(|step| step.seen)
        .sum()
}

#[test]
fn a_super_packet_that_arrives_in_segments() {
    let mut stage = Stage::new();
    stage.see(0, &hop(FROM_POD, 0, 1, &tcp(1000, 3000, 5)));
    stage.see(0, &hop(OUT, 1, 1, &tcp(1000, 3000, 5)));
    for (skb, seq) in [(11, 1000), (12, 2000), (13, 3000)] {
        stage.see(1, &hop(IN, skb, skb.cast_unsigned(), &tcp(seq, 1000, 5)));
        assert!(stage.finished().is_empty(), "not all has arrived yet");
        stage.see(
            1,
            &hop(TO_POD, skb + 10, skb.cast_unsigned(), &tcp(seq, 1000, 5)),
        );
    }
    let journeys = stage.finished();
    assert_eq!(journeys.len(), 1);
    assert_eq!(way(&journeys[0]), WAY);
    let last = journeys[0].steps.last().expect("steps");
    assert_eq!((last.seen, last.segments), (3000, 3));
}

#[test]
fn segments_that_arrive_merged() {
    let mut stage = Stage::new();
    for (skb, seq) in [(1, 0), (2, 1000), (3, 2000)] {
        stage.see(
            0,
            &hop(FROM_POD, skb, skb.cast_unsigned(), &tcp(seq, 1000, 5)),
        );
        stage.see(
            0,
            &hop(OUT, skb + 5, skb.cast_unsigned(), &tcp(seq, 1000, 5)),
        );
    }
    stage.see(1, &hop(IN, 20, 9, &tcp(0, 3000, 5)));
    stage.see(1, &hop(TO_POD, 21, 9, &tcp(0, 3000, 5)));
    let journeys = stage.finished();
    assert_eq!(journeys.len(), 3);
    for journey in &journeys {
        assert_eq!(way(journey), WAY);
        assert_eq!(journey.steps[3].seen, 1000);
        assert_eq!(journey.steps[3].segments, 1);
        assert!(!journey.ambiguous);
    }
    assert_eq!(stage.engine.counts().joined, 8);
}

/// A part that comes round again does not have the TTL that it had before.
#[test]
fn no_part_is_seen_twice_with_one_ttl() {
    let mut stage = Stage::new();
    stage.see(0, &hop(FROM_POD, 0, 1, &tcp(0, 2000, 5)));
    for (time, ttl, seq) in [(1, 64, 0), (2, 63, 1000), (3, 64, 0)] {
        let part = Packet {
            ttl,
            ..tcp(seq, 1000, 5)
        };
        stage.see(0, &hop(OUT, time, time.cast_unsigned(), &part));
    }
    let journeys = stage.end();
    assert_eq!(journeys.len(), 2, "the last one is another");
    for step in journeys.iter().flat_map(|journey| &journey.steps) {
        let parts: u32 = step.parts.iter().map(|(from, to)| to - from).sum();
        assert_eq!(step.seen, parts, "{step:?}");
    }
}

#[test]
fn a_retransmission_is_a_journey_of_its_own() {
    let mut stage = Stage::new();
    stage.see(0, &hop(FROM_POD, 0, 1, &tcp(0, 1000, 5)));
    stage.see(0, &hop(OUT, 1, 1, &tcp(0, 1000, 5)));
    stage.send(200 * MS, 2, &tcp(0, 1000, 205));
    let arrived = stage.finished();
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].retransmits, Some(1));
    assert_eq!(way(&arrived[0]), WAY);
    let first = stage.end();
    assert_eq!(first.len(), 1);
    assert_eq!(way(&first[0]), WAY[..2]);
}

/// The acknowledged bytes came in an earlier transmission, even if the engine no longer remembers
/// it.
#[test]
fn what_is_lost_was_not_acknowledged_by_what_came_before() {
    let hold = Limits::default().hold;
    for later in [hold / 2, hold * 2] {
        let mut stage = Stage::new();
        stage.send(0, 1, &tcp(0, 1000, 5));
        let ack = Packet {
            src: B.into(),
            dst: A.into(),
            ..tcp(1, 0, 6)
        };
        let Transport::Tcp(mut tcp_ack) = ack.transport.clone() else {
            panic!("TCP");
        };
        (tcp_ack.src_port, tcp_ack.dst_port) = (8080, 40_000);
        tcp_ack.ack = 3000;
        let ack = Packet {
            transport: Transport::Tcp(tcp_ack),
            ..ack
        };
        stage.see(1, &hop(FROM_POD, MS, 7, &ack));
        // This packet keeps the stream in memory.
        stage.see(0, &hop(FROM_POD, later - MS, 8, &tcp(3000, 1000, 9)));
        stage.see(0, &hop(FROM_POD, later, 2, &tcp(0, 1000, 90)));
        let journeys = stage.end();
        let again = journeys.iter().find(|one| one.start() == later);
        let acked = &again.expect("a journey").acked;
        assert!(acked.is_empty(), "{later} ns later");
    }
}

#[test]
fn a_part_that_is_missing_leaves_the_journey_open() {
    let mut stage = Stage::new();
    stage.see(0, &hop(FROM_POD, 0, 1, &tcp(0, 3000, 5)));
    for seq in [0, 2000] {
        stage.see(1, &hop(TO_POD, 10 + i64::from(seq), 9, &tcp(seq, 1000, 5)));
    }
    let journeys = stage.end();
    assert_eq!(journeys.len(), 1);
    assert_eq!(seen(&journeys[0], (1, TO_POD)), 2000);
}

#[test]
fn sequence_numbers_wrap() {
    let mut stage = Stage::new();
    stage.send(0, 1, &tcp(u32::MAX - 1500, 1000, 5));
    stage.send(MS, 2, &tcp(u32::MAX - 500, 1000, 5));
    stage.send(2 * MS, 3, &tcp(500 - 1, 1000, 5));
    let journeys = stage.finished();
    assert_eq!(journeys.len(), 3);
    assert!(journeys.iter().all(|journey| way(journey) == WAY));
}

#[test]
fn bytes_nobody_saw_leave_begin_a_journey_where_they_are_seen() {
    let mut stage = Stage::new();
    stage.see(0, &hop(FROM_POD, 0, 1, &tcp(0, 1000, 5)));
    stage.see(1, &hop(TO_POD, 1, 9, &tcp(0, 3000, 5)));
    let journeys = stage.finished();
    assert_eq!(journeys.len(), 2);
    assert_eq!((journeys[0].size(), journeys[1].size()), (1000, 2000));
    let Transport::Tcp(rest) = &journeys[1].packet.transport else {
        panic!("TCP");
    };
    assert_eq!(rest.seq, 1000);
}

/// Cuts `total` bytes into pieces of the given sizes, in a cycle.
fn pieces(total: u32, sizes: &[u32]) -> Vec<(u32, u32)> {
    let mut at = 0;
    let mut cut = Vec::new();
    for size in sizes.iter().cycle() {
        if at == total {
            break;
        }
        let len = (*size).min(total - at);
        cut.push((at, len));
        at += len;
    }
    cut
}

proptest! {
    /// However the bytes are cut at each point, each point sees every byte once, and everything
    /// arrives. No packet shares bytes with more packets than the engine compares.
    #[test]
    fn any_cut_at_any_point_adds_up(
        cuts in prop::array::uniform4(prop::collection::vec(1_u32..500, 1..5)),
        first in any::<u32>(),
    ) {
        const TOTAL: u32 = 5000;
        let mut stage = Stage::new();
        let mut time = 0;
        let mut skb = 0;
        let mut hops = 0;
        for ((node, point), sizes) in WAY.into_iter().zip(&cuts) {
            for (at, len) in pieces(TOTAL, sizes) {
                time += 1;
                skb += 1;
                hops += 1;
                stage.see(node, &hop(point, time, skb, &tcp(first.wrapping_add(at), len, 5)));
            }
        }
        let counts = stage.engine.counts();
        prop_assert_eq!((counts.joined, counts.late), (hops, 0));
        let journeys = stage.finished();
        prop_assert!(stage.end().is_empty());
        for at in WAY {
            let sum: u32 = journeys.iter().map(|journey| seen(journey, at)).sum();
            prop_assert_eq!(sum, TOTAL);
        }
        for journey in &journeys {
            prop_assert!(!journey.ambiguous);
            prop_assert_eq!(way(journey), WAY);
        }
    }

    /// Missing events never make two journeys of one range. Nor is a journey finished whose last
    /// point did not see all bytes.
    #[test]
    fn missing_events_finish_nothing(
        missing in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut hops = Vec::new();
        for (index, (at, len)) in (1_i64..).zip(pieces(4000, &[1000])) {
            for (offset, (node, point)) in (0..).zip(WAY) {
                hops.push((node, hop(point, index * 10 + offset, index.cast_unsigned(), &tcp(at, len, 5))));
            }
        }
        for index in missing {
            if !hops.is_empty() {
                let at = index.index(hops.len());
                hops.remove(at);
            }
        }
        let mut stage = Stage::new();
        for (node, hop) in &hops {
            stage.see(*node, hop);
        }
        let arrived = hops.iter().filter(|(node, hop)| (*node, hop.point) == (1, TO_POD)).count();
        prop_assert_eq!(stage.finished().len(), arrived);
    }
}

/// Every other byte of a super-packet arrives by itself. The engine remembers a bounded number of
/// pieces, and accounts for all hops.
#[test]
fn a_packet_in_very_many_pieces_is_taken_for_several() {
    let mut stage = Stage::new();
    stage.see(0, &hop(FROM_POD, 0, 1, &tcp(0, 60_000, 5)));
    for at in 0..3_000_u32 {
        let time = 1 + i64::from(at);
        stage.see(1, &hop(TO_POD, time, 2 + u64::from(at), &tcp(at * 2, 1, 5)));
    }
    let counts = stage.engine.counts();
    assert_eq!((counts.joined, counts.late), (3_001, 0));
    let journeys = stage.end();
    let pieces = |journey: &Journey| journey.steps.iter().map(|step| step.parts.len()).max();
    let most = journeys.iter().filter_map(pieces).max();
    assert_eq!(most, Some(1024));
    let seen: u32 = journeys
        .iter()
        .map(|journey| seen(journey, (1, TO_POD)))
        .sum();
    assert_eq!(seen, 3_000);
}

/// Lets the hold time pass. Returns the journeys that are finished after it.
fn after_silence(stage: &mut Stage) -> Vec<Journey> {
    let time = stage.latest + Limits::default().hold;
    stage.engine.advance(&stage.scene, time);
    stage.taken()
}

/// `segments` segments of one byte each, which arrive as one.
fn merged(segments: u32) -> Vec<Journey> {
    let mut stage = Stage::new();
    for at in 0..segments {
        for (offset, (node, point)) in (1_i64..).zip(&WAY[..3]) {
            let time = i64::from(at) * 4 + offset;
            let sent = tcp(at, 1, 5);
            stage.see(*node, &hop(*point, time, time.cast_unsigned(), &sent));
        }
    }
    let time = stage.latest + 1;
    stage.see(1, &hop(TO_POD, time, 1, &tcp(0, segments, 5)));
    after_silence(&mut stage)
}

/// The number of tracks that are compared is bounded. A segment beyond this number may have
/// arrived, so silence says nothing about it.
#[test]
fn what_is_not_compared_is_not_taken_for_silent() {
    let of_all = merged(511);
    assert_eq!(of_all.len(), 511);
    assert!(of_all.iter().all(|one| one.closed == Closed::Known));

    let journeys = merged(513);
    let missed = journeys.iter().filter(|one| way(one) == WAY[..3]);
    let closed: Vec<Closed> = missed.map(|one| one.closed).collect();
    assert_eq!(closed, [Closed::Evicted]);
    let silent = journeys.iter().filter(|one| one.closed == Closed::Silence);
    assert_eq!(silent.count(), 0);
}

/// Pieces beyond the remembered number may have arrived as well.
#[test]
fn what_has_no_room_for_more_pieces_is_not_taken_for_silent() {
    for (pieces, closed) in [(1_000, Closed::Silence), (1_100, Closed::Evicted)] {
        let mut stage = Stage::new();
        stage.see(0, &hop(FROM_POD, 0, 1, &tcp(0, 60_000, 5)));
        for at in 0..pieces {
            let time = 1 + i64::from(at);
            stage.see(1, &hop(TO_POD, time, 2 + u64::from(at), &tcp(at * 2, 1, 5)));
        }
        let journeys = after_silence(&mut stage);
        let whole = journeys.iter().find(|one| one.size() == 60_000);
        assert_eq!(whole.map(|one| one.closed), Some(closed), "{pieces}");
    }
}
