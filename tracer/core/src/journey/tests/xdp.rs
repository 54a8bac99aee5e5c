//! Packets that XDP saw before they had an sk_buff.

use super::*;
use crate::model::{Point, XDP};

/// Adds a point at XDP of each uplink. Returns its index.
fn with_xdp(stage: &mut Stage) -> usize {
    for node in [0, 1] {
        let uplink = stage.scene.nodes[node].points[IN].clone();
        stage.scene.nodes[node].points.push(Point {
            hook: XDP.into(),
            ..uplink
        });
    }
    stage.scene.nodes[0].points.len() - 1
}

/// A hop as a program at XDP reports it.
fn at_xdp(point: usize, time: i64, packet: &Packet) -> Hop {
    Hop {
        point,
        ..hop(IN, time, 0, packet)
    }
}

#[test]
fn segments_at_xdp_and_what_gro_makes_of_them_are_one_journey() {
    let mut stage = Stage::new();
    let xdp = with_xdp(&mut stage);
    stage.see(0, &hop(FROM_POD, 0, 1, &tcp(1000, 3000, 5)));
    stage.see(0, &hop(OUT, 1, 1, &tcp(1000, 3000, 5)));
    for (time, seq) in [(11, 1000), (12, 2000), (13, 3000)] {
        stage.see(1, &at_xdp(xdp, time, &tcp(seq, 1000, 5)));
    }
    // GRO merges two segments, and leaves the third one alone.
    for (time, seq, len) in [(20_i64, 1000, 2000), (21, 3000, 1000)] {
        let skb = time.cast_unsigned();
        stage.see(1, &hop(IN, time, skb, &tcp(seq, len, 5)));
        stage.see(1, &hop(TO_POD, time + 10, skb, &tcp(seq, len, 5)));
    }
    let journeys = stage.finished();
    assert_eq!(journeys.len(), 1);
    let [out, came, again] = [2, 3, 4].map(|step| {
        let step = &journeys[0].steps[step];
        (step.node, step.point, step.seen, step.segments)
    });
    assert_eq!(out, (1, xdp, 3000, 3));
    assert_eq!(came, (1, IN, 3000, 2));
    assert_eq!(again, (1, TO_POD, 3000, 2));
}

#[test]
fn where_only_the_receiver_has_an_agent_each_segment_is_a_journey() {
    let mut stage = Stage::new();
    let xdp = with_xdp(&mut stage);
    for (time, seq) in [(11, 1000), (12, 2000), (13, 3000)] {
        stage.see(1, &at_xdp(xdp, time, &tcp(seq, 1000, 5)));
    }
    stage.see(1, &hop(IN, 20, 7, &tcp(1000, 3000, 5)));
    stage.see(1, &hop(TO_POD, 21, 7, &tcp(1000, 3000, 5)));
    let journeys = stage.finished();
    assert_eq!(journeys.len(), 3);
    for journey in &journeys {
        assert_eq!(way(journey), [(1, xdp), (1, IN), (1, TO_POD)]);
        assert!(journey.steps.iter().all(|step| step.seen == 1000));
    }
}

/// At XDP there is no sk_buff, so no address identifies the packets there.
#[test]
fn packets_at_xdp_are_told_apart_by_their_content() {
    let mut stage = Stage::new();
    let xdp = with_xdp(&mut stage);
    let other_ends = |packet: &Packet| Packet {
        src: A.into(),
        dst: [10, 244, 9, 9].into(),
        ..packet.clone()
    };
    for (time, packet) in [(0, udp(1)), (1, udp(2)), (2, other_ends(&udp(1)))] {
        stage.see(1, &at_xdp(xdp, time, &packet));
    }
    assert_eq!(stage.end().len(), 3);
}
