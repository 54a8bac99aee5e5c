//! A node's counters that rose while a packet was lost without a drop event. They are evidence that
//! some packet was lost there, not that this packet was.

use std::{borrow::Cow, sync::Arc};

use crate::input::{DeviceHealth, Health};

/// The counters of a node that rose between two readings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rises {
    devices: Vec<Rise>,
    namespaces: Vec<Rise>,
}

/// What rose at an interface or in a network namespace. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rise {
    /// Name of the interface, `host`, or name of the pod.
    pub place: Arc<str>,
    /// Counters, and by how much each rose.
    pub counters: Vec<(Cow<'static, str>, u64)>,
}

impl Rises {
    /// The counters that rose between two readings of the same node. A counter that only one
    /// reading has did not rise. Nor did a counter that went down, because its device is a new one.
    #[must_use]
    pub fn between(before: &Health, after: &Health) -> Self {
        let devices = after.devices.iter().filter_map(|device| {
            let same = |other: &&DeviceHealth| other.interface == device.interface;
            let earlier = before.devices.iter().find(same)?;
            let counters = counters_of(earlier).into_iter().zip(counters_of(device));
            let rises = counters.map(|((name, before), (_, after))| (name.into(), before, after));
            Rise::of(&device.interface, rises)
        });
        let namespaces = after.sockets.iter().filter_map(|sockets| {
            let mut all = before.sockets.iter();
            let earlier = all.find(|other| other.netns == sockets.netns)?;
            let rises = sockets.counters.iter().filter_map(|(name, after)| {
                let (_, before) = earlier.counters.iter().find(|(other, _)| other == name)?;
                Some((name.clone(), *before, *after))
            });
            Rise::of(&sockets.netns, rises)
        });
        Self {
            devices: devices.collect(),
            namespaces: namespaces.collect(),
        }
    }

    /// The counters that rose at an interface of the node's host namespace.
    #[must_use]
    pub fn device(&self, interface: &str) -> Option<&Rise> {
        self.devices.iter().find(|rise| *rise.place == *interface)
    }

    /// The counters that rose in a network namespace: `host`, or the pod's name.
    #[must_use]
    pub fn namespace(&self, netns: &str) -> Option<&Rise> {
        self.namespaces.iter().find(|rise| *rise.place == *netns)
    }

    /// Whether no counter rose.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.devices.is_empty() && self.namespaces.is_empty()
    }
}

impl Rise {
    fn of(
        place: &Arc<str>,
        counters: impl Iterator<Item = (Cow<'static, str>, u64, u64)>,
    ) -> Option<Self> {
        let rose = |(name, before, after): (_, u64, u64)| {
            let by = after.checked_sub(before).filter(|by| *by > 0)?;
            Some((name, by))
        };
        let counters: Vec<_> = counters.filter_map(rose).collect();
        (!counters.is_empty()).then(|| Self {
            place: Arc::clone(place),
            counters,
        })
    }

    /// By how much a counter rose. Its name is as in [`Health`] (`tx_dropped`,
    /// `TcpExtListenOverflows`).
    #[must_use]
    pub fn by(&self, counter: &str) -> u64 {
        let mut all = self.counters.iter();
        all.find(|(name, _)| *name == counter)
            .map_or(0, |(_, by)| *by)
    }

    /// Only the counters that are of interest, if any of them rose.
    #[must_use]
    pub fn only(&self, wanted: &[&str]) -> Option<Self> {
        let counters = self.counters.iter().cloned();
        Self::of(
            &self.place,
            counters
                .filter(|(name, _)| wanted.contains(&&**name))
                .map(|(name, by)| (name, 0, by)),
        )
    }
}

/// Counters of a device that show losses, in the order in which views print them.
fn counters_of(device: &DeviceHealth) -> [(&'static str, u64); 7] {
    [
        ("rx_errors", device.rx_errors),
        ("rx_dropped", device.rx_dropped),
        ("rx_missed", device.rx_missed),
        ("tx_errors", device.tx_errors),
        ("tx_dropped", device.tx_dropped),
        ("carrier_changes", device.carrier_changes),
        ("qdisc_drops", device.qdisc_drops),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::SocketHealth;

    fn device(interface: &str, tx_dropped: u64) -> DeviceHealth {
        DeviceHealth {
            interface: Arc::from(interface),
            tx_dropped,
            qdisc_drops: tx_dropped,
            rx_errors: 5,
            ..DeviceHealth::default()
        }
    }

    fn sockets(netns: &str, overflows: u64, no_ports: u64) -> SocketHealth {
        SocketHealth {
            netns: Arc::from(netns),
            counters: vec![
                ("TcpExtListenOverflows".into(), overflows),
                ("UdpNoPorts".into(), no_ports),
            ],
        }
    }

    fn health(devices: Vec<DeviceHealth>, sockets: Vec<SocketHealth>) -> Health {
        Health {
            time: 0,
            devices,
            sockets,
        }
    }

    #[test]
    fn what_rose_is_told_by_place() {
        let before = health(
            vec![device("eth0", 1), device("cni0", 9)],
            vec![sockets("host", 0, 1), sockets("shop/cart", 2, 0)],
        );
        let after = health(
            vec![device("cni0", 9), device("eth0", 4)],
            vec![sockets("shop/cart", 4, 1), sockets("host", 0, 2)],
        );
        let rises = Rises::between(&before, &after);
        assert!(rises.device("cni0").is_none());
        let eth0 = rises.device("eth0").expect("its counters rose");
        let rose = |rise: &Rise| {
            let counters = rise.counters.iter();
            let counters: Vec<_> = counters.map(|(name, by)| format!("{name} +{by}")).collect();
            (rise.place.to_string(), counters.join(", "))
        };
        let of = |place: &str, counters: &str| (place.to_owned(), counters.to_owned());
        assert_eq!(rose(eth0), of("eth0", "tx_dropped +3, qdisc_drops +3"));
        let cart = rises.namespace("shop/cart").expect("its counters rose");
        assert_eq!(
            rose(cart),
            of("shop/cart", "TcpExtListenOverflows +2, UdpNoPorts +1")
        );
        assert_eq!(
            (cart.by("TcpExtListenOverflows"), cart.by("TcpInErrs")),
            (2, 0)
        );
        let host = rises.namespace("host").expect("its counters rose");
        assert_eq!(rose(host), of("host", "UdpNoPorts +1"));
        let only = cart.only(&["UdpNoPorts"]).expect("it rose");
        assert_eq!(rose(&only), of("shop/cart", "UdpNoPorts +1"));
        assert!(host.only(&["TcpExtListenOverflows"]).is_none());
    }

    #[test]
    fn what_did_not_rise_is_not_told() {
        let reading = health(vec![device("eth0", 4)], vec![sockets("host", 3, 3)]);
        assert!(Rises::between(&reading, &reading).is_empty());
        let anew = health(vec![device("eth0", 1)], vec![sockets("host", 0, 0)]);
        assert!(Rises::between(&reading, &anew).is_empty());
        let new = health(vec![device("eth1", 4)], vec![sockets("shop/cart", 3, 3)]);
        assert!(Rises::between(&reading, &new).is_empty());
        assert!(Rises::between(&Health::default(), &reading).is_empty());
    }
}
