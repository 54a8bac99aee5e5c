//! What views need to show drops, and the interface of these views.

use std::{io, net::IpAddr};

use tracer_core::{
    input::DropReport,
    model::{Freed, Hello, OwnerKind, Owners},
    verdict::{DropKind, Tally},
};

/// What drops refer to: nodes, and the owners of addresses.
#[derive(Clone, Debug)]
pub struct DropScene {
    /// The agents' first messages; a node is an index into these.
    pub nodes: Vec<Hello>,
    /// The owners of addresses, with times.
    pub owners: Owners,
    /// The only pod whose drops are shown, if drops are limited to a pod.
    pub pod: Option<String>,
}

impl DropScene {
    /// Whether a freed packet's addresses say that it was on its way to where it was freed at
    /// `time`: Unix time, ns. That place is the receiving pod's own namespace, or its node if the
    /// packet comes from another node. Packets between pods of one node do not count there: the
    /// bridge between them gets copies while somebody captures packets.
    #[must_use]
    pub fn is_meant(&self, (node, time): (usize, i64), freed: &Freed) -> bool {
        let name = &self.nodes[node].node;
        let is_here = |address| {
            let owner = self.owners.at(address, time);
            owner.is_some_and(|owner| owner.node == *name)
        };
        let (Some(packet), Some(netns)) = (&freed.packet, freed.netns.as_deref()) else {
            return false;
        };
        match &freed.encap {
            Some(encap) => is_here(encap.outer_dst) && !is_here(encap.outer_src),
            None if netns == "host" => is_here(packet.dst) && !is_here(packet.src),
            None => self.pod_of(packet.dst, time) == Some(netns),
        }
    }

    /// The pod that has an address at `time`, Unix time, ns.
    #[must_use]
    pub fn pod_of(&self, address: IpAddr, time: i64) -> Option<&str> {
        let owner = self.owners.at(address, time)?;
        (owner.kind == OwnerKind::Pod).then_some(owner.name.as_str())
    }
}

/// Shows drops: the start, each kind of drop, and the sums.
pub trait DropView {
    /// Shows where drops are watched, from now (Unix time, ns) on.
    ///
    /// # Errors
    /// The errors of the writer. The other functions have the same errors.
    fn started(&mut self, scene: &DropScene, time: i64) -> io::Result<()>;

    /// Shows the drops of one kind since this kind was last shown.
    ///
    /// # Errors
    /// See [`DropView::started`].
    fn drop(&mut self, scene: &DropScene, kind: &DropKind) -> io::Result<()>;

    /// Shows the sums, at the end.
    ///
    /// # Errors
    /// See [`DropView::started`].
    fn summary(&mut self, scene: &DropScene, tally: &Tally, report: &DropReport) -> io::Result<()>;
}
