//! What a collector is to do.

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

/// A follow, resolved: no name is left to look up.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In one line, for people.
    pub description: String,
    /// What the user should know before it begins, one sentence each.
    pub warnings: Vec<String>,
    /// The agents to start, and how each is reached.
    pub agents: Vec<(Place, Start)>,
    /// Whose packets to follow, before the agents have told of next hops: what they
    /// begin with.
    pub filter: Filter,
    /// Addresses on the asking side.
    pub sources: Vec<IpNet>,
    /// Nodes on that side, whose packets may have any address of theirs.
    pub source_nodes: Vec<String>,
    /// Where packets end that were asked for, if more is watched; empty: all that is watched
    /// was.
    pub asked: Vec<IpNet>,
    /// What is followed besides the filter's pairs, once agents have told their nodes'
    /// addresses.
    pub masqueraded: Vec<Masqueraded>,
    /// The addresses of the nodes that are known without their agents.
    pub node_addresses: BTreeMap<String, Vec<IpAddr>>,
    /// Who owns which address.
    pub owners: Owners,
    /// How long journeys are waited for, and how many at once.
    pub limits: Limits,
    /// When to end, after the start.
    pub duration: Option<Duration>,
    /// After how many journeys to end, whether they are shown or not.
    pub count: Option<u64>,
    /// Which journeys to show; `None`: all.
    pub selection: Option<Selection>,
    /// Where to record it.
    pub write: Option<Write>,
}

impl Plan {
    /// The pairs of what is masqueraded, with the addresses that nodes have by now, but for
    /// those that packets between machines cannot have. No more than there is room for: of
    /// how many that is not true is said, too.
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

    /// What the collector's core has to know, once the agents have started.
    pub(super) fn beginning(&self, nodes: Vec<Hello>, time: i64) -> Beginning {
        let skew = skew(&nodes);
        // Clocks that differ make hops come later than others say: so they are waited for.
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

/// What may come to an address with a node's own in the place of its source's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masqueraded {
    /// Where it goes to.
    pub to: IpNet,
    /// IANA protocol number; `None`: any.
    pub proto: Option<u8>,
    /// To which port; `None`: any.
    pub port: Option<u16>,
    /// The node that has the address; `None`: any node.
    pub node: Option<String>,
}

/// Whose packets are followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// [`Filter::pairs`].
    pub pairs: Vec<Pair>,
    /// [`Plan::masqueraded`].
    pub masqueraded: Vec<Masqueraded>,
    /// [`Plan::asked`].
    pub asked: Vec<IpNet>,
}

/// What has changed of a plan while it is carried out.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Who has got an address, and who has lost one.
    pub owners: Vec<OwnersChange>,
    /// Whose packets to follow from now on; `None`: as before.
    pub targets: Option<Targets>,
    /// What agents are to observe from now on, by node; those whose part is as before are
    /// left out.
    pub looks: Vec<(String, Look)>,
    /// Agents of nodes that had none.
    pub joins: Vec<(Place, Start)>,
    /// What the user should know, one sentence each.
    pub notices: Vec<String>,
}

/// Whether packets that leave a machine may have this source.
const fn may_pass(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    }
}

/// What may hide packets, and what agents noticed while they looked around.
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
    /// When to go on in another.
    pub rotation: Rotation,
    /// Whether to replace addresses and names.
    pub anonymize: bool,
}
