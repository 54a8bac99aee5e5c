//! Packets that a node's kernel freed, as its agent tells of them.

use std::sync::Arc;

use tracer_common::drop::Scope;

use super::{Encap, Fact, Mac, Packet, Place};

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
    /// `host`, or the pod's name for a pod's own namespace; `None` where the
    /// kernel does not tell: then only the packet's last hop can.
    pub netns: Option<Arc<str>>,
    /// How that is known.
    pub scope: Option<Scope>,
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
    /// What the sk_buff held, if that tells anything; and what the agent read of
    /// routes, neighbours, rules and the like right after, if it was to.
    pub facts: Arc<[Fact]>,
}
