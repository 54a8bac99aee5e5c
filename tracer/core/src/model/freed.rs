//! Packets that a node's kernel freed, as the agent reports them.

use std::sync::Arc;

use tracer_common::drop::Scope;

use super::{Encap, Fact, Mac, Packet, Place};

/// A packet that the kernel freed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freed {
    /// Time when the kernel freed the packet, the agent's monotonic clock, ns.
    pub time: u64,
    /// The sk_buff's address, salted as in [`super::Hop::skb`].
    pub skb: u64,
    /// Drop reason, by its name in the node's kernel.
    pub reason: Arc<str>,
    /// Kernel function that freed the packet.
    pub place: Place,
    /// `host`, or the pod's name for a pod's own network namespace. `None` if the kernel does
    /// not tell: then only the packet's last hop can.
    pub netns: Option<Arc<str>>,
    /// What told the network namespace.
    pub scope: Option<Scope>,
    /// Interface at which the packet was; `None` if it is not known.
    pub device: Option<Arc<str>>,
    /// Destination MAC address; `None` if the frame has no Ethernet header.
    pub dst_mac: Option<Mac>,
    /// EtherType; 0 for a buffer that was never a packet on its way, such as a message between
    /// processes.
    pub protocol: u16,
    /// The innermost tunnel around the packet.
    pub encap: Option<Encap>,
    /// The innermost packet; `None` if its headers could not be read.
    pub packet: Option<Packet>,
    /// What the sk_buff held, if the values mean anything. With `--explain`, also what the
    /// agent read right after: routes, neighbour entries, rules and more.
    pub facts: Arc<[Fact]>,
}
