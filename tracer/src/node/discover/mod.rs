//! Which interfaces of this node a follow must observe.
//!
//! Nobody configures interface names: every CNI has its own, and a node has dozens. What is known is
//! addresses, so the kernel's own tables are asked the questions that a person would ask: where does the
//! route to the pod lead, which port did the bridge learn its MAC on, which device carries packets to the
//! other pod, and over which underlay path does that device send them.
//!
//! Steps: one snapshot of the links, addresses, neighbours and forwarding entries of the calling thread's
//! network namespace (`table`); each pod's host-side interface and its bridge (`pod`), falling back on
//! a look into the pods' own namespaces where the kernel's caches are cold (`namespaces`); each remote's
//! overlay device and uplinks (`underlay`).
//!
//! Everything is read over rtnetlink (`netlink`) and nothing is changed: no module is loaded, no
//! neighbour is resolved. What stays uncertain becomes a note, shown beside the plan. Routes are looked up
//! as for packets that this node sends itself: policy rules that match on the incoming interface or the
//! source address are not followed.

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
    /// The interfaces, each once, pods' first and uplinks last.
    pub interfaces: Vec<Interface>,
    /// All addresses that the namespace owns.
    pub local: Vec<IpAddr>,
    /// Addresses whose ARP and neighbour discovery belongs to the follow: the pods' gateways, the next hops
    /// towards the remote nodes, this node's addresses in the underlay.
    pub next_hops: Vec<IpAddr>,
    /// UDP destination ports of every VXLAN device in the namespace.
    pub vxlan_ports: Vec<u16>,
    /// Those of every Geneve device.
    pub geneve_ports: Vec<u16>,
    /// The pods' own interfaces, where they were asked for and found, or have no other end on the node.
    pub pod_namespaces: Vec<PodNamespace>,
    /// The interfaces that face other nodes, and by which next hops packets leave that are in no tunnel.
    pub network: Network,
    /// What was not found, or is odd, one sentence each.
    pub notes: Vec<String>,
}

/// An interface to observe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its index, unique in this network namespace only.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// Why it matters to the follow.
    pub role: Role,
    /// The kernel's name for its kind (`veth`, `bridge`, `vxlan`); empty for a physical device.
    pub link_kind: String,
    /// Whether its packets begin with an Ethernet header; IP tunnels have none.
    pub l2: bool,
    /// Its own MAC address.
    pub mac: Option<[u8; 6]>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether it is up and has a carrier.
    pub up: bool,
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
    /// The followed pods behind it (for [`Role::PodVeth`]).
    pub pods: Vec<IpAddr>,
    /// Its tunnel parameters, if it is a VXLAN device.
    pub vxlan: Option<Vxlan>,
    /// The index of the bridge, bond or VRF that it is a port of.
    pub master: Option<u32>,
    /// The id of an XDP program attached to it.
    pub xdp: Option<u32>,
    /// The hook by which its packets are to be seen at XDP, if they are; set by who attaches.
    pub xdp_hook: Option<&'static str>,
    /// How it was found, in a phrase.
    pub why: String,
}

/// Why an interface matters. In the order of the way out of a pod; a device found in two roles keeps the
/// first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The host's end of a pod's interface.
    PodVeth,
    /// The bridge that joins the pods of this node.
    Bridge,
    /// A tunnel device towards other nodes.
    Overlay,
    /// The device that carries the packets, or the tunnel's packets, towards other nodes.
    Uplink,
}

/// The parameters of a VXLAN device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vxlan {
    /// The network identifier; 0 where routes or programs set it per packet.
    pub vni: u32,
    /// The UDP destination port.
    pub port: u16,
    /// The outer source address, if it is fixed.
    pub local: Option<IpAddr>,
}

/// A pod's own end of its interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodNamespace {
    /// The pod's address.
    pub pod: IpAddr,
    /// A file that names the pod's network namespace.
    pub path: PathBuf,
    /// The interface's index in that namespace.
    pub ifindex: u32,
    /// The interface's name in that namespace.
    pub name: String,
    /// The kernel's name for its kind.
    pub kind: String,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// A question to the kernel failed.
    #[error(
        "could not read the {what} of this network namespace from the kernel: {source}; \
         run the command again, and check that AF_NETLINK sockets are allowed here"
    )]
    Netlink {
        /// What was asked for.
        what: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The network namespaces of the pods could not be looked through.
    #[error(
        "could not look through the network namespaces of the pods: {source}; \
         check that /proc is mounted and threads can be started"
    )]
    Namespaces {
        /// What failed.
        source: io::Error,
    },
    /// A pod that should live here has no interface here.
    #[error(
        "node-side interface of pod {pod} was not found: {why}; is the pod running on this node?"
    )]
    PodInterface {
        /// The pod's address.
        pod: IpAddr,
        /// What was tried.
        why: String,
    },
    /// A pod's interface is of a kind that packets cannot be followed through.
    #[error(
        "pod {pod} is attached to the node by a device of the kind \"{kind}\", of which it is not known where \
         on the node its packets pass; follow it from the other end"
    )]
    PodKind {
        /// The pod's address.
        pod: IpAddr,
        /// The interface's kind.
        kind: String,
    },
}

/// The network namespaces of those `pods` whose interfaces lead to the calling thread's one, and notes on
/// why some may be missing.
///
/// # Errors
/// If the namespaces of this machine cannot be looked through.
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

/// Where a packet to some address would go; the live kernel in production, a table in tests.
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

/// The same for a node whose pods come and go: that one has no interface is a note, no error.
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
