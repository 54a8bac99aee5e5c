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
    /// Flannel's with WireGuard: pods at a bridge.
    WireGuard,
}

/// What a packet is put into between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// RFC 7348, in IPv4.
    Vxlan,
    /// RFC 2003.
    IpIp,
    /// RFC 8926, in IPv4.
    Geneve,
    /// RFC 2784 with a key (RFC 2890), in IPv4.
    Gre,
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
            Self::WireGuard => ("WireGuard", Some("wireguard")),
        }
    }
}

impl Wiring {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Flannel,
        Self::FlannelHostGw,
        Self::FlannelIpip,
        Self::Calico,
        Self::CalicoVxlan,
        Self::Geneve,
        Self::Gre,
        Self::WireGuard,
    ];

    /// The tunnel between nodes, if there is one.
    #[must_use]
    pub const fn tunnel(self) -> Option<Tunnel> {
        match self {
            Self::Flannel | Self::CalicoVxlan => Some(Tunnel::Vxlan),
            Self::FlannelIpip | Self::Calico => Some(Tunnel::IpIp),
            Self::FlannelHostGw => None,
            Self::Geneve => Some(Tunnel::Geneve),
            Self::Gre => Some(Tunnel::Gre),
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
        matches!(
            self,
            Self::Flannel | Self::Geneve | Self::Gre | Self::WireGuard
        )
    }

    /// What a tunnel's headers cost, in bytes: the outer IPv4 header; of VXLAN
    /// and Geneve the UDP header, their own and the inner Ethernet header; GRE's
    /// with a key; WireGuard's UDP header, its own and its checksum.
    #[must_use]
    pub const fn overhead(self) -> u32 {
        match self.tunnel() {
            Some(Tunnel::Vxlan | Tunnel::Geneve) => 50,
            Some(Tunnel::IpIp) => 20,
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
