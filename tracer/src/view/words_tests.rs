//! Every sentence about a verdict, compared with `testdata/evidence.txt` and `outcomes.txt`.

use std::{path::Path, time::Duration};

use expect_test::expect_file;
use tracer_core::{
    journey::{Journey, Refusal},
    model::Cause,
    verdict::{Evidence, Kind, Leg, LegKind, Outcome, Rise, Verdict, Waits},
};

use super::{
    evidence::sentences,
    fixtures::{
        all,
        evidence::{self, GATEWAY, MAC, given, home, leg, station},
    },
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

/// A refusal by netfilter names the place, and any other one who answered.
#[test]
fn refusals_in_sentences() {
    let (scene, journey, verdict, parts) = given();
    let [v4, v6] = [GATEWAY, [0xfd00, 0, 0, 0, 0, 0, 0, 0xfe].into()];
    let errors = [
        (v4, (3, 0)),
        (v4, (3, 1)),
        (v4, (3, 2)),
        (v4, (3, 3)),
        (v4, (3, 4)),
        (v4, (3, 5)),
        (v4, (3, 13)),
        (v4, (11, 0)),
        (v4, (11, 1)),
        (v4, (12, 0)),
        (v6, (1, 0)),
        (v6, (1, 1)),
        (v6, (1, 2)),
        (v6, (1, 3)),
        (v6, (1, 4)),
        (v6, (1, 5)),
        (v6, (1, 6)),
        (v6, (2, 0)),
        (v6, (3, 0)),
        (v6, (3, 1)),
        (v6, (4, 1)),
    ];
    let errors = errors.map(|(from, icmp)| (from, Some(icmp)));
    let mut lines = Vec::new();
    for drop in [None, verdict.drop] {
        for (from, icmp) in errors.iter().copied().chain([(v4, None)]) {
            let refusal = Refusal {
                from,
                icmp,
                ..journey.refusal.expect("it was refused")
            };
            let journey = Journey {
                refusal: Some(refusal),
                ..journey.clone()
            };
            let verdict = Verdict {
                outcome: Outcome::Refused,
                waits: None,
                drop,
                ..verdict.clone()
            };
            lines.push(outcome::text(&scene, &journey, &verdict, &parts));
        }
    }
    agree("refusals.txt", &lines);
}

#[test]
fn a_pod_that_drops_anothers_packet_is_named() {
    let (scene, mut journey, verdict, parts) = given();
    let verdict = Verdict {
        outcome: Outcome::Dropped,
        waits: None,
        ..verdict
    };
    let drop = &mut journey.drops[verdict.drop.expect("it was dropped")];
    drop.judgement.cause = Some(Cause::NotForwarding);
    drop.judgement.why = "forwarding is off";
    let text = |netns: &str| {
        let mut journey = journey.clone();
        journey.drops[verdict.drop.expect("it was dropped")].netns = netns.into();
        outcome::text(&scene, &journey, &verdict, &parts)
    };
    assert!(text("host").ends_with(": forwarding is off"));
    assert!(text("shop/cart").ends_with(": forwarding is off"));
    assert_eq!(
        text("shop/till"),
        "dropped at flannel.1 in shop/till on node-b: forwarding is off; the frame went to \
         shop/till, not to shop/cart: look for a stale neighbour entry or route"
    );
}

#[test]
fn of_data_the_bytes_that_arrived_are_counted() {
    let case = all().into_iter().find(|case| case.name == "unknown");
    let case = case.expect("a case of this name");
    let (scene, (journey, verdict, parts)) = (&case.scene, &case.journeys[1]);
    let told = |bytes| {
        let verdict = Verdict {
            outcome: Outcome::Unknown,
            cause: None,
            waits: None,
            evidence: vec![Evidence::PartArrived(bytes)],
            ..verdict.clone()
        };
        let evidence = sentences(scene, journey, &verdict).concat();
        (outcome::text(scene, journey, &verdict, parts), evidence)
    };
    let (text, evidence) = told(12_582);
    assert_eq!(text, "unknown: not all of the packet was seen to arrive");
    assert_eq!(evidence, "12582 of 13980 bytes were seen to arrive");
    let (text, evidence) = told(13_980);
    assert_eq!(
        text,
        "unknown: seen to arrive; nothing shows whether the receiver dropped the packet"
    );
    assert_eq!(evidence, "13980 of 13980 bytes were seen to arrive");
}

#[test]
fn what_counters_of_conntrack_mean_is_said() {
    let (scene, journey, verdict, _) = given();
    let told = |counters: &[&'static str]| {
        let counters = counters.iter().map(|name| ((*name).into(), 5));
        let rise = Rise {
            place: "host".into(),
            counters: counters.collect(),
        };
        let verdict = Verdict {
            evidence: vec![Evidence::SocketCounters { node: 0, rise }],
            ..verdict.clone()
        };
        sentences(&scene, &journey, &verdict).concat()
    };
    assert_eq!(
        told(&["ConntrackInsertFailed", "ConntrackDrop"]),
        "ConntrackInsertFailed +5, ConntrackDrop +5 on node-a: conntrack could not add \
         connections (`conntrack -S`)"
    );
    assert_eq!(
        told(&["ConntrackDrop"]),
        "ConntrackDrop +5 on node-a: conntrack dropped packets (`conntrack -S`)"
    );
    assert_eq!(told(&["UdpInErrors"]), "UdpInErrors +5 on node-a");
}
