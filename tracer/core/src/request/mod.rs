//! The messages of a collector to an agent: few and small. Agents answer with [`crate::input`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use tracer_common::hash::Key;

use crate::model::Pair;

/// The first message, with everything that an agent needs to begin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Start {
    /// Name of the node, as the cluster knows it.
    pub node: String,
    /// The followed addresses.
    pub request: Request,
    /// What the agent observes.
    pub watch: Watch,
    /// The filter of the follow, in force from the first packet that a program sees.
    pub filter: Filter,
    /// Addresses and names of the pods on this node, for their own
    /// namespaces.
    pub pods: Vec<(IpAddr, String)>,
    /// The other pods on this node, because packets for the followed pods may end there.
    pub bystanders: Vec<(IpAddr, String)>,
    /// Additional UDP ports of VXLAN, besides those of the node's own devices.
    pub vxlan_ports: Vec<u16>,
    /// The key of the payload hash; the same for all agents of a follow.
    pub key: Key,
    /// Size of each ring buffer, bytes.
    pub ring_size: u32,
    /// Event budget: events per second.
    pub budget: u32,
    /// Whether the agent reads [`crate::model::Freed::facts`] (`--explain`).
    pub explain: bool,
    /// How many of a frame's first bytes come with its hop (`--snaplen`); 0: none. Collectors
    /// of older versions do not ask for any.
    #[serde(default)]
    pub snaplen: u32,
    /// Whether the agent reports names in DNS answers (`--dns-names`). Collectors of older
    /// versions do not ask for them, and agents of older versions report none.
    #[serde(default)]
    pub dns_names: bool,
    /// Whether the collector reports a pod that takes the place of a followed one. Collectors
    /// of older versions do not.
    #[serde(default)]
    pub goes_along: bool,
}

/// The part of a follow that concerns this node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Addresses of followed pods that live on this node.
    pub pods: Vec<IpAddr>,
    /// The other ends: addresses with which the pods communicate.
    pub remotes: Vec<Remote>,
    /// Addresses whose node is not known. Such an address counts as a pod here if its interface
    /// is found, and as a remote otherwise.
    pub unplaced: Vec<IpAddr>,
    /// Whether to observe the pods' own interfaces as well.
    pub pod_interfaces: bool,
    /// Interfaces to observe at XDP as well; `None`: no interface. Agents of older versions
    /// ignore it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xdp: Option<Xdp>,
}

/// The interfaces of a node to observe at XDP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Xdp {
    /// Names of the interfaces; empty: the uplinks.
    pub interfaces: Vec<String>,
    /// Whether to attach in generic mode, for drivers without XDP.
    pub generic: bool,
}

/// A followed address, usually on another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    /// The followed address.
    pub address: IpAddr,
    /// Addresses of the node that has the followed address; empty if the node is not known.
    pub node_addresses: Vec<IpAddr>,
}

/// Stand for everything outside of the cluster in [`Request::remotes`]. They are addresses for
/// documentation (RFC 5737, RFC 3849), to which no route of its own leads.
pub const OUTSIDE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// What an agent observes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Watch {
    /// The packets of a follow: their hops and their drops.
    Follow,
    /// All drops.
    Drops,
}

/// New followed addresses, in place of those with which the agent began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// The followed addresses.
    pub request: Request,
    /// Addresses and names of the pods on this node, as in [`Start::pods`].
    pub pods: Vec<(IpAddr, String)>,
}

/// A command to a running agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// Replace the filter with which the agent began.
    Arm(Filter),
    /// Observe other addresses, because a followed pod got another address or moved to another
    /// node.
    Look(Look),
    /// Sample this many of 2^32 packets.
    Sample(u32),
    /// Count unmatched traffic of followed addresses, or stop counting it.
    Explain(bool),
    /// Send a batch now, even an empty one, because the collector needs its watermark.
    Flush,
    /// Send a batch now, with a report.
    Report,
    /// Detach all programs, send what is left, and end.
    Stop,
}

/// Sends commands to an agent.
pub trait Commander: Send {
    /// Sends a command. An agent that is gone needs none, because its batches have ended.
    fn send(&self, command: Command);
}

/// The filter: which packets belong to the follow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Generation that events will carry, from 1. The filter with which programs are attached
    /// has generation 1.
    pub generation: u32,
    /// The followed pairs.
    pub pairs: Vec<Pair>,
    /// Addresses whose ARP and neighbour discovery among each other belongs
    /// to the follow, besides the pairs' own.
    pub next_hops: Vec<IpAddr>,
    /// Whether any ARP and neighbour discovery belongs to the follow.
    pub neighbours: bool,
}
