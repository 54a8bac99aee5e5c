//! What a collector is to do.

use std::{path::PathBuf, time::Duration};

use ipnet::IpNet;
use tracer_core::{
    collect::Beginning,
    input::OwnersChange,
    journal::Selection,
    journey::Limits,
    model::{Hello, Owners, Pair, Point, skew},
    request::{Filter, Look, Start},
};

use crate::{link::Place, store::Rotation};

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
    /// What the collector's core has to know, once the agents have started.
    pub(super) fn beginning(&self, nodes: Vec<Hello>, time: i64) -> Beginning {
        let skew = skew(&nodes);
        // Clocks that differ make hops come later than others say: so they are waited for.
        let mut limits = self.limits;
        limits.hold = limits.hold.saturating_add(skew);
        Beginning {
            follow: self.description.clone(),
            warnings: warnings(self, &nodes),
            skew,
            nodes,
            owners: self.owners.clone(),
            sources: self.sources.clone(),
            asked: Vec::new(),
            limits,
            count: self.count,
            time,
        }
    }
}

/// What has changed of a plan while it is carried out.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Who has got an address, and who has lost one.
    pub owners: Vec<OwnersChange>,
    /// Whose packets to follow from now on; `None`: as before.
    pub pairs: Option<Vec<Pair>>,
    /// What agents are to observe from now on, by node; those whose part is as before are
    /// left out.
    pub looks: Vec<(String, Look)>,
    /// What the user should know, one sentence each.
    pub notices: Vec<String>,
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
