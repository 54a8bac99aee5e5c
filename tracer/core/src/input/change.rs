//! Changes on a node while it is observed: a pod's interface comes or goes, or somebody creates
//! a tunnel device again.

use std::{net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::model::{Hello, Network, Point};

/// Limit of observation points per agent: a row of a recording has 16 bits for a point's index.
pub const MAX_POINTS: usize = u16::MAX as usize;

/// A change that an agent noticed and acted on.
///
/// The agent sends it in a batch without hops, before any hop at a new point.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Time when the agent acted on the change, the agent's monotonic clock, ns.
    pub time: u64,
    /// Points that are observed from then on. Their indexes follow those of the agent's known
    /// points.
    #[serde(default)]
    pub points: Vec<Point>,
    /// Number of additional streams, if the agent began anew and its known streams have ended.
    /// Their indexes follow those of the known streams.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub streams: usize,
    /// Points whose program is gone. Indexes into [`Hello::points`].
    #[serde(default)]
    pub gone: Vec<usize>,
    /// Additional addresses that the node's host namespace owns.
    #[serde(default)]
    pub local: Vec<IpAddr>,
    /// Additional addresses whose ARP and neighbour discovery belongs to the follow.
    #[serde(default)]
    pub next_hops: Vec<IpAddr>,
    /// All pods whose own namespaces are watched for drops from then on; `None` if they have
    /// not changed.
    #[serde(default)]
    pub drops: Option<Vec<Arc<str>>>,
    /// All interfaces and routes from then on; `None` if they have not changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Box<Network>>,
    /// Whether the agent leaves the node, because the follow has no end there any more. Then
    /// `gone` has all points.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaves: bool,
    /// What the agent did not find, or what is unusual, one sentence each.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl Change {
    /// Whether the agent began anew, so that its known streams have ended.
    #[must_use]
    pub const fn begins_anew(&self) -> bool {
        self.streams > 0
    }

    /// Whether the change has no content.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self {
            time: _,
            points,
            streams,
            gone,
            local,
            next_hops,
            drops,
            network,
            leaves,
            notes,
        } = self;
        let addresses = local.is_empty() && next_hops.is_empty();
        let points = points.is_empty() && gone.is_empty() && *streams == 0;
        let others = drops.is_none() && network.is_none() && notes.is_empty();
        addresses && points && others && !leaves
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Leaves out those new points that get no index after `known` ones.
pub(super) fn leave_out(
    points: &mut Vec<Point>,
    notes: &mut Vec<String>,
    known: usize,
    tell: bool,
) -> bool {
    let room = MAX_POINTS.saturating_sub(known);
    let Some(first) = points.get(room) else {
        return false;
    };
    if tell {
        notes.push(format!(
            "interface {} and those that come later are not observed, as {MAX_POINTS} points \
             have been before; start again to see them",
            first.interface
        ));
    }
    points.truncate(room);
    true
}

impl Hello {
    /// As `Batch::leave_out`, for the points with which an agent begins.
    pub fn leave_out(&mut self) -> bool {
        leave_out(&mut self.points, &mut self.notes, 0, true)
    }

    /// Whether this is the agent `earlier`, after some changes.
    pub fn continues(&self, earlier: &Self) -> bool {
        let own = |hello: &Self| {
            let Self {
                node,
                boot_id,
                realtime_offset,
                ..
            } = hello;
            (node.clone(), boot_id.clone(), *realtime_offset)
        };
        let place = |point: &Point| Point {
            until: None,
            ..point.clone()
        };
        let mut points = self.points.iter().map(place);
        let mut known = earlier.points.iter().map(place);
        own(self) == own(earlier)
            && self.streams >= earlier.streams
            && known.all(|point| points.next() == Some(point))
    }

    /// Applies a change.
    pub fn change(&mut self, change: &Change) {
        self.points.extend(change.points.iter().cloned());
        self.streams = self.streams.saturating_add(change.streams);
        for index in &change.gone {
            if let Some(point) = self.points.get_mut(*index) {
                point.until.get_or_insert(change.time);
            }
        }
        add(&mut self.local, &change.local);
        add(&mut self.next_hops, &change.next_hops);
        if let Some(network) = &change.network {
            self.network.change(network, change.time);
        }
        if let (Some(pods), Some(_)) = (&change.drops, &self.drops) {
            self.drops_later.push((change.time, pods.clone()));
        }
    }
}

fn add(known: &mut Vec<IpAddr>, more: &[IpAddr]) {
    for address in more {
        if !known.contains(address) {
            known.push(*address);
        }
    }
}
