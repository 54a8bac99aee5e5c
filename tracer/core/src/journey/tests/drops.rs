//! Which journey a drop belongs to, and what the drop means for identical packets.

use tracer_common::drop::Scope;

use super::*;
use crate::{
    journey::{Class, Judgement},
    model::{Cause, Freed, Place},
};

/// If a driver leaves the payload in page fragments, the programs cannot read it. Then the sk_buff
/// tells which of otherwise equal packets the drop is of.
#[test]
fn a_drop_without_payload_hash_is_joined_by_its_buffer() {
    let mut stage = Stage::new();
    let evidence = Judgement {
        class: Class::Unknown,
        ..LOSS
    };
    let [one, other] = [7, 8].map(udp);
    let (node, point) = WAY[0];
    stage.see(node, &hop(point, 1, 1, &one));
    stage.see(node, &hop(point, 2, 2, &other));
    let unread = Packet {
        payload_hash: None,
        ..one
    };
    let drop = freed(3, 2, &unread);
    stage.engine.push_freed(&stage.scene, (0, 3), &drop, LOSS);
    // The first sk_buff is unknown, and the second one belongs to another packet by now.
    let drop = freed(4, 9, &unread);
    stage
        .engine
        .push_freed(&stage.scene, (0, 4), &drop, evidence);
    let longer = Packet {
        len: unread.len + 1,
        ..unread
    };
    let drop = freed(5, 1, &longer);
    stage
        .engine
        .push_freed(&stage.scene, (0, 5), &drop, evidence);
    let mut journeys = stage.end();
    journeys.sort_by_key(|journey| journey.id);
    let drops: Vec<usize> = journeys.iter().map(|it| it.drops.len()).collect();
    assert_eq!(drops, [0, 1]);
    assert_eq!(journeys[1].packet.payload_hash, Some(8));
}

/// A drop in a node's host namespace.
pub(super) fn freed(time: i64, skb: u64, packet: &Packet) -> Freed {
    Freed {
        time: time.cast_unsigned(),
        skb,
        reason: "NETFILTER_DROP".into(),
        place: Place {
            function: "nft_do_chain".into(),
            offset: 1,
        },
        netns: Some("host".into()),
        scope: Some(Scope::Device),
        device: None,
        dst_mac: None,
        protocol: 0x0800,
        encap: None,
        packet: Some(packet.clone()),
        facts: [].into(),
    }
}

pub(super) const LOSS: Judgement = Judgement {
    class: Class::Loss,
    cause: Some(Cause::Netfilter),
    why: "because",
    source: "net/netfilter/core.c",
};

/// Two identical packets are on their way, the first is dropped, and the second arrives. The engine
/// knows which is which.
#[test]
fn of_identical_packets_the_one_that_was_dropped_does_not_arrive() {
    let mut stage = Stage::new();
    let packet = udp(1);
    for skb in [1, 2] {
        stage.see(0, &hop(FROM_POD, skb, skb.cast_unsigned(), &packet));
    }
    let drop = freed(3, 1, &packet);
    stage.engine.push_freed(&stage.scene, (0, 3), &drop, LOSS);
    for (time, (node, point)) in (4..).zip(&WAY[1..]) {
        let skb = if *node == 0 { 2 } else { 9 };
        stage.see(*node, &hop(*point, time, skb, &packet));
    }
    let journeys = stage.finished();
    assert_eq!(journeys.len(), 2);
    assert_eq!(way(&journeys[0]), WAY[..1]);
    assert_eq!(journeys[0].drops.len(), 1);
    assert_eq!(way(&journeys[1]), WAY);
    assert!(journeys.iter().all(|journey| !journey.ambiguous));
}

/// A packet that came to the second node in sk_buff 7. A drop follows there in sk_buff `skb`.
fn dropped_behind_uplink(packet: &Packet, skb: u64, netns: &str, device: Option<&str>) -> Stage {
    let mut stage = Stage::new();
    for (time, (node, point)) in (0..).zip(&WAY[..3]) {
        stage.see(*node, &hop(*point, time, 7, packet));
    }
    let drop = Freed {
        netns: Some(netns.into()),
        device: device.map(Into::into),
        ..freed(4, skb, packet)
    };
    stage.engine.push_freed(&stage.scene, (1, 4), &drop, LOSS);
    stage.latest = 4;
    stage
}

/// A bridge floods a packet. If another pod's port does not accept it, that drop is of a copy. The
/// packet itself may arrive long after that drop.
#[test]
fn the_drop_of_a_copy_does_not_end_a_journey() {
    for (netns, device) in [("default/other", None), ("host", Some("veth9"))] {
        let packet = udp(1);
        let mut stage = dropped_behind_uplink(&packet, 8, netns, device);
        assert!(stage.finished().is_empty(), "{netns}");
        stage.see(1, &hop(TO_POD, 2 * SETTLED, 7, &packet));
        let journeys = stage.finished();
        assert_eq!(journeys.len(), 1, "{netns}");
        assert_eq!(way(&journeys[0]), WAY);
        assert_eq!(journeys[0].drops.len(), 1);
    }
}

/// A drop on the packet's own path ends its journey.
#[test]
fn the_drop_of_the_packet_itself_ends_its_journey() {
    for (netns, device) in [
        ("10.244.2.7", None),
        ("host", Some("veth1")),
        ("host", Some("uplink1")),
        ("host", None),
    ] {
        let mut stage = dropped_behind_uplink(&udp(1), 7, netns, device);
        assert_eq!(stage.finished().len(), 1, "{netns} {device:?}");
    }
}
