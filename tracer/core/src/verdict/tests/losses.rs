//! Lost events: what they may have shown, and which verdicts stand without them.

use std::sync::Arc;

use super::{drops::drop, *};
use crate::journey::{Class, Drop, Refusal};

const HOPS_LOST: Calm = Calm {
    hops_lost: true,
    ..CALM
};

const DROPS_LOST: Calm = Calm {
    drops_lost: true,
    ..CALM
};

const UNEVEN: Calm = Calm {
    uneven: true,
    sampled: true,
    ..CALM
};

const SAMPLED: Calm = Calm {
    sampled: true,
    ..CALM
};

fn kind(journey: &Journey, calm: &Calm) -> Kind {
    judge(&scene(), journey, calm).0.kind
}

/// A packet that was dropped on node B after its uplink, in the sk_buff that was seen there.
fn dropped(class: Class) -> Journey {
    let drop = Drop {
        same_buffer: true,
        facts: Arc::from([]),
        ..drop(1, "host", 9, class, Cause::WrongMac)
    };
    Journey {
        drops: vec![drop],
        ..journey(&WHOLE[..3], Closed::Known)
    }
}

#[test]
fn a_delivery_that_was_seen_needs_no_other_hop() {
    let seen = journey(&WHOLE, Closed::Known);
    let (verdict, _) = judge(&scene(), &seen, &HOPS_LOST);
    assert_eq!(
        (verdict.kind, verdict.confidence),
        (Kind::Delivered, Confidence::High),
        "{verdict:?}"
    );
    assert_eq!(kind(&seen, &DROPS_LOST), Kind::Unknown);
}

#[test]
fn a_drop_that_was_seen_needs_no_hop() {
    let gone = dropped(Class::Loss);
    let (verdict, parts) = judge(&scene(), &gone, &HOPS_LOST);
    assert_eq!(
        (verdict.kind, verdict.confidence, parts.dropped),
        (Kind::Dropped, Confidence::High, 1),
        "{verdict:?}"
    );
    assert_eq!(kind(&gone, &DROPS_LOST), Kind::Dropped);
    // If a bridge floods a frame, the host gets a copy. The frame itself may have gone on to its
    // port.
    let flooded = dropped(Class::Flooded);
    assert_eq!(kind(&flooded, &CALM), Kind::Dropped);
    assert_eq!(kind(&flooded, &HOPS_LOST), Kind::Unknown);
    let mut elsewhere = dropped(Class::Loss);
    elsewhere.drops[0].netns = Arc::from("default/other");
    assert_eq!(kind(&elsewhere, &HOPS_LOST), Kind::Unknown);
    elsewhere.drops[0].netns = Arc::from("default/b");
    assert_eq!(kind(&elsewhere, &HOPS_LOST), Kind::Dropped);
}

#[test]
fn what_left_may_have_been_dropped_unseen() {
    let mut scene = scene();
    scene.nodes.pop();
    let gone = journey(&WHOLE[..2], Closed::Silence);
    let kind = |calm: &Calm| judge(&scene, &gone, calm).0.kind;
    assert_eq!(kind(&HOPS_LOST), Kind::Left);
    assert_eq!(kind(&DROPS_LOST), Kind::Unknown);
}

#[test]
fn a_refusal_may_be_of_a_packet_that_was_not_seen() {
    let mut told = journey(&WHOLE[..3], Closed::Known);
    told.refusal = Some(Refusal {
        by: 2,
        from: NODE_B.into(),
        icmp: Some((3, 1)),
        alike: false,
    });
    // The IPv4 identification shows which packet was refused.
    assert_eq!(kind(&told, &HOPS_LOST), Kind::Refused);
    told.packet.ip_id = Some(0);
    assert_eq!(kind(&told, &CALM), Kind::Refused);
    for calm in [HOPS_LOST, SAMPLED] {
        assert_eq!(kind(&told, &calm), Kind::Unknown);
    }
    // The packet arrived, and nobody would have seen a drop there.
    let mut there = journey(&WHOLE, Closed::Known);
    there.packet.ip_id = Some(0);
    there.refusal = told.refusal.map(|told| Refusal {
        from: B.into(),
        ..told
    });
    assert_eq!(kind(&there, &CALM), Kind::Refused);
    assert_eq!(kind(&there, &HOPS_LOST), Kind::Delivered);
    let mut blind = scene();
    blind.nodes[1].drops = Some(Vec::new());
    assert_eq!(judge(&blind, &there, &HOPS_LOST).0.kind, Kind::Unknown);
}

#[test]
fn where_samples_differ_no_drop_was_lost() {
    let (verdict, _) = judge(&scene(), &journey(&WHOLE[..2], Closed::Silence), &UNEVEN);
    assert_eq!(verdict.kind, Kind::Unknown);
    assert!(rests_on!(verdict, Evidence::Uneven));
    assert!(!rests_on!(verdict, Evidence::DropsLost));
}

/// Another packet with the same bytes, or the same question, may have been sent. It was not in the
/// sample, or its events were lost.
#[test]
fn what_an_unseen_packet_may_have_brought_confirms_nothing() {
    let mut vanished = journey(&WHOLE[..2], Closed::Silence);
    vanished.acked = [(0, 1)].into();
    let mut asked = journey(&WHOLE, Closed::Known);
    (asked.asks, asked.answered_by) = (true, Some(2));
    assert_eq!(kind(&vanished, &HOPS_LOST), Kind::Unknown);
    assert_eq!(kind(&vanished, &SAMPLED), Kind::Lost);
    for calm in [HOPS_LOST, SAMPLED] {
        let (verdict, _) = judge(&scene(), &asked, &calm);
        assert_eq!(
            (verdict.kind, verdict.confidence),
            (Kind::Delivered, Confidence::High),
            "{verdict:?}"
        );
    }
}
