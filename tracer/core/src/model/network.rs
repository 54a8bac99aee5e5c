//! What a node's kernel knows of its own interfaces, and of where it sends
//! packets for others. A frame's destination MAC and a tunnel's outer header
//! name a receiver; only what nodes say of themselves tells who that is.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{EncapKind, Mac};

/// For how long an interface that is gone is remembered, ns: longer than any
/// packet is waited for that was sent to it.
const REMEMBERED: u64 = 600_000_000_000;

/// Interfaces and routes of a node's own namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The interfaces at which packets of other nodes may arrive; empty if
    /// they are not known. Those of pods are left out, but a pod that is on the
    /// wire itself adds its own MAC to the interface that it shares.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// Where followed addresses of other nodes are sent to without a tunnel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Way>,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its name.
    pub interface: String,
    /// Its MAC address; `None` if its packets have no Ethernet header.
    pub mac: Option<Mac>,
    /// What it wraps packets in, and unwraps: VXLAN and Geneve only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Tunnel>,
    /// When it was noticed that it is gone: the agent's monotonic clock, ns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// What a tunnel in UDP has to agree on with its other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunnel {
    /// VXLAN (RFC 7348) or Geneve (RFC 8926).
    pub kind: EncapKind,
    /// Its network identifier; `None` where routes or programs set it for each
    /// packet.
    pub vni: Option<u32>,
    /// UDP destination port.
    pub port: u16,
}

/// Where packets for an address leave without a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// The address.
    pub to: IpAddr,
    /// The interface.
    pub interface: String,
    /// The gateway; `None` if the address is on the link.
    pub gateway: Option<IpAddr>,
    /// The MAC address of the gateway, or else of the address, if it is known.
    pub mac: Option<Mac>,
    /// Whether only the default route leads there.
    pub default: bool,
}

impl Network {
    /// Whether nothing is known.
    pub const fn is_empty(&self) -> bool {
        self.devices.is_empty() && self.routes.is_empty()
    }

    /// Takes what is there from `time` on, the agent's monotonic clock, ns.
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
