//! From a remote address to the devices that carry packets towards it.
//!
//! The route names a device. If it is a tunnel, its packets travel inside others, so the same question is
//! asked again for the tunnel's far end: for VXLAN the neighbour entry of the route's gateway gives a MAC
//! and the device's forwarding table the far end; other tunnels have it fixed, or as the route's gateway;
//! failing that, the remote's node has addresses. A bridge may have a tunnel among its ports. A device that
//! is none of these is the uplink, and so is the device below a VLAN, and each that a bond sends out of: a
//! packet passes both, and which of a bond's it is shows only there. Of a bridge it is the bridge alone.
//!
//! A tunnel's outer packets may go into another one, as those of a cloud's network. Where that one ends is
//! nothing that a cluster knows.
//!
//! Where tunnel and cluster disagree about the far end (a stale or wrong forwarding entry) both ways are
//! observed, and a note says so: the disagreement may be what the user is looking for.

use std::net::IpAddr;

use super::{
    DiscoverError, Remote, Role, Router,
    link::Link,
    plan::Draft,
    route::{Hop, Route},
    table::Mac,
};

/// Finds the overlay devices and uplinks towards one remote, unless it lives on this node.
pub(super) fn locate(
    draft: &mut Draft<'_>,
    router: &mut impl Router,
    remote: &Remote,
    pods: &[IpAddr],
) -> Result<(), DiscoverError> {
    let host = draft.host;
    let here = |address: &IpAddr| host.owns(*address);
    if pods.contains(&remote.address) || remote.node_addresses.iter().any(here) {
        return Ok(());
    }
    let mut search = Search {
        draft,
        router,
        remote,
    };
    search.follow(remote.address, &[])
}

/// `entered` are the tunnels that the packets are in, the outermost last.
struct Search<'a, 'b, R> {
    draft: &'a mut Draft<'b>,
    router: &'a mut R,
    remote: &'a Remote,
}

impl<'b, R: Router> Search<'_, 'b, R> {
    /// Follows packets to `target`: the remote itself, or the far end of the outermost tunnel.
    fn follow(&mut self, target: IpAddr, entered: &[&'b Link]) -> Result<(), DiscoverError> {
        let (hops, source) = match self.router.route(target)? {
            Route::Out { hops, source, .. } => (hops, source),
            Route::Local => {
                if let Some(tunnel) = entered.last() {
                    self.draft.note(format!(
                        "{} sends packets for {} to this node itself ({target})",
                        tunnel.name, self.remote.address
                    ));
                }
                return Ok(());
            }
            Route::None(why) => {
                self.draft
                    .note(format!("packets to {target} cannot leave this node: {why}"));
                return Ok(());
            }
        };
        let why = entered.last().map_or_else(
            || format!("the route to {target} leads out of it"),
            |tunnel| {
                format!(
                    "the route to {target}, the far end of {}, leads out of it",
                    tunnel.name
                )
            },
        );
        for Hop { device, gateway } in hops {
            let next = gateway.unwrap_or(target);
            self.leave(device, next, source, &why, entered)?;
        }
        Ok(())
    }

    /// Goes out of a device to the next hop.
    fn leave(
        &mut self,
        device: u32,
        next: IpAddr,
        source: Option<IpAddr>,
        why: &str,
        entered: &[&'b Link],
    ) -> Result<(), DiscoverError> {
        let host = self.draft.host;
        let mac = host.mac_of(device, next);
        let link = host.links.get(&device);
        if let Some(tunnel) = link.filter(|link| link.is_tunnel()) {
            self.draft.add(Role::Overlay, device, why.to_owned());
            return self.enter(tunnel, next, mac, entered);
        }
        // Before the bridge has learned where the next hop is, it floods, also into its tunnels.
        let port = mac.and_then(|mac| host.port_of(device, mac)).or_else(|| {
            let mut links = host.links.values();
            links.find(|link| link.master == Some(device) && link.is_tunnel())
        });
        if let Some(tunnel) = port.filter(|port| port.is_tunnel()) {
            self.draft.add(Role::Bridge, device, why.to_owned());
            let why = format!("the port of {} towards {next}", host.name(device));
            self.draft.add(Role::Overlay, tunnel.index, why);
            return self.enter(tunnel, next, mac, entered);
        }
        self.draft.add(Role::Uplink, device, why.to_owned());
        self.draft.add_below(device);
        self.draft.add_next_hop(next);
        if let Some(source) = source {
            self.draft.add_next_hop(source);
        }
        Ok(())
    }

    /// Goes on in the underlay of a tunnel.
    fn enter(
        &mut self,
        tunnel: &'b Link,
        next: IpAddr,
        mac: Option<Mac>,
        entered: &[&'b Link],
    ) -> Result<(), DiscoverError> {
        if entered.iter().any(|link| link.index == tunnel.index) {
            self.draft.note(format!(
                "the outer packets of {} are routed back into {}: they never leave this node",
                tunnel.name, tunnel.name
            ));
            return Ok(());
        }
        if let Some(local) = tunnel.vxlan.as_ref().and_then(|vxlan| vxlan.local) {
            self.draft.add_next_hop(local);
        }
        let is_outer = !entered.is_empty();
        let ends = self.far_ends(tunnel, next, mac, is_outer);
        if ends.is_empty() {
            self.draft.note(format!(
                "the far end of {} towards {} is not known, so no uplink is observed: give the \
                 addresses of its node",
                tunnel.name, self.remote.address
            ));
        }
        let entered = [entered, &[tunnel]].concat();
        for end in ends {
            self.follow(end, &entered)?;
        }
        Ok(())
    }

    /// The outer addresses to which a tunnel may send packets for the remote. `is_outer`: those packets are
    /// another tunnel's.
    fn far_ends(
        &mut self,
        tunnel: &Link,
        next: IpAddr,
        mac: Option<Mac>,
        is_outer: bool,
    ) -> Vec<IpAddr> {
        let remote = self.remote;
        let usable = |address: &&IpAddr| tunnel.carries_over(**address) && !is_outer;
        let node: Vec<_> = remote
            .node_addresses
            .iter()
            .filter(usable)
            .copied()
            .collect();
        let mut ends = self.draft.host.far_ends_of(tunnel.index, mac);
        if ends.is_empty() {
            ends.extend(tunnel.far_end);
        }
        // Tunnels without a forwarding table take the route's gateway, which then is the node itself; of most
        // kinds that is a guess.
        let takes_gateway = matches!(tunnel.kind.as_str(), "ipip" | "gre");
        let plausible = takes_gateway || node.is_empty() || node.contains(&next);
        if ends.is_empty() && tunnel.vxlan.is_none() && plausible {
            let gateway = Some(next).filter(|next| *next != remote.address);
            ends.extend(gateway.filter(|gateway| tunnel.carries_over(*gateway)));
        }
        if node.is_empty() || ends.iter().any(|end| node.contains(end)) {
            return ends;
        }
        if let [end, ..] = ends.as_slice() {
            let note = format!(
                "{} sends packets for {} to {end}, which is not among the known addresses of its node",
                tunnel.name, remote.address
            );
            self.draft.note(note);
        } else if tunnel.vxlan.is_some() {
            let note = format!(
                "{} has no forwarding entry towards {next}: the uplink is the one towards {}'s node",
                tunnel.name, remote.address
            );
            self.draft.note(note);
        }
        ends.extend(node);
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Role,
        fixture::{
            BRIDGE, Node, POD_SIDE, TUNNEL, UPLINK, VETH, VTEP_MAC, found, ip, pod_side_and,
        },
    };

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
            "the route to 192.0.2.2, the far end of if7, leads out of it"
        );
        assert!(plan.notes.is_empty(), "{:?}", plan.notes);
    }

    #[test]
    fn a_missing_or_wrong_far_end_is_said_and_both_ways_are_observed() {
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
    fn ip_tunnels_take_the_gateway_or_the_fixed_far_end() {
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
        node.link(TUNNEL, "ipip", None).far_end = Some(ip("192.0.2.2"));
        assert_eq!(found(&node.towards("10.2.0.7", &[])), pod_side_and(&rest));
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
}
