//! What holds for all rows of a trace.

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

/// Keys of the schema's metadata.
pub(super) const SCHEMA_KEY: &str = "tracer.schema";
/// See [`SCHEMA_KEY`].
pub(super) const HEAD_KEY: &str = "tracer.head";

/// No agent has as many streams: one per network namespace, and one.
pub(super) const MAX_STREAMS: usize = 1 << 16;
/// Nobody waits longer, ns: a year.
const MAX_HOLD: i64 = 365 * 24 * 3600 * 1_000_000_000;

/// What was followed, by whom, where: the metadata of a trace, in JSON.
///
/// What a later version adds has a default, here and in all that is in it, so
/// that it can read what was written before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The version of tracer that wrote it.
    pub version: String,
    /// The same in all pieces of a recording, and in no other.
    pub recording: u64,
    /// Which piece this is, from 0.
    pub piece: u32,
    /// From when on all points were observed, Unix time, ns, where that is told
    /// in an earlier piece.
    pub armed: Option<i64>,
    /// When the latest hop or drop in the earlier pieces was, Unix time, ns.
    pub last: Option<i64>,
    /// Whether names, addresses and hashes are replaced by this recording's own.
    #[serde(default)]
    pub anonymized: bool,
    /// Equal where payload hashes can be compared; 0 where they cannot be with
    /// those of any other recording.
    pub key: u64,
    /// When the agents had started, Unix time, ns.
    pub time: i64,
    /// What was followed, in one line.
    pub follow: String,
    /// What may have hidden packets, one sentence each.
    pub warnings: Vec<String>,
    /// Whose packets.
    pub pairs: Vec<Pair>,
    /// Addresses on the asking side.
    pub sources: Vec<IpNet>,
    /// Where packets end that were asked for, if more was watched; empty: all of it was.
    #[serde(default)]
    pub asked: Vec<IpNet>,
    /// How long a packet's next hop is waited for, ns.
    pub hold: i64,
    /// By how much the clocks of these nodes may differ, ns.
    #[serde(default)]
    pub skew: i64,
    /// Journeys that may be open at once.
    pub open: usize,
    /// After how many journeys no more are shown.
    pub count: Option<u64>,
    /// The agents: their nodes, clocks and observation points.
    pub nodes: Vec<Hello>,
    /// Cluster objects: who owned which address, and when, as far as that was known
    /// when the file began.
    pub owners: Owners,
}

/// Whether an agent has no more streams and points than it can have.
pub(super) fn fits(hello: &Hello) -> bool {
    hello.streams <= MAX_STREAMS && hello.points.len() <= MAX_POINTS
}

impl Head {
    /// That of a recording that begins now, of these pairs' packets. `key` is that of the
    /// payload hashes, if there is one for all agents.
    pub(crate) fn new(beginning: Beginning, pairs: Vec<Pair>, key: Option<Key>) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            recording: crate::random(),
            piece: 0,
            armed: None,
            last: None,
            anonymized: false,
            // A hash of nothing tells keys apart, and nothing of the key.
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

    /// Takes in another agent, as the core does: a clock that differs by more is waited
    /// for longer.
    pub(super) fn join(&mut self, hello: Hello) {
        self.nodes.push(hello);
        let more = skew(&self.nodes).saturating_sub(self.skew).max(0);
        self.skew += more;
        self.hold += more;
    }

    /// Whether it is one that a writer can have written.
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

    /// What a collector that is to go through it has to know.
    pub(crate) fn beginning(&self) -> Beginning {
        Beginning {
            nodes: self.nodes.clone(),
            owners: self.owners.clone(),
            sources: self.sources.clone(),
            asked: self.asked.clone(),
            limits: Limits {
                hold: self.hold,
                open: self.open.min(Limits::default().open),
            },
            count: self.count,
            time: self.time,
            follow: self.follow.clone(),
            warnings: self.warnings.clone(),
            skew: self.skew,
        }
    }
}

/// The warning that an end is on a node where nobody looks.
#[must_use]
pub(crate) fn unwatched_end(end: &impl fmt::Display, node: &str) -> String {
    format!(
        "{end}{}: packets to it are shown as left, unless they are answered",
        unwatched(node)
    )
}

/// Whether that was said of this node. A recording of the node itself, read
/// beside the one that says so, makes it untrue.
pub(super) fn calls_unwatched(warning: &str, node: &str) -> bool {
    warning.contains(&unwatched(node))
}

fn unwatched(node: &str) -> String {
    format!(" runs on {node}, which no agent watches")
}
