//! What is made of what arrived and what did not.

use super::*;
use crate::{
    by_hand::{A, B, NODE_A, NODE_B, UPLINK_IN, UPLINK_OUT, journey as made, node, scene, verdict},
    journey::Closed,
    model::{Arp, Encap, EncapKind, Packet, Transport},
    verdict::{Leg, LegKind},
};

const SECOND: i64 = 1_000_000_000;
const NEXT: Mac = Mac([2, 0, 0, 0, 0, 0xfe]);

fn vxlan() -> Option<Encap> {
    Some(Encap {
        kind: EncapKind::Vxlan,
        vni: Some(1),
        outer_src: NODE_A.into(),
        outer_dst: NODE_B.into(),
        levels: 1,
    })
}

fn udp() -> Transport {
    Transport::Udp {
        src_port: 1,
        dst_port: 2,
        len: 20,
        dns: None,
    }
}

fn arp() -> Transport {
    Transport::Arp(Arp {
        operation: 1,
        sender: NEXT,
        target: Mac::default(),
    })
}

/// Left the first node at `time`, and perhaps came to the second.
fn journey(
    time: i64,
    len: u32,
    encap: Option<Encap>,
    transport: Transport,
    arrives: bool,
) -> Journey {
    let step = |node, point, time| Step {
        node,
        point,
        time,
        len,
        segments: 1,
        ttl: 64,
        src_mac: None,
        dst_mac: Some(NEXT),
        vlan: None,
        encap,
        ends: None,
        seen: 1,
        parts: [(0, 1)].into(),
        captured: None,
    };
    let mut steps = vec![step(0, UPLINK_OUT, time)];
    if arrives {
        steps.push(step(1, UPLINK_IN, time + 1));
    }
    Journey {
        packet: Packet {
            src: A.into(),
            dst: B.into(),
            ttl: 64,
            ip_id: None,
            fragment: None,
            len,
            transport,
            payload_hash: Some(0),
        },
        steps,
        ..made(&[], Closed::Silence)
    }
}

fn add(legs: &mut Legs, journey: &Journey) {
    let verdict = if journey.steps.len() > 1 {
        verdict(Kind::Delivered)
    } else {
        lost_towards(1)
    };
    legs.add(&scene(), journey, &verdict);
}

fn lost_towards(node: usize) -> Verdict {
    Verdict {
        outcome: Outcome::Lost(Leg {
            kind: LegKind::Wire,
            step: 0,
            node,
            points: vec![UPLINK_IN],
        }),
        ..verdict(Kind::Lost)
    }
}

/// A watched node is the next hop. What vanishes on the way there says nothing about the rest of the
/// way, and what arrives there does.
#[test]
fn a_loss_towards_a_watched_next_hop_is_on_that_leg() {
    let mut legs = Legs::default();
    let mut scene = scene();
    scene
        .nodes
        .push(node("node-c", [10, 244, 3, 1], [172, 16, 0, 3]));
    let (large, small) = (1_400, 100);
    for time in 1..=3 {
        let lost = journey(time * SECOND, large, None, udp(), false);
        legs.add(&scene, &lost, &lost_towards(2));
        let mut arrived = journey(time * SECOND + 1, small, None, udp(), true);
        arrived.steps[1].node = 2;
        legs.add(&scene, &arrived, &verdict(Kind::Delivered));
    }
    let another = journey(4 * SECOND, large, None, udp(), false);
    let sort = Sort::of(&scene, &another, &another.steps[0]);
    let towards = |node| legs.pattern(0, node, &sort, large);
    assert_eq!(towards(2), Some(Pattern::TooLarge(small)));
    assert_eq!(towards(1), None);
}

/// What is said of one more packet that vanished as this one did.
fn pattern(legs: &Legs, journey: &Journey) -> Option<Pattern> {
    let step = &journey.steps[0];
    legs.pattern(0, 1, &Sort::of(&scene(), journey, step), step.len)
}

/// A network that lets ARP through and the tunnel's port not has no MTU that is
/// too small.
#[test]
fn what_arrives_outside_of_a_tunnel_says_nothing_of_sizes_in_it() {
    let mut legs = Legs::default();
    for time in 1..=3 {
        add(
            &mut legs,
            &journey(time * SECOND, 148, vxlan(), udp(), false),
        );
        let arp = journey(time * SECOND + 1, 42, None, arp(), true);
        add(&mut legs, &arp);
    }
    let another = journey(4 * SECOND, 148, vxlan(), udp(), false);
    assert_eq!(
        pattern(&legs, &another),
        Some(Pattern::AllOfSort {
            lost: 4,
            since: SECOND,
            others: vec!["arp".to_owned()],
        })
    );
    // One that came through begins it anew.
    add(&mut legs, &journey(5 * SECOND, 148, vxlan(), udp(), true));
    assert_eq!(pattern(&legs, &another), None);
}

/// One tunnel over IPv4, another over IPv6, with the same VNI: a blocked one is no matter of size.
#[test]
fn what_arrives_in_another_tunnel_says_nothing_of_sizes_in_this_one() {
    let mut legs = Legs::default();
    let other = Encap {
        outer_src: "fd00::1".parse().expect("an address"),
        outer_dst: "fd00::2".parse().expect("an address"),
        ..vxlan().expect("a tunnel")
    };
    for time in 1..=3 {
        let lost = journey(time * SECOND, 148, vxlan(), udp(), false);
        add(&mut legs, &lost);
        let arrived = journey(time * SECOND + 1, 42, Some(other), udp(), true);
        add(&mut legs, &arrived);
    }
    let another = journey(4 * SECOND, 148, vxlan(), udp(), false);
    let pattern = pattern(&legs, &another);
    let is_of_sort = matches!(pattern, Some(Pattern::AllOfSort { lost: 4, .. }));
    assert!(is_of_sort, "{pattern:?}");
}

#[test]
fn where_nothing_arrives_no_sort_is_blamed() {
    let mut legs = Legs::default();
    let early = journey(SECOND, 42, None, arp(), true);
    add(&mut legs, &early);
    for time in 2..=4 {
        add(
            &mut legs,
            &journey(time * SECOND, 148, vxlan(), udp(), false),
        );
    }
    let another = journey(5 * SECOND, 148, vxlan(), udp(), false);
    assert_eq!(pattern(&legs, &another), None);
}

#[test]
fn of_one_sort_the_large_ones_vanish() {
    for encap in [vxlan(), None] {
        let mut legs = Legs::default();
        for time in 1..=2 {
            let small = journey(time * SECOND + 5, 100, encap, udp(), true);
            add(&mut legs, &small);
            let large = journey(time * SECOND, 1500, encap, udp(), false);
            add(&mut legs, &large);
        }
        let another = journey(3 * SECOND, 1400, encap, udp(), false);
        assert_eq!(pattern(&legs, &another), Some(Pattern::TooLarge(100)));
    }
}

#[test]
fn sorts_are_forgotten_before_memory_is_full() {
    let mut legs = Legs::default();
    let of = |port, arrives| {
        let transport = Transport::Udp {
            src_port: port,
            dst_port: 2,
            len: 20,
            dns: None,
        };
        journey(SECOND, 100, None, transport, arrives)
    };
    let lost = of(0, false);
    for _ in 0..2 {
        add(&mut legs, &lost);
    }
    for port in 1..=u16::try_from(2 * MAX_SORTS).expect("few") {
        add(&mut legs, &of(port, true));
    }
    assert!(legs.legs[&(0, 1)].len() <= MAX_SORTS);
    add(&mut legs, &journey(2 * SECOND, 42, None, arp(), true));
    assert!(
        pattern(&legs, &lost).is_some(),
        "of a loss that is remembered"
    );
}

#[test]
fn what_came_in_says_where_a_next_hop_leads() {
    let mut legs = Legs::default();
    let [bare, wrapped] = [None, vxlan()].map(|encap| journey(SECOND, 100, encap, udp(), true));
    add(&mut legs, &wrapped);
    assert_eq!(legs.came_in(&wrapped.steps[0], 1), Some(true));
    assert_eq!(legs.came_in(&bare.steps[0], 1), Some(false), "another way");
    add(&mut legs, &bare);
    assert_eq!(legs.came_in(&bare.steps[0], 1), Some(true));
    assert_eq!(legs.came_in(&bare.steps[0], 0), Some(false), "another node");
    // Too many ways are not all remembered, and the remembered ones still are.
    for node in 0..=MAX_WAYS {
        legs.add_way((node, Target::Next(Mac([2; 6])), 7));
    }
    assert_eq!(legs.came_in(&bare.steps[0], 1), Some(true));
    assert_eq!(legs.came_in(&bare.steps[0], 0), None);
}
