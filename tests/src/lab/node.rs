//! Nodes and pods, and what they have of each IP version.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Wiring;
use crate::netns::Netns;

/// A node: the network namespace that plays its host.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name in Kubernetes.
    pub name: String,
    /// Its host's network namespace.
    pub netns: Netns,
    /// Its address among the nodes: Kubernetes' InternalIP and the tunnel's outer address.
    pub underlay: Ipv4Addr,
    /// The interface towards the other nodes: the end of a cable.
    pub uplink: String,
    /// What the routes to the other nodes lead out of: the uplink, or what is on
    /// top of it.
    pub way: String,
    /// The second uplink, if there is one; else empty.
    pub second_uplink: String,
    /// The MAC address of the uplink.
    pub uplink_mac: String,
    /// The bridge that its pods are ports of, if the wiring has one.
    pub bridge: String,
    /// The MAC address of the bridge.
    pub bridge_mac: String,
    /// The bridge's address, the gateway of its pods.
    pub bridge_v4: Ipv4Addr,
    /// The bridge's IPv6 address, the gateway of its pods.
    pub bridge_v6: Ipv6Addr,
    /// The tunnel device, if the wiring has one.
    pub overlay: String,
    /// The tunnel device of IPv6: the same, or one of its own.
    pub overlay_of_v6: String,
    /// The MAC address of the VXLAN device: the inner destination of what comes in.
    pub overlay_mac: String,
    /// The address of the tunnel device.
    pub overlay_v4: Ipv4Addr,
    /// The IPv6 address of the VXLAN device.
    pub overlay_v6: Ipv6Addr,
    /// The network of its pods, a /24.
    pub pod_cidr_v4: String,
    /// The IPv6 network of its pods, a /64.
    pub pod_cidr_v6: String,
    /// The other end of its uplink: a port of the middle box's bridge.
    pub middle_port: String,
}

impl Node {
    /// Whether it has two uplinks, and routes by both.
    #[must_use]
    pub fn has_two_ways(&self) -> bool {
        !self.second_uplink.is_empty() && self.way == self.uplink
    }

    /// Its IPv6 address among the nodes, where they have one.
    #[must_use]
    pub fn underlay_v6(&self) -> Ipv6Addr {
        let [a, b, c, d] = self.underlay.octets().map(u16::from);
        Ipv6Addr::new(0xfd00, 0xff, a, b, c, 0, 0, d)
    }

    /// The gateways of its default routes; nobody has these addresses, but somebody outside.
    #[must_use]
    pub fn gateways(&self) -> (Ipv4Addr, Ipv6Addr) {
        let [a, b, c, _] = self.underlay.octets();
        let [e, f, g, h, ..] = self.underlay_v6().segments();
        (
            Ipv4Addr::new(a, b, c, 1),
            Ipv6Addr::new(e, f, g, h, 0, 0, 0, 0xffff),
        )
    }

    /// Its address among the nodes, of an IP version.
    #[must_use]
    pub fn address(&self, v6: bool) -> IpAddr {
        if v6 {
            self.underlay_v6().into()
        } else {
            self.underlay.into()
        }
    }

    /// The address that its tunnel's packets have, if they carry IPv6, or do not.
    #[must_use]
    pub fn outer(&self, wiring: Wiring, v6: bool) -> IpAddr {
        self.address(wiring.underlay_is_v6(v6))
    }

    /// Its tunnel device of an IP version.
    #[must_use]
    pub fn tunnel_device(&self, v6: bool) -> &str {
        if v6 {
            &self.overlay_of_v6
        } else {
            &self.overlay
        }
    }

    /// The address of that device: the next hop of others to it, where the tunnel
    /// carries frames.
    #[must_use]
    pub fn tunnel_address(&self, v6: bool) -> IpAddr {
        if v6 {
            self.overlay_v6.into()
        } else {
            self.overlay_v4.into()
        }
    }

    /// The network of its pods, of an IP version.
    #[must_use]
    pub fn pod_cidr(&self, v6: bool) -> &str {
        if v6 {
            &self.pod_cidr_v6
        } else {
            &self.pod_cidr_v4
        }
    }
}

/// A pod: a network namespace with one interface.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its name in Kubernetes.
    pub name: String,
    /// Its namespace in Kubernetes, which has nothing to do with `netns`.
    pub namespace: String,
    /// Its UID in Kubernetes.
    pub uid: String,
    /// The index of its node in [`Lab::nodes`](super::Lab::nodes).
    pub node: usize,
    /// Its network namespace.
    pub netns: Netns,
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address, if the wiring carries IPv6.
    pub v6: Ipv6Addr,
    /// Its interface, as it is called inside.
    pub interface: String,
    /// The MAC address of its interface.
    pub mac: String,
    /// The host's end of its interface, a port of the node's bridge if it has one.
    pub veth: String,
}

impl Pod {
    /// Its address of an IP version.
    #[must_use]
    pub fn address(&self, v6: bool) -> IpAddr {
        if v6 { self.v6.into() } else { self.v4.into() }
    }
}
