//! What is shown of drops, and by whom it is shown.

use std::{io, net::IpAddr};

use tracer_core::{
    input::DropReport,
    model::{Freed, Hello, OwnerKind, Owners},
    verdict::{DropKind, Tally},
};

/// What the drops are seen against.
#[derive(Clone, Debug)]
pub struct DropScene {
    /// The agents' first messages; a node is an index into these.
    pub nodes: Vec<Hello>,
    /// Who has which address.
    pub owners: Owners,
    /// The only pod of interest.
    pub pod: Option<String>,
}

impl DropScene {
    /// Whether the addresses of a packet that was freed at `time`, Unix time, ns, say that it was on its way to where it was
    /// freed: to a pod in its own namespace, or out of another node to this one or
    /// to a pod of it. What a node's own pods send each other also comes to the
    /// bridge between them, while somebody captures there.
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

/// Shows drops: the start, each kind, and what they add up to.
pub trait DropView {
    /// Shows that from now (Unix time, ns) on drops are seen, and where.
    ///
    /// # Errors
    /// Those of the writer, here and below.
    fn started(&mut self, scene: &DropScene, time: i64) -> io::Result<()>;

    /// Shows what came of one kind since it was last shown.
    ///
    /// # Errors
    /// See [`DropView::started`].
    fn drop(&mut self, scene: &DropScene, kind: &DropKind) -> io::Result<()>;

    /// Shows the sums, last.
    ///
    /// # Errors
    /// See [`DropView::started`].
    fn summary(&mut self, scene: &DropScene, tally: &Tally, report: &DropReport) -> io::Result<()>;
}
