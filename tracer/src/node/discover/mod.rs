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

use std::{io, net::IpAddr, path::PathBuf};

pub use changes::Changes;
use netlink::Connection;
use plan::Draft;
use route::Route;
use table::Host;
use tracer_core::{
    model::Network,
    request::{Remote, Request},
};

/// What to observe on this node, and what the observer should know about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Interfaces, each once, those of pods first and uplinks last.
    pub interfaces: Vec<Interface>,
    /// All addresses of the namespace.
    pub local: Vec<IpAddr>,
    /// Addresses whose ARP and neighbour discovery belongs to the follow: the pods' gateways, the next hops
    /// towards the remote nodes, this node's addresses in the underlay.
    pub next_hops: Vec<IpAddr>,
    /// UDP destination ports of all VXLAN devices in the namespace.
    pub vxlan_ports: Vec<u16>,
    /// UDP destination ports of all Geneve devices in the namespace.
    pub geneve_ports: Vec<u16>,
    /// The pods' own interfaces that were requested and found, or that have no peer on the
    /// node.
    pub pod_namespaces: Vec<PodNamespace>,
    /// Interfaces that face other nodes, and the next hops of packets outside of tunnels.
    pub network: Network,
    /// What was not found, or is unusual, one sentence each.
    pub notes: Vec<String>,
}

/// An interface to observe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Index of the interface, unique in this network namespace only.
    pub ifindex: u32,
    /// Name of the interface.
    pub name: String,
    /// Role of the interface in the follow.
    pub role: Role,
    /// Kind of the interface, by the kernel's name (`veth`, `bridge`, `vxlan`); empty for a
    /// physical device.
    pub link_kind: String,
    /// Whether the interface's packets begin with an Ethernet header; those of IP tunnels do
    /// not.
    pub l2: bool,
    /// MAC address of the interface; `None` without one.
    pub mac: Option<[u8; 6]>,
    /// MTU, bytes.
    pub mtu: u32,
    /// Whether the interface is up and has a carrier.
    pub up: bool,
    /// Addresses of the interface.
    pub addresses: Vec<IpAddr>,
    /// Followed pods behind the interface (for [`Role::PodVeth`]).
    pub pods: Vec<IpAddr>,
    /// Tunnel parameters of a VXLAN device.
    pub vxlan: Option<Vxlan>,
    /// Index of the bridge, bond or VRF of which the interface is a port.
    pub master: Option<u32>,
    /// Id of the XDP program at the interface.
    pub xdp: Option<u32>,
    /// Hook at which packets are seen at XDP; `None` if they are not. The code that attaches
    /// programs sets it.
    pub xdp_hook: Option<&'static str>,
    /// How the interface was found, in a phrase.
    pub why: String,
}

/// Role of an interface, in the order of the path out of a pod. A device with two roles keeps
/// the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The host-side end of a pod's interface.
    PodVeth,
    /// The bridge that joins the pods of this node.
    Bridge,
    /// A tunnel device towards other nodes.
    Overlay,
    /// The device that sends packets, or a tunnel's packets, to other nodes.
    Uplink,
}

/// The parameters of a VXLAN device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vxlan {
    /// Network identifier (VNI); 0 if routes or programs set it for each packet.
    pub vni: u32,
    /// UDP destination port.
    pub port: u16,
    /// Outer source address, if it is fixed.
    pub local: Option<IpAddr>,
}

/// A pod's own end of its interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodNamespace {
    /// The pod's address.
    pub pod: IpAddr,
    /// Path of a file for the pod's network namespace.
    pub path: PathBuf,
    /// Index of the interface in that namespace.
    pub ifindex: u32,
    /// Name of the interface in that namespace.
    pub name: String,
    /// Kind of the interface, by the kernel's name.
    pub kind: String,
}

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
