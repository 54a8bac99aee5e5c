//! Tests of the comparison of clocks.

use proptest::prelude::*;

use super::*;
use crate::{
    by_hand::{A, B, NODE_A, UPLINK_IN, UPLINK_OUT, node},
    model::{Hello, Icmp},
};

const MICROSECOND: i64 = 1_000;
const SECOND: i64 = 1_000_000_000;

fn packet(id: u16) -> Packet {
    Packet {
        src: A.into(),
        dst: B.into(),
        ttl: 64,
        ip_id: Some(id.into()),
        fragment: None,
        len: 84,
        transport: Transport::Other(47),
        payload_hash: None,
    }
}

/// Packets between nodes: which one sends, which one receives, when, and how long it takes.
fn crossings(clocks: &[i64], sent: &[(usize, usize, i64, i64)]) -> Crossings {
    let hello: Hello = node("a", A, NODE_A);
    let mut crossings = Crossings::default();
    for (id, (from, to, time, took)) in (1..).zip(sent) {
        for (node, point, time) in [(*from, UPLINK_OUT, *time), (*to, UPLINK_IN, time + took)] {
            let time = time + clocks[node];
            crossings.add((node, point), &hello.points[point], time, &packet(id));
        }
    }
    crossings
}

/// Two packets in each direction, `took` ns each, in the second at `time`.
fn exchange(from: usize, to: usize, time: i64, took: i64) -> [(usize, usize, i64, i64); 4] {
    [
        (from, to, time, took),
        (to, from, time + 1_000, took),
        (from, to, time + 2_000, took),
        (to, from, time + 3_000, took),
    ]
}

#[test]
fn a_clock_needs_packets_in_both_directions() {
    let there = (0, 1, 0, 30 * MICROSECOND);
    let back = (1, 0, 100 * MICROSECOND, 10 * MICROSECOND);
    let ahead = 7 * SECOND;
    let one_way = crossings(&[0, ahead], &[there, there]).clocks(2);
    assert_eq!(
        (&*one_way.clocks, &*one_way.contradicted),
        (&[None, None][..], &[][..])
    );
    // One packet alone may be another than it seems.
    let one_each = crossings(&[0, ahead], &[there, back]).clocks(2);
    assert_eq!(one_each, one_way);
    let compared = crossings(&[0, ahead], &[there, back, there, back]).clocks(2);
    let expected = ComparedClock {
        reference: 0,
        ahead: ahead + 10 * MICROSECOND,
        bound: 20 * MICROSECOND + 1 + DRIFT,
    };
    assert_eq!(compared.clocks[1], Some(expected));
}

#[test]
fn clocks_of_a_row_of_nodes_have_one_reference() {
    let clocks = [0, 5 * SECOND, -3 * SECOND, 9];
    let sent = [exchange(0, 1, 0, 1_000), exchange(1, 2, 0, 2_000)].concat();
    let compared = crossings(&clocks, &sent).clocks(4).clocks;
    let expected = |ahead, bound| {
        Some(ComparedClock {
            reference: 0,
            ahead,
            bound,
        })
    };
    assert_eq!(
        compared,
        [
            expected(0, 0),
            expected(clocks[1], 1_001 + DRIFT),
            expected(clocks[2], 3_002 + 2 * DRIFT),
            None
        ]
    );
}

/// Before and after the packets that compare the clocks, these drift on.
#[test]
fn the_bound_grows_with_the_time_that_nothing_compares() {
    for at in [0, 90] {
        let mut sent = exchange(0, 1, at * SECOND, 50).to_vec();
        // One direction alone compares nothing.
        sent.extend([(0, 1, 0, 50), (0, 1, 90 * SECOND, 50)]);
        let clock = crossings(&[0, 7 * SECOND], &sent).clocks(2).clocks[1];
        let clock = clock.expect("it is compared");
        assert_eq!(
            (clock.ahead, clock.bound),
            (7 * SECOND, 51 + 91 * DRIFT),
            "{at}"
        );
    }
}

/// Neighbours ask each other with the very same words. If each capture has another one of two
/// questions, both seem to be one.
#[test]
fn what_hosts_repeat_all_the_time_does_not_count() {
    let hello = node("a", A, NODE_A);
    let mut kept = crossings(&[0, 0], &exchange(0, 1, 0, 50));
    let before = kept.clocks(2);
    let question = Packet {
        transport: Transport::Icmp(Icmp {
            v6: true,
            kind: 135,
            code: 0,
            echo: None,
            neighbour: None,
            quote: None,
        }),
        ..packet(0)
    };
    for (node, at, time) in [(1, UPLINK_OUT, 40), (0, UPLINK_IN, 5)] {
        kept.add((node, at), &hello.points[at], time, &question);
    }
    assert_eq!(kept.clocks(2), before);
}

#[test]
fn a_packet_that_a_point_saw_twice_does_not_count() {
    let hello = node("a", A, NODE_A);
    let mut crossings = crossings(&[0, 0], &exchange(0, 1, 0, 50)[..3]);
    // The same packet once more, long before the node received it for the first time.
    let point = &hello.points[UPLINK_OUT];
    crossings.add((0, UPLINK_OUT), point, -SECOND, &packet(1));
    assert_eq!(crossings.clocks(2).clocks, [None, None]);
}

/// A capture has the retransmission only, the other one the original only.
#[test]
fn one_contradiction_among_many_does_not_count() {
    let pings = (0..9).flat_map(|ping| {
        let time = ping * SECOND;
        [(0, 1, time, 50), (1, 0, time + 1_000, 50)]
    });
    let mut crossings = crossings(&[0, 7 * SECOND], &pings.collect::<Vec<_>>());
    let hello = node("a", A, NODE_A);
    let late = 4 * SECOND + SECOND / 5;
    for (node, point, time) in [(0, UPLINK_OUT, late), (1, UPLINK_IN, 11 * SECOND)] {
        crossings.add((node, point), &hello.points[point], time, &packet(99));
    }
    let clock = crossings.clocks(2).clocks[1].expect("it is compared");
    assert_eq!((clock.ahead, clock.bound), (7 * SECOND, 51 + DRIFT));
}

/// Clocks whose difference is less than what packets show are left as they are.
#[test]
fn clocks_that_may_agree_are_not_corrected() {
    let both = [(0, 1, 0, 900), (1, 0, 1_000, 50)].repeat(2);
    let clock = crossings(&[0, 20], &both).clocks(2).clocks[1].expect("it is compared");
    assert_eq!((clock.ahead, clock.bound), (0, 921 + DRIFT));
}

/// Somebody sets a clock, within one second, between two seconds, or during the last one.
#[test]
fn a_clock_that_was_set_is_not_compared() {
    for (after, how_far) in [(0, SECOND), (1, SECOND / 100), (8, -SECOND), (9, SECOND)] {
        let mut kept = Crossings::default();
        let hello = node("a", A, NODE_A);
        let mut id = 0;
        for second in 0..10 {
            for (nth, (from, to, time, took)) in (0..).zip(exchange(0, 1, second * SECOND, 50)) {
                id += 1;
                for (at, point, time) in [(from, UPLINK_OUT, time), (to, UPLINK_IN, time + took)] {
                    let is_set = second > after || second == after && nth > 1;
                    let is_ahead = at == 1 && is_set;
                    let time = time + if is_ahead { how_far } else { 0 };
                    kept.add((at, point), &hello.points[point], time, &packet(id));
                }
            }
        }
        let compared = kept.clocks(2);
        assert_eq!(compared.clocks, [None, None], "{after}");
        assert_eq!(compared.contradicted, [(0, 1)], "{after}");
    }
}

/// A second in which the only packet of one direction was taken for another one.
#[test]
fn one_second_that_disagrees_with_those_around_does_not_count() {
    let mut sent: Vec<_> = (0..9)
        .flat_map(|at| exchange(0, 1, at * SECOND, 50))
        .collect();
    let wrong: Vec<_> = exchange(0, 1, 4 * SECOND, 50).into_iter().collect();
    sent.retain(|packet| !wrong.contains(packet));
    sent.extend([
        (0, 1, 4 * SECOND, -SECOND / 5),
        (1, 0, 4 * SECOND, SECOND / 5 + 100),
    ]);
    let clock = crossings(&[0, 7 * SECOND], &sent).clocks(2).clocks[1].expect("it is compared");
    assert_eq!((clock.ahead, clock.bound), (7 * SECOND, 51 + DRIFT));
}

#[test]
fn many_packets_take_bounded_memory_and_still_compare_clocks() {
    let count = 3 * i64::try_from(PACKETS).expect("few");
    let mut kept = Crossings::default();
    let hello = node("a", A, NODE_A);
    for number in 0..count {
        let mut packet = packet(1);
        packet.payload_hash = Some(number.cast_unsigned());
        let (from, to) = if number % 2 == 0 { (0, 1) } else { (1, 0) };
        for (node, point, time) in [(from, UPLINK_OUT, 0), (to, UPLINK_IN, 60)] {
            let time = time + i64::try_from(node).expect("few") * SECOND;
            kept.add((node, point), &hello.points[point], time, &packet);
        }
    }
    assert!(kept.packets.len() <= PACKETS);
    let clock = kept.clocks(2).clocks[1].expect("it is compared");
    assert_eq!((clock.ahead, clock.bound), (SECOND, 61 + DRIFT));
}

/// Pings of two nodes, once a second. Some of them take long.
#[test]
fn clocks_that_drift_are_within_the_bound_all_the_time() {
    const PINGS: i64 = 600;
    for drift in [-50, 0, 50] {
        // Parts per million of the time since the middle.
        let ahead = |time: i64| 3 * SECOND + (time - PINGS / 2 * SECOND) / 1_000_000 * drift;
        let hello = node("a", A, NODE_A);
        let mut crossings = Crossings::default();
        for ping in 0..PINGS {
            let took = if ping % 7 == 0 {
                SECOND / 20
            } else {
                40 * MICROSECOND
            };
            let time = ping * SECOND + SECOND / 3;
            for (from, to, time) in [(0, 1, time), (1, 0, time + 2 * took)] {
                let id = u16::try_from(2 * ping).expect("few") + u16::from(from == 1);
                for (node, at, time) in [(from, UPLINK_OUT, time), (to, UPLINK_IN, time + took)] {
                    let time = time + if node == 1 { ahead(time) } else { 0 };
                    crossings.add((node, at), &hello.points[at], time, &packet(id));
                }
            }
        }
        let clock = crossings.clocks(2).clocks[1].expect("it is compared");
        for time in (0..PINGS).map(|ping| ping * SECOND) {
            let error = (ahead(time) - clock.ahead).abs();
            assert!(
                error <= clock.bound,
                "{drift} at {time}: {error} of {clock:?}"
            );
        }
        let most = 600 / 2 * 50 * MICROSECOND * i64::from(drift != 0) + 200 * MICROSECOND;
        assert!(clock.bound <= most, "{clock:?}");
    }
}

proptest! {
    /// However long packets take, the truth is within the bound.
    #[test]
    fn the_truth_is_within_the_bound(
        ahead in -1_000_000_000_000..1_000_000_000_000_i64,
        packets in prop::collection::vec(
            (any::<bool>(), 0..5 * SECOND, 0..SECOND), 2..40
        ),
    ) {
        let sent = packets.iter().map(|(there, time, took)| {
            let (from, to) = if *there { (0, 1) } else { (1, 0) };
            (from, to, *time, *took)
        });
        let crossings = crossings(&[0, ahead], &sent.collect::<Vec<_>>());
        if let Some(compared) = crossings.clocks(2).clocks[1] {
            prop_assert!((ahead - compared.ahead).abs() <= compared.bound);
        }
    }
}
