//! What the journal holds, finds, and forgets.

use std::sync::Arc;

use jiff::tz::TimeZone;
use proptest::{collection::vec, prelude::*, sample::select};

use super::{Bound, Entry, Journal, Selection};
use crate::{
    by_hand::{self, FROM_POD, INTO_POD, TO_POD, UPLINK_IN, UPLINK_OUT, verdict},
    journey::{Class, Closed, Drop, Journey, Judgement, Scene},
    model::Cause,
    verdict::{Evidence, Kind, Parts, Verdict},
};

const S: i64 = 1_000_000_000;

/// A journey that begins at a time, Unix time, ns.
fn journey(id: u64, start: i64, way: &[(usize, usize)]) -> Journey {
    let mut journey = by_hand::journey(way, Closed::Known);
    journey.id = id;
    for step in &mut journey.steps {
        step.time += start;
    }
    journey
}

fn drop_at(device: &str, time: i64) -> Drop {
    Drop {
        node: 0,
        time,
        netns: "host".into(),
        scope: None,
        device: Some(device.into()),
        dst_mac: None,
        ends: None,
        reason: "NO_ROUTE".into(),
        function: "ip_rcv".into(),
        offset: 0,
        judgement: Judgement {
            class: Class::Loss,
            cause: Some(Cause::NoRoute),
            why: "",
            source: "",
        },
        same_buffer: true,
        facts: [].into(),
        part: (0, 1),
    }
}

/// Adds a journey with its verdict.
fn push(journal: &mut Journal, journey: Journey, verdict: Verdict) {
    journal.push(Arc::new(Entry {
        number: journal.next(),
        journey: Box::new(journey),
        verdict,
        parts: Parts::default(),
    }));
}

fn numbers<'a>(entries: impl Iterator<Item = &'a Arc<Entry>>) -> Vec<u64> {
    entries.map(|entry| entry.number).collect()
}

#[test]
fn a_million_journeys_stay_within_the_bound() {
    const ALL: u64 = 1_000_000;
    let bound = Bound { bytes: 4 << 20 };
    let mut journal = Journal::new(bound);
    let way = [(0, FROM_POD), (1, INTO_POD)];
    let mut most = 0;
    for id in 0..ALL {
        let start = i64::try_from(id).expect("small") * 1_000;
        let mut journey = journey(id + 1, start, &way);
        journey.conversation = id / 3;
        let kind = Kind::ALL[usize::try_from(id % 8).expect("small")];
        push(&mut journal, journey, verdict(kind));
        most = most.max(journal.bytes());
    }
    assert!(most <= bound.bytes, "{most}");
    assert!(most > bound.bytes - 4_096, "room was left: {most}");
    let held = journal.len() as u64;
    assert!((1_000..20_000).contains(&held), "{held}");
    assert_eq!(journal.evicted() + held, ALL);
    assert_eq!(journal.next(), ALL);
    let last = i64::try_from(journal.evicted() - 1).expect("small");
    assert_eq!(journal.held_since(), Some(last * 1_000));
    // A verdict, a conversation, two points, a time and an id each.
    assert_eq!(journal.indexed(), journal.len() * 6);
    assert!(journal.get(journal.evicted() - 1).is_none());
    assert!(journal.with_id(journal.evicted()).is_none());
    let first = journal.get(journal.evicted()).expect("the oldest");
    let by_id = journal.with_id(first.journey.id).expect("the same");
    assert_eq!(first.number, by_id.number);
    assert_eq!(numbers(journal.since(ALL - 2)), [ALL - 2, ALL - 1]);
    assert_eq!(journal.since(0).count() as u64, held);
}

#[test]
fn the_newest_is_held_whatever_it_takes() {
    let mut journal = Journal::new(Bound { bytes: 0 });
    assert!(journal.is_empty() && journal.held_since().is_none());
    for id in 1..=3 {
        let start = i64::try_from(id).expect("small") * S;
        push(
            &mut journal,
            journey(id, start, &[(0, FROM_POD)]),
            verdict(Kind::Left),
        );
        assert_eq!(journal.len(), 1);
        assert_eq!(numbers(journal.since(0)), [id - 1]);
    }
    assert_eq!((journal.evicted(), journal.held_since()), (2, Some(2 * S)));
}

#[test]
fn a_journey_of_eight_hops_takes_some_two_kibibytes() {
    let way = [(0, UPLINK_OUT); 8];
    let mut journey = journey(1, 0, &way);
    journey.steps.shrink_to_fit();
    let mut verdict = verdict(Kind::Delivered);
    verdict.evidence = vec![Evidence::Acknowledged; 2];
    let entry = Entry {
        number: 0,
        journey: Box::new(journey),
        verdict,
        parts: Parts::default(),
    };
    let weight = entry.weight();
    assert!((2_000..2_400).contains(&weight), "{weight}");
}

#[test]
fn what_began_early_and_was_judged_late_is_told_of() {
    let mut journal = Journal::new(Bound { bytes: 0 });
    for (id, start) in [(1, 9 * S), (2, S), (3, 4 * S)] {
        push(
            &mut journal,
            journey(id, start, &[(0, FROM_POD)]),
            verdict(Kind::Lost),
        );
    }
    // One that began at 9 s is gone, so nothing is complete before that.
    assert_eq!(journal.held_since(), Some(9 * S));
}

/// Journeys of all kinds.
fn journeys() -> impl Strategy<Value = Vec<(Journey, Kind)>> {
    let point = || {
        (
            0..2_usize,
            select(&[FROM_POD, TO_POD, UPLINK_IN, UPLINK_OUT][..]),
        )
    };
    let device = select(&["veth", "uplink", "lo"][..]);
    let one = (
        vec(point(), 1..5),
        0..20_i64,
        0..4_u64,
        select(&Kind::ALL[..]),
        proptest::option::of(device),
    );
    let one = one.prop_map(|(way, second, conversation, kind, device)| {
        let mut journey = journey(0, second * S, &way);
        journey.conversation = conversation;
        journey
            .drops
            .extend(device.map(|device| drop_at(device, second * S)));
        (journey, kind)
    });
    vec(one, 1..40)
}

/// Queries of which the index knows something, and others.
fn query() -> impl Strategy<Value = String> {
    let term = select(
        &[
            "verdict:dropped,lost",
            "verdict:delivered",
            "-verdict:delivered",
            "conversation:0000000000000001,3",
            "at:lo",
            "at:node-a/*,node-b/veth",
            "leg:uplink",
            "leg:node-b/*>0ns",
            "time:1970-01-01T00:00:05Z..1970-01-01T00:00:15Z",
            "time:..1970-01-01T00:00:02Z",
            "time:00:00:05..00:00:10",
            "id:2,5,7",
            "id:3..9",
            "node:b",
            "len:84",
        ][..],
    );
    let all = || vec(term.clone(), 1..4).prop_map(|terms| terms.join(" "));
    prop_oneof![4 => all(), 1 => (all(), all()).prop_map(|(a, b)| format!("{a} or {b}"))]
}

fn by_scanning(journal: &Journal, scene: &Scene, selection: &Selection) -> Vec<u64> {
    let entries = journal.since(0);
    numbers(entries.filter(|entry| selection.allows(scene, &entry.journey, &entry.verdict)))
}

proptest! {
    #[test]
    fn what_is_looked_up_is_what_is_there(
        journeys in journeys(),
        queries in vec(query(), 1..5),
        bytes in 0..60_000_usize,
    ) {
        let scene = by_hand::scene();
        let mut journal = Journal::new(Bound { bytes });
        for (id, (mut journey, kind)) in (1..).zip(journeys) {
            journey.id = id;
            push(&mut journal, journey, verdict(kind));
        }
        for query in queries {
            let selection = Selection {
                query: query.parse().expect(&query),
                zone: TimeZone::UTC,
                most: None,
            };
            let found = numbers(journal.matching(&scene, &selection));
            prop_assert_eq!(found, by_scanning(&journal, &scene, &selection), "{}", query);
        }
    }
}
