//! A node's own interfaces, and its routes to other nodes, as its kernel knows them. A frame's
//! destination MAC address and a tunnel's outer header name a receiver. Only what nodes say of
//! themselves tells which node that is.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{EncapKind, Mac};

/// How long a removed interface is remembered, ns: longer than any follow waits for a packet
/// that was sent to the interface.
const REMEMBERED: u64 = 600_000_000_000;

/// Interfaces and routes of a node's host namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Interfaces at which packets of other nodes may arrive; empty if they are not known.
    /// Interfaces of pods are left out. But a pod that is on the wire itself adds its MAC
    /// address to the interface that it shares.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// Routes to followed addresses of other nodes without a tunnel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Way>,
}

/// An interface of a node's host namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Name of the interface.
    pub interface: String,
    /// MAC address; `None` if the interface's packets have no Ethernet header.
    pub mac: Option<Mac>,
    /// The tunnel that the interface encapsulates into and decapsulates from: VXLAN and Geneve
    /// only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Tunnel>,
    /// Time when the agent noticed that the interface is gone, the agent's monotonic clock, ns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// The parameters on which both ends of a tunnel in UDP must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunnel {
    /// VXLAN (RFC 7348) or Geneve (RFC 8926).
    pub kind: EncapKind,
    /// Network identifier (VNI); `None` if routes or programs set it for each packet.
    pub vni: Option<u32>,
    /// UDP destination port.
    pub port: u16,
}

/// The route to an address without a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// Destination address.
    pub to: IpAddr,
    /// Interface that packets leave by.
    pub interface: String,
    /// Gateway; `None` if the address is on the link.
    pub gateway: Option<IpAddr>,
    /// MAC address of the gateway, or without a gateway, of the destination; `None` if it is
    /// not known.
    pub mac: Option<Mac>,
    /// Whether only the default route leads to the destination.
    pub default: bool,
}

impl Network {
    /// Whether neither interfaces nor routes are known.
    pub const fn is_empty(&self) -> bool {
        self.devices.is_empty() && self.routes.is_empty()
    }

    /// Takes over the interfaces and routes of `now`, which exist from `time` on, the agent's
    /// monotonic clock, ns. Removed interfaces stay for a while, with their end.
    pub(crate) fn change(&mut self, now: &Self, time: u64) {
        let is_there = |device: &Device| now.devices.contains(device);
        for device in &mut self.devices {
            if device.until.is_none() && !is_there(device) {
                device.until = Some(time);
            }
        }
        let forget = time.saturating_sub(REMEMBERED);
        self.devices
            .retain(|device| device.until.is_none_or(|until| until >= forget));
        for device in &now.devices {
            if !self.devices.contains(device) {
                self.devices.push(device.clone());
            }
        }
        self.routes.clone_from(&now.routes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_gone_is_remembered_for_a_while() {
        let device = |last: u8| Device {
            interface: format!("eth{last}"),
            mac: Some(Mac([2, 0, 0, 0, 0, last])),
            tunnel: None,
            until: None,
        };
        let network = |last: &[u8]| Network {
            devices: last.iter().copied().map(device).collect(),
            routes: Vec::new(),
        };
        let mut known = network(&[1, 2]);
        known.change(&network(&[2, 3]), 7);
        let gone = Device {
            until: Some(7),
            ..device(1)
        };
        assert_eq!(known.devices, [gone.clone(), device(2), device(3)]);
        known.change(&network(&[2, 3]), 8);
        assert_eq!(known.devices, [gone, device(2), device(3)]);
        known.change(&network(&[2, 3]), 8 + REMEMBERED);
        assert_eq!(known.devices, [device(2), device(3)]);
    }

    #[test]
    fn what_older_agents_do_not_say_is_not_known() {
        let network: Network = serde_json::from_str("{}").expect("an empty object");
        assert!(network.is_empty());
    }
}
