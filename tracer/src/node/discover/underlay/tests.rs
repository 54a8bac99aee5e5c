use super::super::fixture::{
    BRIDGE, Node, POD_SIDE, TUNNEL, UPLINK, VETH, VTEP_MAC, found, ip, pod_side_and,
};
use crate::interfaces::Role;

#[test]
fn flannel_between_nodes() {
    let plan = Node::flannel().towards("10.2.0.7", &["192.0.2.2"]);
    let rest = [(Role::Overlay, TUNNEL), (Role::Uplink, UPLINK)];
    assert_eq!(found(&plan), pod_side_and(&rest));
    assert_eq!(plan.interfaces[0].pods, [ip("10.1.0.5")]);
    assert_eq!(
        plan.next_hops,
        [ip("10.1.0.1"), ip("192.0.2.1"), ip("192.0.2.2")]
    );
    assert_eq!(plan.vxlan_ports, [8472]);
    assert_eq!(
        plan.interfaces[3].why,
        "the route to 192.0.2.2, the remote of if7, leads out of it"
    );
    assert!(plan.notes.is_empty(), "{:?}", plan.notes);
}

#[test]
fn a_missing_or_wrong_remote_is_said_and_both_ways_are_observed() {
    let mut node = Node::flannel();
    node.link(3, "", None);
    node.out("192.0.2.99", 3, None);
    node.host.forwarding.retain(|entry| entry.bridge.is_some());
    let rest = [(Role::Overlay, TUNNEL), (Role::Uplink, UPLINK)];

    let missing = node.towards("10.2.0.7", &["192.0.2.2", "2001:db8::2"]);
    assert_eq!(found(&missing), pod_side_and(&rest));
    assert!(
        missing.notes[0].contains("no forwarding entry"),
        "{:?}",
        missing.notes
    );

    let unknown = node.towards("10.2.0.7", &[]);
    assert_eq!(found(&unknown), pod_side_and(&rest[..1]));
    assert!(
        unknown.notes[0].contains("is not known"),
        "{:?}",
        unknown.notes
    );

    let all = node.host.neighbours.clone();
    node.host.neighbours.retain(|entry| entry.device != TUNNEL);
    let silent = node.towards("10.2.0.7", &["192.0.2.2"]);
    assert!(
        silent.notes[0].contains("if7 has no neighbour entry for 10.2.0.0"),
        "{:?}",
        silent.notes
    );
    node.host.neighbours = all;

    node.forward(TUNNEL, None, VTEP_MAC, Some("192.0.2.99"));
    let wrong = node.towards("10.2.0.7", &["192.0.2.2"]);
    let both = [
        (Role::Overlay, TUNNEL),
        (Role::Uplink, UPLINK),
        (Role::Uplink, 3),
    ];
    assert_eq!(found(&wrong), pod_side_and(&both));
    assert!(wrong.notes[0].contains("192.0.2.99"), "{:?}", wrong.notes);
}

#[test]
fn routes_without_a_tunnel_go_to_the_uplinks() {
    let mut node = Node::flannel();
    node.link(3, "", None);
    let ways = [(UPLINK, Some("192.0.2.2")), (3, Some("198.51.100.2"))];
    node.route("10.2.0.7", &ways, false);
    let plan = node.towards("10.2.0.7", &[]);
    let rest = [(Role::Uplink, UPLINK), (Role::Uplink, 3)];
    assert_eq!(found(&plan), pod_side_and(&rest));
    assert!(plan.next_hops.contains(&ip("198.51.100.2")));
}

#[test]
fn ip_tunnels_take_the_gateway_or_the_fixed_remote() {
    let mut node = Node::flannel();
    node.link(TUNNEL, "ipip", None);
    node.host.forwarding.retain(|entry| entry.bridge.is_some());
    node.out("10.2.0.7", TUNNEL, Some("192.0.2.2"));
    let rest = [(Role::Overlay, TUNNEL), (Role::Uplink, UPLINK)];
    for node_addresses in [&["192.0.2.2"][..], &[]] {
        let plan = node.towards("10.2.0.7", node_addresses);
        assert_eq!(found(&plan), pod_side_and(&rest));
        assert!(plan.notes.is_empty(), "{:?}", plan.notes);
    }
    node.out("10.2.0.7", TUNNEL, None);
    node.link(TUNNEL, "ipip", None).remote = Some(ip("192.0.2.2"));
    assert_eq!(found(&node.towards("10.2.0.7", &[])), pod_side_and(&rest));
}

#[test]
fn tunnels_of_every_kind_are_found_by_the_route() {
    let rest = [(Role::Overlay, TUNNEL), (Role::Uplink, UPLINK)];
    let kinds = [
        "geneve",
        "gre",
        "gretap",
        "ip6gre",
        "ip6gretap",
        "sit",
        "ip6tnl",
    ];
    for kind in kinds {
        let outer = if kind.starts_with("ip6") {
            "2001:db8::2"
        } else {
            "192.0.2.2"
        };
        let mut node = Node::flannel();
        node.host.forwarding.retain(|entry| entry.bridge.is_some());
        node.out("2001:db8::2", UPLINK, None);
        let gateway = match kind {
            "sit" => "::192.0.2.2",
            _ => outer,
        };
        // With a remote of its own; with that of the route; with neither, but known addresses of
        // the other node: a tunnel that a program or a switch gives packets to.
        node.link(TUNNEL, kind, None).remote = Some(ip(outer));
        node.out("10.2.0.7", TUNNEL, None);
        let fixed = node.towards("10.2.0.7", &[]);
        node.link(TUNNEL, kind, None);
        let by_node = node.towards("10.2.0.7", &["192.0.2.2", "2001:db8::2"]);
        node.through("10.2.0.7", TUNNEL, outer);
        let by_route = node.towards("10.2.0.7", &[]);
        let mut plans = vec![fixed, by_node, by_route];
        if !node.host.links[&TUNNEL].ether {
            node.out("10.2.0.7", TUNNEL, Some(gateway));
            plans.push(node.towards("10.2.0.7", &[]));
        }
        for plan in plans {
            assert_eq!(found(&plan), pod_side_and(&rest), "{kind}");
            assert!(plan.notes.is_empty(), "{kind}: {:?}", plan.notes);
            let why = format!("the route to {outer}, the remote of if7, leads out of it");
            assert_eq!(plan.interfaces[3].why, why, "{kind}");
        }
    }
}

#[test]
fn a_tunnel_that_takes_packets_elsewhere_than_to_the_pods_node_is_said() {
    let mut node = Node::flannel();
    node.link(3, "", None);
    node.out("192.0.2.99", 3, None);
    node.link(TUNNEL, "geneve", None);
    node.host.forwarding.retain(|entry| entry.bridge.is_some());
    node.through("10.2.0.7", TUNNEL, "192.0.2.99");
    let plan = node.towards("10.2.0.7", &["192.0.2.2"]);
    let both = [
        (Role::Overlay, TUNNEL),
        (Role::Uplink, UPLINK),
        (Role::Uplink, 3),
    ];
    assert_eq!(found(&plan), pod_side_and(&both));
    assert!(plan.notes[0].contains("192.0.2.99"), "{:?}", plan.notes);
}

#[test]
fn an_opaque_tunnel_is_said_to_be_one() {
    let rest = [(Role::Overlay, TUNNEL), (Role::Uplink, UPLINK)];
    for kind in ["wireguard", "xfrm"] {
        let mut node = Node::flannel();
        node.link(TUNNEL, kind, None);
        node.host.forwarding.retain(|entry| entry.bridge.is_some());
        node.out("10.2.0.7", TUNNEL, None);
        let plan = node.towards("10.2.0.7", &["192.0.2.2"]);
        assert_eq!(found(&plan), pod_side_and(&rest), "{kind}");
        assert!(!plan.interfaces[2].l2);
        let [note] = plan.notes.as_slice() else {
            panic!("{:?}", plan.notes);
        };
        assert!(
            note.contains(&format!("cannot decode the tunnel if7 ({kind})")),
            "{note}"
        );
        // Its remote is nothing that routes tell.
        let unknown = node.towards("10.2.0.7", &[]);
        assert_eq!(found(&unknown), pod_side_and(&rest[..1]));
        assert!(
            unknown.notes[1].contains("is not known"),
            "{:?}",
            unknown.notes
        );
    }
}

#[test]
fn ports_of_devices_are_told_to_the_programs() {
    let mut node = Node::flannel();
    node.link(TUNNEL, "geneve", None).geneve_port = Some(7777);
    let plan = node.towards("10.2.0.7", &["192.0.2.2"]);
    assert_eq!(plan.geneve_ports, [7777]);
    assert!(plan.vxlan_ports.is_empty());
}

#[test]
fn calico_between_nodes() {
    for node_addresses in [&["192.0.2.2"][..], &[]] {
        let plan = Node::calico().towards("10.2.0.7", node_addresses);
        let way = [
            (Role::PodVeth, VETH),
            (Role::Overlay, TUNNEL),
            (Role::Uplink, UPLINK),
        ];
        assert_eq!(found(&plan), way);
        let l2: Vec<bool> = plan.interfaces.iter().map(|found| found.l2).collect();
        assert_eq!(l2, [true, false, true]);
        assert!(plan.next_hops.contains(&ip("192.0.2.2")));
        assert!(plan.notes.is_empty(), "{:?}", plan.notes);
    }
}

#[test]
fn a_route_to_another_node_than_the_pods_is_said() {
    let mut node = Node::calico();
    node.link(3, "", None);
    node.out("192.0.2.3", 3, None);
    let plan = node.towards("10.2.0.7", &["192.0.2.3"]);
    let both = [
        (Role::PodVeth, VETH),
        (Role::Overlay, TUNNEL),
        (Role::Uplink, UPLINK),
        (Role::Uplink, 3),
    ];
    assert_eq!(found(&plan), both);
    assert!(plan.notes[0].contains("192.0.2.2"), "{:?}", plan.notes);
}

#[test]
fn a_tunnel_may_be_a_port_of_the_bridge() {
    let mut node = Node::flannel();
    node.link(TUNNEL, "vxlan", Some(BRIDGE));
    node.out("10.1.0.9", BRIDGE, None);
    node.neighbour(BRIDGE, "10.1.0.9", VTEP_MAC);
    node.forward(TUNNEL, Some(BRIDGE), VTEP_MAC, None);
    let rest = [(Role::Overlay, TUNNEL), (Role::Uplink, UPLINK)];
    let plan = node.towards("10.1.0.9", &["192.0.2.2"]);
    assert_eq!(found(&plan), pod_side_and(&rest));
    assert!(plan.notes.is_empty(), "{:?}", plan.notes);

    node.host.neighbours.retain(|entry| entry.mac != VTEP_MAC);
    let cold = node.towards("10.1.0.9", &["192.0.2.2"]);
    assert_eq!(found(&cold), pod_side_and(&rest));
}

#[test]
fn tunnels_that_lead_into_themselves_end() {
    let mut node = Node::flannel();
    node.out("192.0.2.2", TUNNEL, Some("10.2.0.0"));
    let plan = node.towards("10.2.0.7", &["192.0.2.2"]);
    assert_eq!(found(&plan), pod_side_and(&[(Role::Overlay, TUNNEL)]));
    assert!(plan.notes[0].contains("back into if7"), "{:?}", plan.notes);
}

#[test]
fn what_is_down_or_leads_nowhere_is_said() {
    let mut node = Node::flannel();
    node.link(TUNNEL, "vxlan", None).up = false;
    let plan = node.towards("10.2.0.7", &["192.0.2.2"]);
    assert!(
        plan.notes.iter().any(|note| note.contains("if7 is down")),
        "{:?}",
        plan.notes
    );
    let plan = node.towards("10.9.0.7", &[]);
    assert_eq!(found(&plan), POD_SIDE);
    assert!(
        plan.notes[0].contains("there is no route to it"),
        "{:?}",
        plan.notes
    );
}
