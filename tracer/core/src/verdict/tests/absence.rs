//! Verdicts that rest on absence, and what forbids them.

use super::*;
use crate::{by_hand::A, journey::Refusal, model::Owners};

fn judged(scene: &Scene, journey: &Journey, calm: &Calm) -> (Kind, Option<Cause>) {
    let (verdict, _) = judge(scene, journey, calm);
    (verdict.kind, verdict.cause)
}

/// A packet that left node A and never came to node B.
fn vanished() -> Journey {
    journey(&WHOLE[..2], Closed::Silence)
}

#[test]
fn between_two_uplinks_that_are_watched_it_is_lost() {
    let (verdict, parts) = judge(&scene(), &vanished(), &CALM);
    assert_eq!(
        (verdict.kind, verdict.confidence, parts.lost),
        (Kind::Lost, Confidence::High, 1)
    );
    assert_eq!(verdict.outcome, Outcome::Lost(on_the_wire(1)));
    let missing = Evidence::Missing {
        leg: on_the_wire(1),
        packets: Some(100),
    };
    assert!(verdict.evidence.contains(&missing), "{verdict:?}");
}

/// An ARP announcement has its sender as target.
#[test]
fn what_a_node_sends_out_to_itself_is_not_lost_on_its_way_back() {
    let mut scene = scene();
    let owners = [A, B, NODE_A, NODE_B].map(|address| {
        let owner = Owner {
            name: "own".to_owned(),
            kind: OwnerKind::Node,
            node: scene.nodes[0].node.clone(),
        };
        (address.into(), owner)
    });
    scene.owners = Owners::from_iter(owners);
    let (kind, _) = judged(&scene, &vanished(), &CALM);
    assert_eq!(kind, Kind::Unknown);
}

#[test]
fn nothing_is_lost_without_proof_that_it_would_have_been_seen() {
    let unproven = [
        Calm {
            packets: None,
            ..CALM
        },
        Calm {
            packets: Some(0),
            ..CALM
        },
        Calm {
            hops_lost: true,
            ..CALM
        },
        Calm {
            drops_lost: true,
            ..CALM
        },
    ];
    for calm in unproven {
        assert_eq!(judge(&scene(), &vanished(), &calm).0.kind, Kind::Unknown);
    }
    for node in 0..2 {
        let mut blind = scene();
        blind.nodes[node].drops = None;
        let (verdict, _) = judge(&blind, &vanished(), &CALM);
        assert_eq!(verdict.kind, Kind::Unknown);
        let unwatched = Evidence::DropsUnwatched(vec![node]);
        assert!(verdict.evidence.contains(&unwatched), "{verdict:?}");
    }
    let mut early = scene();
    early.since = 1;
    assert_eq!(
        judged(&early, &vanished(), &CALM),
        (Kind::Unknown, Some(Cause::BeforeStart))
    );
    let open = journey(&WHOLE[..2], Closed::End);
    assert_eq!(
        judged(&scene(), &open, &CALM),
        (Kind::Unknown, Some(Cause::StillOpen))
    );
}

/// The scene with encrypting devices in place of the uplinks.
fn dark() -> Scene {
    let mut scene = scene();
    for hello in &mut scene.nodes {
        for point in &mut hello.points[UPLINK_IN..=UPLINK_OUT] {
            point.role = Role::Overlay;
            point.kind = "wireguard".to_owned();
            point.interface = "wg".to_owned();
        }
    }
    scene
}

/// As [`vanished`], but without readable tunnel headers.
fn vanished_in_the_dark() -> Journey {
    let mut gone = vanished();
    gone.steps[1].encap = None;
    gone
}

#[test]
fn between_two_opaque_devices_it_is_lost() {
    let (verdict, parts) = judge(&dark(), &vanished_in_the_dark(), &CALM);
    assert_eq!((verdict.kind, parts.lost), (Kind::Lost, 1));
    let Outcome::Lost(leg) = verdict.outcome else {
        panic!("{verdict:?}");
    };
    assert_eq!((leg.kind, leg.node), (LegKind::Tunnel, 1));
}

#[test]
fn behind_an_opaque_device_nothing_is_guessed() {
    let gone = vanished_in_the_dark();
    let opaque = (Kind::Unknown, Some(Cause::Opaque));
    for packets in [None, Some(0)] {
        let unproven = Calm { packets, ..CALM };
        assert_eq!(judged(&dark(), &gone, &unproven), opaque);
    }
    // Node B has no agent, so nobody would have seen the packet come out.
    let mut alone = dark();
    alone.nodes.pop();
    assert_eq!(judged(&alone, &gone, &CALM), opaque);
    // Nobody knows on which node the packet has to come out.
    let mut nobodys = dark();
    disown(&mut nobodys, B);
    assert_eq!(judged(&nobodys, &gone, &CALM), opaque);
    // Node B has two such devices, or one of another kind.
    let mut two = dark();
    let another = two.nodes[1].points[UPLINK_IN].clone();
    two.nodes[1].points.push(another);
    assert_eq!(judged(&two, &gone, &CALM), opaque);
    let mut other = dark();
    other.nodes[1].points[UPLINK_IN].kind = "xfrm".to_owned();
    assert_eq!(judged(&other, &gone, &CALM), opaque);
    // This device's packets can be read.
    let mut clear = dark();
    for hello in &mut clear.nodes {
        for point in &mut hello.points[UPLINK_IN..=UPLINK_OUT] {
            point.kind = "vxlan".to_owned();
        }
    }
    assert_eq!(judged(&clear, &gone, &CALM), (Kind::Unknown, None));
    // The packet was still on its node, before the tunnel.
    let before = journey(&WHOLE[..1], Closed::Silence);
    assert_eq!(judged(&dark(), &before, &CALM), (Kind::Unknown, None));
}

#[test]
fn out_of_an_opaque_device_it_is_delivered() {
    let mut through = journey(&WHOLE, Closed::Known);
    for step in &mut through.steps {
        step.encap = None;
    }
    assert_eq!(judged(&dark(), &through, &CALM), (Kind::Delivered, None));
}

#[test]
fn between_a_bridge_and_its_port_it_is_lost_too() {
    let mut scene = scene();
    let bridge = scene.nodes[1].points.len();
    scene.nodes[1]
        .points
        .push(point(Role::Bridge, Direction::Egress, B));
    let mut way = WHOLE[..3].to_vec();
    way.push((1, bridge));
    let gone = journey(&way, Closed::Silence);
    let (verdict, _) = judge(&scene, &gone, &CALM);
    let to_port = Leg {
        kind: LegKind::Bridge,
        step: 3,
        node: 1,
        points: vec![TO_POD],
    };
    assert_eq!(verdict.outcome, Outcome::Lost(to_port));
    assert_eq!(verdict.confidence, Confidence::High);
    // The port's program has seen no packet, so it may not work.
    let idle = Calm {
        packets: Some(0),
        ..CALM
    };
    let (verdict, _) = judge(&scene, &gone, &idle);
    assert_eq!(
        (verdict.kind, verdict.confidence),
        (Kind::Lost, Confidence::Low)
    );
    assert!(rests_on!(verdict, Evidence::Idle(_)), "{verdict:?}");
    // The pod's interface was replaced: the new one may have got the packet.
    let unproven = Calm {
        packets: None,
        ..CALM
    };
    assert_eq!(judged(&scene, &gone, &unproven).0, Kind::Unknown);
    scene.nodes[1].points.remove(TO_POD);
    let gone = journey(&[(0, UPLINK_OUT), (1, bridge - 1)], Closed::Silence);
    assert_eq!(judged(&scene, &gone, &CALM).0, Kind::Unknown);
}

#[test]
fn a_datagram_may_be_cut_where_its_fragments_may_have_been_put_together() {
    let mut scene = scene();
    let bridge = scene.nodes[1].points.len();
    scene.nodes[1]
        .points
        .push(point(Role::Bridge, Direction::Egress, B));
    let whole = journey(&[(1, UPLINK_IN), (1, bridge)], Closed::Silence);
    assert_eq!(judged(&scene, &whole, &CALM).0, Kind::Lost);
    let mut together = journey(&[(1, bridge)], Closed::Silence);
    assert_eq!(judged(&scene, &together, &CALM).0, Kind::Unknown);
    // A node does not fragment a TCP segment again.
    together.packet.transport = three_thousand_bytes();
    seen(&mut together, 0, 3000);
    assert_eq!(judged(&scene, &together, &CALM).0, Kind::Lost);
}

#[test]
fn where_only_large_ones_vanish_it_is_the_mtu() {
    let calm = Calm {
        largest: Some(80),
        ..CALM
    };
    assert_eq!(
        judged(&scene(), &vanished(), &calm),
        (Kind::Lost, Some(Cause::Pmtu))
    );
}

#[test]
fn of_a_stream_the_bytes_that_vanished_are_lost() {
    let mut torn = journey(&WHOLE, Closed::Silence);
    torn.packet.transport = three_thousand_bytes();
    for step in 0..2 {
        seen(&mut torn, step, 3000);
    }
    for step in 2..4 {
        seen(&mut torn, step, 2000);
    }
    let (verdict, parts) = judge(&scene(), &torn, &CALM);
    assert_eq!(verdict.kind, Kind::Partial, "{verdict:?}");
    assert_eq!((parts.delivered, parts.lost), (2000, 1000));
    torn.acked = [(0, 2500)].into();
    let (verdict, parts) = judge(&scene(), &torn, &CALM);
    assert_eq!(verdict.kind, Kind::Partial, "{verdict:?}");
    assert_eq!((parts.delivered, parts.lost), (2500, 500));
    // The receiver has acknowledged all bytes, so hops were missed.
    torn.acked = [(0, 3000)].into();
    let (verdict, parts) = judge(&scene(), &torn, &CALM);
    assert_eq!(
        (verdict.kind, verdict.confidence, parts.delivered),
        (Kind::Delivered, Confidence::Confirmed, 3000)
    );
}

#[test]
fn a_question_without_an_answer_is_unanswered() {
    let mut question = journey(&WHOLE, Closed::Silence);
    question.asks = true;
    assert_eq!(
        judged(&scene(), &question, &CALM),
        (Kind::Unanswered, Some(Cause::NoAnswer))
    );
    let overflow = Calm {
        rose: Some(("TcpExtListenOverflows", 1)),
        ..CALM
    };
    let (verdict, _) = judge(&scene(), &question, &overflow);
    // The counter is that of the listener's queue, and this packet asks for no TCP connection.
    assert_eq!(verdict.cause, Some(Cause::NoAnswer));
    let mut handshake = question.clone();
    handshake.packet.transport = three_thousand_bytes();
    seen(&mut handshake, 3, 3000);
    let (handshake, _) = judge(&scene(), &handshake, &overflow);
    assert_eq!(handshake.cause, Some(Cause::ListenOverflow));
    assert!(rests_on!(verdict, Evidence::SocketCounters { node: 1, .. }));
    // The answer's event may be lost as well.
    let lossy = Calm {
        hops_lost: true,
        ..CALM
    };
    assert_eq!(judged(&scene(), &question, &lossy), (Kind::Delivered, None));
    // The answer may have come without being in the sample.
    let sampled = Calm {
        sampled: true,
        ..CALM
    };
    assert_eq!(
        judged(&scene(), &question, &sampled),
        (Kind::Delivered, None)
    );
    // The follow ended before the hold was over.
    question.closed = Closed::End;
    assert_eq!(
        judged(&scene(), &question, &CALM),
        (Kind::Delivered, Some(Cause::StillOpen))
    );
    question.closed = Closed::Known;
    question.answered_by = Some(2);
    assert_eq!(
        says(&scene(), &question),
        (Kind::Delivered, Confidence::Confirmed, None)
    );
}

#[test]
fn whoever_may_have_dropped_it_unseen_is_not_blamed() {
    let mut question = journey(&WHOLE, Closed::Silence);
    question.asks = true;
    let told = |scene: &Scene, calm: &Calm| {
        let (verdict, _) = judge(scene, &question, calm);
        (verdict.kind, verdict.confidence, verdict.outcome)
    };
    let unanswered = |taken| Outcome::Unanswered {
        taken,
        hold: CALM.hold(),
    };
    assert_eq!(
        told(&scene(), &CALM),
        (Kind::Unanswered, Confidence::High, unanswered(true))
    );

    let lossy = Calm {
        drops_lost: true,
        ..CALM
    };
    let mut blind = scene();
    blind.nodes[1].drops = Some(Vec::new());
    for (scene, calm) in [(blind, CALM), (scene(), lossy)] {
        assert_eq!(
            told(&scene, &calm),
            (Kind::Unanswered, Confidence::Low, unanswered(false))
        );
    }
    // It is not certain that an answer would have been seen.
    let dead = Calm {
        packets: None,
        ..CALM
    };
    assert_eq!(told(&scene(), &dead).0, Kind::Delivered);
}

#[test]
fn who_never_got_what_is_said() {
    let waits = |journey: &Journey| judge(&scene(), journey, &CALM).0.waits;
    assert_eq!(waits(&vanished()), None);
    let mut question = vanished();
    question.asks = true;
    assert_eq!(waits(&question), Some(Waits::ForQuestion));
    let mut answer = vanished();
    answer.answers = Some(7);
    assert_eq!(waits(&answer), Some(Waits::ForAnswer(7)));
}

#[test]
fn who_was_told_was_refused() {
    let mut told = journey(&WHOLE, Closed::Known);
    told.refusal = Some(Refusal {
        alike: false,
        by: 2,
        from: B.into(),
        icmp: None,
    });
    assert_eq!(
        judged(&scene(), &told, &CALM),
        (Kind::Refused, Some(Cause::Reset))
    );
    let error = Refusal {
        alike: false,
        by: 2,
        from: NODE_A.into(),
        icmp: Some((3, 4)),
    };
    told.refusal = Some(error);
    told.steps.truncate(1);
    assert_eq!(
        judged(&scene(), &told, &CALM),
        (Kind::Refused, Some(Cause::Pmtu))
    );
}

#[test]
fn an_error_that_fits_several_does_not_outweigh_an_arrival() {
    let mut told = journey(&WHOLE, Closed::Known);
    told.refusal = Some(Refusal {
        by: 2,
        from: NODE_B.into(),
        icmp: Some((3, 13)),
        alike: true,
    });
    let (verdict, _) = judge(&scene(), &told, &CALM);
    assert_eq!(
        (verdict.kind, verdict.confidence),
        (Kind::Delivered, Confidence::Low)
    );
    // If the packet was not seen to arrive, another one may have been refused.
    told.steps.truncate(2);
    let (verdict, _) = judge(&scene(), &told, &CALM);
    assert_eq!(
        (verdict.kind, verdict.confidence),
        (Kind::Refused, Confidence::Low)
    );
}

#[test]
fn what_arrived_before_drops_were_watched_is_unknown() {
    let late = Scene {
        since: 100,
        ..scene()
    };
    let early = journey(&WHOLE, Closed::Known);
    assert_eq!(
        judged(&late, &early, &CALM),
        (Kind::Unknown, Some(Cause::BeforeStart))
    );
    let (_, parts) = judge(&late, &early, &CALM);
    assert_eq!((parts.delivered, parts.unknown), (0, parts.sent));
    let mut answered = journey(&WHOLE, Closed::Known);
    answered.answered_by = Some(2);
    assert_eq!(judged(&late, &answered, &CALM).0, Kind::Delivered);
}

#[test]
fn what_a_foreign_program_may_have_taken_is_not_lost() {
    let mut scene = scene();
    scene.nodes[0].points[UPLINK_OUT].foreign = vec![Foreign {
        id: 42,
        name: "to_somewhere".to_owned(),
    }];
    let (verdict, _) = judge(&scene, &vanished(), &CALM);
    assert_eq!(
        (verdict.kind, verdict.cause),
        (Kind::Unknown, Some(Cause::ForeignProgram))
    );
    let foreign = Evidence::Foreign {
        node: 0,
        point: UPLINK_OUT,
        doubt: false,
    };
    assert!(verdict.evidence.contains(&foreign), "{verdict:?}");
}

#[test]
fn an_answer_says_that_the_question_arrived() {
    let mut answered = vanished();
    (answered.asks, answered.answered_by) = (true, Some(2));
    let (verdict, parts) = judge(&scene(), &answered, &CALM);
    assert_eq!(
        (verdict.kind, verdict.confidence, parts.delivered),
        (Kind::Delivered, Confidence::Confirmed, 1)
    );
    assert!(rests_on!(verdict, Evidence::LastSeen(1)));
    // The answer may be to the retransmission.
    answered.asked_again = true;
    assert_eq!(judged(&scene(), &answered, &CALM).0, Kind::Lost);
}
