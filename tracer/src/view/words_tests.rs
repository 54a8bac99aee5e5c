//! Every sentence about a verdict, as `testdata/evidence.txt` and `outcomes.txt` hold
//! them.

use std::{net::IpAddr, path::Path, sync::Arc, time::Duration};

use expect_test::expect_file;
use tracer_core::{
    journey::{Impostor, Journey, Refusal, Scene},
    model::{Cause, EncapKind, Foreign, Mac, Owner, OwnerKind, Proto, Tunnel, Way},
    verdict::{
        Evidence, Kind, Leg, LegKind, Outcome, Parts, Pattern, Rise, Sort, Station, Verdict, Waits,
    },
};

use super::{
    evidence::sentences,
    fixtures::{all, facts},
    outcome,
};

const MAC: Mac = Mac([2, 0, 0, 0, 0, 0xfe]);
const GATEWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(172, 16, 0, 254));

/// A journey that a kernel dropped on the second node, an ICMP error that refuses it,
/// and somebody else who answers.
fn given() -> (Scene, Journey, Verdict, Parts) {
    let mut case = all()
        .into_iter()
        .find(|case| case.name == "dropped")
        .expect("a case of this name");
    for hello in &mut case.scene.nodes {
        for point in &mut hello.points {
            point.foreign = vec![Foreign {
                id: 42,
                name: "to_somewhere".to_owned(),
            }];
        }
    }
    let (mut journey, verdict, parts) = case.journeys.swap_remove(0);
    journey.impostor = Some(Impostor {
        by: 3,
        at: (1, 0),
        macs: Some((MAC, Mac([2, 0, 0, 0, 0, 7]))),
    });
    journey.refusal = Some(Refusal {
        by: 2,
        from: GATEWAY,
        icmp: Some((3, 4)),
        alike: true,
    });
    (case.scene, journey, verdict, parts)
}

fn home() -> Owner {
    Owner {
        name: "shop/cart".to_owned(),
        kind: OwnerKind::Pod,
        node: "node-c".to_owned(),
    }
}

fn leg(kind: LegKind) -> Leg {
    Leg {
        kind,
        step: 4,
        node: 1,
        points: vec![0, 2],
    }
}

fn way(gateway: Option<IpAddr>, default: bool) -> Way {
    Way {
        to: [10, 244, 2, 7].into(),
        interface: "eth0".to_owned(),
        gateway,
        mac: None,
        default,
    }
}

const fn station(node: Option<usize>, address: Option<IpAddr>) -> Station {
    Station {
        mac: MAC,
        node,
        address,
    }
}

fn rise(place: &str) -> Rise {
    Rise {
        place: Arc::from(place),
        counters: vec![("tx_dropped".into(), 3), ("qdisc_drops".into(), 2)],
    }
}

fn about_the_packet() -> Vec<Evidence> {
    let [node, point] = [1, 0];
    let foreign = |doubt| Evidence::Foreign { node, point, doubt };
    let answered = |perhaps_another| Evidence::Answered {
        by: 3,
        perhaps_another,
    };
    vec![
        Evidence::Drop(0),
        Evidence::Fact(facts::chain("filter", "forward")),
        Evidence::CopyDropped(0),
        Evidence::StrayFrame(0),
        Evidence::Unclear(0),
        Evidence::NoDrop,
        Evidence::DropsUnwatched(vec![0, 1]),
        Evidence::Seen(0),
        Evidence::LastSeen(Some(1)),
        Evidence::LastSeen(None),
        Evidence::FirstSeen(2),
        Evidence::PartArrived(1),
        Evidence::NodeUnobserved,
        Evidence::PodUnobserved,
        Evidence::ReceiverUnobserved,
        Evidence::Bypassed { node, point },
        Evidence::InterfaceGone { node, point },
        foreign(false),
        foreign(true),
        Evidence::Acknowledged,
        answered(false),
        answered(true),
        Evidence::NotAnsweredYet,
        Evidence::NoAnswerCame,
        Evidence::RefusedBy(2),
        Evidence::PerhapsAnotherRefused,
        Evidence::AlikeRefused,
        Evidence::Twins(vec![(0, 0), (1, 0)]),
        Evidence::Impostor,
        Evidence::OtherMac,
        Evidence::Identical,
        Evidence::DropsLost,
        Evidence::HopsLost,
        Evidence::Uneven,
    ]
}

fn about_the_network() -> Vec<Evidence> {
    let node = || "node-b".to_owned();
    let elsewhere = |station| Evidence::SentElsewhere {
        station,
        step: 4,
        node: node(),
    };
    let pattern = |pattern, sort, port| Evidence::Pattern {
        pattern,
        sort,
        port,
        len: 1450,
    };
    let all_of_sort = || Pattern::AllOfSort {
        lost: 9,
        since: 43_264_000_000_000,
        others: vec!["tcp".to_owned(), "icmp".to_owned()],
    };
    let missing = |kind, packets| Evidence::Missing {
        leg: leg(kind),
        packets,
    };
    let mismatch = |devices: &[(&str, Option<u32>)]| Evidence::Mismatch {
        kind: EncapKind::Vxlan,
        vni: Some(1),
        port: Some(8472),
        node: 1,
        devices: devices
            .iter()
            .map(|(device, vni)| {
                let tunnel = Tunnel {
                    kind: EncapKind::Vxlan,
                    vni: *vni,
                    port: 4789,
                };
                ((*device).to_owned(), tunnel)
            })
            .collect(),
    };
    vec![
        Evidence::NoAgent("node-c".to_owned()),
        Evidence::Route {
            node: 0,
            way: way(None, false),
        },
        Evidence::Route {
            node: 0,
            way: way(Some(GATEWAY), true),
        },
        Evidence::Home(home()),
        Evidence::NotThere {
            home: home(),
            from: 0,
            to: node(),
        },
        missing(LegKind::Wire, Some(100)),
        missing(LegKind::Bridge, None),
        Evidence::Between(leg(LegKind::Wire)),
        Evidence::Between(leg(LegKind::Tunnel)),
        Evidence::Between(leg(LegKind::Bridge)),
        Evidence::DeviceCounters {
            node: 0,
            rise: rise("eth0"),
        },
        Evidence::SocketCounters {
            node: 1,
            rise: rise("shop/cart"),
        },
        Evidence::SocketCounters {
            node: 1,
            rise: rise("host"),
        },
        pattern(
            Pattern::TooLarge(1400),
            Sort::Plain(Proto::Ip(6), None),
            None,
        ),
        pattern(
            all_of_sort(),
            Sort::Inside(EncapKind::Vxlan, Some(1)),
            Some(8472),
        ),
        pattern(all_of_sort(), Sort::Inside(EncapKind::IpIp, None), None),
        pattern(
            all_of_sort(),
            Sort::Plain(Proto::Ip(17), Some((40_000, 53))),
            None,
        ),
        pattern(all_of_sort(), Sort::Plain(Proto::Ip(1), None), None),
        Evidence::Silent {
            leg: leg(LegKind::Wire),
            since: 43_264_000_000_000,
        },
        Evidence::Idle(leg(LegKind::Wire)),
        Evidence::NotItsMac {
            mac: MAC,
            node: node(),
        },
        Evidence::NothingCame {
            mac: MAC,
            node: node(),
        },
        Evidence::SentToUnobserved {
            interface: "eth7".to_owned(),
            node: node(),
        },
        Evidence::SentToUnknown {
            mac: MAC,
            node: node(),
        },
        elsewhere(station(Some(1), None)),
        elsewhere(station(None, Some(GATEWAY))),
        elsewhere(station(None, None)),
        mismatch(&[("flannel.1", Some(2)), ("vxlan0", None)]),
        mismatch(&[]),
    ]
}

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
    let evidence = [about_the_packet(), about_the_network()].concat();
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
