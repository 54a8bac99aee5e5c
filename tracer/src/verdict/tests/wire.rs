//! What left by an uplink and was not seen to come in: where it was sent to.

use super::*;
use crate::link::{Device, Mac, Way};

const MAC_B: Mac = Mac([2, 0, 0, 0, 0, 0x0b]);
const GATEWAY_MAC: Mac = Mac([2, 0, 0, 0, 0, 0xfe]);
const GATEWAY: [u8; 4] = [172, 16, 0, 254];

fn device(interface: &str, mac: Mac) -> Device {
    Device {
        interface: interface.to_owned(),
        mac: Some(mac),
        tunnel: None,
        until: None,
    }
}

/// The scene with nodes that know their interfaces.
fn known() -> Scene {
    let mut scene = scene();
    for (hello, mac) in scene
        .nodes
        .iter_mut()
        .zip([Mac([2, 0, 0, 0, 0, 0x0a]), MAC_B])
    {
        hello.network.devices = vec![device("uplink", mac)];
    }
    scene
}

/// The same, where node A sends B's packets to its gateway, by default.
fn by_default() -> Scene {
    let mut scene = known();
    scene.nodes[0].network.routes = vec![Way {
        to: B.into(),
        interface: "uplink".to_owned(),
        gateway: Some(GATEWAY.into()),
        mac: Some(GATEWAY_MAC),
        default: true,
    }];
    scene
}

/// Left node A without a tunnel, in a frame to this MAC.
fn bare(mac: Option<Mac>) -> Journey {
    let mut gone = journey(&WHOLE[..2], Closed::Silence);
    (gone.steps[1].encap, gone.steps[1].dst_mac) = (None, mac);
    gone
}

fn judged(scene: &Scene, journey: &Journey, calm: &Calm) -> (Kind, Option<&'static str>) {
    let (verdict, _) = judge(scene, journey, calm);
    (verdict.kind, verdict.cause)
}

#[test]
fn what_was_sent_to_the_gateway_has_left() {
    let (verdict, parts) = judge(&by_default(), &bare(Some(GATEWAY_MAC)), &CALM);
    assert_eq!(
        (verdict.kind, verdict.confidence, verdict.cause),
        (Kind::Left, Confidence::High, Some("default-route"))
    );
    assert_eq!((parts.lost, parts.unknown), (0, parts.sent));
    assert_eq!(
        verdict.text,
        "left: went out of uplink to 172.16.0.254 (02:00:00:00:00:fe), not to node-b, which has \
         default/b"
    );
    let evidence = verdict.evidence.join("; ");
    assert!(
        evidence.contains("node-a's default route for 10.244.2.7 leads out of uplink via"),
        "{evidence}"
    );
    // Who has the MAC is not known, or another node has it.
    let unknown = judge(&known(), &bare(Some(GATEWAY_MAC)), &CALM).0;
    assert_eq!(
        (unknown.kind, unknown.cause),
        (Kind::Left, Some("next-hop"))
    );
    assert!(unknown.text.contains("to 02:00:00:00:00:fe, not to node-b"));
    let mut other = known();
    let mut third = node("node-c", [10, 244, 3, 1], [172, 16, 0, 3]);
    third.network.devices = vec![device("uplink", GATEWAY_MAC)];
    other.nodes.push(third);
    let other = judge(&other, &bare(Some(GATEWAY_MAC)), &CALM).0;
    assert!(
        other
            .text
            .contains("to node-c (02:00:00:00:00:fe), not to node-b"),
        "{}",
        other.text
    );
}

/// In clouds each frame has the gateway's MAC.
#[test]
fn behind_a_gateway_that_brings_others_there_it_is_lost() {
    let brings = Calm {
        came_in: true,
        ..CALM
    };
    for scene in [by_default(), known(), scene()] {
        assert_eq!(
            judged(&scene, &bare(Some(GATEWAY_MAC)), &brings),
            (Kind::Lost, None)
        );
    }
    // Sent to the node itself, or to all on the link.
    for mac in [MAC_B, Mac([0xff; 6])] {
        assert_eq!(
            judged(&known(), &bare(Some(mac)), &CALM),
            (Kind::Lost, None)
        );
    }
}

#[test]
fn where_it_was_sent_is_not_guessed() {
    let gone = bare(Some(GATEWAY_MAC));
    // Old recordings do not say who has which MAC; some devices have none.
    for (scene, gone) in [(scene(), &gone), (known(), &bare(None))] {
        assert_eq!(judged(&scene, gone, &CALM), (Kind::Unknown, None));
    }
    let (verdict, _) = judge(&scene(), &gone, &CALM);
    let evidence = verdict.evidence.join("; ");
    assert!(
        evidence.contains("it is not known whether that leads to node-b"),
        "{evidence}"
    );
    // Events that were lost may have shown that the gateway brings them there.
    for calm in [
        Calm {
            hops_lost: true,
            ..CALM
        },
        Calm {
            drops_lost: true,
            ..CALM
        },
        Calm {
            packets: None,
            ..CALM
        },
    ] {
        assert_eq!(judged(&by_default(), &gone, &calm).0, Kind::Unknown);
    }
    // A program of somebody else may have sent it another way.
    let mut foreign = by_default();
    foreign.nodes[0].points[UPLINK_OUT].foreign = vec![Foreign {
        id: 42,
        name: String::new(),
    }];
    assert_eq!(
        judged(&foreign, &gone, &CALM),
        (Kind::Unknown, Some("foreign-program"))
    );
    // It came to an interface of the node that nobody watches.
    let mut other = known();
    let devices = &mut other.nodes[1].network.devices;
    devices.push(device("eth7", GATEWAY_MAC));
    let (verdict, _) = judge(&other, &gone, &CALM);
    assert_eq!(verdict.kind, Kind::Unknown);
    let evidence = verdict.evidence.join("; ");
    assert!(evidence.contains("eth7 on node-b"), "{evidence}");
}

#[test]
fn towards_a_node_without_an_agent_the_gateway_is_named() {
    let mut scene = by_default();
    scene.nodes.pop();
    let (verdict, _) = judge(&scene, &bare(Some(GATEWAY_MAC)), &CALM);
    assert_eq!(
        (verdict.kind, verdict.confidence, verdict.cause),
        (Kind::Left, Confidence::Low, Some("default-route"))
    );
    assert_eq!(
        verdict.text,
        "left: went out of uplink to 172.16.0.254 (02:00:00:00:00:fe); node-b is not watched"
    );
    // The node itself is the next hop.
    let way = &mut scene.nodes[0].network.routes[0];
    (way.gateway, way.default) = (Some(NODE_B.into()), false);
    let (verdict, _) = judge(&scene, &bare(Some(GATEWAY_MAC)), &CALM);
    assert_eq!(
        verdict.text,
        "left: went out of uplink towards node-b, which is not watched"
    );
}

/// Its program has seen no packet, and so may not work; its device has
/// received none, and says so.
#[test]
fn where_nothing_comes_in_at_all_it_is_lost() {
    let gone = journey(&WHOLE[..2], Closed::Silence);
    let silent = |packets, counts| Calm {
        packets: Some(packets),
        silence: Some(Silence {
            since: 43_264_000_000_000,
            counts,
        }),
        ..CALM
    };
    let (verdict, parts) = judge(&scene(), &gone, &silent(0, true));
    assert_eq!(
        (verdict.kind, verdict.confidence, verdict.cause, parts.lost),
        (Kind::Lost, Confidence::High, Some("nothing-arrives"), 1)
    );
    let evidence = verdict.evidence.join("; ");
    let said = "nothing at all has come in at uplink on node-b since 12:01:04 UTC";
    assert!(evidence.contains(said), "{evidence}");
    assert!(!evidence.contains("has seen"), "{evidence}");
    // A program that has seen packets before says no more than its device.
    let (verdict, _) = judge(&scene(), &gone, &silent(7, true));
    let evidence = verdict.evidence.join("; ");
    assert!(evidence.contains(said), "{evidence}");
    // The counter may be one that never counts.
    assert_eq!(
        says_with(&silent(0, false), &gone),
        (Kind::Lost, Confidence::Low)
    );
    let unproven = Calm {
        packets: Some(0),
        ..CALM
    };
    assert_eq!(says_with(&unproven, &gone).0, Kind::Unknown);
    // Its agent was not heard of since.
    let unheard = Calm {
        packets: None,
        ..silent(0, true)
    };
    assert_eq!(says_with(&unheard, &gone).0, Kind::Unknown);
}

fn says_with(calm: &Calm, journey: &Journey) -> (Kind, Confidence) {
    let (verdict, _) = judge(&scene(), journey, calm);
    (verdict.kind, verdict.confidence)
}
