//! Whose network a lab is.

use anyhow::Result;

use super::devices::{is_for_another_kernel, kernel_has};

/// Whose network is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wiring {
    /// Flannel's with VXLAN: pods at a bridge. The only one that carries IPv6.
    #[default]
    Flannel,
    /// Flannel's host-gw: pods at a bridge, other nodes as gateways.
    FlannelHostGw,
    /// Flannel's with IP-in-IP: pods at a bridge.
    FlannelIpip,
    /// Calico's with IP-in-IP: pods with routes of their own.
    Calico,
    /// Calico's with VXLAN.
    CalicoVxlan,
    /// The same, but without a tunnel to the nodes of the own subnet.
    CalicoCrossSubnet,
    /// Pods on the uplink itself, each with a MAC address of its own.
    Macvlan,
    /// The same with that of the uplink.
    Ipvlan,
    /// The same, and the nodes route for them.
    IpvlanL3,
}

/// What a packet is put into between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// RFC 7348, in IPv4.
    Vxlan,
    /// RFC 2003.
    IpIp,
}

impl Wiring {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Flannel,
        Self::FlannelHostGw,
        Self::FlannelIpip,
        Self::Calico,
        Self::CalicoVxlan,
        Self::CalicoCrossSubnet,
        Self::Macvlan,
        Self::Ipvlan,
        Self::IpvlanL3,
    ];

    /// The tunnel between nodes, if there is one; see [`Lab::tunnel`](super::Lab::tunnel).
    #[must_use]
    pub const fn tunnel(self) -> Option<Tunnel> {
        match self {
            Self::Flannel | Self::CalicoVxlan | Self::CalicoCrossSubnet => Some(Tunnel::Vxlan),
            Self::FlannelIpip | Self::Calico => Some(Tunnel::IpIp),
            Self::FlannelHostGw | Self::Macvlan | Self::Ipvlan | Self::IpvlanL3 => None,
        }
    }

    /// Whether a node's pods are ports of a bridge; else they have routes.
    #[must_use]
    pub const fn has_bridge(self) -> bool {
        matches!(
            self,
            Self::Flannel | Self::FlannelHostGw | Self::FlannelIpip
        )
    }

    /// Whether pods send by their node's uplink itself: their interfaces have no
    /// other end on the node.
    #[must_use]
    pub const fn shares_uplink(self) -> bool {
        matches!(self, Self::Macvlan | Self::Ipvlan | Self::IpvlanL3)
    }

    /// Whether pods have IPv6.
    #[must_use]
    pub const fn carries_v6(self) -> bool {
        matches!(self, Self::Flannel)
    }

    /// What a tunnel's headers cost, in bytes: the outer IPv4 header, and of
    /// VXLAN the UDP, VXLAN and inner Ethernet headers.
    #[must_use]
    pub const fn overhead(self) -> u32 {
        match self.tunnel() {
            Some(Tunnel::Vxlan) => 50,
            Some(Tunnel::IpIp) => 20,
            None => 0,
        }
    }

    /// Whether this kernel cannot have it, so that a test of it must leave it
    /// to another one, which it says. Never true where
    /// [`MACHINE_VARIABLE`](super::MACHINE_VARIABLE) is set.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn is_for_another_kernel(self) -> Result<bool> {
        is_for_another_kernel(&format!("devices for {self:?}"), self.is_possible()?)
    }

    pub(super) fn is_possible(self) -> Result<bool> {
        if matches!(self, Self::Ipvlan | Self::IpvlanL3) {
            return kernel_has("link add link one name probe type ipvlan");
        }
        match self.tunnel() {
            Some(Tunnel::IpIp) => kernel_has("link add name probe type ipip local 192.0.2.1"),
            Some(Tunnel::Vxlan) | None => Ok(true),
        }
    }
}
