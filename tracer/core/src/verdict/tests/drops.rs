//! Drops: which packet a drop frees, where, and what verdict follows.

use std::sync::Arc;

use tracer_common::drop::Scope;

use super::*;
use crate::{
    journey::{Class, Drop, Judgement},
    model::{Device, Fact, Mac},
};

/// A drop on a node, of a whole journey of `size` bytes.
pub(super) fn drop(
    node: usize,
    netns: &str,
    time: i64,
    class: Class,
    cause: impl Into<Option<Cause>>,
) -> Drop {
    Drop {
        node,
        time,
        netns: Arc::from(netns),
        scope: Some(Scope::Device),
        device: Some(Arc::from("cni0")),
        dst_mac: None,
        ends: None,
        reason: Arc::from("REASON"),
        function: Arc::from("function"),
        offset: 1,
        judgement: Judgement {
            class,
            cause: cause.into(),
            why: "because",
            source: "net/core/dev.c",
        },
        same_buffer: false,
        facts: Arc::from([Fact::OwnAddress {
            address: [10, 244, 2, 7].into(),
        }]),
        part: (0, 1),
    }
}

fn dropped(way: &[(usize, usize)], drops: Vec<Drop>) -> Journey {
    Journey {
        drops,
        ..journey(way, Closed::Known)
    }
}

fn kind(journey: &Journey) -> Kind {
    let (verdict, parts) = judge(&scene(), journey, &CALM);
    assert_eq!(
        parts.sent,
        parts.delivered + parts.dropped + parts.lost + parts.unknown
    );
    verdict.kind
}

#[test]
fn a_loss_on_the_way_is_a_drop_at_its_own_place() {
    let gone = dropped(
        &WHOLE[..3],
        vec![drop(1, "host", 9, Class::Loss, Cause::Netfilter)],
    );
    let (verdict, parts) = judge(&scene(), &gone, &CALM);
    assert_eq!(
        (
            verdict.kind,
            verdict.confidence,
            verdict.cause,
            verdict.drop
        ),
        (
            Kind::Dropped,
            Confidence::High,
            Some(Cause::Netfilter),
            Some(0)
        )
    );
    assert_eq!(verdict.outcome, Outcome::Dropped);
    assert_eq!(parts.dropped, 1);
    assert!(rests_on!(verdict, Evidence::Drop(0)));
    assert!(rests_on!(verdict, Evidence::Fact(_)));
}

#[test]
fn before_the_first_point_it_has_no_hops() {
    let gone = dropped(
        &[],
        vec![drop(0, "default/a", 9, Class::Loss, Cause::Netfilter)],
    );
    let (verdict, _) = judge(&scene(), &gone, &CALM);
    assert_eq!(verdict.kind, Kind::Dropped);
    assert!(rests_on!(verdict, Evidence::NotSeen));
}

#[test]
fn inside_the_pod_it_is_dropped_after_it_was_handed_over() {
    let inside = drop(1, "default/b", 9, Class::Loss, Cause::Rcvbuf);
    assert_eq!(kind(&dropped(&WHOLE, vec![inside])), Kind::Dropped);
    // In another pod's namespace, the dropped packet was a copy.
    let copy = drop(1, "default/c", 9, Class::Loss, Cause::Netfilter);
    let delivered = dropped(&WHOLE, vec![copy]);
    let (verdict, _) = judge(&scene(), &delivered, &CALM);
    assert_eq!(
        (verdict.kind, verdict.confidence),
        (Kind::Delivered, Confidence::High)
    );
    assert!(rests_on!(verdict, Evidence::CopyDropped(0)));
}

/// A bridge that floods a packet gives one port the packet itself, and the others copies.
#[test]
fn a_copy_that_a_bridge_made_is_not_the_packet() {
    let at = |device: &str| Drop {
        device: Some(Arc::from(device)),
        same_buffer: true,
        ..drop(1, "host", 9, Class::Loss, Cause::Qdisc)
    };
    assert_eq!(kind(&dropped(&WHOLE, vec![at("veth")])), Kind::Dropped);
    assert_eq!(kind(&dropped(&WHOLE, vec![at("veth9")])), Kind::Delivered);
    // The packet goes to a node without an agent.
    let flooded = |netns| Drop {
        same_buffer: true,
        ..drop(0, netns, 9, Class::Flooded, Cause::WrongMac)
    };
    let mut blind = scene();
    blind.nodes.pop();
    for netns in ["default/c", "host"] {
        let mut gone = dropped(&WHOLE[..2], vec![flooded(netns)]);
        gone.closed = Closed::Silence;
        assert_eq!(judge(&blind, &gone, &CALM).0.kind, Kind::Left, "{netns}");
    }
}

#[test]
fn the_end_of_a_delivered_packet_is_no_drop() {
    for class in [Class::Delivered, Class::Duplicate, Class::Flooded] {
        let end = drop(1, "default/b", 9, class, Cause::Copy);
        assert_eq!(kind(&dropped(&WHOLE, vec![end])), Kind::Delivered);
    }
    let unclear = drop(1, "default/b", 9, Class::Unknown, None);
    let (verdict, _) = judge(&scene(), &dropped(&WHOLE, vec![unclear]), &CALM);
    assert_eq!(
        (verdict.kind, verdict.confidence),
        (Kind::Delivered, Confidence::Low)
    );
}

/// A freed packet did not vanish between two points, although the drop may not be its loss.
#[test]
fn what_was_freed_is_not_lost() {
    let unclear = drop(0, "host", 9, Class::Unknown, None);
    let mut freed = dropped(&WHOLE[..2], vec![unclear]);
    freed.closed = Closed::Silence;
    let (verdict, _) = judge(&scene(), &freed, &CALM);
    assert_eq!(
        (verdict.kind, verdict.cause),
        (Kind::Unknown, Some(Cause::UnclearDrop))
    );
    assert!(rests_on!(verdict, Evidence::Unclear(0)));
    assert!(!rests_on!(verdict, Evidence::NoDrop));
}

#[test]
fn a_frame_with_the_wrong_address_is_dropped_by_who_it_was_meant_for() {
    let flooded = |netns| drop(1, netns, 9, Class::Flooded, Cause::WrongMac);
    assert_eq!(
        kind(&dropped(&WHOLE, vec![flooded("default/b")])),
        Kind::Dropped
    );
    assert_eq!(
        kind(&dropped(&WHOLE, vec![flooded("default/c")])),
        Kind::Delivered
    );
    // The only frame of the packet came to the wrong node.
    let last = Drop {
        same_buffer: true,
        ..flooded("host")
    };
    assert_eq!(
        kind(&dropped(&WHOLE[..3], vec![last.clone()])),
        Kind::Dropped
    );
    // Another pod got a copy, even if the receiver got nothing.
    let elsewhere = Drop {
        netns: Arc::from("default/c"),
        ..last
    };
    assert_eq!(kind(&dropped(&WHOLE[..3], vec![elsewhere])), Kind::Unknown);
    assert_eq!(
        kind(&dropped(&WHOLE[..3], vec![flooded("host")])),
        Kind::Unknown
    );
}

#[test]
fn a_reset_to_nobody_is_not_refused() {
    let refusal = drop(1, "default/b", 9, Class::Refusal, Cause::NoListener);
    let data = dropped(&WHOLE, vec![refusal.clone()]);
    assert_eq!(kind(&data), Kind::Dropped);
    let mut reset = data;
    let Transport::Tcp(mut tcp) = three_thousand_bytes() else {
        unreachable!("it is TCP");
    };
    tcp.payload_len = 0;
    tcp.flags = crate::model::Flags(crate::model::Flags::RST);
    reset.packet.transport = Transport::Tcp(tcp);
    assert_eq!(kind(&reset), Kind::Delivered);
}

#[test]
fn lost_events_forbid_to_call_it_dropped_where_it_may_be_a_copy() {
    let loss = drop(1, "host", 9, Class::Loss, Cause::Netfilter);
    let gone = dropped(&WHOLE[..3], vec![loss]);
    let lossy = Calm {
        hops_lost: true,
        ..CALM
    };
    let (verdict, parts) = judge(&scene(), &gone, &lossy);
    assert_eq!(
        (verdict.kind, verdict.cause, parts.unknown),
        (Kind::Unknown, Some(Cause::EventsLost), 1)
    );
}

/// The host handed the packet to the pod, and nobody saw whether the pod dropped it. An answer or
/// an acknowledgement shows that the pod did not.
#[test]
fn lost_drops_forbid_to_call_it_delivered() {
    let lossy = Calm {
        drops_lost: true,
        ..CALM
    };
    let mut handed = journey(&WHOLE, Closed::Known);
    let (verdict, parts) = judge(&scene(), &handed, &lossy);
    assert_eq!(
        (verdict.kind, verdict.cause, parts.unknown),
        (Kind::Unknown, Some(Cause::EventsLost), 1)
    );
    handed.acked = [(0, 1)].into();
    let (verdict, parts) = judge(&scene(), &handed, &lossy);
    assert_eq!((verdict.kind, parts.delivered), (Kind::Delivered, 1));
    // Another transmission may have gone unseen, and may be the one that arrived.
    let blind = Calm {
        hops_lost: true,
        ..lossy
    };
    assert_eq!(judge(&scene(), &handed, &blind).0.kind, Kind::Unknown);
    let vanished = Journey {
        acked: [(0, 1)].into(),
        ..journey(&WHOLE[..2], Closed::Silence)
    };
    assert_eq!(judge(&scene(), &vanished, &blind).0.kind, Kind::Unknown);
    assert_eq!(judge(&scene(), &vanished, &CALM).0.kind, Kind::Delivered);
}

#[test]
fn bytes_fare_differently() {
    let part = Drop {
        part: (2000, 3000),
        ..drop(1, "host", 9, Class::Loss, Cause::Qdisc)
    };
    let mut torn = dropped(&WHOLE, vec![part]);
    torn.packet.transport = three_thousand_bytes();
    for step in 0..3 {
        seen(&mut torn, step, 3000);
    }
    seen(&mut torn, 3, 2000);
    let (verdict, parts) = judge(&scene(), &torn, &CALM);
    assert_eq!(
        (verdict.kind, verdict.cause),
        (Kind::Partial, Some(Cause::Qdisc))
    );
    assert_eq!((parts.delivered, parts.dropped), (2000, 1000));
}

/// A frame with two VLAN tags has an EtherType that nothing takes (UNHANDLED_PROTO).
#[test]
fn a_frame_that_only_its_receiver_got_is_lost_if_nobody_takes_its_kind() {
    let unhandled = |device: &str| Drop {
        same_buffer: true,
        device: Some(Arc::from(device)),
        ..drop(1, "host", 9, Class::Flooded, Cause::NoListener)
    };
    let verdict = |device| {
        let mut journey = dropped(&WHOLE[..3], vec![unhandled(device)]);
        journey.steps[2].encap = None;
        journey.steps[2].dst_mac = Some(Mac([2; 6]));
        let mut scene = scene();
        scene.nodes[1].network.devices = vec![Device {
            interface: "uplink".to_owned(),
            mac: Some(Mac([2; 6])),
            tunnel: None,
            until: None,
        }];
        judge(&scene, &journey, &CALM).0.kind
    };
    assert_eq!(verdict("uplink"), Kind::Dropped);
    // Behind that interface, the bridge may have made copies of the frame.
    assert_eq!(verdict("cni0"), Kind::Unknown);
}

/// A bond gets a broadcast by each of its uplinks, and accepts it from the active one.
#[test]
fn a_frame_for_everybody_that_came_by_another_interface_is_not_lost() {
    let broadcast = Some(Mac([0xff; 6]));
    let verdict = |device| {
        let copy = Drop {
            device: Some(Arc::from(device)),
            dst_mac: broadcast,
            ..drop(1, "host", 9, Class::Flooded, Cause::NoListener)
        };
        let mut journey = dropped(&WHOLE[..3], vec![copy]);
        journey.packet.dst = NODE_B.into();
        for step in &mut journey.steps {
            step.encap = None;
            step.dst_mac = broadcast;
        }
        judge(&scene(), &journey, &CALM).0.kind
    };
    assert_eq!(verdict("standby"), Kind::Delivered);
    assert_eq!(verdict("uplink"), Kind::Dropped);
}

/// A switch that has forgotten a MAC address floods its frames. The frame that a bystander's kernel
/// frees is then not the packet.
#[test]
fn a_frame_for_another_machine_is_nobodys_loss() {
    let mut scene = scene();
    disown(&mut scene, B);
    let at_uplink = Drop {
        same_buffer: true,
        device: Some(Arc::from("uplink")),
        ..drop(1, "host", 9, Class::Flooded, Cause::WrongMac)
    };
    let mut flooded = dropped(&WHOLE[..3], vec![at_uplink]);
    flooded.closed = Closed::Silence;
    flooded.steps[1].encap = None;
    flooded.steps[2].encap = None;
    let (verdict, parts) = judge(&scene, &flooded, &CALM);
    assert_eq!(
        (verdict.kind, verdict.confidence, verdict.cause),
        (Kind::Unknown, Confidence::Low, Some(Cause::WrongMac)),
        "{verdict:?}"
    );
    assert_eq!(parts.unknown, 1);
    assert!(rests_on!(verdict, Evidence::StrayFrame(0)));
    // The packet went to a node without an agent, whoever got a copy.
    scene.owners.insert(
        B.into(),
        Owner {
            name: "default/b".to_owned(),
            kind: OwnerKind::Pod,
            node: "node-c".to_owned(),
        },
    );
    assert_eq!(judge(&scene, &flooded, &CALM).0.kind, Kind::Left);
    // The receiver is on this node: the frame was sent here, or to a gateway.
    let there = super::scene();
    let (verdict, _) = judge(&there, &flooded, &CALM);
    assert_eq!(
        (verdict.kind, verdict.confidence),
        (Kind::Dropped, Confidence::Low)
    );
    assert_eq!(verdict.waits, None);
    // The packet is in a tunnel that ends at no node.
    for step in [1, 2] {
        flooded.steps[step].encap = Some(Encap {
            kind: EncapKind::Vxlan,
            vni: Some(1),
            outer_src: NODE_A.into(),
            outer_dst: [172, 16, 0, 9].into(),
            levels: 1,
        });
    }
    let (verdict, _) = judge(&there, &flooded, &CALM);
    assert_eq!(
        (verdict.kind, verdict.cause),
        (Kind::Left, Some(Cause::NoNode))
    );
}

/// The packet reached its receiver through a gateway. Before that, a copy with the gateway's MAC
/// address had come to the receiver's node.
#[test]
fn what_arrives_in_another_frame_was_not_dropped() {
    let mac = |last| Some(Mac([2, 0, 0, 0, 0, last]));
    let copy = Drop {
        dst_mac: mac(1),
        ..drop(1, "default/b", 9, Class::Flooded, Cause::WrongMac)
    };
    let mut arrived = dropped(&WHOLE, vec![copy]);
    arrived.steps[3].dst_mac = mac(1);
    assert_eq!(kind(&arrived), Kind::Dropped);
    arrived.steps[3].dst_mac = mac(2);
    assert_eq!(kind(&arrived), Kind::Delivered);
}

#[test]
fn the_first_loss_decides() {
    let twice = [Cause::Netfilter, Cause::Ttl].map(|cause| drop(1, "host", 9, Class::Loss, cause));
    let gone = dropped(&WHOLE[..3], twice.to_vec());
    let (verdict, _) = judge(&scene(), &gone, &CALM);
    assert_eq!(
        (verdict.drop, verdict.cause),
        (Some(0), Some(Cause::Netfilter))
    );
}

/// The error fits several packets. A drop next to it shows which of them it is about.
#[test]
fn a_drop_tells_which_of_those_alike_was_refused() {
    let refusal = Some(crate::journey::Refusal {
        by: 3,
        from: B.into(),
        icmp: Some((3, 3)),
        alike: true,
    });
    let refused = |drops| Journey {
        refusal,
        ..dropped(&WHOLE, drops)
    };
    let inside = drop(1, "default/b", 9, Class::Refusal, Cause::NoListener);
    assert_eq!(
        says(&scene(), &refused(vec![inside])),
        (Kind::Refused, Confidence::High, Some(Cause::NoListener))
    );
    assert_eq!(
        says(&scene(), &refused(Vec::new())),
        (Kind::Refused, Confidence::Low, Some(Cause::IcmpError))
    );
}

/// The drops after the last point that free the packet itself, and not a copy.
#[test]
fn after_it_arrived_only_its_own_buffer_at_its_own_place_counts() {
    let own = Drop {
        device: Some(Arc::from("veth")),
        same_buffer: true,
        ..drop(1, "host", 9, Class::Loss, Cause::Qdisc)
    };
    let with = |change: fn(&mut Drop)| {
        let mut changed = own.clone();
        change(&mut changed);
        kind(&dropped(&WHOLE, vec![changed]))
    };
    assert_eq!(with(|_| {}), Kind::Dropped);
    // The kernel no longer says at which device.
    assert_eq!(with(|drop| drop.device = None), Kind::Dropped);
    // A device of that name in another namespace.
    let elsewhere = |drop: &mut Drop| drop.netns = Arc::from("default/c");
    assert_eq!(with(elsewhere), Kind::Delivered);
    // The buffer was seen after the drop, so the kernel had reused it.
    assert_eq!(with(|drop| drop.time = 2), Kind::Delivered);
    // A pod of that name on the sender's node.
    let other_node = |drop: &mut Drop| (drop.node, drop.netns) = (0, Arc::from("default/b"));
    assert_eq!(with(other_node), Kind::Delivered);
}

#[test]
fn what_is_for_a_node_is_dropped_in_its_own_namespace() {
    let mut to_node = dropped(
        &WHOLE[..3],
        vec![drop(1, "host", 9, Class::Loss, Cause::Netfilter)],
    );
    to_node.packet.dst = NODE_B.into();
    for step in &mut to_node.steps {
        step.encap = None;
    }
    assert_eq!(kind(&to_node), Kind::Dropped);
    to_node.drops.clear();
    assert_eq!(kind(&to_node), Kind::Delivered);
}

#[test]
fn a_drop_that_tells_nothing_is_no_doubt_of_what_was_answered() {
    let arrived = dropped(&WHOLE, vec![drop(1, "default/b", 9, Class::Unknown, None)]);
    assert_eq!(
        says(&scene(), &arrived),
        (Kind::Delivered, Confidence::Low, None)
    );
    let answered = Journey {
        asks: true,
        answered_by: Some(2),
        ..arrived
    };
    assert_eq!(
        says(&scene(), &answered),
        (Kind::Delivered, Confidence::Confirmed, None)
    );
}
