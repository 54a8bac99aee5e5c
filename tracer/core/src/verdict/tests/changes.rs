//! Points that come and go: what is seen there counts at once, what is not only
//! if it was there in time.

use super::*;

fn judged(scene: &Scene, journey: &Journey) -> (Kind, Option<Cause>) {
    let (verdict, _) = judge(scene, journey, &CALM);
    (verdict.kind, verdict.cause)
}

/// The same point, made anew.
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

/// Sent at 5, and silent since.
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
    // Which of two that are there it came in by, nobody knows.
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
    // The other direction of the same interface.
    let back = Point {
        direction: Direction::Ingress,
        ..scene.nodes[1].points[new].clone()
    };
    scene.nodes[1].points.push(back);
    let mut asked = sent(&[WHOLE[0], WHOLE[1], WHOLE[2], (1, new)]);
    asked.asks = true;
    assert_eq!(judged(&scene, &asked).0, Kind::Unanswered);
    for point in &mut scene.nodes[1].points[new..] {
        point.since = 6;
    }
    assert_eq!(judged(&scene, &asked), (Kind::Delivered, None));
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
