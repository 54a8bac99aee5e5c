//! What views need to show drops, and the interface of these views.

use std::{fmt, io, net::IpAddr};

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
    /// The only pods whose drops are shown; `None`: all drops are shown.
    pub chosen: Option<Chosen>,
}

/// The pods whose drops are shown: packets from or to them, or dropped inside one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// A pod, as `namespace/name`.
    Pod(String),
    /// All pods of a namespace.
    Namespace(String),
}

impl Chosen {
    /// Whether a pod is among them; `pod` is `namespace/name`.
    #[must_use]
    pub fn has(&self, pod: &str) -> bool {
        match self {
            Self::Pod(name) => name == pod,
            Self::Namespace(name) => {
                let namespace = pod.split_once('/').map(|(namespace, _)| namespace);
                namespace == Some(name)
            }
        }
    }
}

/// `shop/cart`, or `namespace shop`.
impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(name) => f.write_str(name),
            Self::Namespace(name) => write!(f, "namespace {name}"),
        }
    }
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

    /// Whether a packet that was freed at `time` (Unix time, ns) is from or to one of the chosen
    /// pods, or was freed inside one.
    #[must_use]
    pub fn concerns(&self, freed: &Freed, time: i64) -> bool {
        let Some(chosen) = &self.chosen else {
            return true;
        };
        let packet = freed.packet.as_ref();
        let ends = packet.map(|packet| [packet.src, packet.dst]);
        let ends = ends.into_iter().flatten();
        let pods = ends.filter_map(|address| self.pod_of(address, time));
        freed
            .netns
            .as_deref()
            .into_iter()
            .chain(pods)
            .any(|pod| chosen.has(pod))
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
