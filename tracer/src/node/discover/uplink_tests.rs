//! Uplinks on top of others, tunnels in tunnels, and what is encrypted without one.

use tracer_core::model::{Device, EncapKind, Mac, Tunnel, Way};

use super::{
    fixture::{Node, TUNNEL, UPLINK, found, ip, pod_side_and},
    ipsec::Policy,
    route::Route,
};
use crate::interfaces::{Role, Vxlan};

#[test]
fn below_a_vlan_or_a_bond_the_devices_are_uplinks_too() {
    let mut node = Node::flannel();
    node.out("192.0.2.2", 10, None);
    node.link(10, "vlan", None).lower = Some(UPLINK);
    let rest = [
        (Role::Overlay, TUNNEL),
        (Role::Uplink, UPLINK),
        (Role::Uplink, 10),
    ];
    let plan = node.towards("10.2.0.7", &["192.0.2.2"]);
    assert_eq!(found(&plan), pod_side_and(&rest));
    assert_eq!(plan.interfaces[3].why, "if10 sends out of it");
    // One whose device below is another namespace's.
    let link = node.link(10, "vlan", None);
    (link.lower, link.lower_namespace) = (Some(UPLINK), Some(1));
    let plan = node.towards("10.2.0.7", &["192.0.2.2"]);
    assert_eq!(found(&plan), pod_side_and(&[rest[0], rest[2]]));

    node.link(10, "bond", None);
    node.link(11, "", Some(10));
    node.link(12, "", Some(10));
    let plan = node.towards("10.2.0.7", &["192.0.2.2"]);
    let rest = [10, 11, 12].map(|index| (Role::Uplink, index));
    let all = [&[(Role::Overlay, TUNNEL)][..], &rest].concat();
    assert_eq!(found(&plan), pod_side_and(&all));
}

#[test]
fn a_tunnel_may_go_into_that_of_a_cloud() {
    let mut node = Node::flannel();
    node.link(10, "vxlan", None).vxlan = Some(Vxlan {
        vni: 9,
        port: 4790,
        local: Some(ip("198.51.100.1")),
    });
    node.out("192.0.2.2", 10, None);
    node.out("198.51.100.2", UPLINK, None);
    node.forward(10, None, [0; 6], Some("198.51.100.2"));
    let plan = node.towards("10.2.0.7", &["192.0.2.2"]);
    let rest = [
        (Role::Overlay, TUNNEL),
        (Role::Overlay, 10),
        (Role::Uplink, UPLINK),
    ];
    assert_eq!(found(&plan), pod_side_and(&rest));
    assert_eq!(plan.vxlan_ports, [8472, 4790]);
    assert!(plan.notes.is_empty(), "{:?}", plan.notes);
}

#[test]
fn what_is_encrypted_by_a_policy_is_said() {
    let policy = |from: &str, to: &str| Policy {
        from: from.parse().expect("a network"),
        to: to.parse().expect("a network"),
    };
    let inside = policy("10.1.0.0/24", "10.2.0.0/24");
    let outside = policy("192.0.2.1/32", "192.0.2.2/32");
    let mut node = Node::flannel();
    let mut notes = |policy: &Policy, gateway| {
        node.host.policies = vec![policy.clone()];
        let (device, via) = if gateway {
            (UPLINK, "192.0.2.2")
        } else {
            (TUNNEL, "10.2.0.0")
        };
        node.out("10.2.0.7", device, Some(via));
        node.towards("10.2.0.7", &["192.0.2.2"]).notes
    };
    let said = |to| {
        format!(
            "IPsec encrypts packets for {to} before they leave by if2: they are not seen going out there"
        )
    };
    assert_eq!(notes(&inside, true), [said("10.2.0.7")]);
    assert_eq!(notes(&outside, false), [said("192.0.2.2")]);
    // A policy sees either what is in the tunnel, or the tunnel's packets.
    assert!(notes(&inside, false).is_empty());
    assert!(notes(&outside, true).is_empty());
    assert!(notes(&policy("10.9.0.0/24", "10.2.0.0/24"), true).is_empty());
}

#[test]
fn what_faces_other_nodes_is_told_and_pods_interfaces_are_not() {
    let mut node = Node::flannel();
    let mac = [2, 0, 0, 0, 0, 0x33];
    node.link(UPLINK, "", None).mac = Some(mac);
    node.link(6, "veth", Some(5)).mac = Some([2, 0, 0, 0, 0, 0x44]);
    let device = |index: u32, mac, tunnel| Device {
        interface: format!("if{index}"),
        mac,
        tunnel,
        until: None,
    };
    let tunnel = Tunnel {
        kind: EncapKind::Vxlan,
        vni: Some(1),
        port: 8472,
    };
    let plan = node.towards("10.2.0.7", &["192.0.2.2"]);
    let uplink = device(UPLINK, Some(Mac(mac)), None);
    let devices = [uplink.clone(), device(TUNNEL, None, Some(tunnel))];
    assert_eq!(plan.network.devices, devices);
    assert!(plan.network.routes.is_empty(), "all leave in a tunnel");
    // In the lab, the uplink is a veth.
    node.link(UPLINK, "veth", None).mac = Some(mac);
    assert_eq!(node.towards("10.2.0.7", &[]).network.devices[0], uplink);
}

#[test]
fn the_next_hop_of_what_leaves_without_a_tunnel_is_told() {
    let mut node = Node::flannel();
    node.out("10.2.0.7", UPLINK, Some("192.0.2.254"));
    if let Some(Route::Out { default, .. }) = node.routes.get_mut(&ip("10.2.0.7")) {
        *default = true;
    }
    let way = Way {
        to: ip("10.2.0.7"),
        interface: "if2".to_owned(),
        gateway: Some(ip("192.0.2.254")),
        mac: None,
        default: true,
    };
    let told = |node: &Node| node.towards("10.2.0.7", &["192.0.2.2"]).network.routes;
    assert_eq!(told(&node), std::slice::from_ref(&way));
    let mac = [2, 0, 0, 0, 0, 0xfe];
    node.neighbour(UPLINK, "192.0.2.254", mac);
    let mac = Some(Mac(mac));
    assert_eq!(told(&node), [Way { mac, ..way }]);
}
