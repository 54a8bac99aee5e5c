//! Packets that a node's kernel freed, as its agent tells of them.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use tokio::sync::mpsc;
use tracer_common::{
    drop::{DropCounters, Scope},
    hash::Key,
};

use super::{Encap, Mac, Packet};
use crate::node::kernel::Place;

/// What an agent needs to know to watch for drops.
#[derive(Clone, Debug)]
pub struct DropStart {
    /// The node's name, as the cluster knows it.
    pub node: String,
    /// Its host namespace; `None` for the one the process is in.
    pub netns: Option<PathBuf>,
    /// Addresses and names of the pods on it.
    pub pods: Vec<(IpAddr, String)>,
    /// UDP ports that carry VXLAN, besides those of the node's own devices.
    pub vxlan_ports: Vec<u16>,
    /// The key of the payload hash.
    pub key: Key,
    /// Bytes of the ring buffer.
    pub ring_size: u32,
    /// Events per second that may be emitted.
    pub budget: u32,
    /// Whether to read [`Freed::facts`].
    pub explain: bool,
}

/// A started agent, from outside. Dropping `guard` ends it.
pub struct DropLink {
    /// Its first message.
    pub hello: DropHello,
    /// Its batches. The channel closes once the program is detached.
    pub batches: mpsc::UnboundedReceiver<DropBatch>,
    /// What keeps it running.
    pub guard: Box<dyn Send>,
}

/// An agent's first message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropHello {
    /// The node's name.
    pub node: String,
    /// Identity of the node's boot: agents of equal ones share a kernel.
    pub boot_id: String,
    /// What to add to [`Freed::time`] to get nanoseconds of Unix time.
    pub realtime_offset: i64,
    /// The pods whose own namespaces are watched, besides the node's.
    pub pods: Vec<Arc<str>>,
    /// What was not found or is odd, one sentence each.
    pub notes: Vec<String>,
}

/// What happened since the last batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DropBatch {
    /// The packets that were freed.
    pub freed: Vec<Freed>,
    /// What has become of all of them so far.
    pub report: DropReport,
}

/// Where the kernel's freed packets went since the agent began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropReport {
    /// By what the program did.
    pub counters: DropCounters,
    /// Events that could not be decoded.
    pub malformed: u64,
    /// Runs of the program that the kernel left out, because one was already
    /// running on that CPU.
    pub missed: u64,
}

/// A packet that the kernel freed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freed {
    /// The agent's monotonic clock, ns.
    pub time: u64,
    /// The sk_buff's address, salted as in [`super::Hop::skb`].
    pub skb: u64,
    /// The kernel's name of the reason.
    pub reason: Arc<str>,
    /// The function that freed it.
    pub place: Place,
    /// `host`, or the pod's name for a pod's own namespace.
    pub netns: Arc<str>,
    /// How that is known.
    pub scope: Scope,
    /// The interface it was at, where that is known.
    pub device: Option<Arc<str>>,
    /// Where the frame goes, where it has that header.
    pub dst_mac: Option<Mac>,
    /// EtherType; 0 of what was never on its way, such as a message between
    /// processes.
    pub protocol: u16,
    /// The tunnel around the packet.
    pub encap: Option<Encap>,
    /// The innermost packet, where its headers could be read.
    pub packet: Option<Packet>,
    /// What the agent read of routes, neighbours, rules and the like right
    /// after, one short sentence each; empty if it was not to.
    pub facts: Arc<[String]>,
}
