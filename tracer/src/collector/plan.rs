//! The plan of a collector.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use tracer_core::{
    collect::Beginning,
    input::OwnersChange,
    journal::Selection,
    journey::Limits,
    model::{Hello, Owners, Pair, Point, skew},
    request::{Filter, Look, Start},
};

use crate::{
    link::{Place, wire::MAX_PAIRS},
    store::Rotation,
};

/// A resolved follow, without names to look up.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Description of the follow in one line.
    pub description: String,
    /// Notes for the user before the follow begins, one sentence each.
    pub warnings: Vec<String>,
    /// Agents to start, and how to reach each.
    pub agents: Vec<(Place, Start)>,
    /// The first filter, before the agents have reported next hops.
    pub filter: Filter,
    /// Networks on the client's side.
    pub sources: Vec<IpNet>,
    /// Nodes on the client's side, whose packets may have any of their addresses.
    pub source_nodes: Vec<String>,
    /// Requested destinations, if more is watched; empty: all destinations were requested.
    pub asked: Vec<IpNet>,
    /// Additional pairs of the filter, once agents have reported their nodes' addresses.
    pub masqueraded: Vec<Masqueraded>,
    /// Addresses of nodes that are known without an agent.
    pub node_addresses: BTreeMap<String, Vec<IpAddr>>,
    /// Owners of addresses.
    pub owners: Owners,
    /// How long the follow waits for a journey's next hop, and how many journeys may be open at
    /// once.
    pub limits: Limits,
    /// How long the follow runs; `None`: no limit.
    pub duration: Option<Duration>,
    /// Number of journeys after which the follow ends, shown or not; `None`: no limit.
    pub count: Option<u64>,
    /// Selection of the journeys to show; `None`: all journeys.
    pub selection: Option<Selection>,
    /// Where to record the follow; `None`: nowhere.
    pub write: Option<Write>,
}

impl Plan {
    /// Pairs of masqueraded traffic, with the present addresses of nodes, except addresses that
    /// packets between machines cannot have. Their number is limited; also returns how many
    /// pairs are left out.
    pub(super) fn masqueraded_pairs(&self, nodes: &[Hello]) -> (Vec<Pair>, usize) {
        let mut addresses: BTreeSet<(&str, IpAddr)> = BTreeSet::new();
        let told = nodes.iter().map(|hello| (&hello.node, &hello.local));
        for (node, local) in self.node_addresses.iter().chain(told) {
            let passing = local.iter().filter(|address| may_pass(**address));
            addresses.extend(passing.map(|address| (node.as_str(), *address)));
        }
        let mut room = MAX_PAIRS.saturating_sub(self.filter.pairs.len());
        let (mut pairs, mut left_out) = (Vec::new(), 0);
        for masqueraded in &self.masqueraded {
            let own = |(node, address): &&(&str, IpAddr)| {
                let is_v4 = matches!(masqueraded.to, IpNet::V4(_));
                let is_there = masqueraded.node.as_deref().is_none_or(|own| own == *node);
                is_there && address.is_ipv4() == is_v4
            };
            for (_, address) in addresses.iter().filter(own) {
                if room == 0 {
                    left_out += 1;
                    continue;
                }
                room -= 1;
                pairs.push(Pair {
                    a: (*address).into(),
                    b: masqueraded.to,
                    proto: masqueraded.proto,
                    a_port: None,
                    b_port: masqueraded.port,
                });
            }
        }
        (pairs, left_out)
    }

    /// The beginning for the core, once the agents have started.
    pub(super) fn beginning(&self, nodes: Vec<Hello>, time: i64) -> Beginning {
        let skew = skew(&nodes);
        // If clocks differ, hops may seem late, so the collector waits longer.
        let mut limits = self.limits;
        limits.hold = limits.hold.saturating_add(skew);
        let mut sources = self.sources.clone();
        for hello in nodes
            .iter()
            .filter(|one| self.source_nodes.contains(&one.node))
        {
            let passing = hello.local.iter().filter(|address| may_pass(**address));
            for network in passing.map(|address| IpNet::from(*address)) {
                if !sources.contains(&network) {
                    sources.push(network);
                }
            }
        }
        Beginning {
            follow: self.description.clone(),
            warnings: warnings(self, &nodes),
            skew,
            nodes,
            owners: self.owners.clone(),
            sources,
            asked: self.asked.clone(),
            limits,
            count: self.count,
            time,
        }
    }
}

/// Traffic to an address that may have a node's address as its source (masquerading).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masqueraded {
    /// Destination network.
    pub to: IpNet,
    /// IANA protocol number; `None`: any.
    pub proto: Option<u8>,
    /// Destination port; `None`: any.
    pub port: Option<u16>,
    /// Node whose addresses may be the source; `None`: any node.
    pub node: Option<String>,
}

/// The followed packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// New [`Filter::pairs`].
    pub pairs: Vec<Pair>,
    /// New [`Plan::masqueraded`].
    pub masqueraded: Vec<Masqueraded>,
    /// New [`Plan::asked`].
    pub asked: Vec<IpNet>,
}

/// A change of a plan during the follow.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Changes of owners.
    pub owners: Vec<OwnersChange>,
    /// Packets to follow from now on; `None`: as before.
    pub targets: Option<Targets>,
    /// Addresses that agents observe from now on, by node, for agents whose part has changed.
    pub looks: Vec<(String, Look)>,
    /// Agents for nodes that had none.
    pub joins: Vec<(Place, Start)>,
    /// All nodes with an agent where the follow has no end now; `None`: as before.
    pub idle: Option<BTreeSet<String>>,
    /// Notes for the user, one sentence each.
    pub notices: Vec<String>,
}

impl Update {
    /// An update that only tells the user something.
    pub(crate) fn notice(line: String) -> Self {
        Self {
            notices: vec![line],
            ..Self::default()
        }
    }

    /// Whether the update has no content.
    pub(crate) fn is_empty(&self) -> bool {
        let Self {
            owners,
            targets,
            looks,
            joins,
            idle,
            notices,
        } = self;
        let plan = targets.is_none() && looks.is_empty() && joins.is_empty() && idle.is_none();
        owners.is_empty() && plan && notices.is_empty()
    }
}

/// Whether packets that leave a machine may have this source.
const fn may_pass(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    }
}

/// What may hide packets, and what agents noticed during their search.
fn warnings(plan: &Plan, nodes: &[Hello]) -> Vec<String> {
    let of_agents = nodes.iter().flat_map(|hello| {
        let notes = hello.notes.iter().cloned();
        let foreign = hello.points.iter().filter_map(Point::warning);
        notes
            .chain(foreign)
            .map(move |note| format!("{}: {note}", hello.node))
    });
    plan.warnings.iter().cloned().chain(of_agents).collect()
}

/// Where a follow is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The first file.
    pub path: PathBuf,
    /// When to continue in another file.
    pub rotation: Rotation,
    /// Whether to anonymize the recording.
    pub anonymize: bool,
}
