//! The inventory: owners of addresses, from the cluster's objects in a file.
//!
//! Packets have addresses, but people think in pods and nodes. Kubernetes knows both, and
//! `kubectl get nodes,pods,services,endpointslices -A -o yaml` prints its objects (`-o json` is
//! YAML, too). They are a snapshot: a pod that was replaced since has another address. So every
//! error about a missing pod says to write the file again.
//!
//! Not every address in a pod's status is the pod's. A pod on the host network shows its node's
//! address, and an ended pod may show an address that another pod has by now. Neither counts as
//! an owner.

mod api;
mod error;
mod group;
mod names;
mod objects;
mod read;
mod sentence;
mod service;
mod skim;
mod skimmed;
#[cfg(test)]
pub(crate) mod tests;
mod unreadable;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, Metadata},
    io::{self, BufRead, BufReader, Read},
    net::IpAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use objects::Object;
use tracer_core::model::{Owner, OwnerKind, Owners};
use tracing::info;

pub use error::InventoryError;
pub use group::{Group, Pods, Workload};
pub use objects::Protocol;
pub(crate) use objects::SERVICE_LABEL;
pub(crate) use sentence::{list, nearest};
pub use service::{Endpoint, Service, ServicePort, Slice};

use crate::stdio;

/// The command whose output is supported.
pub(crate) const COMMAND: &str = "kubectl get nodes,pods,services,endpointslices -A -o yaml";

/// Age of objects above which a warning appears, because pods are replaced every day.
const STALE: Duration = Duration::from_hours(1);

/// Objects of a cluster that have addresses.
#[derive(Clone, Debug)]
pub struct Inventory {
    /// Path of the file, or the API server's URL.
    path: PathBuf,
    /// Age of the file; `None` if it is not known.
    age: Option<Duration>,
    /// Whether the objects come from the API server, and so are current.
    is_live: bool,
    /// Namespace of objects that are named without one.
    namespace: String,
    nodes: BTreeMap<String, Node>,
    /// Pods by namespace and name.
    pods: BTreeMap<(String, String), Pod>,
    /// Namespaces and names of each group's pods.
    groups: BTreeMap<Group, Vec<(String, String)>>,
    /// Services by namespace and name.
    services: BTreeMap<service::Key, Service>,
    /// EndpointSlices of each Service.
    slices: BTreeMap<service::Key, Vec<Slice>>,
    /// `namespace/name` of each Service, by its virtual addresses.
    virtual_addresses: BTreeMap<IpAddr, String>,
    /// Pods and nodes by their addresses.
    owners: BTreeMap<IpAddr, Owner>,
}

/// The progress of reading an objects file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Number of bytes read.
    pub bytes: u64,
    /// Length of the file, bytes; `None` for a pipe.
    pub of: Option<u64>,
}

/// A file that counts the bytes read from it.
struct Counted<F> {
    file: File,
    progress: F,
    so_far: Progress,
}

impl<F: FnMut(Progress)> Read for Counted<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.so_far.bytes += read as u64;
        (self.progress)(self.so_far);
        Ok(read)
    }
}

/// A node.
#[derive(Clone, Debug, Default)]
struct Node {
    addresses: Vec<IpAddr>,
    pod_networks: Vec<IpNet>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Addresses of the pod, of both families.
    pub addresses: Vec<IpAddr>,
    /// Name of the pod's node; empty without a node yet.
    pub node: String,
    phase: String,
    host_network: bool,
}

impl Pod {
    /// Whether the pod has ended, so that its containers never run again.
    fn has_ended(&self) -> bool {
        matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }

    /// Name of the pod's node; `None` without one yet.
    pub(crate) fn home(&self) -> Option<&str> {
        Some(&*self.node).filter(|node| !node.is_empty())
    }

    /// Whether the pod's addresses are its own, once it has some.
    pub(crate) fn has_own_addresses(&self) -> bool {
        !self.host_network && !self.has_ended()
    }
}

impl Inventory {
    /// Reads an objects file, or standard input for `-`; calls `progress` meanwhile.
    ///
    /// # Errors
    /// If the file cannot be read, is neither YAML nor JSON, has other contents than Kubernetes
    /// objects, or lacks nodes or pods.
    pub fn load(path: &Path, progress: impl FnMut(Progress)) -> Result<Self, InventoryError> {
        let (path, file) = stdio::open(path).map_err(|source| InventoryError::Read {
            path: path.to_owned(),
            source,
        })?;
        let total = file.metadata().ok().filter(Metadata::is_file);
        let counted = Counted {
            file,
            progress,
            so_far: Progress {
                bytes: 0,
                of: total.as_ref().map(Metadata::len),
            },
        };
        let begin = Instant::now();
        let mut inventory = Self::parse(path, BufReader::with_capacity(1 << 18, counted))?;
        let written = total.and_then(|file| file.modified().ok());
        // After a clock was set back, the age is 0 at least.
        inventory.age = written.and_then(|written| written.elapsed().ok());
        info!(
            "read {} nodes, {} pods and {} services from {} in {:?}",
            inventory.nodes.len(),
            inventory.pods.len(),
            inventory.services.len(),
            path.display(),
            begin.elapsed()
        );
        Ok(inventory)
    }

    /// Parses the content of an objects file, as [`Self::load`] does.
    pub(crate) fn parse(path: &Path, input: impl BufRead) -> Result<Self, InventoryError> {
        let mut inventory = Self {
            path: path.to_owned(),
            age: None,
            is_live: false,
            namespace: "default".to_owned(),
            nodes: BTreeMap::new(),
            pods: BTreeMap::new(),
            groups: BTreeMap::new(),
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
            virtual_addresses: BTreeMap::new(),
            owners: BTreeMap::new(),
        };
        read::objects(path, input, |object| inventory.add(object))?;
        for (what, lacks) in [
            ("pods", inventory.pods.is_empty()),
            ("nodes", inventory.nodes.is_empty()),
        ] {
            if lacks {
                let path = inventory.path;
                return Err(InventoryError::Lacks { path, what });
            }
        }
        Ok(inventory)
    }

    fn add(&mut self, object: Object) -> Result<(), InventoryError> {
        match object {
            Object::Node(node) => self.add_node(node)?,
            Object::Pod(pod) => self.add_pod(pod)?,
            Object::Service(service) => self.add_service(service)?,
            Object::Slice(slice) => self.add_slice(slice),
        }
        Ok(())
    }

    fn add_node(&mut self, node: objects::Node) -> Result<(), InventoryError> {
        let name = node.metadata.name;
        let mut known = Node::default();
        for address in node.status.addresses {
            // Other kinds are host names.
            if matches!(address.kind.as_str(), "InternalIP" | "ExternalIP") {
                let ip = self.address(&address.address, "node", &name)?;
                known.addresses.push(ip);
                self.owners.entry(ip).or_insert_with(|| Owner {
                    name: name.clone(),
                    kind: OwnerKind::Node,
                    node: name.clone(),
                });
            }
        }
        let mut networks = node.spec.pod_cidrs;
        networks.extend(node.spec.pod_cidr);
        for network in networks {
            let network = self.address(&network, "node", &name)?;
            known.pod_networks.push(network);
        }
        self.nodes.insert(name, known);
        Ok(())
    }

    fn add_pod(&mut self, pod: objects::Pod) -> Result<(), InventoryError> {
        let full_name = pod.metadata.full_name();
        let mut addresses = Vec::new();
        let listed = pod.status.pod_ips.into_iter().map(|entry| entry.ip);
        for text in listed.chain(pod.status.pod_ip) {
            let address = self.address(&text, "pod", &full_name)?;
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let known = Pod {
            addresses,
            node: pod.spec.node_name,
            phase: pod.status.phase,
            host_network: pod.spec.host_network,
        };
        self.insert_pod(pod.metadata.namespace, pod.metadata.name, known);
        Ok(())
    }

    fn insert_pod(&mut self, namespace: String, name: String, pod: Pod) {
        if pod.has_own_addresses() {
            for address in &pod.addresses {
                self.owners.entry(*address).or_insert_with(|| Owner {
                    name: format!("{namespace}/{name}"),
                    kind: OwnerKind::Pod,
                    node: pod.node.clone(),
                });
            }
        }
        self.pods.insert((namespace, name), pod);
    }

    fn address<T: FromStr>(
        &self,
        text: &str,
        kind: &'static str,
        name: &str,
    ) -> Result<T, InventoryError> {
        text.parse().map_err(|_| InventoryError::Address {
            path: self.path.clone(),
            kind,
            name: name.to_owned(),
            text: text.to_owned(),
        })
    }

    /// A pod that can be followed: it runs, and has its own addresses.
    ///
    /// # Errors
    /// If there is no such pod (with similar names), or if it has no address of its own.
    pub fn pod(&self, namespace: &str, name: &str) -> Result<&Pod, InventoryError> {
        let full_name = format!("{namespace}/{name}");
        let Some(pod) = self.pods.get(&(namespace.to_owned(), name.to_owned())) else {
            return Err(self.unknown_pod(full_name, name));
        };
        let phase = pod.phase.clone();
        if pod.has_ended() {
            let name = full_name;
            return Err(InventoryError::Ended { name, phase });
        }
        let Some(&address) = pod.addresses.first() else {
            let name = full_name;
            let is_live = self.is_live;
            return Err(InventoryError::NoAddress {
                name,
                phase,
                is_live,
            });
        };
        if pod.host_network {
            return Err(InventoryError::HostNetwork {
                name: full_name,
                address,
            });
        }
        Ok(pod)
    }

    fn unknown_pod(&self, full_name: String, name: &str) -> InventoryError {
        let path = self.path.clone();
        match namesakes(self.pods.keys(), &full_name, name) {
            Namesakes::Elsewhere(elsewhere) => InventoryError::OtherNamespace {
                path,
                kind: "pod",
                name: full_name,
                elsewhere,
            },
            Namesakes::Near(near) => InventoryError::UnknownPod {
                path,
                age: self.age,
                name: full_name,
                near,
            },
        }
    }

    /// Pods of a group that can be followed; at least one.
    ///
    /// # Errors
    /// If none of them runs with its own address, or if the inventory is from a file, which
    /// does not have groups.
    pub fn group(&self, group: &Group) -> Result<Vec<(String, &Pod)>, InventoryError> {
        let Some(members) = self.groups.get(group) else {
            let path = self.path.clone();
            let group = group.to_string();
            return Err(InventoryError::Group { path, group });
        };
        let running = members.iter().filter_map(|(namespace, name)| {
            let pod = self.pod(namespace, name).ok()?;
            Some((format!("{namespace}/{name}"), pod))
        });
        let running: Vec<_> = running.collect();
        match (&*running, &**members) {
            ([], [(namespace, name)]) => Err(match self.pod(namespace, name) {
                Err(error) => error,
                Ok(_) => unreachable!("it cannot be followed"),
            }),
            ([], all) => Err(InventoryError::NoneRuns {
                group: group.to_string(),
                pods: all.len(),
            }),
            _ => Ok(running),
        }
    }

    /// Nodes that have pods of a namespace. Pods on the host network and pods that have ended do
    /// not count.
    #[must_use]
    pub fn nodes_of_namespace(&self, namespace: &str) -> BTreeSet<String> {
        let pods = self.pods.iter();
        let pods = pods.filter(|((own, _), pod)| own == namespace && pod.has_own_addresses());
        let nodes = pods.map(|(_, pod)| pod.node.clone());
        nodes.filter(|node| !node.is_empty()).collect()
    }

    /// Addresses of a node.
    ///
    /// # Errors
    /// If there is no such node, or if its addresses are not known.
    pub fn addresses_of_node(&self, name: &str) -> Result<&[IpAddr], InventoryError> {
        self.node(name)?;
        match self.nodes.get(name).map(|node| &*node.addresses) {
            None | Some([]) => Err(InventoryError::NodeAddress(name.to_owned())),
            Some(addresses) => Ok(addresses),
        }
    }

    /// Whether the objects come from the API server, and so are current.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.is_live
    }

    /// Namespace of objects that are named without one.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A warning with the objects' age, if they may be outdated.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let age = self.age.filter(|age| *age >= STALE)?;
        Some(format!(
            "{} was written {} ago: a pod that was replaced since has another address",
            self.path.display(),
            sentence::age(age)
        ))
    }

    /// The pod or node that owns an address; `None` if it is not known.
    #[must_use]
    pub fn owner(&self, address: IpAddr) -> Option<&Owner> {
        self.owners.get(&address)
    }

    /// Owners of all addresses, with Services. They count for all times.
    #[must_use]
    pub fn owners(&self) -> Owners {
        let service = |(address, name): (&IpAddr, &String)| {
            let owner = Owner {
                name: name.clone(),
                kind: self.kind_of_service(name),
                node: String::new(),
            };
            (*address, owner)
        };
        let owned = self.owners.iter();
        let owned = owned.map(|(address, owner)| (*address, owner.clone()));
        let virtual_addresses = self.virtual_addresses.iter().map(service);
        let is_no_pod = |(_, owner): &(IpAddr, Owner)| owner.kind == OwnerKind::Endpoint;
        let (others, pods): (Vec<_>, Vec<_>) = self.endpoint_owners().partition(is_no_pod);
        // A pod object takes precedence over EndpointSlices, and a slice that names a pod over
        // a slice without a name.
        others
            .into_iter()
            .chain(virtual_addresses)
            .chain(pods)
            .chain(owned)
            .collect()
    }

    /// Node of an address: its owner's node, or the node whose pod network contains it.
    #[must_use]
    pub fn home(&self, address: IpAddr) -> Option<&str> {
        match self.owner(address) {
            Some(owner) => Some(owner.node.as_str()).filter(|node| !node.is_empty()),
            None => self.home_of_network(address.into()),
        }
    }

    /// The node whose pod network contains a whole network.
    #[must_use]
    pub fn home_of_network(&self, network: IpNet) -> Option<&str> {
        let holds = |node: &Node| node.pod_networks.iter().any(|own| own.contains(&network));
        let mut nodes = self.nodes.iter();
        let (name, _) = nodes.find(|(_, node)| holds(node))?;
        Some(name)
    }

    /// Whether pods have addresses in a network, as far as it is known.
    #[must_use]
    pub fn has_pods_in(&self, network: IpNet) -> bool {
        let is_pod = |owner: &Owner| owner.kind == OwnerKind::Pod;
        let mut nodes = self.nodes.values();
        let mut owners = self.owners.iter();
        nodes.any(|node| {
            let mut own = node.pod_networks.iter();
            own.any(|own| own.contains(&network) || network.contains(own))
        }) || owners.any(|(address, owner)| is_pod(owner) && network.contains(address))
    }

    /// Checks that a node of this name exists.
    ///
    /// # Errors
    /// If there is no such node, with the existing names.
    pub fn node(&self, name: &str) -> Result<(), InventoryError> {
        if self.nodes.contains_key(name) {
            return Ok(());
        }
        Err(InventoryError::UnknownNode {
            path: self.path.clone(),
            name: name.to_owned(),
            known: self.nodes.keys().cloned().collect(),
        })
    }

    /// Names of all known nodes, in order.
    #[must_use]
    pub fn node_names(&self) -> Vec<String> {
        self.nodes.keys().cloned().collect()
    }

    /// All addresses of nodes, each with the node's name.
    pub fn every_node_address(&self) -> impl Iterator<Item = (&str, IpAddr)> {
        let nodes = self.nodes.iter();
        nodes.flat_map(|(name, node)| node.addresses.iter().map(|one| (name.as_str(), *one)))
    }

    /// Addresses of all nodes by name.
    #[must_use]
    pub fn node_addresses(&self) -> BTreeMap<String, Vec<IpAddr>> {
        let entry = |(name, node): (&String, &Node)| (name.clone(), node.addresses.clone());
        self.nodes.iter().map(entry).collect()
    }
}

/// Suggestions for a name that does not exist, as `namespace/name`.
enum Namesakes {
    /// The same name in other namespaces.
    Elsewhere(Vec<String>),
    /// Similar names.
    Near(Vec<String>),
}

/// Searches `names`, by namespace and name, for suggestions for `full_name`.
fn namesakes<'a>(
    names: impl Iterator<Item = &'a (String, String)> + Clone,
    full_name: &str,
    name: &str,
) -> Namesakes {
    let text = |(namespace, name): &(String, String)| format!("{namespace}/{name}");
    let same = names.clone().filter(|(_, other)| other == name);
    let elsewhere: Vec<String> = same.map(text).collect();
    if elsewhere.is_empty() {
        Namesakes::Near(nearest(full_name, names.map(text)))
    } else {
        Namesakes::Elsewhere(elsewhere)
    }
}
