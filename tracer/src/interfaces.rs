//! The interfaces of a node that a follow observes, as `node::discover` finds them.
//!
//! They are apart from the agent, because `--dry-run` shows them.

use std::{net::IpAddr, path::PathBuf};

use tracer_core::model::Network;

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
