//! The kernel's tables as values, and look-ups in them.
//!
//! A snapshot is taken once, so that all answers belong together and the search itself can be tested
//! without a kernel. Routes are not in it: policy rules make them a function that only the kernel knows.

use std::{collections::BTreeMap, net::IpAddr};

use netlink_packet_core::{Parseable as _, ParseableParametrized as _};
use netlink_packet_route::{
    address::{AddressAttribute, AddressHeader},
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourHeader},
    nsid::NsidAttribute,
};

use super::{
    attributes::{Mac, attributes},
    ipsec::Policy,
    link::Link,
};

/// Sizes of the fixed parts before the attributes: `ifaddrmsg`, `ndmsg`, `rtgenmsg`.
const ADDRESS_HEADER: usize = 8;
const NEIGHBOUR_HEADER: usize = 12;
const NSID_HEADER: usize = 4;

/// A snapshot of a network namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    pub(super) links: BTreeMap<u32, Link>,
    pub(super) addresses: Vec<(u32, IpAddr)>,
    pub(super) neighbours: Vec<Neighbour>,
    pub(super) forwarding: Vec<FdbEntry>,
    pub(super) policies: Vec<Policy>,
}

impl Host {
    /// Whether an IPsec policy encrypts packets from one of `senders` to an address. If no
    /// sender is known, any source counts.
    pub(super) fn encrypts(&self, senders: &[IpAddr], to: IpAddr) -> bool {
        self.policies.iter().any(|policy| {
            let of_sender = |from| policy.from.contains(from);
            policy.to.contains(&to) && (senders.is_empty() || senders.iter().any(of_sender))
        })
    }

    /// The devices below a device, by which it sends; none for a physical one.
    pub(super) fn below<'a>(&'a self, upper: &'a Link) -> impl Iterator<Item = &'a Link> {
        self.links
            .values()
            .filter(|link| match upper.kind.as_str() {
                "vlan" | "macvlan" | "ipvlan" => {
                    upper.lower_namespace.is_none() && upper.lower == Some(link.index)
                }
                "bond" | "team" => link.master == Some(upper.index),
                _ => false,
            })
    }

    pub(super) fn owns(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|&(_, own)| own == address)
    }

    pub(super) fn addresses_of(&self, device: u32) -> impl Iterator<Item = IpAddr> {
        let of_device = move |&&(index, _): &&(u32, IpAddr)| index == device;
        self.addresses
            .iter()
            .filter(of_device)
            .map(|&(_, address)| address)
    }

    /// Name of a device for a sentence.
    pub(super) fn name(&self, device: u32) -> String {
        self.links
            .get(&device)
            .map_or_else(|| format!("interface {device}"), |link| link.name.clone())
    }

    /// MAC address of a neighbour on a link; `None` if it is not known.
    pub(super) fn mac_of(&self, device: u32, address: IpAddr) -> Option<Mac> {
        let asked = |entry: &&Neighbour| entry.device == device && entry.address == address;
        self.neighbours.iter().find(asked).map(|entry| entry.mac)
    }

    /// The bridge port behind which a MAC address is.
    pub(super) fn port_of(&self, bridge: u32, mac: Mac) -> Option<&Link> {
        let asked = |entry: &&FdbEntry| entry.bridge == Some(bridge) && entry.mac == mac;
        let port = self.forwarding.iter().find(asked)?.device;
        self.links.get(&port).filter(|_| port != bridge)
    }

    /// Remote VTEPs to which a VXLAN device sends frames for a MAC address. Without an entry
    /// for it, those of the default entry.
    pub(super) fn remotes_of(&self, device: u32, mac: Option<Mac>) -> Vec<IpAddr> {
        let towards = |mac: Mac| {
            let asked = move |entry: &&FdbEntry| entry.device == device && entry.mac == mac;
            let ends = self
                .forwarding
                .iter()
                .filter(asked)
                .filter_map(|entry| entry.remote);
            ends.collect::<Vec<_>>()
        };
        let known = mac.map(towards).unwrap_or_default();
        if known.is_empty() {
            towards(Mac::default())
        } else {
            known
        }
    }
}

/// An address with the index of its interface.
pub(super) fn address(message: &[u8]) -> Option<(u32, IpAddr)> {
    let header = AddressHeader::parse(message).ok()?;
    let (mut local, mut peer) = (None, None);
    for attribute in attributes(message, ADDRESS_HEADER, AddressAttribute::parse) {
        match attribute {
            // On point-to-point devices, IFA_ADDRESS is the peer's address.
            AddressAttribute::Local(address) => local = Some(address),
            AddressAttribute::Address(address) => peer = Some(address),
            _ => {}
        }
    }
    Some((header.index, local.or(peer)?))
}

/// The namespace id in an answer to `RTM_GETNSID`.
pub(super) fn namespace_id(message: &[u8]) -> Option<i32> {
    attributes(message, NSID_HEADER, NsidAttribute::parse).find_map(|attribute| match attribute {
        NsidAttribute::Id(id) if id >= 0 => Some(id),
        _ => None,
    })
}

/// A neighbour entry.
#[derive(Clone, Debug)]
pub(super) struct Neighbour {
    pub(super) device: u32,
    pub(super) address: IpAddr,
    pub(super) mac: Mac,
}

impl Neighbour {
    /// Parses an entry. `None` while the kernel resolves it, and after a failure, because it
    /// has no MAC address.
    pub(super) fn parse(message: &[u8]) -> Option<Self> {
        let entry = FdbEntry::parse(message)?;
        Some(Self {
            device: entry.device,
            address: entry.remote?,
            mac: entry.mac,
        })
    }
}

/// A forwarding database entry of a bridge or a VXLAN device.
#[derive(Clone, Debug)]
pub(super) struct FdbEntry {
    /// Bridge port, or the VXLAN device.
    pub(super) device: u32,
    /// Bridge of the port.
    pub(super) bridge: Option<u32>,
    pub(super) mac: Mac,
    /// Remote VTEP.
    pub(super) remote: Option<IpAddr>,
}

impl FdbEntry {
    pub(super) fn parse(message: &[u8]) -> Option<Self> {
        let header = NeighbourHeader::parse(message).ok()?;
        let (mut mac, mut bridge, mut remote) = (None, None, None);
        let parse = |nla: &_| NeighbourAttribute::parse_with_param(nla, header.family);
        for attribute in attributes(message, NEIGHBOUR_HEADER, parse) {
            match attribute {
                NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.try_into().ok(),
                NeighbourAttribute::Controller(index) => bridge = Some(index),
                NeighbourAttribute::Destination(address) => remote = neighbour_ip(&address),
                _ => {}
            }
        }
        Some(Self {
            device: header.ifindex,
            bridge,
            mac: mac?,
            remote,
        })
    }
}

/// In the bridge family, an address has no family, so its length decides.
fn neighbour_ip(address: &NeighbourAddress) -> Option<IpAddr> {
    match address {
        NeighbourAddress::Inet(address) => Some((*address).into()),
        NeighbourAddress::Inet6(address) => Some((*address).into()),
        NeighbourAddress::Other(bytes) => <[u8; 4]>::try_from(bytes.as_slice())
            .map(IpAddr::from)
            .or_else(|_| <[u8; 16]>::try_from(bytes.as_slice()).map(IpAddr::from))
            .ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable;
    use netlink_packet_route::{
        AddressFamily, address::AddressMessage, neighbour::NeighbourMessage, nsid::NsidMessage,
    };

    use super::*;

    fn bytes(message: &impl Emitable) -> Vec<u8> {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        bytes
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn reads_forwarding_entries_of_both_families() {
        for remote in ["192.0.2.7", "2001:db8::7"] {
            let octets = match ip(remote) {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            let mut message = NeighbourMessage::default();
            message.header.family = AddressFamily::Bridge;
            message.header.ifindex = 4;
            message.attributes = vec![
                NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, 1]),
                NeighbourAttribute::Destination(NeighbourAddress::Other(octets)),
                NeighbourAttribute::Controller(9),
            ];
            let entry = FdbEntry::parse(&bytes(&message)).expect("an entry");
            assert_eq!((entry.device, entry.bridge), (4, Some(9)));
            assert_eq!(entry.mac, [2, 0, 0, 0, 0, 1]);
            assert_eq!(entry.remote, Some(ip(remote)));
        }
    }

    #[test]
    fn a_neighbour_without_a_mac_is_none() {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Inet;
        message.attributes = vec![NeighbourAttribute::Destination(ip("10.1.0.2").into())];
        assert!(Neighbour::parse(&bytes(&message)).is_none());
    }

    #[test]
    fn a_point_to_point_address_is_the_local_one() {
        let mut message = AddressMessage::default();
        message.header.index = 3;
        message.attributes = vec![
            AddressAttribute::Address(ip("10.0.0.2")),
            AddressAttribute::Local(ip("10.0.0.1")),
        ];
        assert_eq!(address(&bytes(&message)), Some((3, ip("10.0.0.1"))));
    }

    #[test]
    fn an_unassigned_namespace_id_is_none() {
        for (id, expected) in [(-1, None), (0, Some(0)), (5, Some(5))] {
            let mut message = NsidMessage::default();
            message.attributes = vec![NsidAttribute::Id(id)];
            assert_eq!(namespace_id(&bytes(&message)), expected);
        }
    }

    #[test]
    fn unknown_macs_go_where_the_catch_all_entry_says() {
        let entry = |mac, remote| FdbEntry {
            device: 5,
            bridge: None,
            mac,
            remote: Some(ip(remote)),
        };
        let host = Host {
            forwarding: vec![entry([2; 6], "192.0.2.2"), entry([0; 6], "192.0.2.9")],
            ..Host::default()
        };
        assert_eq!(host.remotes_of(5, Some([2; 6])), [ip("192.0.2.2")]);
        assert_eq!(host.remotes_of(5, Some([4; 6])), [ip("192.0.2.9")]);
        assert_eq!(host.remotes_of(5, None), [ip("192.0.2.9")]);
        assert!(host.remotes_of(6, None).is_empty());
    }
}
