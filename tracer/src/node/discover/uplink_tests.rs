//! Uplinks on top of others, and tunnels in tunnels.

use super::{
    Role, Vxlan,
    fixture::{Node, TUNNEL, UPLINK, found, ip, pod_side_and},
};

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
