//! Who has the addresses of a capture: pods, Services and nodes.

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr};

use pcap_file::pcapng::blocks::name_resolution::{Ipv4Record, Ipv6Record, Record};
use tracer_core::journey::{Journey, Scene};

/// The addresses of packets that somebody is known to have.
///
/// There are no more of them than the cluster has, however many packets there are.
#[derive(Default)]
pub(super) struct Names {
    addresses: BTreeMap<IpAddr, ()>,
}

impl Names {
    /// Takes note of a journey's addresses, those of tunnels around it included.
    pub(super) fn take(&mut self, scene: &Scene, journey: &Journey) {
        let packet = &journey.packet;
        let outer = journey.steps.iter().filter_map(|step| step.encap);
        let outer = outer.flat_map(|encap| [encap.outer_src, encap.outer_dst]);
        let ends = journey.steps.iter().filter_map(|step| step.ends.as_deref());
        let ends = ends.flat_map(|ends| [ends.src, ends.dst]);
        for address in outer.chain(ends).chain([packet.src, packet.dst]) {
            if !scene.owners.of(address).is_empty() {
                self.addresses.insert(address, ());
            }
        }
    }

    /// Their names. Of an address that changed hands a capture can hold one name only:
    /// it is that of all of its owners.
    pub(super) fn records(&self, scene: &Scene) -> Vec<Record<'static>> {
        let named = self.addresses.keys().map(|address| {
            let mut names: Vec<&str> = Vec::new();
            for owned in scene.owners.of(*address) {
                if !names.contains(&&*owned.owner.name) {
                    names.push(&owned.owner.name);
                }
            }
            record(*address, names.join("|"))
        });
        named.collect()
    }
}

fn record(address: IpAddr, name: String) -> Record<'static> {
    let names = vec![Cow::Owned(name)];
    match address {
        IpAddr::V4(address) => Record::Ipv4(Ipv4Record {
            ip_addr: address.octets().to_vec().into(),
            names,
        }),
        IpAddr::V6(address) => Record::Ipv6(Ipv6Record {
            ip_addr: address.octets().to_vec().into(),
            names,
        }),
    }
}
