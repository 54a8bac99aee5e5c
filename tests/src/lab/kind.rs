//! Whose network a lab is.

use std::{env, thread};

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, unshare};

use super::MACHINE_VARIABLE;
use crate::process;

/// Whose network is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wiring {
    /// Flannel's with VXLAN: pods at a bridge.
    #[default]
    Flannel,
    /// The same with VXLAN in IPv6: the nodes have addresses of both versions.
    FlannelOverV6,
    /// Flannel's host-gw: pods at a bridge, other nodes as gateways.
    FlannelHostGw,
    /// Flannel's with IP-in-IP: pods at a bridge.
    FlannelIpip,
    /// Calico's with IP-in-IP: pods with routes of their own.
    Calico,
    /// Calico's with VXLAN.
    CalicoVxlan,
    /// Pods at a bridge; one Geneve device for all nodes, to which routes give
    /// the far end.
    Geneve,
    /// The same with GRE, which carries IP packets.
    Gre,
    /// Pods at a bridge; 6in4, one device for all nodes, which takes IPv4, too.
    SixInFour,
    /// Flannel's with WireGuard: pods at a bridge.
    WireGuard,
}

/// What a packet is put into between nodes.
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
    /// Encrypted: nobody sees it between the nodes.
    WireGuard,
}

impl Tunnel {
    /// What it is called, and how to ask the kernel for such a device, where
    /// not every kernel has one.
    const fn device(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Vxlan => ("VXLAN", None),
            Self::IpIp => ("IP-in-IP", Some("ipip local 192.0.2.1")),
            Self::Geneve => ("Geneve", Some("geneve external")),
            Self::Gre => ("GRE", Some("gre external")),
            Self::SixInFour => ("6in4", Some("sit mode any local 192.0.2.1")),
            Self::WireGuard => ("WireGuard", Some("wireguard")),
        }
    }
}

impl Wiring {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Flannel,
        Self::FlannelOverV6,
        Self::FlannelHostGw,
        Self::FlannelIpip,
        Self::Calico,
        Self::CalicoVxlan,
        Self::Geneve,
        Self::Gre,
        Self::SixInFour,
        Self::WireGuard,
    ];

    /// The tunnel between nodes, if there is one.
    #[must_use]
    pub const fn tunnel(self) -> Option<Tunnel> {
        match self {
            Self::Flannel | Self::FlannelOverV6 | Self::CalicoVxlan => Some(Tunnel::Vxlan),
            Self::FlannelIpip | Self::Calico => Some(Tunnel::IpIp),
            Self::FlannelHostGw => None,
            Self::Geneve => Some(Tunnel::Geneve),
            Self::Gre => Some(Tunnel::Gre),
            Self::SixInFour => Some(Tunnel::SixInFour),
            Self::WireGuard => Some(Tunnel::WireGuard),
        }
    }

    /// Whether a node's pods are ports of a bridge; else they have routes.
    #[must_use]
    pub const fn has_bridge(self) -> bool {
        !matches!(self, Self::Calico | Self::CalicoVxlan)
    }

    /// Whether pods have IPv6.
    #[must_use]
    pub const fn carries_v6(self) -> bool {
        !matches!(
            self,
            Self::FlannelHostGw | Self::FlannelIpip | Self::Calico | Self::CalicoVxlan
        )
    }

    /// Whether its tunnel's packets are IPv6.
    #[must_use]
    pub const fn underlay_is_v6(self) -> bool {
        matches!(self, Self::FlannelOverV6)
    }

    /// What a tunnel's headers cost, in bytes: the outer IP header; of VXLAN
    /// and Geneve the UDP header, their own and the inner Ethernet header; GRE's
    /// with a key; WireGuard's UDP header, its own and its checksum.
    #[must_use]
    pub const fn overhead(self) -> u32 {
        match self.tunnel() {
            Some(Tunnel::Vxlan) if self.underlay_is_v6() => 70,
            Some(Tunnel::Vxlan | Tunnel::Geneve) => 50,
            Some(Tunnel::IpIp | Tunnel::SixInFour) => 20,
            Some(Tunnel::Gre) => 28,
            Some(Tunnel::WireGuard) => 60,
            None => 0,
        }
    }

    /// Whether this kernel cannot have it, so that a test of it must leave it
    /// to another one, which it says. Never true where
    /// [`MACHINE_VARIABLE`] is set.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn is_for_another_kernel(self) -> Result<bool> {
        if env::var_os(MACHINE_VARIABLE).is_some() {
            return Ok(false);
        }
        let missing = self.missing()?;
        if let Some(kind) = missing {
            eprintln!(
                "this kernel has no {kind}: `cargo xtask kernels` runs this test on one that has"
            );
        }
        Ok(missing.is_some())
    }

    /// What this kernel lacks for it.
    pub(super) fn missing(self) -> Result<Option<&'static str>> {
        let Some((kind, Some(device))) = self.tunnel().map(Tunnel::device) else {
            return Ok(None);
        };
        Ok((!has(device)?).then_some(kind))
    }
}

/// Whether this kernel has such a device. Asking for one loads the module, if
/// it is one.
fn has(device: &'static str) -> Result<bool> {
    let ask = move || -> Result<bool> {
        unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
        let add = ["link", "add", "name", "probe", "type"];
        let mut ip = process::command("ip");
        ip.args(add.into_iter().chain(device.split(' ')));
        Ok(process::run(&mut ip, "").is_ok())
    };
    thread::spawn(ask).join().expect("asking does not panic")
}
