//! Two nodes with a pod each, watched in one way or another.

use std::net::IpAddr;

use arbitrary::{Result, Unstructured};
use tracer_core::{
    journey::Scene,
    model::{Direction, Foreign, Hello, Network, Owner, OwnerKind, Point, Role},
};

/// The pods, by node.
pub(super) const PODS: [&str; 2] = ["default/a", "default/b"];

/// Which addresses of a family to take.
pub(super) type Addresses = [[IpAddr; 2]; 2];

/// The pods' addresses, by family and node.
pub(super) const POD_ADDRESSES: Addresses = family([1, 5], [2, 7]);

/// The nodes' own.
pub(super) const NODES: Addresses = family([0, 1], [0, 2]);

const fn family(one: [u8; 2], other: [u8; 2]) -> Addresses {
    [[v4(one), v4(other)], [v6(one), v6(other)]]
}

const fn v4([net, host]: [u8; 2]) -> IpAddr {
    IpAddr::V4(std::net::Ipv4Addr::new(10, 244, net, host))
}

const fn v6([net, host]: [u8; 2]) -> IpAddr {
    let (net, host) = (net as u16, host as u16);
    IpAddr::V6(std::net::Ipv6Addr::new(0xfd00, net, 0, 0, 0, 0, 0, host))
}

/// Those of the scene's family.
pub(super) fn addresses(scene: &Scene, of: Addresses) -> [IpAddr; 2] {
    let v6 = scene.sources.iter().any(|net| net.addr().is_ipv6());
    of[usize::from(v6)]
}

/// A scene.
pub(super) fn read(bytes: &mut Unstructured<'_>) -> Result<Scene> {
    let ways: u8 = bytes.arbitrary()?;
    let way = |bit: u8| ways & (1 << bit) != 0;
    let family = usize::from(way(0));
    let mut scene = Scene {
        since: if way(1) { i64::MAX } else { 0 },
        sources: vec![POD_ADDRESSES[family][0].into()],
        ..Scene::default()
    };
    let agents = if way(2) { 1 } else { 2 };
    for node in 0..2 {
        let name = ["node-a", "node-b"][node];
        let (pod, own) = (POD_ADDRESSES[family][node], NODES[family][node]);
        if !way(3) {
            for (address, owner, kind) in [
                (pod, PODS[node], OwnerKind::Pod),
                (own, name, OwnerKind::Node),
            ] {
                let owner = Owner {
                    name: owner.to_owned(),
                    kind,
                    node: name.to_owned(),
                };
                scene.owners.insert(address, owner);
            }
        }
        if node >= agents {
            continue;
        }
        let mut devices = vec![
            (Role::Veth, "veth0", pod),
            (Role::Bridge, "cni0", own),
            (Role::Uplink, "eth0", own),
        ];
        if way(4) {
            devices.push((Role::Pod, "eth0", pod));
        }
        scene.nodes.push(Hello {
            node: name.to_owned(),
            boot_id: if way(5) { name } else { "one" }.to_owned(),
            kernel: None,
            realtime_offset: 0,
            clock_bound: 0,
            points: devices
                .into_iter()
                .flat_map(|(role, interface, address)| {
                    [Direction::Ingress, Direction::Egress].map(|direction| Point {
                        netns: if role == Role::Pod {
                            PODS[node]
                        } else {
                            "host"
                        }
                        .to_owned(),
                        interface: interface.to_owned(),
                        ifindex: 2,
                        direction,
                        hook: "tcx".into(),
                        role,
                        kind: String::new(),
                        addresses: vec![address],
                        why: String::new(),
                        foreign: if way(6) {
                            vec![Foreign {
                                id: 1,
                                name: String::new(),
                            }]
                        } else {
                            Vec::new()
                        },
                        since: 0,
                        until: None,
                    })
                })
                .collect(),
            streams: 1,
            next_hops: Vec::new(),
            local: vec![own],
            drops: (!way(7)).then(Vec::new),
            drops_later: Vec::new(),
            network: Network::default(),
            snaplen: 0,
            notes: Vec::new(),
        });
    }
    Ok(scene)
}
