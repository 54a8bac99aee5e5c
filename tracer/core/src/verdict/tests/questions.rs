//! Questions, and who answered them.

use super::*;
use crate::{
    journey::{Impostor, Refusal},
    model::Mac,
};

/// A question that arrived, as did another packet with the same question.
fn asked_twice() -> Journey {
    Journey {
        asks: true,
        asked_again: true,
        ..journey(&WHOLE, Closed::Silence)
    }
}

#[test]
fn an_answer_to_one_of_two_confirms_neither() {
    let mut question = asked_twice();
    assert_eq!(says(&scene(), &question).0, Kind::Unanswered);
    question.answered_by = Some(3);
    assert_eq!(
        says(&scene(), &question),
        (Kind::Delivered, Confidence::High, None)
    );
    let (verdict, _) = judge(&scene(), &question, &CALM);
    let answered = Evidence::Answered {
        by: 3,
        perhaps_another: true,
    };
    assert!(verdict.evidence.contains(&answered), "{verdict:?}");
    // Nor does the answer say that this packet was not dropped.
    let lossy = Calm {
        drops_lost: true,
        ..CALM
    };
    assert_eq!(judge(&scene(), &question, &lossy).0.kind, Kind::Unknown);
    question.asked_again = false;
    assert_eq!(
        says(&scene(), &question),
        (Kind::Delivered, Confidence::Confirmed, None)
    );
}

#[test]
fn a_reset_of_one_of_two_refuses_none_that_was_not_seen_to_arrive() {
    let reset = Some(Refusal {
        by: 3,
        from: B.into(),
        icmp: None,
        alike: true,
    });
    let arrived = Journey {
        refusal: reset,
        ..asked_twice()
    };
    assert_eq!(
        says(&scene(), &arrived),
        (Kind::Refused, Confidence::Low, Some(Cause::Reset))
    );
    let vanished = Journey {
        refusal: reset,
        asks: true,
        asked_again: true,
        ..journey(&WHOLE[..2], Closed::Silence)
    };
    assert_eq!(says(&scene(), &vanished).0, Kind::Lost);
}

/// The one who answered is not the one who got the question.
#[test]
fn an_answer_of_an_impostor_confirms_nothing() {
    let mut question = Journey {
        asks: true,
        answered_by: Some(3),
        ..journey(&WHOLE, Closed::Known)
    };
    assert_eq!(
        says(&scene(), &question),
        (Kind::Delivered, Confidence::Confirmed, None)
    );
    question.impostor = Some(Impostor {
        by: 3,
        at: (1, FROM_POD),
        macs: Some((Mac([2, 0, 0, 0, 0, 9]), Mac([2, 0, 0, 0, 0, 7]))),
    });
    assert_eq!(
        says(&scene(), &question),
        (Kind::Delivered, Confidence::Low, Some(Cause::TwoOwners))
    );
    let (verdict, _) = judge(&scene(), &question, &CALM);
    assert!(rests_on!(verdict, Evidence::Impostor(_)));
    // Nor does the answer show that the question arrived.
    let vanished = Journey {
        steps: question.steps[..2].to_vec(),
        closed: Closed::Silence,
        ..question
    };
    assert_eq!(says(&scene(), &vanished).0, Kind::Lost);
}

/// A second pod with the address is not another port of the first pod.
#[test]
fn two_ports_with_one_address_at_once_are_two_owners() {
    let mut scene = scene();
    let mut port = scene.nodes[1].points[TO_POD].clone();
    (port.interface, port.ifindex) = ("veth9".to_owned(), 9);
    scene.nodes[1].points.push(port);
    let handed = journey(&WHOLE, Closed::Known);
    assert_eq!(
        says(&scene, &handed),
        (Kind::Delivered, Confidence::Low, Some(Cause::TwoOwners))
    );
    // The first port was gone before, so the second one replaces it.
    scene.nodes[1].points[TO_POD].until = Some(0);
    assert_eq!(says(&scene, &handed).2, None);
}
