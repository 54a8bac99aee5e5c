//! What a ledger remembers, and what it makes of it.

use super::losses::MAX_SPANS;
use super::*;
use crate::{
    input::{DeviceHealth, DropReport},
    model::Network,
};

fn hello(streams: usize) -> Hello {
    Hello {
        node: "node-a".to_owned(),
        boot_id: String::new(),
        kernel: None,
        realtime_offset: 0,
        clock_bound: 0,
        points: Vec::new(),
        streams,
        next_hops: Vec::new(),
        local: Vec::new(),
        drops: None,
        drops_later: Vec::new(),
        network: Network::default(),
        snaplen: 0,
        notes: Vec::new(),
    }
}

fn report(sample: u32, malformed: u64) -> Report {
    Report {
        sample,
        malformed,
        ..Report::default()
    }
}

#[test]
fn losses_are_not_forgotten_however_many_there_are() {
    let mut ledger = Ledger::new(&[hello(1)], 0);
    let most = i64::try_from(MAX_SPANS).expect("it is small");
    for round in 1..3 * most {
        // Of every second report, so that the spans do not touch.
        let lost = u64::try_from(round / 2).expect("it is positive");
        ledger.report(0, report(u32::MAX, lost), 10 * round);
    }
    assert!(ledger.streams[0].hops_lost.0.len() <= MAX_SPANS);
    let lost = |from, to| ledger.hops_lost(Where::Anywhere, from, to);
    assert!(!lost(0, 9));
    assert!(lost(15, 15));
    assert!(lost(10 * most, 10 * most + 20));
}

#[test]
fn while_not_all_take_the_same_sample_that_is_known_and_nothing_was_lost() {
    let mut ledger = Ledger::new(&[hello(2)], 0);
    for stream in 0..2 {
        ledger.report(stream, report(u32::MAX, 0), 10);
    }
    ledger.report(0, report(7, 0), 20);
    assert!(!ledger.uneven(0, 9));
    assert!(ledger.uneven(100, 100), "the other one may be late");
    ledger.report(1, report(u32::MAX, 0), 30);
    ledger.report(1, report(7, 0), 40);
    ledger.report(0, report(7, 0), 50);
    assert!(!ledger.uneven(41, 100));
    for time in [10, 25, 40] {
        assert!(ledger.uneven(time, time), "at {time}");
    }
    assert!(!ledger.hops_lost(Where::Anywhere, 0, 100));
    assert!(!ledger.drops_lost(None, 0, 100));
}

/// The one that has changed first may tell of it last.
#[test]
fn samples_differ_from_when_any_stream_may_have_changed() {
    let mut ledger = Ledger::new(&[hello(2)], 0);
    ledger.report(0, report(u32::MAX, 0), 5);
    ledger.report(1, report(u32::MAX, 0), 15);
    ledger.report(1, report(7, 0), 20);
    ledger.report(0, report(7, 0), 12);
    assert!(ledger.uneven(5, 6));
    assert!(ledger.uneven(20, 20), "the first one heard of was at 20");
    assert!(!ledger.uneven(21, 30));
}

fn lost_at(point: usize, packets: u64) -> Report {
    let mut counters = Counters::default();
    counters.packets[Counter::RingFull as usize] = packets;
    Report {
        counters: vec![(point, counters), (point + 1, Counters::default())],
        ..report(u32::MAX, 0)
    }
}

#[test]
fn what_is_lost_is_lost_at_its_point_and_on_its_node_alone() {
    let mut ledger = Ledger::new(&[hello(2), hello(1)], 0);
    ledger.report(0, lost_at(0, 0), 10);
    ledger.report(1, lost_at(2, 0), 10);
    ledger.report(0, lost_at(0, 3), 20);
    let lost = |place| ledger.hops_lost(place, 11, 19);
    assert!(lost(Where::Point(0, 0)));
    assert!(!lost(Where::Point(0, 1)), "another one of the stream");
    assert!(!lost(Where::Point(0, 2)), "one of another stream");
    assert!(
        lost(Where::Point(0, 9)),
        "nobody says whose counters it has"
    );
    assert!(lost(Where::Node(0)) && lost(Where::Anywhere));
    assert!(!lost(Where::Node(1)));
    assert!(!ledger.drops_lost(None, 0, 100));
    assert!(!ledger.hops_lost(Where::Anywhere, 21, 100));
}

/// A stream that lags reports of an earlier time than those before it. None of
/// its losses is forgotten with the oldest.
#[test]
fn spans_that_come_out_of_order_are_kept() {
    let mut losses = Losses::default();
    for round in (0..2 * MAX_SPANS).rev() {
        let from = i64::try_from(10 * round).expect("small");
        losses.add(from, from + 3);
    }
    for round in 0..2 * MAX_SPANS {
        let from = i64::try_from(10 * round).expect("small");
        assert!(losses.between(from, from + 3), "{from}");
    }
    losses.add(15_003, 15_010);
    assert!(losses.0.len() <= MAX_SPANS);
    assert!(losses.0.windows(2).all(|pair| pair[0].to < pair[1].from));
}

#[test]
fn a_sample_is_remembered_until_all_packets_were_taken_again() {
    let mut ledger = Ledger::new(&[hello(1)], 0);
    ledger.report(0, report(u32::MAX, 0), 10);
    assert!(!ledger.sampled_since(0));
    ledger.report(0, report(7, 0), 20);
    ledger.report(0, report(u32::MAX, 0), 30);
    ledger.report(0, report(u32::MAX, 0), 40);
    assert!(ledger.sampled_since(5), "it began at some time before 20");
    assert!(ledger.sampled_since(30), "and ended at some time before 30");
    assert!(!ledger.sampled_since(31));
}

#[test]
fn what_was_counted_before_the_first_row_is_none_of_this_recording() {
    let mut ledger = Ledger::new(&[hello(1)], 0);
    let counted = |packets| {
        let mut counters = Counters::default();
        counters.packets[Counter::Emitted as usize] = packets;
        Report {
            counters: vec![(0, counters)],
            ..report(u32::MAX, 3)
        }
    };
    ledger.begin(0, counted(1000), 10);
    let accounting = ledger.accounting();
    assert_eq!((accounting.packets.seen(), accounting.malformed), (0, 0));
    ledger.report(0, counted(1007), 20);
    let accounting = ledger.accounting();
    assert_eq!((accounting.packets.seen(), accounting.malformed), (7, 0));
}

#[test]
fn a_point_without_a_program_proves_nothing() {
    let mut ledger = Ledger::new(&[hello(1)], 0);
    let seen = |gone| Report {
        counters: vec![(3, Counters::default())],
        gone,
        ..report(u32::MAX, 0)
    };
    ledger.report(0, seen(Vec::new()), 10);
    assert_eq!(ledger.seen(0, 3, 10), Some(0));
    assert_eq!(ledger.seen(0, 3, 11), None, "not heard of since");
    ledger.report(0, seen(vec![3]), 20);
    assert_eq!(ledger.seen(0, 3, 10), None);
}

#[test]
fn a_stream_that_is_not_waited_for_proves_nothing_meanwhile() {
    let mut ledger = Ledger::new(&[hello(1)], 0);
    let seen = || Report {
        counters: vec![(3, Counters::default())],
        ..report(u32::MAX, 0)
    };
    ledger.report(0, seen(), 10);
    ledger.overdue(0, 10, 100);
    assert_eq!(ledger.seen(0, 3, 11), None, "not heard of since");
    // What was on its way comes late.
    ledger.report(0, seen(), 50);
    assert_eq!(ledger.reported(), 100, "nobody waits for it again");
    assert_eq!(ledger.seen(0, 3, 50), Some(0));
    assert_eq!(ledger.seen(0, 3, 51), None);
    assert!(ledger.hops_lost(Where::Point(0, 3), 60, 70));
}

#[test]
fn a_counter_that_stands_still_says_that_nothing_came_in() {
    const SECOND: i64 = 1_000_000_000;
    let mut ledger = Ledger::new(&[hello(1)], 0);
    let mut reading = |second: i64, received: Option<u64>| {
        let device = DeviceHealth {
            interface: "eth0".into(),
            rx_packets: received,
            ..DeviceHealth::default()
        };
        let health = Health {
            devices: vec![device],
            ..Health::default()
        };
        let report = Report {
            health: Some(health),
            ..report(u32::MAX, 0)
        };
        ledger.report(0, report, second * SECOND);
        ledger.silence(0, "eth0", 4 * SECOND, 5 * SECOND)
    };
    assert_eq!(reading(1, Some(6)), None);
    for second in [2, 3, 6] {
        assert_eq!(reading(second, Some(7)), None, "it may be late");
    }
    let silence = Silence {
        since: 2 * SECOND,
        counts: true,
    };
    assert_eq!(reading(7, Some(7)), Some(silence));
    assert_eq!(reading(8, Some(8)), None, "something came in");
    assert_eq!(reading(9, Some(8)), None, "before or after");
    assert_eq!(reading(10, None), None, "it is not known any more");
    assert_eq!(ledger.silence(0, "eth1", 0, 0), None, "of another device");
}

#[test]
fn a_counter_that_never_rose_may_be_none() {
    let mut ledger = Ledger::new(&[hello(1)], 0);
    for time in [1, 1 + LATE] {
        let health = Health {
            devices: vec![DeviceHealth {
                interface: "eth0".into(),
                rx_packets: Some(0),
                ..DeviceHealth::default()
            }],
            ..Health::default()
        };
        let report = Report {
            health: Some(health),
            ..report(u32::MAX, 0)
        };
        ledger.report(0, report, time);
    }
    let silence = Silence {
        since: 1,
        counts: false,
    };
    assert_eq!(ledger.silence(0, "eth0", 1, 1), Some(silence));
    // Clocks may differ by more than that.
    ledger.allow_for(1);
    assert_eq!(ledger.silence(0, "eth0", 1, 1), None);
}

#[test]
fn while_an_agent_is_gone_nothing_is_known_of_its_node() {
    let mut ledger = Ledger::new(&[hello(2), hello(1)], 0);
    let drops = Report {
        drops: Some(DropReport::default()),
        ..report(u32::MAX, 0)
    };
    ledger.report(0, lost_at(0, 0), 10);
    ledger.report(1, drops, 10);
    ledger.report(2, report(u32::MAX, 0), 10);
    for stream in 0..2 {
        ledger.gone(stream, 20);
    }
    let lost = |ledger: &Ledger, from, to| {
        [
            ledger.hops_lost(Where::Node(0), from, to),
            ledger.hops_lost(Where::Point(0, 0), from, to),
            ledger.drops_lost(Some(0), from, to),
        ]
    };
    assert_eq!(lost(&ledger, 11, 19), [false; 3]);
    assert_eq!(lost(&ledger, 11, 20), [true; 3]);
    assert!(!ledger.hops_lost(Where::Node(1), 0, 100), "another node's");
    let gone = |ledger: &Ledger| [19, 30, 90].map(|at| ledger.agent_gone(at, at));
    assert_eq!(gone(&ledger), [None, Some(0), Some(0)]);
    // It is not waited for.
    ledger.report(2, report(u32::MAX, 0), 90);
    assert_eq!(ledger.reported(), 90);

    ledger.back(0, 2, 60);
    assert_eq!(lost(&ledger, 30, 30), [true; 3]);
    assert_eq!(gone(&ledger), [None, Some(0), None]);
    // Its new points did not see it either.
    assert!(ledger.hops_lost(Where::Point(0, 1), 30, 30));
    assert_eq!(lost(&ledger, 61, 100), [false; 3]);
    // The new streams are the agent's third and fourth.
    assert_eq!((ledger.stream(0, 2), ledger.agent_of(4)), (3, (0, 3)));
    // What has ended takes no part in what is sampled.
    for stream in 2..5 {
        ledger.report(stream, report(7, 0), 110);
    }
    assert!(!ledger.uneven(111, 120));
}

#[test]
fn an_agent_that_was_ended_by_somebody_is_gone_as_well() {
    let mut ledger = Ledger::new(&[hello(1)], 0);
    ledger.report(0, lost_at(0, 0), 10);
    ledger.end(0);
    for stream in ledger.latest_streams_of(0) {
        ledger.gone(stream, ledger.told(stream));
    }
    assert!(ledger.hops_lost(Where::Node(0), 15, 15));
    ledger.back(0, 1, 20);
    assert!(ledger.hops_lost(Where::Node(0), 15, 15));
    assert!(!ledger.hops_lost(Where::Node(0), 21, 30));
    // Only what it has begun since can be gone again.
    assert_eq!(ledger.latest_streams_of(0), [1]);
}

#[test]
fn an_agent_that_has_left_its_node_is_not_gone_and_has_seen_nothing_until_it_is_back() {
    let mut ledger = Ledger::new(&[hello(1)], 0);
    ledger.close_gap(0, 15);
    ledger.report(0, lost_at(0, 0), 20);
    ledger.end(0);
    assert_eq!(ledger.agent_gone(30, 30), None);
    assert!(!ledger.hops_lost(Where::Anywhere, 30, 30), "nobody was to see them");
    ledger.back(0, 1, 60);
    assert_eq!(ledger.agent_gone(30, 30), None);
    // Its new points did not see what passed meanwhile.
    assert!(!ledger.hops_lost(Where::Node(0), 10, 19));
    assert!(ledger.hops_lost(Where::Node(0), 30, 30));
    assert!(!ledger.hops_lost(Where::Node(0), 61, 100));
}

#[test]
fn an_agent_that_is_lost_while_it_leaves_is_gone_until_then() {
    let mut ledger = Ledger::new(&[hello(1)], 0);
    ledger.report(0, lost_at(0, 0), 10);
    ledger.gone(0, 20);
    ledger.close_gap(0, 25);
    assert_eq!([22, 30].map(|at| ledger.agent_gone(at, at)), [Some(0), None]);
    assert!(ledger.hops_lost(Where::Node(0), 22, 22));
    assert!(!ledger.hops_lost(Where::Node(0), 26, 100));
}

/// Reports that were made before their stream began, as of an agent that waited to be
/// heard, or by a clock that goes back.
#[test]
fn losses_in_any_order_are_remembered() {
    let mut ledger = Ledger::new(&[hello(1)], 1000);
    for (time, lost) in [(200, 1), (300, 1), (400, 2), (1200, 3), (1100, 4)] {
        ledger.report(0, report(u32::MAX, lost), time);
    }
    for time in [250, 999, 1150] {
        assert!(ledger.hops_lost(Where::Node(0), time, time), "at {time}");
    }
    assert!(!ledger.hops_lost(Where::Node(0), 1201, 1300));
}
