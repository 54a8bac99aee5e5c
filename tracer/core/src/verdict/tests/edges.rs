//! Conditions at which one piece of evidence outweighs another. Before these tests, each condition
//! could be removed without a failing test.

use super::*;
use crate::journey::Refusal;

/// An ICMP error from an address.
fn error(from: [u8; 4], alike: bool) -> Option<Refusal> {
    Some(Refusal {
        by: 3,
        from: from.into(),
        icmp: Some((3, 13)),
        alike,
    })
}

#[test]
fn an_error_from_on_the_way_refuses_what_arrived_only_if_it_is_about_it() {
    let router = [192, 0, 2, 1];
    let refused = |from, alike| Journey {
        refusal: error(from, alike),
        ..journey(&WHOLE, Closed::Known)
    };
    let about_it = refused(router, false);
    assert_eq!(
        says(&scene(), &about_it),
        (Kind::Refused, Confidence::High, Some(Cause::IcmpError))
    );
    let perhaps_another = refused(router, true);
    assert_eq!(
        says(&scene(), &perhaps_another),
        (Kind::Delivered, Confidence::Low, None)
    );
    // The receiver refuses the packet after it has arrived.
    let by_its_receiver = refused(B, true);
    assert_eq!(
        says(&scene(), &by_its_receiver),
        (Kind::Refused, Confidence::Low, Some(Cause::IcmpError))
    );
}

#[test]
fn what_goes_to_an_address_that_nobody_knows_has_arrived_nowhere() {
    let mut abroad = journey(&WHOLE[..2], Closed::Silence);
    abroad.packet.dst = [198, 51, 100, 7].into();
    for step in &mut abroad.steps {
        step.encap = None;
    }
    let (verdict, parts) = judge(&scene(), &abroad, &CALM);
    assert_ne!(verdict.kind, Kind::Delivered, "{verdict:?}");
    assert_eq!(parts.delivered, 0);
}

#[test]
fn what_was_answered_and_not_seen_at_the_pods_interface_bypassed_it() {
    let bypassed = |scene: &Scene, journey: &Journey| {
        let (verdict, _) = judge(scene, journey, &CALM);
        rests_on!(
            verdict,
            Evidence::Bypassed {
                node: 1,
                point: TO_POD
            }
        )
    };
    let answered = |way| Journey {
        asks: true,
        answered_by: Some(2),
        ..journey(way, Closed::Known)
    };
    let past = answered(&WHOLE[..3]);
    let whole = answered(&WHOLE);
    assert_eq!(
        says(&scene(), &past),
        (Kind::Delivered, Confidence::Confirmed, None)
    );
    assert!(bypassed(&scene(), &past));
    assert!(!bypassed(&scene(), &whole));
    // Before the start, the interface's program was not attached yet.
    let mut later = scene();
    later.since = past.start() + 1;
    assert!(!bypassed(&later, &past));
    // The interface of another pod is not on the packet's path.
    let mut scene = scene();
    scene.nodes[1].points[TO_POD].addresses = vec![[10, 244, 2, 99].into()];
    assert!(!bypassed(&scene, &past));
}

#[test]
fn where_it_was_seen_first_is_said_if_it_came_from_somewhere_else() {
    let first = |journey: &Journey| {
        let (verdict, _) = judge(&scene(), journey, &CALM);
        rests_on!(verdict, Evidence::FirstSeen(0))
    };
    let whole = journey(&WHOLE, Closed::Known);
    assert!(!first(&whole));
    let late = journey(&WHOLE[1..], Closed::Known);
    assert!(first(&late));
    // The node sends its own packets directly by its uplink.
    let mut of_node = journey(&WHOLE[1..], Closed::Known);
    of_node.packet.src = NODE_A.into();
    assert!(!first(&of_node));
}

#[test]
fn of_two_that_look_alike_none_is_called_lost() {
    let mut one = journey(&WHOLE[..2], Closed::Silence);
    assert_eq!(says(&scene(), &one).0, Kind::Lost);
    one.ambiguous = true;
    assert_eq!(
        says(&scene(), &one),
        (Kind::Unknown, Confidence::Low, Some(Cause::Ambiguous))
    );
}

#[test]
fn an_uplink_that_has_seen_nothing_lowers_the_confidence() {
    let mut scene = scene();
    let second = scene.nodes[1].points.len();
    scene.nodes[1]
        .points
        .push(point(Role::Uplink, Direction::Ingress, NODE_B));
    let gone = journey(&WHOLE[..2], Closed::Silence);
    for (idle, confidence) in [(None, Confidence::High), (Some(second), Confidence::Low)] {
        let (verdict, _) = judge(&scene, &gone, &Calm { idle, ..CALM });
        assert_eq!((verdict.kind, verdict.confidence), (Kind::Lost, confidence));
    }
}

#[test]
fn towards_a_node_without_a_name_it_has_not_left() {
    let mut scene = scene();
    scene.nodes.pop();
    let gone = journey(&WHOLE[..2], Closed::Silence);
    assert_eq!(says(&scene, &gone).0, Kind::Left);
    let mut owner = scene.owner(NODE_B.into(), 0).expect("a node's").clone();
    owner.node.clear();
    scene.owners.insert(NODE_B.into(), owner);
    assert_eq!(says(&scene, &gone).0, Kind::Unknown);
}

#[test]
fn what_was_asked_before_the_start_is_not_called_unanswered() {
    let question = Journey {
        asks: true,
        ..journey(&WHOLE, Closed::Silence)
    };
    let mut scene = scene();
    assert_eq!(says(&scene, &question).0, Kind::Unanswered);
    scene.since = 1;
    assert_ne!(says(&scene, &question).0, Kind::Unanswered);
}

#[test]
fn only_a_listener_that_overflows_is_said_to() {
    let mut question = Journey {
        asks: true,
        ..journey(&WHOLE, Closed::Silence)
    };
    question.packet.transport = three_thousand_bytes();
    for part in &mut question.steps {
        (part.seen, part.parts) = (3000, [(0, 3000)].into());
    }
    for (counter, cause) in [
        ("TcpExtListenOverflows", Cause::ListenOverflow),
        ("IpOutDiscards", Cause::NoAnswer),
    ] {
        let rose = Calm {
            rose: Some((counter, 3)),
            ..CALM
        };
        let (verdict, _) = judge(&scene(), &question, &rose);
        assert_eq!(
            (verdict.kind, verdict.cause),
            (Kind::Unanswered, Some(cause))
        );
    }
}

/// No program took away a packet that its receiver has, nor one that was dropped or refused.
#[test]
fn a_foreign_program_casts_no_doubt_on_what_is_settled() {
    let mut scene = scene();
    for node in &mut scene.nodes {
        for point in &mut node.points {
            point.foreign = vec![Foreign {
                id: 42,
                name: "to_somewhere".to_owned(),
            }];
        }
    }
    let arrived = journey(&WHOLE, Closed::Known);
    assert_eq!(says(&scene, &arrived).1, Confidence::Low);
    let answered = Journey {
        asks: true,
        answered_by: Some(2),
        ..arrived.clone()
    };
    assert_eq!(
        says(&scene, &answered),
        (Kind::Delivered, Confidence::Confirmed, None)
    );
    let refused = Journey {
        refusal: error(B, false),
        ..arrived
    };
    assert_eq!(says(&scene, &refused).1, Confidence::High);
}
