//! Who has the addresses of an export: pods, Services and nodes.

use std::{collections::BTreeSet, net::IpAddr};

use tracer_core::journey::{Journey, Scene};

/// The addresses of packets that somebody is known to have.
///
/// There are no more of them than the cluster has, however many packets there are.
#[derive(Default)]
pub(super) struct Names {
    addresses: BTreeSet<IpAddr>,
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
                self.addresses.insert(address);
            }
        }
    }

    /// Their names. One that changed hands has those of all its owners, with `|` between
    /// them.
    pub(super) fn all(&self, scene: &Scene) -> impl Iterator<Item = (IpAddr, String)> {
        self.addresses.iter().map(|address| {
            let mut names: Vec<&str> = Vec::new();
            for owned in scene.owners.of(*address) {
                if !names.contains(&&*owned.owner.name) {
                    names.push(&owned.owner.name);
                }
            }
            (*address, names.join("|"))
        })
    }
}
