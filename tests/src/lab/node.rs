//! Nodes and pods, with their addresses of each IP version.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Wiring;
use crate::netns::Netns;

/// A node: the network namespace of its host.
#[derive(Clone, Debug)]
pub struct Node {
    /// The node's name in Kubernetes.
    pub name: String,
    /// The host's network namespace.
    pub netns: Netns,
    /// The node's address among the nodes: Kubernetes' InternalIP and the outer address of tunnels.
    pub underlay: Ipv4Addr,
    /// The interface to the other nodes: one end of a veth pair.
    pub uplink: String,
    /// The device of the routes to the other nodes: the uplink, or a device on top of it.
    pub way: String,
    /// The second uplink; empty if there is none.
    pub second_uplink: String,
    /// The MAC address of the uplink.
    pub uplink_mac: String,
    /// The bridge whose ports are the node's pods, if the wiring has one.
    pub bridge: String,
    /// The MAC address of the bridge.
    pub bridge_mac: String,
    /// The bridge's address, which is the gateway of the node's pods.
    pub bridge_v4: Ipv4Addr,
    /// The bridge's IPv6 address, which is the gateway of the node's pods.
    pub bridge_v6: Ipv6Addr,
    /// The tunnel device, if the wiring has one.
    pub overlay: String,
    /// The tunnel device of IPv6: the same device, or a separate one.
    pub overlay_of_v6: String,
    /// The MAC address of the VXLAN device: the inner destination of incoming packets.
    pub overlay_mac: String,
    /// The address of the tunnel device.
    pub overlay_v4: Ipv4Addr,
    /// The IPv6 address of the VXLAN device.
    pub overlay_v6: Ipv6Addr,
    /// The network of the node's pods, a /24.
    pub pod_cidr_v4: String,
    /// The IPv6 network of the node's pods, a /64.
    pub pod_cidr_v6: String,
    /// The veth peer of the uplink: a port of the middle box's bridge.
    pub middle_port: String,
}

impl Node {
    /// Whether the node has two uplinks, and routes by both.
    #[must_use]
    pub fn has_two_ways(&self) -> bool {
        !self.second_uplink.is_empty() && self.way == self.uplink
    }

    /// The node's IPv6 address among the nodes, where they have one.
    #[must_use]
    pub fn underlay_v6(&self) -> Ipv6Addr {
        let [a, b, c, d] = self.underlay.octets().map(u16::from);
        Ipv6Addr::new(0xfd00, 0xff, a, b, c, 0, 0, d)
    }

    /// The gateways of the node's default routes. Only a host outside of the cluster may have
    /// these.
    #[must_use]
    pub fn gateways(&self) -> (Ipv4Addr, Ipv6Addr) {
        let [a, b, c, _] = self.underlay.octets();
        let [e, f, g, h, ..] = self.underlay_v6().segments();
        (
            Ipv4Addr::new(a, b, c, 1),
            Ipv6Addr::new(e, f, g, h, 0, 0, 0, 0xffff),
        )
    }

    /// The node's address among the nodes, of an IP version.
    #[must_use]
    pub fn address(&self, v6: bool) -> IpAddr {
        if v6 {
            self.underlay_v6().into()
        } else {
            self.underlay.into()
        }
    }

    /// The node's address in outer packets, for inner packets of an IP version.
    #[must_use]
    pub fn outer(&self, wiring: Wiring, v6: bool) -> IpAddr {
        self.address(wiring.underlay_is_v6(v6))
    }

    /// The node's tunnel device of an IP version.
    #[must_use]
    pub fn tunnel_device(&self, v6: bool) -> &str {
        if v6 {
            &self.overlay_of_v6
        } else {
            &self.overlay
        }
    }

    /// The address of that device, which is the next hop of other nodes if the tunnel carries
    /// frames.
    #[must_use]
    pub fn tunnel_address(&self, v6: bool) -> IpAddr {
        if v6 {
            self.overlay_v6.into()
        } else {
            self.overlay_v4.into()
        }
    }

    /// The network of the node's pods, of an IP version.
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
    /// The pod's name in Kubernetes.
    pub name: String,
    /// The pod's namespace in Kubernetes, which has nothing to do with `netns`.
    pub namespace: String,
    /// The pod's UID in Kubernetes.
    pub uid: String,
    /// The index of its node in [`Lab::nodes`](super::Lab::nodes).
    pub node: usize,
    /// The pod's network namespace.
    pub netns: Netns,
    /// The pod's IPv4 address.
    pub v4: Ipv4Addr,
    /// The pod's IPv6 address, if the wiring carries IPv6.
    pub v6: Ipv6Addr,
    /// The name of the pod's interface inside the pod.
    pub interface: String,
    /// The MAC address of the pod's interface.
    pub mac: String,
    /// The veth peer of the pod's interface on the host, a port of the node's bridge if it has one.
    pub veth: String,
}

impl Pod {
    /// The pod's address of an IP version.
    #[must_use]
    pub fn address(&self, v6: bool) -> IpAddr {
        if v6 { self.v6.into() } else { self.v4.into() }
    }
}
