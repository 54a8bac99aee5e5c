//! What a collector tells an agent: few and small messages. What an agent answers is
//! [`crate::input`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use tracer_common::hash::Key;

use crate::model::Pair;

/// What an agent needs to know to begin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Start {
    /// The node's name, as the cluster knows it.
    pub node: String,
    /// Whose traffic to observe.
    pub request: Request,
    /// What to look for.
    pub watch: Watch,
    /// Which packets belong to a follow, from the first one that a program sees.
    pub filter: Filter,
    /// Addresses and names of the pods on this node, for their own
    /// namespaces.
    pub pods: Vec<(IpAddr, String)>,
    /// The other pods on this node: what is meant for the first may end there,
    /// too.
    pub bystanders: Vec<(IpAddr, String)>,
    /// UDP ports that carry VXLAN, besides those of the node's own devices.
    pub vxlan_ports: Vec<u16>,
    /// The key of the payload hash; the same for all agents of a follow.
    pub key: Key,
    /// Bytes of a ring buffer.
    pub ring_size: u32,
    /// Events per second that may be emitted.
    pub budget: u32,
    /// Whether to read [`crate::model::Freed::facts`].
    pub explain: bool,
    /// How many of a frame's first bytes go with its hop; 0: none. One of an older version
    /// does not ask, and takes none.
    #[serde(default)]
    pub snaplen: u32,
    /// Whether the collector tells of a pod that takes the place of a followed one. One of an
    /// older version does not say so.
    #[serde(default)]
    pub goes_along: bool,
}

/// What a follow wants to see of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Addresses of followed pods that live on this node.
    pub pods: Vec<IpAddr>,
    /// The other ends: addresses that the pods talk to.
    pub remotes: Vec<Remote>,
    /// Addresses of which it is not known where they live: each is a pod here if its interface is found,
    /// else a remote.
    pub unplaced: Vec<IpAddr>,
    /// Whether to look for the pods' own interfaces as well.
    pub pod_interfaces: bool,
    /// Where to see packets at XDP as well; `None`: nowhere. An agent of an older version takes
    /// no notice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xdp: Option<Xdp>,
}

/// At which interfaces of a node packets are to be seen at XDP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Xdp {
    /// Their names; none: the uplinks.
    pub interfaces: Vec<String>,
    /// Whether in generic mode, for drivers without XDP.
    pub generic: bool,
}

/// A followed address, usually on another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    /// The followed address.
    pub address: IpAddr,
    /// The addresses of the node that it lives on; empty when that is not known.
    pub node_addresses: Vec<IpAddr>,
}

/// What stands for all that is outside of a cluster in [`Request::remotes`]: addresses of
/// documentation (RFC 5737, RFC 3849), to which no route of its own leads.
pub const OUTSIDE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// What an agent looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Watch {
    /// The packets of a follow: where they pass, and where they are dropped.
    Follow,
    /// Every packet that is dropped.
    Drops,
}

/// Whose traffic an agent is to observe from now on, in the place of what it began with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// The followed addresses.
    pub request: Request,
    /// Addresses and names of the pods on this node, as in [`Start::pods`].
    pub pods: Vec<(IpAddr, String)>,
}

/// What an agent can be told while it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// Replace the filter that an agent began with.
    Arm(Filter),
    /// Observe other addresses: a pod that is followed has another one, or is on another node.
    Look(Look),
    /// Sample so many of 2^32 packets.
    Sample(u32),
    /// Count, or no longer count, what followed addresses send elsewhere.
    Explain(bool),
    /// Send a batch now, empty or not: its watermark is wanted.
    Flush,
    /// Send a batch now, with a report.
    Report,
    /// Detach everything, send what is left and end.
    Stop,
}

/// Takes commands to an agent.
pub trait Commander: Send {
    /// Hands over a command. An agent that is gone takes none and needs
    /// none: its batches have ended.
    fn send(&self, command: Command);
}

/// Which packets belong to the follow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// The generation that events will carry, from 1: that of the first one, with
    /// which programs are attached.
    pub generation: u32,
    /// Pairs of addresses.
    pub pairs: Vec<Pair>,
    /// Addresses whose ARP and neighbour discovery among each other belongs
    /// to the follow, besides the pairs' own.
    pub next_hops: Vec<IpAddr>,
    /// Whether any ARP and neighbour discovery does.
    pub neighbours: bool,
}
