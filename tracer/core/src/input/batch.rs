//! What a stream of an agent sends: hops, freed packets, and counters of all packets.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use tracer_common::{counters::Counters, drop::DropCounters};

use super::{
    Change, Health,
    change::{MAX_POINTS, leave_out},
};
#[cfg(doc)]
use crate::model::Hello;
use crate::model::{Freed, Hop, Named, Proto, Translation};

/// Hops and freed packets since the last batch of the same stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Index of the stream among the agent's [`Hello::streams`].
    pub stream: usize,
    /// Packets that the agent saw, in no particular order.
    pub hops: Vec<Hop>,
    /// Packets that the kernel freed, in no particular order.
    pub freed: Vec<Freed>,
    /// Time before which the stream has sent everything, in this batch or an earlier one; the
    /// agent's monotonic clock, ns. 0: no such time yet; `u64::MAX`: nothing more comes.
    pub watermark: u64,
    /// Whether the collector made this batch, because it no longer waits for the stream. What
    /// the stream saw before the watermark may be missing, or come late.
    pub overdue: bool,
    /// Counters so far, if the collector asked for them or they changed.
    pub report: Option<Report>,
    /// Changes on the node; a batch with changes has no hops.
    pub change: Option<Change>,
}

impl Batch {
    /// Time of the latest hop or drop in the batch, the agent's monotonic clock, ns; `None`
    /// without both.
    #[must_use]
    pub fn latest(&self) -> Option<u64> {
        let hops = self.hops.iter().map(|hop| hop.time);
        hops.chain(self.freed.iter().map(|freed| freed.time)).max()
    }

    /// Whether the batch says that the agent began anew.
    #[must_use]
    pub fn begins_anew(&self) -> bool {
        self.change.as_ref().is_some_and(Change::begins_anew)
    }

    /// Leaves out points from [`MAX_POINTS`] on, and the hops at them. `known` is the number of
    /// points that the agent has already. Returns whether the batch brought such points; with
    /// `tell`, a note says so.
    pub fn leave_out(&mut self, known: usize, tell: bool) -> bool {
        let change = self.change.as_mut();
        let left_out = change.is_some_and(|change| {
            change.gone.retain(|point| *point < MAX_POINTS);
            leave_out(&mut change.points, &mut change.notes, known, tell)
        });
        if left_out || known >= MAX_POINTS {
            self.hops.retain(|hop| hop.point < MAX_POINTS);
            if let Some(report) = &mut self.report {
                report.counters.retain(|(point, _)| *point < MAX_POINTS);
                report.gone.retain(|point| *point < MAX_POINTS);
            }
        }
        left_out
    }
}

/// Counters of a stream since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Time of the report, the agent's monotonic clock, ns.
    pub time: u64,
    /// Counters by observation point, as index into [`Hello::points`]. Of points that share a
    /// counter slot, only one is listed.
    pub counters: Vec<(usize, Counters)>,
    /// Points to which tracer's program is no longer attached, so that it sees no more packets
    /// there. Indexes into [`Hello::points`].
    pub gone: Vec<usize>,
    /// How many of 2^32 packets the sample takes, by the hash of their content.
    pub sample: u32,
    /// Events that the agent could not decode.
    pub malformed: u64,
    /// Unmatched traffic of followed addresses, by destination.
    pub elsewhere: Vec<Elsewhere>,
    /// Counters of freed packets; `None` if the stream does not watch drops.
    pub drops: Option<DropReport>,
    /// Counters of the node's kernel; only from the stream that watches drops, and only in a
    /// follow.
    pub health: Option<Health>,
    /// Conntrack entries that the agent read since the last report. Agents of older versions
    /// read none.
    #[serde(default)]
    pub translations: Vec<Translation>,
    /// Names in DNS answers that the agent saw since the last report (`--dns-names`). Agents of
    /// older versions report none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<Named>,
}

/// Packets of a followed address to a destination outside of the follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// The followed address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Protocol.
    pub proto: Proto,
    /// Destination port; 0 without ports.
    pub dst_port: u16,
    /// Number of packets at the point that saw most of them.
    pub packets: u64,
}

/// What became of the packets that the kernel freed since the agent began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropReport {
    /// Counters by what the kernel program did.
    pub counters: DropCounters,
    /// Events that the agent could not decode.
    pub malformed: u64,
    /// Runs of the program that were skipped, because the program was already running on that
    /// CPU.
    pub missed: u64,
}
