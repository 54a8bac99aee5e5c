//! Two nodes with a pod each, as unit tests see them: their points, and journeys
//! between them.

use std::net::IpAddr;

use crate::{
    journey::{Closed, Course, Journey, Scene, Step},
    model::{
        Direction, Encap, EncapKind, Hello, Names, Network, Owner, OwnerKind, Owners, Packet,
        Point, Role, Transport,
    },
    verdict::{Confidence, Kind, Outcome, Verdict},
};

pub(crate) const A: [u8; 4] = [10, 244, 1, 5];
pub(crate) const B: [u8; 4] = [10, 244, 2, 7];
pub(crate) const NODE_A: [u8; 4] = [172, 16, 0, 1];
pub(crate) const NODE_B: [u8; 4] = [172, 16, 0, 2];

/// Points of a node, by index.
pub(crate) const FROM_POD: usize = 0;
pub(crate) const TO_POD: usize = 1;
pub(crate) const UPLINK_IN: usize = 2;
pub(crate) const UPLINK_OUT: usize = 3;
pub(crate) const INTO_POD: usize = 4;

pub(crate) fn point(role: Role, direction: Direction, address: [u8; 4]) -> Point {
    Point {
        netns: if role == Role::Pod {
            "default/b"
        } else {
            "host"
        }
        .to_owned(),
        interface: format!("{role:?}").to_lowercase(),
        ifindex: role as u32,
        direction,
        hook: "tcx".into(),
        role,
        kind: "veth".to_owned(),
        addresses: vec![address.into()],
        why: String::new(),
        foreign: Vec::new(),
        since: 0,
        until: None,
    }
}

pub(crate) fn node(name: &str, pod: [u8; 4], own: [u8; 4]) -> Hello {
    Hello {
        node: name.to_owned(),
        boot_id: "one".to_owned(),
        kernel: None,
        realtime_offset: 0,
        clock_bound: 0,
        streams: 1,
        points: vec![
            point(Role::Veth, Direction::Ingress, pod),
            point(Role::Veth, Direction::Egress, pod),
            point(Role::Uplink, Direction::Ingress, own),
            point(Role::Uplink, Direction::Egress, own),
        ],
        next_hops: Vec::new(),
        local: vec![own.into()],
        drops: Some(vec!["default/a".into(), "default/b".into()]),
        drops_later: Vec::new(),
        network: Network::default(),
        snaplen: 0,
        notes: Vec::new(),
    }
}

pub(crate) fn scene() -> Scene {
    let owner = |name: &str, kind, node: &str| Owner {
        name: name.to_owned(),
        kind,
        node: node.to_owned(),
    };
    Scene {
        nodes: vec![node("node-a", A, NODE_A), node("node-b", B, NODE_B)].into(),
        owners: Owners::from_iter([
            (A.into(), owner("default/a", OwnerKind::Pod, "node-a")),
            (B.into(), owner("default/b", OwnerKind::Pod, "node-b")),
            (NODE_A.into(), owner("node-a", OwnerKind::Node, "node-a")),
            (NODE_B.into(), owner("node-b", OwnerKind::Node, "node-b")),
        ]),
        since: 0,
        sources: Vec::new(),
        asked: Vec::new(),
        names: Names::default(),
    }
}

/// Takes an address to be nobody's.
pub(crate) fn disown(scene: &mut Scene, address: [u8; 4]) {
    let all = scene.owners.iter();
    let others = all.filter(|(other, _)| *other != IpAddr::from(address));
    scene.owners = others
        .map(|(other, owned)| (other, owned.clone()))
        .collect();
}

/// A verdict of a kind, of which nothing else matters.
pub(crate) fn verdict(kind: Kind) -> Verdict {
    Verdict {
        kind,
        confidence: Confidence::High,
        cause: None,
        drop: None,
        outcome: Outcome::Reached,
        waits: None,
        evidence: Vec::new(),
    }
}

/// A journey from A to B that was seen at these points, wrapped on uplinks.
pub(crate) fn journey(way: &[(usize, usize)], closed: Closed) -> Journey {
    let steps = (0..)
        .zip(way)
        .map(|(time, (node, point))| Step {
            node: *node,
            point: *point,
            time,
            len: 98,
            segments: 1,
            ttl: 64,
            src_mac: None,
            dst_mac: None,
            vlan: None,
            encap: [UPLINK_IN, UPLINK_OUT].contains(point).then(|| Encap {
                kind: EncapKind::Vxlan,
                vni: Some(1),
                outer_src: NODE_A.into(),
                outer_dst: NODE_B.into(),
                levels: 1,
            }),
            ends: None,
            seen: 1,
            parts: [(0, 1)].into(),
            captured: None,
        })
        .collect();
    Journey {
        id: 1,
        packet: Packet {
            src: A.into(),
            dst: B.into(),
            ttl: 64,
            ip_id: Some(1),
            fragment: None,
            len: 84,
            transport: Transport::Udp {
                src_port: 1,
                dst_port: 2,
                len: 64,
                dns: None,
            },
            payload_hash: Some(0),
        },
        steps,
        conversation: 1,
        direction: Course::Request,
        drops: Vec::new(),
        answers: None,
        asks: false,
        answered_by: None,
        asked_again: false,
        impostor: None,
        stand_in: None,
        refusal: None,
        acked: smallvec::SmallVec::new(),
        retransmits: None,
        took: None,
        ambiguous: false,
        reassembled: false,
        translated: None,
        closed,
    }
}
