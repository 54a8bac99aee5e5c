//! Objects that a session needs from a cluster.

use std::net::IpAddr;

use crate::inventory::Group;

/// An object that a session needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// A pod.
    Pod {
        /// The pod's namespace.
        namespace: String,
        /// The pod's name.
        name: String,
    },
    /// A group of pods.
    Group(Group),
    /// A node with its pods.
    Node(String),
    /// A Service with its endpoints.
    Service {
        /// The Service's namespace.
        namespace: String,
        /// The Service's name.
        name: String,
    },
    /// The owner of an address.
    Address(IpAddr),
    /// All nodes with their pods.
    AllNodes,
    /// The Services of the cluster's DNS.
    Dns,
}

/// Whether the Services that lead to wanted pods are read as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leading {
    /// With the Services that select the pods, and their EndpointSlices.
    Services,
    /// The pods alone.
    Nothing,
}
