//! Names for the addresses of an export: pods, Services and nodes.

use std::{collections::BTreeSet, net::IpAddr};

use tracer_core::journey::{Journey, Scene};

/// Addresses of packets with a known owner.
///
/// The cluster limits their number, however many packets there are.
#[derive(Default)]
pub(super) struct Names {
    addresses: BTreeSet<IpAddr>,
}

impl Names {
    /// Notes a journey's addresses, and those of the tunnels around it.
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

    /// All addresses with their names. An address that changed hands has the names of all its
    /// owners, joined by `|`.
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
