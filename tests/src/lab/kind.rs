//! The kinds of networks that a lab can have.

use anyhow::{Context as _, Result};

use super::devices::{is_for_another_kernel, kernel_has, was_chosen};

/// The network plugin that a lab imitates, and its tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wiring {
    /// Flannel's with VXLAN: pods at a bridge.
    #[default]
    Flannel,
    /// Flannel's with VXLAN in IPv6: the nodes have addresses of both versions.
    FlannelOverV6,
    /// Flannel's host-gw: pods at a bridge, other nodes as gateways.
    FlannelHostGw,
    /// Flannel's with IP-in-IP: pods at a bridge.
    FlannelIpip,
    /// Calico's with IP-in-IP: each pod has a route.
    Calico,
    /// Calico's with VXLAN.
    CalicoVxlan,
    /// Calico's with VXLAN, but without a tunnel to nodes of the same subnet.
    CalicoCrossSubnet,
    /// Calico's with IP-in-IP, but without a tunnel to nodes of the same subnet.
    CalicoIpipCrossSubnet,
    /// Calico's with a VXLAN device for each IP version, each over the same version.
    CalicoDualStack,
    /// Pods on the uplink itself, each with its own MAC address.
    Macvlan,
    /// Pods on the uplink itself, with the uplink's MAC address.
    Ipvlan,
    /// As [`Wiring::Ipvlan`], but the nodes route for the pods.
    IpvlanL3,
    /// Pods at a bridge; one Geneve device for all nodes, to which routes give the remote.
    Geneve,
    /// Pods at a bridge; GRE that carries IP packets, with the remote in the routes.
    Gre,
    /// Pods at a bridge; 6in4, one device for all nodes, which also carries IPv4.
    SixInFour,
    /// Pods at a bridge; GRE that carries frames.
    GreFrames,
    /// GRE in IPv6, which carries IP packets.
    GreInV6,
    /// Pods at a bridge; a device that puts IP packets of both versions into IPv6, to one remote.
    /// There are two nodes.
    IpInV6,
    /// Flannel's with WireGuard: pods at a bridge.
    WireGuard,
    /// Pods at a bridge; IPsec with a device (XFRM).
    IpSec,
}

/// The tunnel between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// RFC 7348.
    Vxlan,
    /// RFC 2003.
    IpIp,
    /// RFC 8926, in IPv4.
    Geneve,
    /// RFC 2784 with a key (RFC 2890), in IPv4.
    Gre,
    /// RFC 4213, and RFC 2003 for IPv4.
    SixInFour,
    /// RFC 2784 with a key and frames.
    GreFrames,
    /// RFC 7676 with a key.
    GreInV6,
    /// RFC 2473.
    IpInV6,
    /// Encrypted: between the nodes, nobody can parse it.
    WireGuard,
    /// Encrypted (RFC 4303).
    IpSec,
}

impl Tunnel {
    /// The tunnel's name, and the command that adds such a device, if not every kernel supports it.
    const fn device(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Vxlan => ("VXLAN", None),
            Self::IpIp => ("IP-in-IP", Some("name probe type ipip local 192.0.2.1")),
            Self::Geneve => ("Geneve", Some("name probe type geneve external")),
            Self::Gre => ("GRE", Some("name probe type gre external")),
            Self::SixInFour => ("6in4", Some("name probe type sit mode any local 192.0.2.1")),
            Self::GreFrames => ("GRE", Some("name probe type gretap external")),
            Self::GreInV6 => ("GRE in IPv6", Some("name probe type ip6gre external")),
            Self::IpInV6 => ("IP in IPv6", Some("name probe type ip6tnl external")),
            Self::WireGuard => ("WireGuard", Some("name probe type wireguard")),
            Self::IpSec => ("XFRM", Some("name probe type xfrm dev one if_id 7")),
        }
    }

    /// Whether the tunnel encrypts its packets.
    #[must_use]
    pub const fn encrypts(self) -> bool {
        matches!(self, Self::WireGuard | Self::IpSec)
    }
}

impl Wiring {
    /// All wirings.
    pub const ALL: [Self; 20] = [
        Self::Flannel,
        Self::FlannelOverV6,
        Self::FlannelHostGw,
        Self::FlannelIpip,
        Self::Calico,
        Self::CalicoVxlan,
        Self::CalicoCrossSubnet,
        Self::CalicoIpipCrossSubnet,
        Self::CalicoDualStack,
        Self::Macvlan,
        Self::Ipvlan,
        Self::IpvlanL3,
        Self::Geneve,
        Self::Gre,
        Self::SixInFour,
        Self::GreFrames,
        Self::GreInV6,
        Self::IpInV6,
        Self::WireGuard,
        Self::IpSec,
    ];

    /// The wiring with this name.
    ///
    /// # Errors
    /// If no wiring has the name.
    pub fn named(name: &str) -> Result<Self> {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|wiring| format!("{wiring:?}") == name);
        found.with_context(|| format!("there is no wiring {name}"))
    }

    /// The tunnel between nodes, if there is one; see [`Lab::tunnel`](super::Lab::tunnel).
    #[must_use]
    pub const fn tunnel(self) -> Option<Tunnel> {
        match self {
            Self::Flannel
            | Self::FlannelOverV6
            | Self::CalicoVxlan
            | Self::CalicoCrossSubnet
            | Self::CalicoDualStack => Some(Tunnel::Vxlan),
            Self::FlannelIpip | Self::Calico | Self::CalicoIpipCrossSubnet => Some(Tunnel::IpIp),
            Self::FlannelHostGw | Self::Macvlan | Self::Ipvlan | Self::IpvlanL3 => None,
            Self::Geneve => Some(Tunnel::Geneve),
            Self::Gre => Some(Tunnel::Gre),
            Self::SixInFour => Some(Tunnel::SixInFour),
            Self::GreFrames => Some(Tunnel::GreFrames),
            Self::GreInV6 => Some(Tunnel::GreInV6),
            Self::IpInV6 => Some(Tunnel::IpInV6),
            Self::WireGuard => Some(Tunnel::WireGuard),
            Self::IpSec => Some(Tunnel::IpSec),
        }
    }

    /// Whether a node's pods are ports of a bridge. Otherwise they have routes.
    #[must_use]
    pub const fn has_bridge(self) -> bool {
        let routed = matches!(
            self,
            Self::Calico
                | Self::CalicoVxlan
                | Self::CalicoCrossSubnet
                | Self::CalicoIpipCrossSubnet
                | Self::CalicoDualStack
        );
        !routed && !self.shares_uplink()
    }

    /// Whether there is no tunnel to nodes of the same subnet.
    #[must_use]
    pub const fn is_cross_subnet(self) -> bool {
        matches!(self, Self::CalicoCrossSubnet | Self::CalicoIpipCrossSubnet)
    }

    /// Whether pods send by their node's uplink itself, so their interfaces have no peer on the
    /// node.
    #[must_use]
    pub const fn shares_uplink(self) -> bool {
        matches!(self, Self::Macvlan | Self::Ipvlan | Self::IpvlanL3)
    }

    /// Whether pods and nodes have IPv6.
    #[must_use]
    pub const fn carries_v6(self) -> bool {
        !matches!(self.tunnel(), Some(Tunnel::IpIp))
    }

    /// Whether IPv6 has a separate tunnel device.
    #[must_use]
    pub const fn separates_v6(self) -> bool {
        matches!(self, Self::CalicoDualStack)
    }

    /// Whether the outer packets are IPv6, for inner packets of an IP version.
    #[must_use]
    pub const fn underlay_is_v6(self, v6: bool) -> bool {
        match self {
            Self::FlannelOverV6 | Self::GreInV6 | Self::IpInV6 => true,
            _ => v6 && self.separates_v6(),
        }
    }

    /// The size of a tunnel's headers for inner packets of an IP version, in bytes: the outer IP
    /// header, and these. VXLAN and Geneve have the UDP header, their own and the inner Ethernet
    /// header. GRE has its header with a key, and with frames the inner Ethernet header. IP in IPv6
    /// has the limit to nested tunnels. WireGuard has the UDP header, its own header and its
    /// checksum. IPsec has its headers, padding and checksum.
    /// its own and its checksum; IPsec's headers, padding and checksum.
    #[must_use]
    pub const fn overhead(self, v6: bool) -> u32 {
        match self.tunnel() {
            Some(Tunnel::Vxlan) if self.underlay_is_v6(v6) => 70,
            Some(Tunnel::Vxlan | Tunnel::Geneve) => 50,
            Some(Tunnel::IpIp | Tunnel::SixInFour) => 20,
            Some(Tunnel::Gre) => 28,
            Some(Tunnel::GreFrames) => 42,
            Some(Tunnel::GreInV6 | Tunnel::IpInV6) => 48,
            Some(Tunnel::WireGuard | Tunnel::IpSec) => 60,
            None => 0,
        }
    }

    /// Whether this kernel does not support the wiring, so that a test must leave it to another
    /// kernel. If so, prints that. Never true where [`MACHINE_VARIABLE`](super::MACHINE_VARIABLE)
    /// is set.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn is_for_another_kernel(self) -> Result<bool> {
        let missing = self.missing()?;
        is_for_another_kernel(missing.unwrap_or_default(), missing.is_none())
    }

    /// All wirings that this kernel supports, or all where
    /// [`MACHINE_VARIABLE`](super::MACHINE_VARIABLE) is set.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn all_here() -> Result<Vec<Self>> {
        let mut all = Vec::new();
        for wiring in Self::ALL {
            if was_chosen() || wiring.missing()?.is_none() {
                all.push(wiring);
            }
        }
        Ok(all)
    }

    /// What this kernel lacks for the wiring.
    pub(super) fn missing(self) -> Result<Option<&'static str>> {
        let (kind, device) = match self {
            Self::Ipvlan | Self::IpvlanL3 => ("ipvlan", Some("link one name probe type ipvlan")),
            _ => match self.tunnel().map(Tunnel::device) {
                Some((kind, device)) => (kind, device),
                None => return Ok(None),
            },
        };
        let Some(device) = device else {
            return Ok(None);
        };
        Ok((!kernel_has(&format!("link add {device}"))?).then_some(kind))
    }
}
