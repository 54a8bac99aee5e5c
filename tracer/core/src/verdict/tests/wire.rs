//! Packets that left by an uplink and were not seen to come in: where they were sent.

use super::*;
use crate::model::{Device, Mac, Tunnel, Way};

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

/// As [`known`], and node A sends B's packets to its gateway by the default route.
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

/// A packet that left node A without a tunnel, in a frame to this MAC.
fn bare(mac: Option<Mac>) -> Journey {
    let mut gone = journey(&WHOLE[..2], Closed::Silence);
    (gone.steps[1].encap, gone.steps[1].dst_mac) = (None, mac);
    gone
}

fn judged(scene: &Scene, journey: &Journey, calm: &Calm) -> (Kind, Option<Cause>) {
    let (verdict, _) = judge(scene, journey, calm);
    (verdict.kind, verdict.cause)
}

#[test]
fn what_was_sent_to_the_gateway_has_left() {
    let (verdict, parts) = judge(&by_default(), &bare(Some(GATEWAY_MAC)), &CALM);
    assert_eq!(
        (verdict.kind, verdict.confidence, verdict.cause),
        (Kind::Left, Confidence::High, Some(Cause::DefaultRoute))
    );
    assert_eq!((parts.lost, parts.unknown), (0, parts.sent));
    let to = |node, address| Outcome::Astray {
        step: 1,
        station: Station {
            mac: GATEWAY_MAC,
            node,
            address,
        },
        node: "node-b".to_owned(),
    };
    assert_eq!(verdict.outcome, to(None, Some(GATEWAY.into())));
    assert!(rests_on!(verdict, Evidence::Route { node: 0, way } if way.default));
    // The owner of the MAC is unknown, or is another node.
    let unknown = judge(&known(), &bare(Some(GATEWAY_MAC)), &CALM).0;
    assert_eq!(
        (unknown.kind, unknown.cause),
        (Kind::Left, Some(Cause::NextHop))
    );
    assert_eq!(unknown.outcome, to(None, None));
    // The MAC is that of another node's device that nobody observes, such as a bridge.
    let mut other = with_third();
    other.nodes[2].network.devices[0].interface = "docker0".to_owned();
    let other = judge(&other, &bare(Some(GATEWAY_MAC)), &CALM).0;
    assert_eq!(other.outcome, to(Some(2), None));
}

/// As [`known`], with a third node that has the gateway's MAC.
fn with_third() -> Scene {
    let mut scene = known();
    let mut third = node("node-c", [10, 244, 3, 1], [172, 16, 0, 3]);
    third.network.devices = vec![device("uplink", GATEWAY_MAC)];
    scene.nodes.push(third);
    scene
}

/// The next hop is a node with an agent, which forwards packets to the destination's node.
#[test]
fn what_a_watched_next_hop_did_not_get_is_lost_on_the_way_there() {
    let gone = bare(Some(GATEWAY_MAC));
    for came_in in [Some(false), Some(true), None] {
        let calm = Calm { came_in, ..CALM };
        let (verdict, _) = judge(&with_third(), &gone, &calm);
        assert_eq!((verdict.kind, verdict.cause), (Kind::Lost, None));
        let is_there = rests_on!(verdict, Evidence::Missing { leg, .. } if leg.node == 2);
        assert!(is_there, "{verdict:?}");
    }
}

/// Two nodes have the MAC, as clones of a machine do, or the destination's node has it as well.
#[test]
fn a_mac_of_two_nodes_leads_to_neither() {
    let gone = bare(Some(GATEWAY_MAC));
    for (other, index) in [("node-b", 1), ("node-d", 3)] {
        let mut scene = with_third();
        scene
            .nodes
            .push(node("node-d", [10, 244, 4, 1], [172, 16, 0, 4]));
        let devices = &mut scene.nodes[index].network.devices;
        devices.push(device("uplink", GATEWAY_MAC));
        assert_eq!(judged(&scene, &gone, &CALM).0, Kind::Unknown, "{other}");
    }
}

/// The third node had the MAC before the packet was sent.
#[test]
fn a_mac_of_a_device_that_was_gone_leads_nowhere() {
    let gone = bare(Some(GATEWAY_MAC));
    let mut scene = with_third();
    scene.nodes[2].network.devices[0].until = Some(1);
    let (verdict, _) = judge(&scene, &gone, &CALM);
    assert_ne!(verdict.kind, Kind::Lost);
    // The destination's node had it.
    let mut scene = known();
    let mut own = device("uplink", GATEWAY_MAC);
    own.until = Some(1);
    scene.nodes[1].network.devices.push(own);
    assert_eq!(judged(&scene, &gone, &CALM).0, Kind::Unknown);
}

/// Too many ways were seen to remember whether others by this gateway came in there.
#[test]
fn what_is_forgotten_does_not_say_that_a_frame_went_elsewhere() {
    let forgotten = Calm {
        came_in: None,
        ..CALM
    };
    for scene in [by_default(), known()] {
        let judged = judged(&scene, &bare(Some(GATEWAY_MAC)), &forgotten);
        assert_eq!(judged.0, Kind::Unknown);
    }
}

/// In a cloud, every frame has the gateway's MAC.
#[test]
fn behind_a_gateway_that_brings_others_there_it_is_lost() {
    let brings = Calm {
        came_in: Some(true),
        ..CALM
    };
    for scene in [by_default(), known(), scene()] {
        assert_eq!(
            judged(&scene, &bare(Some(GATEWAY_MAC)), &brings),
            (Kind::Lost, None)
        );
    }
    // The frame was sent to the node itself, or to all machines on the link.
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
    // Old recordings do not have the owners of MACs; frames of some devices have none.
    for (scene, gone) in [(scene(), &gone), (known(), &bare(None))] {
        assert_eq!(judged(&scene, gone, &CALM), (Kind::Unknown, None));
    }
    let (verdict, _) = judge(&scene(), &gone, &CALM);
    assert!(rests_on!(verdict, Evidence::SentToUnknown { node, .. } if node == "node-b"));
    // The lost events may have shown that the gateway forwards packets to node B.
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
    // The pod may be on the wire itself (macvlan), so its node does not know its MAC.
    let mut shared = known();
    let points = &mut shared.nodes[1].points;
    points.retain(|point| point.role == Role::Uplink);
    assert_eq!(judged(&shared, &gone, &CALM), (Kind::Unknown, None));
    shared.nodes[0].network.routes = by_default().nodes[0].network.routes.clone();
    assert_eq!(judged(&shared, &gone, &CALM).0, Kind::Left);
    // No agent watches the devices by which packets come in.
    let mut blind = by_default();
    let points = &mut blind.nodes[1].points;
    points.retain(|point| point.role != Role::Uplink);
    assert_eq!(judged(&blind, &gone, &CALM), (Kind::Unknown, None));
    // Another tool's program may have redirected the packet.
    let mut foreign = by_default();
    foreign.nodes[0].points[UPLINK_OUT].foreign = vec![Foreign {
        id: 42,
        name: String::new(),
    }];
    assert_eq!(
        judged(&foreign, &gone, &CALM),
        (Kind::Unknown, Some(Cause::ForeignProgram))
    );
    // The packet came to an interface of the node that is not observed.
    let mut other = known();
    let devices = &mut other.nodes[1].network.devices;
    devices.push(device("eth7", GATEWAY_MAC));
    let (verdict, _) = judge(&other, &gone, &CALM);
    assert_eq!(verdict.kind, Kind::Unknown);
    let unobserved = Evidence::SentToUnobserved {
        interface: "eth7".to_owned(),
        node: "node-b".to_owned(),
    };
    assert!(verdict.evidence.contains(&unobserved), "{verdict:?}");
}

#[test]
fn towards_a_node_without_an_agent_the_gateway_is_named() {
    let mut scene = by_default();
    scene.nodes.pop();
    let (verdict, _) = judge(&scene, &bare(Some(GATEWAY_MAC)), &CALM);
    assert_eq!(
        (verdict.kind, verdict.confidence, verdict.cause),
        (Kind::Left, Confidence::Low, Some(Cause::DefaultRoute))
    );
    let node = || "node-b".to_owned();
    let by_gateway = Outcome::LeftBy {
        step: 1,
        gateway: GATEWAY.into(),
        mac: Some(GATEWAY_MAC),
        node: node(),
    };
    assert_eq!(verdict.outcome, by_gateway);
    // The node itself is the next hop.
    let way = &mut scene.nodes[0].network.routes[0];
    (way.gateway, way.default) = (Some(NODE_B.into()), false);
    let direct = way.clone();
    let (verdict, _) = judge(&scene, &bare(Some(GATEWAY_MAC)), &CALM);
    let (step, node) = (1, node());
    let left_for = Outcome::LeftFor { step, node };
    assert_eq!(verdict.outcome, left_for);
    // An agent was there, and left before.
    let mut scene = by_default();
    scene.nodes[0].network.routes[0] = direct;
    let nobody = |scene: &Scene| judge(scene, &bare(Some(GATEWAY_MAC)), &CALM).0.outcome;
    assert_ne!(nobody(&scene), left_for);
    for point in &mut scene.nodes[1].points {
        point.until = Some(1);
    }
    assert_eq!(nobody(&scene), left_for);
}

/// The point's program has seen no packet, so it may not work. The device's own counter says that
/// it received none.
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
        (Kind::Lost, Confidence::High, Some(Cause::NothingArrives), 1)
    );
    let silence = Evidence::Silent {
        leg: on_the_wire(1),
        since: 43_264_000_000_000,
    };
    assert!(verdict.evidence.contains(&silence), "{verdict:?}");
    assert!(rests_on!(verdict, Evidence::Missing { packets: None, .. }));
    // A program that has seen packets before adds nothing to its device's counter.
    let (verdict, _) = judge(&scene(), &gone, &silent(7, true));
    assert!(verdict.evidence.contains(&silence), "{verdict:?}");
    // The device's counter may be one that never counts.
    assert_eq!(
        says_with(&silent(0, false), &gone),
        (Kind::Lost, Confidence::Low)
    );
    let unproven = Calm {
        packets: Some(0),
        ..CALM
    };
    assert_eq!(says_with(&unproven, &gone).0, Kind::Unknown);
    // The agent has sent no report since.
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

/// The scene with a VXLAN device on each node.
fn tunnelled(ends: [(u32, u16); 2]) -> Scene {
    let mut scene = known();
    for (hello, (vni, port)) in scene.nodes.iter_mut().zip(ends) {
        let mut end = device("overlay", Mac([2, 0, 0, 0, 1, 1]));
        end.tunnel = Some(Tunnel {
            kind: EncapKind::Vxlan,
            vni: Some(vni),
            port,
        });
        hello.network.devices.push(end);
        let own = [172, 16, 1, 1];
        for direction in [Direction::Ingress, Direction::Egress] {
            hello.points.push(point(Role::Overlay, direction, own));
        }
    }
    scene
}

/// Points of a node with a tunnel, by index.
const OVERLAY_OUT: usize = 5;

const IN_TUNNEL: [(usize, usize); 4] = [
    (0, FROM_POD),
    (0, OVERLAY_OUT),
    (0, UPLINK_OUT),
    (1, UPLINK_IN),
];

#[test]
fn tunnels_that_do_not_agree_are_told_with_each_packet() {
    let came = journey(&IN_TUNNEL, Closed::Silence);
    let told = |ends, journey: &Journey| {
        let (verdict, _) = judge(&tunnelled(ends), journey, &CALM);
        (verdict.kind, verdict.cause, verdict)
    };
    let agreed = told([(1, 8472), (1, 8472)], &came);
    assert_eq!((agreed.0, agreed.1), (Kind::Unknown, None));
    assert!(!rests_on!(agreed.2, Evidence::Mismatch { .. }));

    let (kind, cause, verdict) = told([(1, 8472), (2, 8472)], &came);
    assert_eq!((kind, cause), (Kind::Unknown, Some(Cause::Vni)));
    assert_eq!(verdict.outcome, Outcome::NotTaken { node: 1 });
    let its = Tunnel {
        kind: EncapKind::Vxlan,
        vni: Some(2),
        port: 8472,
    };
    let mismatch = Evidence::Mismatch {
        kind: EncapKind::Vxlan,
        vni: Some(1),
        port: Some(8472),
        node: 1,
        devices: vec![("overlay".to_owned(), its)],
    };
    assert!(verdict.evidence.contains(&mismatch), "{verdict:?}");

    let port = told([(1, 8472), (1, 4789)], &came);
    assert_eq!((port.0, port.1), (Kind::Unknown, Some(Cause::TunnelPort)));

    // A node's programs look for the UDP ports of its own devices. They may have missed packets to
    // another port.
    let gone = journey(&IN_TUNNEL[..3], Closed::Silence);
    let lost = told([(1, 8472), (2, 8472)], &gone);
    assert_eq!((lost.0, lost.1), (Kind::Lost, Some(Cause::Vni)));
    let port = told([(1, 8472), (1, 4789)], &gone);
    assert_eq!((port.0, port.1), (Kind::Unknown, Some(Cause::TunnelPort)));

    // A device that existed when the packet was sent may have accepted the packet.
    let mut scene = tunnelled([(1, 8472), (1, 8472)]);
    let devices = &mut scene.nodes[1].network.devices;
    let mut anew = devices[1].clone();
    (devices[1].until, anew.tunnel) = (
        Some(1),
        Some(Tunnel {
            kind: EncapKind::Vxlan,
            vni: Some(7),
            port: 8472,
        }),
    );
    devices.push(anew);
    assert_eq!(judged(&scene, &came, &CALM), (Kind::Unknown, None));
    let mut late = came.clone();
    for step in &mut late.steps {
        step.time += 1;
    }
    assert_eq!(
        judged(&scene, &late, &CALM),
        (Kind::Unknown, Some(Cause::Vni))
    );
}

#[test]
fn a_tunnel_to_nobody_takes_it_away() {
    let mut gone = journey(&WHOLE[..2], Closed::Silence);
    let stranger = [192, 168, 50, 9].into();
    for step in &mut gone.steps {
        if let Some(encap) = &mut step.encap {
            encap.outer_dst = stranger;
        }
    }
    let (verdict, _) = judge(&scene(), &gone, &CALM);
    assert_eq!(
        (verdict.kind, verdict.confidence, verdict.cause),
        (Kind::Left, Confidence::High, Some(Cause::NoNode))
    );
    assert_eq!(verdict.outcome, Outcome::NoNode { remote: stranger });
    assert!(rests_on!(verdict, Evidence::Home(home) if home.node == "node-b"));
    // The address may stand for the node's: other packets to it came in.
    let brings = Calm {
        came_in: Some(true),
        ..CALM
    };
    assert_eq!(judged(&scene(), &gone, &brings), (Kind::Unknown, None));
    // The node's agent has the address among its own.
    let mut own = scene();
    own.nodes[1].local.push(stranger);
    assert_eq!(judged(&own, &gone, &CALM), (Kind::Lost, None));
    // Nobody knows the addresses of the receiver's node.
    let mut unknown = scene();
    disown(&mut unknown, B);
    assert_eq!(judged(&unknown, &gone, &CALM), (Kind::Unknown, None));
}
