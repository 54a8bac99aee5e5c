//! Finds the host-side end of a pod's interface, and its bridge, by the pod's address.
//!
//! The route to the pod names a device. A device that is one end of a pair and has a route for
//! the pod alone is the result (Calico, ptp). On a bridge (Flannel, kubenet, CNI's bridge
//! plugin) the neighbour table has the pod's MAC address, and the forwarding database has the
//! port. Both forget. Then, and for other ways to route to pods (Cilium), the pod's own
//! namespace is searched.
//!
//! A pod may have no peer on the node: a macvlan or ipvlan device sends by a shared device of
//! the node. Then the shared device is observed as an uplink. The pod's own interface is
//! observed, too, even without a request, because nothing else shows that a packet reached the
//! pod.

use std::net::IpAddr;

use super::{
    DiscoverError, Request, Router,
    attributes::Mac,
    namespaces::{PodLink, Search},
    plan::Draft,
    route::Route,
    table::Host,
};
use crate::interfaces::{PodNamespace, Role};

/// Finds the pods of a request, and those remotes that are on this node.
///
/// `look_inside` searches the pods' own namespaces.
pub(super) fn locate(
    draft: &mut Draft<'_>,
    router: &mut impl Router,
    request: &Request,
    look_inside: impl Fn(&[IpAddr]) -> Result<Search, DiscoverError>,
) -> Result<(), DiscoverError> {
    let host = draft.host;
    let also_here = request
        .remotes
        .iter()
        .filter(|remote| remote.node_addresses.iter().any(|&node| host.owns(node)))
        .map(|remote| remote.address)
        .filter(|address| !request.pods.contains(address));
    let mut wanted = Vec::new();
    for pod in request.pods.iter().copied().chain(also_here) {
        if host.owns(pod) {
            draft.note(format!(
                "{pod} is this node's own address (a pod in the host's network): it has no interface of \
                 its own"
            ));
        } else {
            wanted.push((pod, by_tables(host, router, pod)?));
        }
    }

    let sought: Vec<_> = wanted
        .iter()
        .filter(|(_, found)| request.pod_interfaces || found.is_err())
        .map(|&(pod, _)| pod)
        .collect();
    let inside = if sought.is_empty() {
        Search::default()
    } else {
        look_inside(&sought)?
    };

    for (pod, by_tables) in wanted {
        let link = inside.found.iter().find(|link| link.pod == pod);
        let shared = link.filter(|link| by_tables.is_err() && link.shares_device());
        let found = by_tables.or_else(|why| by_own_link(host, pod, link, &why, &inside.notes));
        match found {
            Ok(found) if shared.is_some() => {
                let passes_by = shared.filter(|link| !link.routed_below);
                draft.count_pod(passes_by.is_none());
                if let Some(link) = passes_by {
                    draft.note(passes_rules_by(pod, link));
                }
                draft.add(Role::Uplink, found.device, found.why);
                draft.add_below(found.device);
                if let Some(mac) = link.and_then(|link| link.mac) {
                    draft.add_mac(found.device, mac);
                }
            }
            Ok(found) => {
                draft.count_pod(true);
                add(draft, pod, found);
            }
            Err(error) if request.pods.contains(&pod) && !draft.lenient => return Err(error),
            Err(error) => draft.note(error.to_string()),
        }
        if !request.pod_interfaces && shared.is_none() {
            continue;
        }
        let Some(link) = link else {
            draft.note(format!(
                "the network namespace of pod {pod} was not found: its own interface is not observed"
            ));
            inside.notes.iter().for_each(|note| draft.note(note));
            continue;
        };
        draft.add_namespace(PodNamespace {
            pod,
            path: link.path.clone(),
            ifindex: link.index,
            name: link.name.clone(),
            kind: link.kind.clone(),
        });
    }
    Ok(())
}

/// The host-side end of a pod's interface, and how it was found.
#[derive(Debug)]
struct Found {
    device: u32,
    why: String,
}

/// Finds a pod by the host's own tables; the error says why they fail.
fn by_tables(
    host: &Host,
    router: &mut impl Router,
    pod: IpAddr,
) -> Result<Result<Found, String>, DiscoverError> {
    let (hop, host_route) = match router.route(pod)? {
        Route::Out {
            hops, host_route, ..
        } => match hops.into_iter().next() {
            Some(hop) => (hop, host_route),
            None => return Ok(Err("its route names no device".to_owned())),
        },
        Route::Local => return Ok(Err("its route ends on the node itself".to_owned())),
        Route::None(why) => return Ok(Err(why)),
    };
    let name = host.name(hop.device);
    if let Some(gateway) = hop.gateway {
        return Ok(Err(format!("its route leads to {gateway} over {name}")));
    }
    Ok(match host.links.get(&hop.device) {
        // A route for a whole subnet over a pair proves nothing, because nodes in containers
        // have such uplinks.
        Some(link) if link.is_pair() && host_route => Ok(Found {
            device: hop.device,
            why: format!("the route to pod {pod} leads to it"),
        }),
        Some(link) if link.is_bridge() => by_bridge(host, hop.device, pod),
        _ => Err(format!(
            "its route leads out of {name}, which is no pod's interface"
        )),
    })
}

fn by_bridge(host: &Host, bridge: u32, pod: IpAddr) -> Result<Found, String> {
    let name = host.name(bridge);
    let Some(mac) = host.mac_of(bridge, pod) else {
        return Err(format!("{name} has no neighbour entry for it"));
    };
    let mac_text = hex(mac);
    let Some(port) = host.port_of(bridge, mac) else {
        return Err(format!(
            "{name} has no forwarding entry for its MAC {mac_text}"
        ));
    };
    if !port.is_pair() {
        return Err(format!(
            "{name} has its MAC {mac_text} behind {}, which is no pod's interface",
            port.name
        ));
    }
    Ok(Found {
        device: port.index,
        why: format!("the port of {name} behind which pod {pod} ({mac_text}) is"),
    })
}

/// Finds a pod by the interface in its own namespace.
fn by_own_link(
    host: &Host,
    pod: IpAddr,
    link: Option<&PodLink>,
    why: &str,
    notes: &[String],
) -> Result<Found, DiscoverError> {
    let Some(link) = link else {
        let mut why =
            format!("{why}, and no network namespace with that address is linked to this one");
        for note in notes {
            why.push_str("; ");
            why.push_str(note);
        }
        return Err(DiscoverError::PodInterface { pod, why });
    };
    if !link.is_pair && !link.shares_device() {
        let kind = link.kind.clone();
        return Err(DiscoverError::PodKind { pod, kind });
    }
    if !host.links.contains_key(&link.lower) {
        let why = format!(
            "interface {}, which its {} leads to, is gone",
            link.lower, link.name
        );
        return Err(DiscoverError::PodInterface { pod, why });
    }
    let why = if link.is_pair {
        format!("the peer of {} in pod {pod}'s namespace ({why})", link.name)
    } else {
        format!(
            "pod {pod} sends by it: its {} is a {}",
            link.name, link.kind
        )
    };
    Ok(Found {
        device: link.lower,
        why,
    })
}

fn add(draft: &mut Draft<'_>, pod: IpAddr, found: Found) {
    let host = draft.host;
    let device = found.device;
    draft.add(Role::PodVeth, device, found.why);
    draft.add_pod(device, pod);
    let name = host.name(device);
    let master = host.links.get(&device).and_then(|link| link.master);
    // The pod's gateway is an address of its bridge, or of the host-side end.
    let gateway = match master.and_then(|index| host.links.get(&index)) {
        Some(bridge) if bridge.is_bridge() => {
            draft.add(
                Role::Bridge,
                bridge.index,
                format!("the bridge that {name} is a port of"),
            );
            bridge.index
        }
        Some(other) => {
            draft.note(format!(
                "{name} is a port of {} ({}), which is not observed",
                other.name, other.kind
            ));
            device
        }
        None => device,
    };
    host.addresses_of(gateway)
        .for_each(|address| draft.add_next_hop(address));
}

/// A note on a pod whose packets the node only sends on.
fn passes_rules_by(pod: IpAddr, link: &PodLink) -> String {
    format!(
        "{} of pod {pod} ({}) passes the node's rules by: the node's Services and policies do not \
         apply to the pod's packets",
        link.name, link.kind
    )
}

fn hex(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use tracer_core::model::{Device, Mac};

    use super::super::{
        DiscoverError, Remote,
        fixture::{BRIDGE, Node, POD_MAC, POD_SIDE, UPLINK, VETH, found, ip, only_pod},
    };
    use crate::interfaces::Role;

    #[test]
    fn a_silent_pod_is_found_by_its_own_interface() {
        let mut node = Node::flannel();
        node.pod_link("10.1.0.5", "veth", VETH);
        let (mut no_neighbour, mut no_port) = (node.host.clone(), node.host.clone());
        no_neighbour.neighbours.clear();
        no_port.forwarding.clear();
        for host in [no_neighbour, no_port] {
            node.host = host;
            let plan = node.plan(&only_pod(false)).expect("a plan");
            assert_eq!(found(&plan), POD_SIDE);
            assert!(
                plan.interfaces[0].why.contains("the peer of eth0"),
                "{}",
                plan.interfaces[0].why
            );
        }
    }

    #[test]
    fn a_pod_that_is_nowhere_is_an_error_that_says_what_was_tried() {
        let mut node = Node::flannel();
        node.host.neighbours.clear();
        let error = node.plan(&only_pod(false)).expect_err("no such pod");
        assert_eq!(
            error.to_string(),
            "node-side interface of pod 10.1.0.5 was not found: if5 has no neighbour entry for it, and no \
             network namespace with that address is linked to this one; is the pod running on this node?"
        );
        node.routes.clear();
        let error = node.plan(&only_pod(false)).expect_err("no such pod");
        assert!(
            error.to_string().contains("there is no route to it"),
            "{error}"
        );
    }

    #[test]
    fn a_pair_with_a_route_of_its_own_needs_no_bridge() {
        let mut node = Node::default();
        node.link(VETH, "veth", None);
        node.host.addresses = vec![(VETH, ip("fe80::1"))];
        node.route("10.1.0.5", &[(VETH, None)], true);
        let plan = node.plan(&only_pod(false)).expect("a plan");
        assert_eq!(found(&plan), [(Role::PodVeth, VETH)]);
        assert_eq!(plan.next_hops, [ip("fe80::1")]);
    }

    #[test]
    fn an_uplink_that_is_a_pair_is_not_taken_for_a_pod() {
        let mut node = Node::default();
        node.link(UPLINK, "veth", None);
        node.route("10.1.0.5", &[(UPLINK, None)], false);
        let error = node
            .plan(&only_pod(false))
            .expect_err("an uplink is no pod");
        assert!(
            matches!(error, DiscoverError::PodInterface { .. }),
            "{error}"
        );
    }

    #[test]
    fn a_pod_without_a_host_side_is_named_by_its_kind() {
        let mut node = Node::flannel();
        node.host.neighbours.clear();
        node.pod_link("10.1.0.5", "wireguard", UPLINK);
        let error = node.plan(&only_pod(false)).expect_err("no host side");
        assert!(matches!(error, DiscoverError::PodKind { ref kind, .. } if kind == "wireguard"));
    }

    #[test]
    fn a_pod_without_a_host_side_is_observed_inside() {
        let mut node = Node::flannel();
        node.host.neighbours.clear();
        // If the node is a container, even the device below is one end of a pair.
        node.link(UPLINK, "veth", None);
        node.pod_link("10.1.0.5", "macvlan", UPLINK);
        // The node itself has no route to the pod's destinations.
        let plan = node.towards("10.99.0.7", &["192.0.2.2"]);
        assert_eq!(found(&plan), [(Role::Uplink, UPLINK)]);
        assert_eq!(
            plan.interfaces[0].why,
            "pod 10.1.0.5 sends by it: its eth0 is a macvlan"
        );
        let [inside] = plan.pod_namespaces.as_slice() else {
            panic!("{:?}", plan.pod_namespaces);
        };
        assert_eq!((&*inside.name, &*inside.kind), ("eth0", "macvlan"));
        assert_eq!(
            plan.notes,
            [
                "eth0 of pod 10.1.0.5 (macvlan) passes the node's rules by: the node's Services and \
                 policies do not apply to the pod's packets"
            ]
        );
        // Frames for the pod come in at the device below.
        let mac = |device: &Device| (device.interface.clone(), device.mac);
        let macs: Vec<_> = plan.network.devices.iter().map(mac).collect();
        assert!(
            macs.contains(&("if2".to_owned(), Some(Mac(POD_MAC)))),
            "{macs:?}"
        );
    }

    #[test]
    fn pods_in_the_hosts_network_are_a_note() {
        let mut node = Node::flannel();
        node.host.addresses.push((UPLINK, ip("10.1.0.5")));
        let plan = node.plan(&only_pod(true)).expect("a plan");
        assert!(found(&plan).is_empty());
        assert_eq!(plan.notes.len(), 1);
    }

    #[test]
    fn own_interfaces_are_given_when_asked_for() {
        let mut node = Node::flannel();
        let without = node.plan(&only_pod(true)).expect("a plan");
        assert!(without.pod_namespaces.is_empty() && without.notes.len() == 1);
        node.pod_link("10.1.0.5", "veth", VETH);
        let plan = node.plan(&only_pod(true)).expect("a plan");
        assert_eq!(plan.pod_namespaces[0].name, "eth0");
        assert_eq!(plan.pod_namespaces[0].pod, ip("10.1.0.5"));
    }

    #[test]
    fn pods_of_one_node_need_no_tunnel() {
        let mut node = Node::flannel();
        let mac = [2, 0, 0, 0, 0, 0x12];
        node.link(8, "veth", Some(BRIDGE));
        node.out("10.1.0.6", BRIDGE, None);
        node.neighbour(BRIDGE, "10.1.0.6", mac);
        node.forward(8, Some(BRIDGE), mac, None);
        let both = [
            (Role::PodVeth, VETH),
            (Role::PodVeth, 8),
            (Role::Bridge, BRIDGE),
        ];
        assert_eq!(found(&node.towards("10.1.0.6", &["192.0.2.1"])), both);

        let mut request = only_pod(false);
        request.pods.push(ip("10.1.0.6"));
        let address = ip("10.1.0.6");
        request.remotes.push(Remote {
            address,
            node_addresses: Vec::new(),
        });
        assert_eq!(found(&node.plan(&request).expect("a plan")), both);
    }
}
