//! What was asked, and by whom it was answered.

use super::*;
use crate::journey::Refusal;

/// A question that arrived, as did another one that asks the same.
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
    let evidence = verdict.evidence.join("; ");
    assert!(
        evidence.contains("#3 answers it, or another packet that asks the same"),
        "{evidence}"
    );
    // Nor does it say that this one was not dropped.
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
        (Kind::Refused, Confidence::Low, Some("reset"))
    );
    let vanished = Journey {
        refusal: reset,
        asks: true,
        asked_again: true,
        ..journey(&WHOLE[..2], Closed::Silence)
    };
    assert_eq!(says(&scene(), &vanished).0, Kind::Lost);
}
