//! Every sentence about a verdict, compared with `testdata/evidence.txt` and `outcomes.txt`.

use std::{path::Path, time::Duration};

use expect_test::expect_file;
use tracer_core::{
    model::Cause,
    verdict::{Kind, Leg, LegKind, Outcome, Verdict, Waits},
};

use super::{
    evidence::sentences,
    fixtures::evidence::{self, GATEWAY, MAC, given, home, leg, station},
    outcome,
};

fn outcomes() -> Vec<Outcome> {
    let node = || "node-b".to_owned();
    let handed_over = |observed| Outcome::HandedOver { step: 0, observed };
    let unanswered = |taken| Outcome::Unanswered {
        taken,
        hold: Duration::from_secs(5),
    };
    let near = Leg {
        node: 0,
        ..leg(LegKind::Bridge)
    };
    vec![
        Outcome::Reached,
        handed_over(true),
        handed_over(false),
        Outcome::Proxied {
            node: 0,
            to: ([10, 244, 1, 1].into(), 15_001),
        },
        Outcome::Dropped,
        Outcome::Refused,
        Outcome::LeftFor {
            step: 4,
            node: node(),
        },
        Outcome::LeftBy {
            step: 4,
            gateway: GATEWAY,
            mac: Some(MAC),
            node: node(),
        },
        Outcome::LeftOutside {
            step: 4,
            to: GATEWAY,
        },
        Outcome::Untranslated {
            step: 4,
            to: GATEWAY,
        },
        Outcome::WrongNode {
            node: node(),
            home: home(),
        },
        Outcome::Astray {
            step: 4,
            station: station(None, Some(GATEWAY)),
            node: node(),
        },
        Outcome::NoNode { remote: GATEWAY },
        Outcome::Lost(leg(LegKind::Wire)),
        Outcome::Lost(leg(LegKind::Receive)),
        Outcome::Lost(near),
        unanswered(true),
        unanswered(false),
        Outcome::NotTaken { node: 1 },
    ]
}

/// Compares lines with a file in `testdata`.
fn agree(file: &str, lines: &[String]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/view/testdata");
    let text = lines.join("\n") + "\n";
    expect_file![path.join(file)].assert_eq(&text);
}

#[test]
fn evidence_in_sentences() {
    let (scene, journey, verdict, _) = given();
    let evidence = evidence::all();
    let verdict = Verdict {
        evidence,
        ..verdict
    };
    agree("evidence.txt", &sentences(&scene, &journey, &verdict));
}

#[test]
fn outcomes_in_sentences() {
    let (scene, journey, verdict, parts) = given();
    let text = |verdict: &Verdict| outcome::text(&scene, &journey, verdict, &parts);
    let verdict = Verdict {
        waits: None,
        ..verdict
    };
    let of = |outcome| Verdict {
        outcome,
        ..verdict.clone()
    };
    let mut lines: Vec<String> = outcomes()
        .into_iter()
        .map(|outcome| text(&of(outcome)))
        .collect();
    for waits in [Waits::ForQuestion, Waits::ForAnswer(7)] {
        lines.push(text(&Verdict {
            waits: Some(waits),
            ..of(Outcome::Dropped)
        }));
    }
    lines.push(text(&Verdict {
        kind: Kind::Partial,
        ..of(Outcome::Dropped)
    }));
    let why = Cause::ALL.iter().map(|cause| {
        text(&Verdict {
            cause: Some(*cause),
            ..of(Outcome::Unknown)
        })
    });
    lines.extend(why);
    lines.dedup();
    agree("outcomes.txt", &lines);
}
