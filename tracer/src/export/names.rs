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
        self.addresses.extend(addresses(scene, journey));
    }

    /// All addresses with their names.
    pub(super) fn all(&self, scene: &Scene) -> impl Iterator<Item = (IpAddr, String)> {
        let addresses = self.addresses.iter();
        addresses.map(|address| (*address, name(scene, *address)))
    }
}

/// A journey's addresses with a known owner, and those of the tunnels around it.
pub(super) fn addresses(scene: &Scene, journey: &Journey) -> impl Iterator<Item = IpAddr> {
    let packet = &journey.packet;
    let outer = journey.steps.iter().filter_map(|step| step.encap);
    let outer = outer.flat_map(|encap| [encap.outer_src, encap.outer_dst]);
    let ends = journey.steps.iter().filter_map(|step| step.ends.as_deref());
    let ends = ends.flat_map(|ends| [ends.src, ends.dst]);
    let all = outer.chain(ends).chain([packet.src, packet.dst]);
    all.filter(|address| !scene.owners.of(*address).is_empty())
}

/// The name of an address. An address that changed hands has the names of all its owners,
/// joined by `|`.
pub(super) fn name(scene: &Scene, address: IpAddr) -> String {
    let mut names: Vec<&str> = Vec::new();
    for owned in scene.owners.of(address) {
        if !names.contains(&&*owned.owner.name) {
            names.push(&owned.owner.name);
        }
    }
    names.join("|")
}
