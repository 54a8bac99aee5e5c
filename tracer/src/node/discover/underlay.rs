//! Finds the devices that carry packets to a remote address.
//!
//! The route names a device. If it is a tunnel, the search goes on for the tunnel's remote
//! address. For VXLAN, the neighbour entry of the route's gateway has a MAC address, and the
//! device's forwarding database has the remote VTEP for it. Other tunnels have a fixed remote
//! address, or take the route's gateway; otherwise, the addresses of the remote's node count. A
//! bridge may have a tunnel among its ports. Any other device is the uplink. The device below a
//! VLAN and each device of a bond are uplinks as well: a packet passes both, and only there it
//! is visible which one of a bond it took. Of a bridge, only the bridge itself counts.
//!
//! A tunnel's packets may enter another tunnel, such as that of a cloud's network. The cluster
//! does not know where that one ends.
//!
//! If tunnel and cluster disagree about the remote address (a stale or wrong forwarding
//! database entry), both paths are observed, and a note says so. The disagreement may be the
//! fault that the user looks for.

use std::net::IpAddr;

use tracer_core::{model::is_opaque, request::OUTSIDE};

use super::{
    DiscoverError, Remote, Router,
    link::Link,
    plan::Draft,
    route::{Hop, Route},
};
use crate::interfaces::Role;

/// Finds the overlay devices and uplinks towards one remote, unless it is on this node.
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
        pods,
    };
    search.follow(remote.address, &[])
}

/// Name of an address for a sentence; addresses that stand for others get their meaning.
fn called(target: IpAddr) -> String {
    if OUTSIDE.contains(&target) {
        let family = if target.is_ipv4() { "IPv4" } else { "IPv6" };
        format!("outside of the cluster by {family}")
    } else {
        target.to_string()
    }
}

/// `entered` are the tunnels that the packets are in, the outermost last.
struct Search<'a, 'b, R> {
    draft: &'a mut Draft<'b>,
    router: &'a mut R,
    remote: &'a Remote,
    pods: &'a [IpAddr],
}

impl<'b, R: Router> Search<'_, 'b, R> {
    /// Follows packets to `target`: the remote itself, or the remote address of the outermost
    /// tunnel.
    fn follow(&mut self, target: IpAddr, entered: &[&'b Link]) -> Result<(), DiscoverError> {
        let (hops, source, default) = match self.router.route(target)? {
            Route::Out {
                hops,
                source,
                default,
                host_route: _,
            } => (hops, source, default),
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
                self.draft.note(format!(
                    "packets to {} cannot leave this node: {why}",
                    called(target)
                ));
                return Ok(());
            }
        };
        let why = entered.last().map_or_else(
            || format!("the route to {} leads out of it", called(target)),
            |tunnel| {
                format!(
                    "the route to {target}, the remote of {}, leads out of it",
                    tunnel.name
                )
            },
        );
        for hop in hops {
            let uplink = self.leave(&hop, target, source, &why, entered)?;
            if uplink && entered.is_empty() {
                self.draft.add_way(target, &hop, default);
            }
        }
        Ok(())
    }

    /// Follows packets out of a device to the next hop. Returns whether the device is an
    /// uplink, by which packets leave unchanged.
    fn leave(
        &mut self,
        hop: &Hop,
        target: IpAddr,
        source: Option<IpAddr>,
        why: &str,
        entered: &[&'b Link],
    ) -> Result<bool, DiscoverError> {
        let host = self.draft.host;
        let (device, next) = (hop.device, hop.gateway.unwrap_or(target));
        let mac = host.mac_of(device, next);
        let link = host.links.get(&device);
        if let Some(tunnel) = link.filter(|link| link.is_tunnel()) {
            self.draft.add(Role::Overlay, device, why.to_owned());
            return self.enter(tunnel, hop, target, entered).map(|()| false);
        }
        // Before the bridge has learned the port of the next hop, it floods frames, also into
        // its tunnels.
        let port = mac.and_then(|mac| host.port_of(device, mac)).or_else(|| {
            let mut links = host.links.values();
            links.find(|link| link.master == Some(device) && link.is_tunnel())
        });
        if let Some(tunnel) = port.filter(|port| port.is_tunnel()) {
            self.draft.add(Role::Bridge, device, why.to_owned());
            let why = format!("the port of {} towards {next}", host.name(device));
            self.draft.add(Role::Overlay, tunnel.index, why);
            return self.enter(tunnel, hop, target, entered).map(|()| false);
        }
        self.draft.add(Role::Uplink, device, why.to_owned());
        self.draft.add_below(device);
        let senders = if entered.is_empty() {
            self.pods
        } else {
            source.as_slice()
        };
        if host.encrypts(senders, target) {
            self.draft.note(format!(
                "IPsec encrypts packets for {target} before they leave by {}: they are not seen going out \
                 there",
                host.name(device)
            ));
        }
        self.draft.add_next_hop(next);
        if let Some(source) = source {
            self.draft.add_next_hop(source);
        }
        Ok(true)
    }

    /// Continues in the underlay of a tunnel.
    fn enter(
        &mut self,
        tunnel: &'b Link,
        hop: &Hop,
        target: IpAddr,
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
        if is_opaque(&tunnel.kind) {
            self.draft.note(format!(
                "tracer cannot decode the tunnel {} ({}): packets are seen where they enter and \
                 leave it",
                tunnel.name, tunnel.kind
            ));
        }
        let is_outer = !entered.is_empty();
        let ends = self.remotes(tunnel, hop, target, is_outer);
        if ends.is_empty() {
            self.draft.note(format!(
                "the remote of {} towards {} is not known, so no uplink is observed: give the \
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

    /// Outer addresses to which a tunnel may send packets for the remote. `is_outer`: these
    /// packets are another tunnel's.
    fn remotes(&mut self, tunnel: &Link, hop: &Hop, target: IpAddr, is_outer: bool) -> Vec<IpAddr> {
        let (host, remote) = (self.draft.host, self.remote);
        let next = hop.gateway.unwrap_or(target);
        let usable = |address: &&IpAddr| tunnel.carries_over(**address) && !is_outer;
        let node: Vec<_> = remote
            .node_addresses
            .iter()
            .filter(usable)
            .copied()
            .collect();
        let mut ends: Vec<_> = hop.remote.into_iter().collect();
        if ends.is_empty() {
            ends = host.remotes_of(tunnel.index, host.mac_of(hop.device, next));
        }
        if ends.is_empty() {
            ends.extend(tunnel.remote);
        }
        // Tunnels that carry IP packets take the route's gateway, which is the remote node
        // then. For most kinds, that is a guess.
        let takes_gateway = matches!(tunnel.kind.as_str(), "ipip" | "sit" | "ip6tnl");
        let plausible = |end: &IpAddr| takes_gateway || node.is_empty() || node.contains(end);
        if ends.is_empty() && !tunnel.ether && next != remote.address {
            ends.extend(tunnel.outer_address(next).filter(plausible));
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
            // Without the MAC address, it is not known which fdb entry counts.
            let missing = match host.mac_of(hop.device, next) {
                Some(_) => format!("{} has no forwarding entry towards {next}", tunnel.name),
                None => format!(
                    "{} has no neighbour entry for {next}",
                    host.name(hop.device)
                ),
            };
            let note = format!(
                "{missing}: the uplink is the one towards {}'s node",
                remote.address
            );
            self.draft.note(note);
        }
        ends.extend(node);
        ends
    }
}

#[cfg(test)]
mod tests;
