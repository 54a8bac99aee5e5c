//! Points that come and go. A sighting at such a point counts at once. Absence there counts only if
//! the point was there in time.

use super::*;

fn judged(scene: &Scene, journey: &Journey) -> (Kind, Option<Cause>) {
    let (verdict, _) = judge(scene, journey, &CALM);
    (verdict.kind, verdict.cause)
}

/// Adds the point of a new interface in place of the one that the point was at. Returns its index.
fn again(scene: &mut Scene, index: usize, until: Option<u64>, since: u64) -> usize {
    let points = &mut scene.nodes[1].points;
    let old = &mut points[index];
    let new = Point {
        ifindex: old.ifindex + 10,
        since,
        ..old.clone()
    };
    old.until = until;
    points.push(new);
    points.len() - 1
}

/// A packet that was sent at 5 and not seen since.
fn sent(way: &[(usize, usize)]) -> Journey {
    let mut journey = journey(way, Closed::Silence);
    for step in &mut journey.steps {
        step.time += 5;
    }
    journey
}

#[test]
fn an_uplink_counts_from_when_it_is_observed() {
    let out = sent(&WHOLE[..2]);
    let mut late = scene();
    again(&mut late, UPLINK_IN, Some(6), 7);
    assert_eq!(
        judged(&late, &out),
        (Kind::Unknown, Some(Cause::BeforeStart))
    );
    let mut in_time = scene();
    again(&mut in_time, UPLINK_IN, Some(3), 4);
    assert_eq!(judged(&in_time, &out).0, Kind::Lost);
    // Nobody knows by which of the two uplinks the packet came in.
    let mut second = scene();
    again(&mut second, UPLINK_IN, None, 7);
    assert_eq!(
        judged(&second, &out),
        (Kind::Unknown, Some(Cause::BeforeStart))
    );
}

#[test]
fn a_port_that_was_made_anew_counts_from_then_on() {
    let bridge = |scene: &mut Scene| {
        let bridge = point(Role::Bridge, Direction::Egress, B);
        scene.nodes[1].points.push(bridge);
        scene.nodes[1].points.len() - 1
    };
    for (until, since, expected) in [
        (Some(3), 4, (Kind::Lost, None)),
        (Some(3), 9, (Kind::Unknown, Some(Cause::BeforeStart))),
        (Some(6), 9, (Kind::Unknown, Some(Cause::BeforeStart))),
    ] {
        let mut scene = scene();
        let bridge = bridge(&mut scene);
        again(&mut scene, TO_POD, until, since);
        let way = [WHOLE[0], WHOLE[1], WHOLE[2], (1, bridge)];
        assert_eq!(judged(&scene, &sent(&way)), expected, "{until:?} {since}");
    }
}

#[test]
fn without_an_interface_to_its_receiver_nothing_is_lost() {
    let mut scene = scene();
    let bridge = scene.nodes[1].points.len();
    let point = point(Role::Bridge, Direction::Egress, B);
    scene.nodes[1].points.push(point);
    scene.nodes[1].points[TO_POD].until = Some(3);
    let way = [WHOLE[0], WHOLE[1], WHOLE[2], (1, bridge)];
    let (verdict, _) = judge(&scene, &sent(&way), &CALM);
    assert_eq!(
        (verdict.kind, verdict.cause),
        (Kind::Unknown, Some(Cause::InterfaceGone))
    );
    let gone = Evidence::InterfaceGone {
        node: 1,
        point: TO_POD,
    };
    assert!(verdict.evidence.contains(&gone), "{verdict:?}");
}

#[test]
fn unanswered_is_only_what_could_have_been_seen_to_be_answered() {
    let mut scene = scene();
    let new = again(&mut scene, TO_POD, Some(3), 4);
    // This is the other direction of the same interface.
    again(&mut scene, FROM_POD, Some(3), 4);
    let mut asked = sent(&[WHOLE[0], WHOLE[1], WHOLE[2], (1, new)]);
    asked.asks = true;
    assert_eq!(judged(&scene, &asked).0, Kind::Unanswered);
    for point in &mut scene.nodes[1].points[new..] {
        point.since = 6;
    }
    assert_eq!(judged(&scene, &asked), (Kind::Delivered, None));
}

/// The same point under another number, because its program was attached again.
fn renewed(scene: &mut Scene, index: usize, since: u64) -> usize {
    let new = again(scene, index, Some(since), since);
    let points = &mut scene.nodes[1].points;
    points[new].ifindex = points[index].ifindex;
    new
}

#[test]
fn unanswered_where_one_direction_was_attached_again() {
    let mut asked = sent(&WHOLE);
    asked.asks = true;
    let mut scene = scene();
    let new = renewed(&mut scene, TO_POD, 4);
    asked.steps[3].point = new;
    assert_eq!(judged(&scene, &asked).0, Kind::Unanswered);
    let mut scene = self::scene();
    renewed(&mut scene, FROM_POD, 4);
    asked.steps[3].point = TO_POD;
    assert_eq!(judged(&scene, &asked).0, Kind::Unanswered);
}

#[test]
fn a_packet_at_the_new_point_of_a_recreated_veth_did_not_bypass_it() {
    let mut scene = scene();
    let new = renewed(&mut scene, TO_POD, 6);
    let answered = |point| Journey {
        asks: true,
        answered_by: Some(2),
        ..sent(&[WHOLE[0], WHOLE[1], WHOLE[2], (1, point)])
    };
    for point in [TO_POD, new] {
        let (verdict, _) = judge(&scene, &answered(point), &CALM);
        assert!(!rests_on!(verdict, Evidence::Bypassed { .. }), "{point}");
    }
}

#[test]
fn a_twin_may_have_passed_the_place_under_its_number_before() {
    const S: i64 = 1_000_000_000;
    let confirmed = |renewed_at: u64, lost_at: usize| {
        let mut scene = scene();
        let new = renewed(&mut scene, TO_POD, renewed_at);
        let mut acked = sent(&[(1, new)]);
        acked.acked = [(0, 1)].into_iter().collect();
        acked.steps[0].time = 100 * S;
        let lossy = Calm {
            lost_at: Some(Where::Point(1, lost_at)),
            ..CALM
        };
        judge(&scene, &acked, &lossy).0.confidence == Confidence::Confirmed
    };
    // Events were lost under the earlier number, or none were lost.
    let long_ago = 50_000_000_000;
    assert!(!confirmed(long_ago, TO_POD));
    assert!(confirmed(long_ago, UPLINK_IN));
    // Between its two numbers, the place was not observed.
    assert!(!confirmed(98_000_000_000, UPLINK_IN));
}

/// Agents look for other tools' programs from time to time. Programs that they find under a place's
/// next number may have run before, and ahead of tracer's.
#[test]
fn programs_that_are_found_later_may_have_taken_the_packet() {
    let mut out = sent(&WHOLE[..2]);
    out.steps[1].node = 1;
    out.steps[0].node = 1;
    let sees = |at: usize, foreign: bool| {
        let mut scene = scene();
        let new = renewed(&mut scene, at, 20);
        if foreign {
            scene.nodes[1].points[new].foreign = vec![Foreign {
                id: 7,
                name: "cil_to_netdev".to_owned(),
            }];
        }
        scene
    };
    // A packet from node B to node A, which receives nothing.
    let flip = |journey: &Journey| {
        let mut journey = journey.clone();
        (journey.packet.src, journey.packet.dst) = (B.into(), crate::by_hand::A.into());
        for step in &mut journey.steps {
            if let Some(encap) = &mut step.encap {
                (encap.outer_src, encap.outer_dst) = (NODE_B.into(), NODE_A.into());
            }
        }
        journey
    };
    let out = flip(&out);
    assert_eq!(judged(&sees(UPLINK_OUT, false), &out).0, Kind::Lost);
    let (verdict, _) = judge(&sees(UPLINK_OUT, true), &out, &CALM);
    assert_eq!(
        (verdict.kind, verdict.cause),
        (Kind::Unknown, Some(Cause::ForeignProgram))
    );
}

/// Tracer attaches ahead of the programs that are there, whenever it attaches.
#[test]
fn programs_that_come_later_may_be_ahead_at_the_receivers_uplink() {
    let with = |before: &[&str], after: &[&str]| {
        let mut scene = scene();
        let new = renewed(&mut scene, UPLINK_IN, 3);
        for (point, names) in [(UPLINK_IN, before), (new, after)] {
            let programs = names.iter().map(|name| Foreign {
                id: u32::try_from(point).expect("few points"),
                name: (*name).to_owned(),
            });
            scene.nodes[1].points[point].foreign = programs.collect();
        }
        judged(&scene, &sent(&WHOLE[..2])).0
    };
    assert_eq!(with(&[], &["cil_from_netdev"]), Kind::Unknown);
    assert_eq!(with(&[], &[]), Kind::Lost);
    // The program was attached again, or loaded anew.
    assert_eq!(with(&["cil_from_netdev"], &["cil_from_netdev"]), Kind::Lost);
}

#[test]
fn a_place_where_other_programs_are_found_was_observed_before() {
    let mut silent = sent(&[WHOLE[0]]);
    silent.asks = false;
    let cause = |name: &str, ifindex: u32| {
        let mut scene = scene();
        let new = renewed(&mut scene, UPLINK_IN, 9);
        let point = &mut scene.nodes[1].points[new];
        point.ifindex += ifindex;
        point.foreign.push(Foreign {
            id: 7,
            name: name.to_owned(),
        });
        let before = point.foreign.clone();
        if name.is_empty() {
            scene.nodes[1].points[UPLINK_IN].foreign = before;
        }
        judged(&scene, &silent)
    };
    assert_eq!(cause("cil_from_netdev", 0), (Kind::Unknown, None));
    let before_start = (Kind::Unknown, Some(Cause::BeforeStart));
    // The point was attached again, or its interface was replaced.
    assert_eq!(cause("", 0), before_start);
    assert_eq!(cause("cil_from_netdev", 1), before_start);
}

#[test]
fn a_pods_own_interface_is_expected_while_it_is_there() {
    let own = |since, until| {
        let mut scene = scene();
        scene.nodes[1].points.push(Point {
            since,
            until,
            ..point(Role::Pod, Direction::Ingress, B)
        });
        judged(&scene, &sent(&WHOLE))
    };
    let missed = (Kind::Unknown, Some(Cause::NotSeenInPod));
    assert_eq!(own(0, None), missed);
    assert_eq!(own(4, None), missed);
    assert_eq!(own(6, None), (Kind::Delivered, None));
    assert_eq!(own(0, Some(4)), (Kind::Delivered, None));
}

#[test]
fn drops_in_a_pod_are_seen_from_when_it_is_watched() {
    let told = |later: &[(u64, &[&str])]| {
        let mut scene = scene();
        let pods = |pods: &[&str]| pods.iter().map(|pod| (*pod).into()).collect();
        let later = later.iter().map(|(since, list)| (*since, pods(list)));
        scene.nodes[1].drops_later = later.collect();
        let (verdict, _) = judge(&scene, &sent(&WHOLE), &CALM);
        matches!(
            verdict.outcome,
            Outcome::HandedOver {
                observed: false,
                ..
            }
        )
    };
    assert!(!told(&[]));
    assert!(told(&[(3, &["default/a"])]));
    assert!(!told(&[(6, &["default/a"])]));
    assert!(!told(&[(3, &["default/a"]), (4, &["default/b"])]));
    assert!(told(&[(3, &["default/a"]), (6, &["default/b"])]));
}
