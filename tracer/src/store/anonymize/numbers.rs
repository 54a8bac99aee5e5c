//! Numbers that replace originals.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

/// Networks of replaced IPv4 addresses: the client's side, others, groups, and addresses for
/// which the first two networks have no room.
const SOURCES_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 0);
const OTHERS_V4: Ipv4Addr = Ipv4Addr::new(10, 128, 0, 0);
const GROUPS_V4: Ipv4Addr = Ipv4Addr::new(239, 0, 0, 0);
const SPARE_V4: Ipv4Addr = Ipv4Addr::new(240, 0, 0, 0);
/// Prefix length of the first two networks, bits, and the number of addresses in each.
const PREFIX_V4: u8 = 9;
const ROOM_V4: u32 = 1 << (32 - PREFIX_V4);
/// Networks of replaced IPv6 addresses, with room for all.
const SOURCES_V6: Ipv6Addr = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 0);
const OTHERS_V6: Ipv6Addr = Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, 0);
const GROUPS_V6: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0);
const LINK_LOCAL_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0);
const PREFIX_V6: u8 = 64;

/// Numbers originals in the order in which they appear, from 1.
#[derive(Debug)]
pub(super) struct Numbers<T> {
    known: HashMap<T, u32>,
    last: u32,
}

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            last: 0,
        }
    }
}

impl<T: Eq + Hash> Numbers<T> {
    pub(super) fn of(&mut self, original: T) -> u32 {
        *self.known.entry(original).or_insert_with(|| {
            self.last += 1;
            self.last
        })
    }
}

/// Replaces addresses, and never two by the same one.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// Networks on the client's side.
    pub(super) sources: Vec<IpNet>,
    /// Originals by the network of their replacements.
    v4: HashMap<Ipv4Addr, Numbers<Ipv4Addr>>,
    v6: Numbers<Ipv6Addr>,
}

impl Addresses {
    pub(super) fn of(&mut self, address: IpAddr) -> IpAddr {
        let is_source = self.sources.iter().any(|net| net.contains(&address));
        match address {
            IpAddr::V4(v4) => self.v4(v4, is_source).into(),
            IpAddr::V6(v6) => self.v6(v6, is_source).into(),
        }
    }

    fn v4(&mut self, address: Ipv4Addr, is_source: bool) -> Ipv4Addr {
        let network = match () {
            () if address.is_unspecified() || address.is_loopback() || address.is_broadcast() => {
                return address;
            }
            () if address.is_multicast() => GROUPS_V4,
            () if is_source => SOURCES_V4,
            () => OTHERS_V4,
        };
        let mut replaced = |network: Ipv4Addr| {
            let number = self.v4.entry(network).or_default().of(address);
            (number, Ipv4Addr::from_bits(network.to_bits() | number))
        };
        match replaced(network) {
            // IPv4 has no more groups than that.
            (number, _) if number >= ROOM_V4 && network != GROUPS_V4 => replaced(SPARE_V4).1,
            (_, replaced) => replaced,
        }
    }

    fn v6(&mut self, address: Ipv6Addr, is_source: bool) -> Ipv6Addr {
        let network = match () {
            () if address.is_unspecified() || address.is_loopback() => return address,
            () if address.is_multicast() => GROUPS_V6,
            () if address.is_unicast_link_local() => LINK_LOCAL_V6,
            () if is_source => SOURCES_V6,
            () => OTHERS_V6,
        };
        let number = self.v6.of(address);
        Ipv6Addr::from_bits(network.to_bits() | u128::from(number))
    }

    /// Replaces a network. A network of one address stays one.
    pub(super) fn network(&mut self, network: IpNet) -> IpNet {
        if network.prefix_len() == network.max_prefix_len() {
            self.of(network.addr()).into()
        } else if self.sources.contains(&network) {
            source_network(&network)
        } else {
            replaced(&network, OTHERS_V4, OTHERS_V6)
        }
    }
}

/// The network of replacements for the addresses of a source.
pub(super) fn source_network(network: &IpNet) -> IpNet {
    replaced(network, SOURCES_V4, SOURCES_V6)
}

fn replaced(network: &IpNet, v4: Ipv4Addr, v6: Ipv6Addr) -> IpNet {
    let (address, prefix) = match network {
        IpNet::V4(_) => (IpAddr::from(v4), PREFIX_V4),
        IpNet::V6(_) => (IpAddr::from(v6), PREFIX_V6),
    };
    IpNet::new(address, prefix).expect("the prefixes are those of their families")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn never_are_two_addresses_replaced_by_one() {
        const MANY: u32 = 300_000;
        let mut addresses = Addresses {
            sources: vec!["172.16.0.0/12".parse().expect("a network")],
            ..Addresses::default()
        };
        let mut seen = HashSet::new();
        let bases = [
            Ipv4Addr::new(172, 16, 0, 0),
            Ipv4Addr::new(10, 0, 0, 0),
            Ipv4Addr::new(224, 0, 0, 0),
        ];
        for number in 0..MANY {
            for base in bases {
                let original = Ipv4Addr::from_bits(base.to_bits() + number);
                let replaced = addresses.of(original.into());
                assert!(seen.insert(replaced), "{original} is {replaced}, too");
            }
        }
        assert!(seen.iter().all(|address| !address.is_loopback()));
        let source = addresses.of(Ipv4Addr::new(172, 17, 0, 1).into());
        assert!(source_network(&addresses.sources[0]).contains(&source));
    }

    #[test]
    fn what_there_is_no_room_for_goes_elsewhere() {
        let mut addresses = Addresses::default();
        let full = Numbers {
            last: ROOM_V4 - 1,
            ..Numbers::default()
        };
        addresses.v4.insert(OTHERS_V4, full);
        let other = addresses.of(Ipv4Addr::new(198, 51, 100, 7).into());
        assert_eq!(other, IpAddr::from([240, 0, 0, 1]));
    }
}
