//! The head of a trace, which holds for all rows.

use std::{collections::HashMap, fmt, sync::Arc};

use arrow_schema::{Field, Schema, SchemaRef};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tracer_common::hash::{HASHED_BYTES, Key, payload_hash};
use tracer_core::{
    collect::Beginning,
    input::MAX_POINTS,
    journey::Limits,
    model::{Hello, Owners, Pair, skew},
};

use super::table::{SCHEMA, columns};

/// Key of the schema's name in the Arrow schema's metadata.
pub(super) const SCHEMA_KEY: &str = "tracer.schema";
/// Key of the head in the Arrow schema's metadata.
pub(super) const HEAD_KEY: &str = "tracer.head";

/// Limit of streams per agent. An agent has one per network namespace and one more.
pub(super) const MAX_STREAMS: usize = 1 << 16;
/// Limit of the hold time, ns: a year.
const MAX_HOLD: i64 = 365 * 24 * 3600 * 1_000_000_000;

/// The head of a trace: what was followed, by which agents and where. It is JSON in the Arrow
/// schema's metadata.
///
/// Fields that a later version adds have a default, here and in all types inside, so that it
/// can read earlier traces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Version of tracer that wrote the trace.
    pub version: String,
    /// Number of the recording, the same in all its pieces, and in no other recording.
    pub recording: u64,
    /// Number of this piece, from 0.
    pub piece: u32,
    /// Time from which all points were observed, Unix time, ns; `None` in the first piece, and
    /// while they are not.
    pub armed: Option<i64>,
    /// Time of the latest hop or drop in earlier pieces, Unix time, ns.
    pub last: Option<i64>,
    /// Whether names, addresses and hashes are replaced.
    #[serde(default)]
    pub anonymized: bool,
    /// Tells whose payload hashes can be compared: those of recordings with equal values. 0:
    /// with no other recording.
    pub key: u64,
    /// Time when all agents had started, Unix time, ns.
    pub time: i64,
    /// The follow, in one line.
    pub follow: String,
    /// What may have hidden packets, one sentence each.
    pub warnings: Vec<String>,
    /// The followed pairs.
    pub pairs: Vec<Pair>,
    /// Networks on the client's side.
    pub sources: Vec<IpNet>,
    /// Requested destinations, if the follow watched more; empty: all destinations were
    /// requested.
    #[serde(default)]
    pub asked: Vec<IpNet>,
    /// How long the follow waited for a packet's next hop, ns.
    pub hold: i64,
    /// How far the clocks of these nodes may differ, ns.
    #[serde(default)]
    pub skew: i64,
    /// Limit of journeys that are open at once.
    pub open: usize,
    /// Number of journeys after which the follow ended; `None`: no limit.
    pub count: Option<u64>,
    /// The agents: their nodes, clocks and observation points.
    pub nodes: Vec<Hello>,
    /// Owners of addresses and their times, as they were known when the file began.
    pub owners: Owners,
}

/// Whether an agent's numbers of streams and points are within the limits.
pub(super) fn fits(hello: &Hello) -> bool {
    hello.streams <= MAX_STREAMS && hello.points.len() <= MAX_POINTS
}

impl Head {
    /// Creates the head of a recording that begins now. `key` is the key of the payload hashes,
    /// if all agents have the same.
    pub(crate) fn new(beginning: Beginning, pairs: Vec<Pair>, key: Option<Key>) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            recording: crate::random(),
            piece: 0,
            armed: None,
            last: None,
            anonymized: false,
            // The hash of an empty payload differs between keys, and tells nothing of the key.
            key: key.map_or(0, |key| payload_hash(key, &[0; HASHED_BYTES], 0)),
            time: beginning.time,
            follow: beginning.follow,
            warnings: beginning.warnings,
            pairs,
            sources: beginning.sources,
            asked: beginning.asked,
            hold: beginning.limits.hold,
            open: beginning.limits.open,
            skew: beginning.skew,
            count: beginning.count,
            nodes: beginning.nodes,
            owners: beginning.owners,
        }
    }

    /// The schema of a trace with this head.
    pub(super) fn schema(&self) -> SchemaRef {
        let head = serde_json::to_string(self).expect("a head has names and numbers only");
        let metadata = [(SCHEMA_KEY, SCHEMA.to_owned()), (HEAD_KEY, head)];
        let fields = columns()
            .into_iter()
            .map(|(name, data_type, _)| Field::new(name, data_type, true));
        Arc::new(Schema::new_with_metadata(
            fields.collect::<Vec<_>>(),
            metadata
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect::<HashMap<_, _>>(),
        ))
    }

    /// Adds an agent, as the core does: if its clock differs by more, the follow waits longer.
    pub(super) fn join(&mut self, hello: Hello) {
        self.nodes.push(hello);
        let more = skew(&self.nodes).saturating_sub(self.skew).max(0);
        self.skew += more;
        self.hold += more;
    }

    /// Whether a writer can have written this head.
    pub(super) fn is_sound(&self) -> bool {
        let names: Vec<&str> = self.nodes.iter().map(|hello| &*hello.node).collect();
        let mut unique = names.clone();
        unique.sort_unstable();
        unique.dedup();
        let nodes_fit = self.nodes.iter().all(fits);
        !names.is_empty()
            && unique.len() == names.len()
            && nodes_fit
            && (0..=MAX_HOLD).contains(&self.hold)
            && (0..=MAX_HOLD).contains(&self.skew)
    }

    /// The beginning for a collector that replays the trace.
    pub(crate) fn beginning(&self) -> Beginning {
        Beginning {
            nodes: self.nodes.clone(),
            owners: self.owners.clone(),
            sources: self.sources.clone(),
            asked: self.asked.clone(),
            limits: Limits {
                hold: self.hold,
                open: self.open.min(Limits::default().open),
                ..Limits::default()
            },
            count: self.count,
            time: self.time,
            follow: self.follow.clone(),
            warnings: self.warnings.clone(),
            skew: self.skew,
        }
    }
}

/// The warning that an end is on a node without an agent.
#[must_use]
pub(crate) fn unwatched_end(end: &impl fmt::Display, node: &str) -> String {
    format!(
        "{end}{}: packets to it are shown as left, unless they are answered",
        unwatched(node)
    )
}

/// Whether a warning says this of a node. It becomes untrue if a recording of the node itself
/// is joined.
pub(super) fn calls_unwatched(warning: &str, node: &str) -> bool {
    warning.contains(&unwatched(node))
}

fn unwatched(node: &str) -> String {
    format!(" runs on {node}, which no agent watches")
}
