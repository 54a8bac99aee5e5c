//! Finds the interfaces of this node that a follow must observe.
//!
//! Nobody configures interface names: every CNI plugin has its own, and a node has dozens of
//! interfaces. Only addresses are known. So this module asks the kernel's own tables what a
//! person would ask. Where does the route to the pod lead? Behind which bridge port is its MAC
//! address? Which device carries packets to the other pod, and over which underlay path?
//!
//! The first step is a snapshot of links, addresses, neighbour entries and forwarding database
//! entries in the calling thread's network namespace (`table`). Then come each pod's host-side
//! interface and its bridge (`pod`), and each remote's overlay device and uplinks (`underlay`).
//! If the kernel's caches are cold, the pods' own namespaces are searched (`namespaces`).
//!
//! Everything is read over rtnetlink (`netlink`), and nothing is changed: no module is loaded,
//! no neighbour is resolved. Uncertain results become notes beside the plan. Routes are looked
//! up as for packets that this node sends itself. Policy rules that match on the incoming
//! interface or the source address are not followed.

mod attributes;
mod changes;
#[cfg(test)]
mod fixture;
mod ipsec;
mod link;
mod namespaces;
mod netlink;
mod plan;
mod pod;
mod route;
mod table;
mod underlay;
#[cfg(test)]
mod uplink_tests;

use std::{io, net::IpAddr};

pub use changes::Changes;
use netlink::Connection;
use plan::Draft;
use route::Route;
use table::Host;

use crate::interfaces::{Plan, PodNamespace};
use tracer_core::request::{Remote, Request};

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// A request to the kernel failed.
    #[error(
        "could not read the {what} of this network namespace from the kernel: {source}; \
         run the command again, and check that AF_NETLINK sockets are allowed here"
    )]
    Netlink {
        /// The requested table.
        what: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
    /// The network namespaces of the pods could not be searched.
    #[error(
        "could not look through the network namespaces of the pods: {source}; \
         check that /proc is mounted and threads can be started"
    )]
    Namespaces {
        /// The cause.
        source: io::Error,
    },
    /// A pod that should be on this node has no interface here.
    #[error(
        "node-side interface of pod {pod} was not found: {why}; is the pod running on this node?"
    )]
    PodInterface {
        /// The pod's address.
        pod: IpAddr,
        /// What was tried, and how it failed.
        why: String,
    },
    /// A pod's interface is of a kind that does not show its packets.
    #[error(
        "pod {pod} is attached to the node by a device of the kind \"{kind}\", of which it is not known where \
         on the node its packets pass; follow it from the other end"
    )]
    PodKind {
        /// The pod's address.
        pod: IpAddr,
        /// Kind of the interface.
        kind: String,
    },
}

/// Network namespaces of those `pods` whose interfaces lead to the calling thread's one, and
/// notes on why some may be missing.
///
/// # Errors
/// If the namespaces of this machine cannot be searched.
pub fn pod_namespaces(pods: &[IpAddr]) -> Result<(Vec<PodNamespace>, Vec<String>), DiscoverError> {
    let namespaces::Search { found, notes } = namespaces::find(pods)?;
    let pods = found.into_iter().map(|link| PodNamespace {
        pod: link.pod,
        path: link.path,
        ifindex: link.index,
        name: link.name,
        kind: link.kind,
    });
    Ok((pods.collect(), notes))
}

/// Looks up routes: the live kernel in production, a table in tests.
trait Router {
    fn route(&mut self, destination: IpAddr) -> Result<Route, DiscoverError>;
}

/// Finds what to observe in the calling thread's network namespace.
///
/// # Errors
/// If the kernel's tables cannot be read, or a pod of the request has no interface on this node.
pub fn discover(request: &Request) -> Result<Plan, DiscoverError> {
    search(request, false)
}

/// As [`discover`], for a node whose pods come and go: a pod without an interface is a note,
/// not an error.
///
/// # Errors
/// If the kernel's tables cannot be read.
pub fn discover_again(request: &Request) -> Result<Plan, DiscoverError> {
    search(request, true)
}

fn search(request: &Request, lenient: bool) -> Result<Plan, DiscoverError> {
    let mut kernel = Connection::open().map_err(|source| DiscoverError::Netlink {
        what: "tables",
        source,
    })?;
    let host = Host::read(&mut kernel)?;
    let mut draft = Draft::new(&host);
    draft.lenient = lenient;
    pod::locate(&mut draft, &mut kernel, request, namespaces::find)?;
    if draft.routes() {
        for remote in &request.remotes {
            underlay::locate(&mut draft, &mut kernel, remote, &request.pods)?;
        }
    }
    for &address in &request.unplaced {
        let as_pod = Request {
            pods: vec![address],
            pod_interfaces: request.pod_interfaces,
            ..Request::default()
        };
        match pod::locate(&mut draft, &mut kernel, &as_pod, namespaces::find) {
            Err(DiscoverError::PodInterface { .. }) => {
                let remote = Remote {
                    address,
                    node_addresses: Vec::new(),
                };
                if draft.routes() {
                    underlay::locate(&mut draft, &mut kernel, &remote, &[])?;
                }
            }
            located => located?,
        }
    }
    if kernel.interrupted() {
        draft.note(
            "the node's network changed while it was being read: run again if something is missing",
        );
    }
    Ok(draft.finish())
}
