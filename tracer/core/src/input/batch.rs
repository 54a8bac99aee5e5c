//! What a stream sends: packets seen and freed, and what became of all of them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use tracer_common::{counters::Counters, drop::DropCounters};

use super::{Change, Health};
#[cfg(doc)]
use crate::model::Hello;
use crate::model::{Freed, Hop, Proto, Translation};

/// What happened since the last batch of the same stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Which of the agent's [`Hello::streams`].
    pub stream: usize,
    /// The packets seen, in no particular order.
    pub hops: Vec<Hop>,
    /// The packets that the kernel freed, likewise.
    pub freed: Vec<Freed>,
    /// Everything of this stream before this time (the agent's monotonic
    /// clock, ns) has been sent, in this batch or an earlier one.
    pub watermark: u64,
    /// Whether the collector made it, because it does not wait for this stream any
    /// longer: what the stream saw before the watermark may be missing, or come late.
    pub overdue: bool,
    /// What has become of packets so far, where that was asked for or is
    /// new.
    pub report: Option<Report>,
    /// What has changed on the node; such a batch has no hops.
    pub change: Option<Change>,
}

impl Batch {
    /// When the latest hop or drop in it was, the agent's monotonic clock, ns.
    #[must_use]
    pub fn latest(&self) -> Option<u64> {
        let hops = self.hops.iter().map(|hop| hop.time);
        hops.chain(self.freed.iter().map(|freed| freed.time)).max()
    }
}

/// What has become of packets since a stream began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// When it was made: the agent's monotonic clock, ns.
    pub time: u64,
    /// By observation point: index into [`Hello::points`], counters. Points
    /// that share a counter slot stand here once.
    pub counters: Vec<(usize, Counters)>,
    /// Points that tracer's program is no longer attached to: what passes there
    /// is not seen any more. Indexes into [`Hello::points`].
    pub gone: Vec<usize>,
    /// How many of 2^32 packets are taken, by the hash of their content.
    pub sample: u32,
    /// Events that could not be decoded.
    pub malformed: u64,
    /// Where followed addresses sent what the follow did not ask about.
    pub elsewhere: Vec<Elsewhere>,
    /// What became of freed packets, if the stream watches drops.
    pub drops: Option<DropReport>,
    /// Likewise, in a follow: what the node's kernel has counted.
    pub health: Option<Health>,
    /// Entries of the table of connections that were read since the last report. An agent of
    /// an older version reads none.
    #[serde(default)]
    pub translations: Vec<Translation>,
}

/// Packets of a followed address to a destination nobody asked about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// The followed address.
    pub src: IpAddr,
    /// Where it sent to.
    pub dst: IpAddr,
    /// Protocol.
    pub proto: Proto,
    /// Destination port, 0 where there is none.
    pub dst_port: u16,
    /// Packets, at the point that saw most of them.
    pub packets: u64,
}

/// Where the kernel's freed packets went since the agent began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropReport {
    /// By what the program did.
    pub counters: DropCounters,
    /// Events that could not be decoded.
    pub malformed: u64,
    /// Runs of the program that the kernel left out, because one was already
    /// running on that CPU.
    pub missed: u64,
}
