//! Datagrams that conntrack reassembles, and that the node fragments again.

use super::{
    drops::{LOSS, freed},
    *,
};
use crate::{
    by_hand::INTO_POD,
    model::{Direction, Role},
};

/// The fragments of a datagram with 3000 bytes, and the datagram.
fn datagram(id: u32) -> [Packet; 4] {
    let whole = Packet {
        ip_id: Some(id),
        len: 3028,
        transport: Transport::Udp {
            src_port: 40_000,
            dst_port: 8080,
            len: 3008,
            dns: None,
        },
        ..udp(1)
    };
    let later = |offset, more, len| Packet {
        fragment: Some((offset, more)),
        transport: Transport::Other(17),
        len,
        ..whole.clone()
    };
    let first = Packet {
        fragment: Some((0, true)),
        len: 1396,
        ..whole.clone()
    };
    [
        first,
        later(1376, true, 1396),
        later(2752, false, 276),
        whole,
    ]
}

/// The fragments come in from the pod, are reassembled, and go out in other sk_buffs.
fn sent(stage: &mut Stage, start: i64) {
    let [fragments @ .., whole] = datagram(7);
    for (number, fragment) in (0_u64..).zip(&fragments) {
        stage.see(
            0,
            &hop(FROM_POD, start + number.cast_signed(), number, fragment),
        );
    }
    stage.see(0, &hop(INTO_POD, start + 1000, 2, &whole));
    for (number, fragment) in (0_u64..).zip(&fragments) {
        stage.see(
            0,
            &hop(
                OUT,
                start + 2000 + number.cast_signed(),
                10 + number,
                fragment,
            ),
        );
    }
}

/// A stage with a point in between that sees the whole datagram.
fn stage() -> Stage {
    let mut stage = Stage::new();
    let mut hello = stage.scene.nodes[0].clone();
    let mut bridge = by_hand::point(Role::Bridge, Direction::Ingress, NODE_A);
    bridge.interface.push('0');
    hello.points.push(bridge);
    stage.scene.nodes = vec![hello, stage.scene.nodes[1].clone()].into();
    stage
}

#[test]
fn a_datagram_between_its_fragments_is_no_journey_of_its_own() {
    let mut stage = stage();
    sent(&mut stage, 0);
    let journeys = stage.end();
    assert_eq!(journeys.len(), 3);
    for journey in &journeys {
        assert_eq!(way(journey), [(0, FROM_POD), (0, INTO_POD), (0, OUT)]);
        // The last step saw the fragment itself.
        assert!(!journey.reassembled);
        assert_eq!(journey.steps[1].len, 3042);
        assert!(journey.steps.iter().all(|step| step.ends.is_none()));
    }
}

/// In IPv6, only fragments have an identification, and the node gives them a new one.
#[test]
fn a_datagram_without_identification_is_in_the_sk_buff_of_the_last_fragment() {
    for (skb, expected) in [(2, 3), (3, 4)] {
        let mut stage = stage();
        let [fragments @ .., mut whole] = datagram(7);
        whole.ip_id = None;
        for (number, fragment) in (0_u64..).zip(&fragments) {
            stage.see(0, &hop(FROM_POD, 0, number, fragment));
        }
        stage.see(0, &hop(INTO_POD, 1000, skb, &whole));
        assert_eq!(stage.end().len(), expected);
    }
}

/// A datagram whose first fragment was not seen, or another one with the same identification.
#[test]
fn another_datagram_is_a_journey_of_its_own() {
    for seen in [1..3, 0..0] {
        let mut stage = stage();
        let [fragments @ .., whole] = datagram(7);
        for fragment in &fragments[seen.clone()] {
            stage.see(0, &hop(FROM_POD, 0, 1, fragment));
        }
        stage.see(0, &hop(INTO_POD, 1000, 2, &whole));
        assert_eq!(stage.end().len(), seen.len() + 1);
    }
    let mut stage = stage();
    sent(&mut stage, 0);
    let [.., mut small] = datagram(7);
    small.len = 60;
    small.transport = udp(1).transport;
    stage.see(0, &hop(INTO_POD, 5000, 3, &small));
    let journeys = stage.end();
    assert_eq!(journeys.len(), 4);
    assert!(!journeys[3].reassembled);
}

/// The node drops the datagram, and a hop of the whole datagram was seen or not.
#[test]
fn what_is_dropped_of_the_datagram_is_dropped_of_its_fragments() {
    for (id, is_seen) in [
        (Some(7), true),
        (Some(7), false),
        (None, true),
        (None, false),
    ] {
        let mut stage = stage();
        let [fragments @ .., mut whole] = datagram(7);
        whole.ip_id = id;
        for (number, fragment) in (0_u64..).zip(&fragments) {
            stage.see(0, &hop(FROM_POD, 0, number, fragment));
        }
        if is_seen {
            stage.see(0, &hop(INTO_POD, 1000, 2, &whole));
        }
        let scene = stage.scene.clone();
        let dropped = freed(2000, 2, &whole);
        stage.engine.push_freed(&scene, (0, 2000), &dropped, LOSS);
        let journeys = stage.end();
        assert_eq!(journeys.len(), 3, "{id:?} {is_seen}");
        assert!(journeys.iter().all(|journey| journey.drops.len() == 1));
        assert!(
            journeys
                .iter()
                .all(|journey| journey.reassembled == is_seen)
        );
    }
}

/// The clock of the dropping node is behind. A hop of the first fragment is missing, or all of its
/// hops.
#[test]
fn what_is_dropped_of_the_datagram_is_dropped_of_the_fragments_that_came() {
    for first in [Some((1, IN)), Some((0, OUT)), None] {
        let mut stage = Stage::new();
        let mut hellos: Vec<_> = stage.scene.nodes.iter().cloned().collect();
        hellos[1].boot_id = "another".into();
        stage.scene.nodes = hellos.into();
        let [fragments @ .., whole] = datagram(7);
        let later = fragments[1..].iter().map(|fragment| ((1, IN), fragment));
        let first = first.map(|at| (at, &fragments[0]));
        for (number, ((node, point), fragment)) in (0..).zip(first.into_iter().chain(later)) {
            stage.see(node, &hop(point, 0, number, fragment));
        }
        for (number, fragment) in (0..).zip(&fragments[1..]) {
            stage.see(0, &hop(OUT, 1000, number, fragment));
        }
        let scene = stage.scene.clone();
        let dropped = freed(2000, 98, &whole);
        stage.engine.push_freed(&scene, (1, 2000), &dropped, LOSS);
        for journey in stage.end() {
            let came = journey.steps.iter().any(|step| step.node == 1);
            assert_eq!(journey.drops.len(), usize::from(came), "{journey:#?}");
        }
    }
}

/// A fragment was lost on the wire. It is not part of a datagram that the other node reassembles
/// later with the same identification. Fragments that went on as a whole datagram are.
#[test]
fn a_node_reassembles_what_came_to_it() {
    let [fragments @ .., whole] = datagram(7);
    let mut stage = stage();
    stage.see(0, &hop(OUT, 0, 1, &fragments[2]));
    stage.see(1, &hop(IN, 1000, 2, &fragments[0]));
    stage.see(1, &hop(TO_POD, 2000, 3, &whole));
    let mut journeys = stage.end();
    journeys.sort_by_key(|journey| journey.id);
    assert_eq!(way(&journeys[0]), [(0, OUT)]);
    assert_eq!(way(&journeys[1]), [(1, IN), (1, TO_POD)]);
    let mut stage = self::stage();
    for (number, fragment) in (0_u64..).zip(&fragments) {
        stage.see(0, &hop(FROM_POD, 0, number, fragment));
    }
    stage.see(0, &hop(INTO_POD, 1000, 2, &whole));
    stage.see(1, &hop(IN, 2000, 9, &whole));
    let journeys = stage.end();
    assert_eq!(journeys.len(), 3);
    assert!(journeys.iter().all(|journey| journey.reassembled));
}

/// A stranger chooses how many fragments have the same identification.
#[test]
fn too_many_fragments_are_none() {
    let mut stage = stage();
    let [first, .., whole] = datagram(7);
    for offset in 0..200 {
        let fragment = Packet {
            fragment: Some((offset * 8, true)),
            ..first.clone()
        };
        stage.see(0, &hop(FROM_POD, 0, offset.into(), &fragment));
    }
    stage.see(0, &hop(INTO_POD, 1000, 2, &whole));
    assert_eq!(stage.end().len(), 201);
}
