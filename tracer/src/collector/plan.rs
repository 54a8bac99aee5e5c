//! What a collector is to do.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use ipnet::IpNet;

use crate::{
    journey::{Limits, Owner},
    link::{Pair, Start},
};

/// A follow, resolved: no name is left to look up.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In one line, for people.
    pub description: String,
    /// What the user should know before it begins, one sentence each.
    pub warnings: Vec<String>,
    /// The agents to start.
    pub agents: Vec<Start>,
    /// Whose packets to follow.
    pub pairs: Vec<Pair>,
    /// Whether ARP and neighbour discovery belong to it.
    pub neighbours: bool,
    /// Addresses on the asking side.
    pub sources: Vec<IpNet>,
    /// Owners of addresses.
    pub owners: BTreeMap<IpAddr, Owner>,
    /// How long journeys are waited for, and how many at once.
    pub limits: Limits,
    /// When to end, after the start.
    pub duration: Option<Duration>,
    /// After how many journeys to end.
    pub count: Option<u64>,
}
