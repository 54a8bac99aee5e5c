//! Packets that XDP saw and tc did not.

use super::*;
use crate::model::{Icmp, XDP};

/// The point at XDP of the second node's uplink.
const AT_XDP: usize = 4;

/// The scene with the point [`AT_XDP`].
fn with_xdp() -> Scene {
    let mut scene = scene();
    let uplink = scene.nodes[1].points[UPLINK_IN].clone();
    scene.nodes[1].points.push(Point {
        hook: XDP.into(),
        ..uplink
    });
    scene
}

/// An echo request that was last seen at XDP of the second node.
fn came_to_xdp() -> Journey {
    let way = [(0, FROM_POD), (0, UPLINK_OUT), (1, AT_XDP)];
    let mut journey = journey(&way, Closed::Silence);
    journey.steps[2].encap = journey.steps[1].encap;
    journey.packet.transport = Transport::Icmp(Icmp {
        v6: false,
        kind: 8,
        code: 0,
        echo: Some((1, 1)),
        quote: None,
        neighbour: None,
    });
    journey
}

fn receive() -> Leg {
    Leg {
        kind: LegKind::Receive,
        step: 2,
        node: 1,
        points: vec![UPLINK_IN],
    }
}

#[test]
fn what_xdp_saw_and_tc_did_not_is_lost_in_between() {
    let (verdict, parts) = judge(&with_xdp(), &came_to_xdp(), &CALM);
    assert_eq!(
        (verdict.kind, verdict.confidence, verdict.cause),
        (Kind::Lost, Confidence::Low, None)
    );
    assert_eq!(verdict.outcome, Outcome::Lost(receive()));
    assert_eq!(parts.lost, parts.sent);
    assert!(rests_on!(verdict, Evidence::Missing { leg, packets: Some(100) } if *leg == receive()));
}

/// Whether an `unknown` verdict says that tc has not seen the packet.
fn is_missed(scene: &Scene, journey: &Journey, calm: &Calm) -> bool {
    let (verdict, _) = judge(scene, journey, calm);
    assert_eq!(verdict.kind, Kind::Unknown);
    let is_missing =
        rests_on!(verdict, Evidence::Missing { leg, packets: Some(100) } if *leg == receive());
    assert_eq!(
        verdict.evidence.contains(&Evidence::Between(receive())),
        is_missing
    );
    is_missing
}

#[test]
fn what_gro_may_have_merged_is_not_lost() {
    let udp = journey(&WHOLE, Closed::Silence).packet.transport;
    // ESP, and a later fragment of UDP.
    for transport in [udp, Transport::Other(50), Transport::Other(17)] {
        let mut merged = came_to_xdp();
        merged.packet.transport = transport;
        assert!(!is_missed(&with_xdp(), &merged, &CALM));
        let (verdict, _) = judge(&with_xdp(), &merged, &CALM);
        assert!(verdict.evidence.contains(&Evidence::Merged(receive())));
    }
}

#[test]
fn it_is_not_lost_where_a_program_at_tc_may_run_before_tracers() {
    let mut foreign = with_xdp();
    foreign.nodes[1].points[UPLINK_IN].foreign = vec![Foreign {
        id: 42,
        name: "to_somewhere".to_owned(),
    }];
    assert!(is_missed(&foreign, &came_to_xdp(), &CALM));
}

/// If tc has seen nothing yet, its point is gone, or events were lost, the packet may still have
/// come to tc.
#[test]
fn where_tc_may_have_missed_it_nothing_is_said() {
    let idle = Calm {
        idle: Some(UPLINK_IN),
        ..CALM
    };
    assert!(!is_missed(&with_xdp(), &came_to_xdp(), &idle));
    let mut gone = with_xdp();
    gone.nodes[1].points[UPLINK_IN].until = Some(0);
    assert!(!is_missed(&gone, &came_to_xdp(), &CALM));
    let lost = Calm {
        hops_lost: true,
        ..CALM
    };
    let mut datagram = came_to_xdp();
    datagram.packet.transport = journey(&WHOLE, Closed::Silence).packet.transport;
    for journey in [came_to_xdp(), datagram] {
        assert!(!is_missed(&with_xdp(), &journey, &lost));
        let (verdict, _) = judge(&with_xdp(), &journey, &lost);
        assert!(!verdict.evidence.contains(&Evidence::Merged(receive())));
    }
    // The packet is still on its way.
    let mut open = came_to_xdp();
    open.closed = Closed::End;
    assert!(!is_missed(&with_xdp(), &open, &CALM));
}

/// XDP and tc of one interface have the same counters.
#[test]
fn counters_of_the_interface_are_told_once() {
    let dropped = Calm {
        rose: Some(("rx_dropped", 3)),
        ..CALM
    };
    let (verdict, _) = judge(&with_xdp(), &came_to_xdp(), &dropped);
    let is_device = |one: &&Evidence| matches!(one, Evidence::DeviceCounters { .. });
    assert_eq!(verdict.evidence.iter().filter(is_device).count(), 1);
}

#[test]
fn on_the_wire_xdp_is_where_a_packet_arrives() {
    let gone = journey(&WHOLE[..2], Closed::Silence);
    let at_xdp = Leg {
        points: vec![AT_XDP],
        ..on_the_wire(1)
    };
    let (verdict, _) = judge(&with_xdp(), &gone, &CALM);
    assert_eq!(verdict.outcome, Outcome::Lost(at_xdp));
    assert_eq!(verdict.confidence, Confidence::High);
    // An XDP point that has seen nothing proves nothing, whatever tc has seen.
    let idle = Calm {
        idle: Some(AT_XDP),
        ..CALM
    };
    let (verdict, _) = judge(&with_xdp(), &gone, &idle);
    assert_eq!(verdict.kind, Kind::Unknown);
    // If the XDP point is gone, the tc point stands for the interface.
    let mut before = with_xdp();
    before.nodes[1].points[AT_XDP].until = Some(0);
    let (verdict, _) = judge(&before, &gone, &CALM);
    assert_eq!(verdict.outcome, Outcome::Lost(on_the_wire(1)));
}

/// XDP of one node says nothing about the other node, nor about packets that tc saw.
#[test]
fn what_tc_saw_has_come_whatever_xdp_saw() {
    for end in [3, 4] {
        let way = &WHOLE[..end];
        let of = |scene: &Scene| {
            let (verdict, parts) = judge(scene, &journey(way, Closed::Silence), &CALM);
            (verdict.kind, verdict.outcome, parts)
        };
        assert_eq!(of(&with_xdp()), of(&scene()));
    }
}

#[test]
fn a_packet_to_a_node_has_not_arrived_at_xdp() {
    let mut to_node = came_to_xdp();
    to_node.packet.dst = NODE_B.into();
    to_node.steps.iter_mut().for_each(|step| step.encap = None);
    let (verdict, _) = judge(&with_xdp(), &to_node, &CALM);
    assert_eq!(verdict.kind, Kind::Lost);
    let mut at_tc = to_node;
    at_tc.steps[2].point = UPLINK_IN;
    let (verdict, _) = judge(&with_xdp(), &at_tc, &CALM);
    assert_eq!(verdict.kind, Kind::Delivered);
}
