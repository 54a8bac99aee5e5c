//! Services and where they lead.
//!
//! A Service has addresses that no interface has. Packets to one of its ports are
//! translated on the way: to an endpoint's address and to the port that its
//! EndpointSlice says, which the Service itself may know by a name only. Slices name
//! their Service by a label, and each has the ports of all its endpoints.

use std::{collections::HashSet, fmt, net::IpAddr};

use tracer_core::model::{Owner, OwnerKind};

use super::{
    Inventory, InventoryError, Namesakes, namesakes,
    objects::{self, Protocol, SERVICE_LABEL},
};

/// A namespace and a name in it.
pub(super) type Key = (String, String);

/// A Service.
#[derive(Clone, Debug, Default)]
pub struct Service {
    /// Its addresses within the cluster; none of a headless one.
    pub cluster: Vec<IpAddr>,
    /// Those by which it is reached from outside: its external IPs, its load balancer's.
    pub external: Vec<IpAddr>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// Whether a client keeps its endpoint: `sessionAffinity: ClientIP`.
    pub keeps_clients: bool,
    /// Whether packets of pods go to endpoints on their own nodes alone:
    /// `internalTrafficPolicy: Local`.
    pub is_local_inside: bool,
    /// Whether packets from outside go to endpoints on the node that they come to alone:
    /// `externalTrafficPolicy: Local`.
    pub is_local_outside: bool,
    /// The DNS name that it stands for, if it is of the type ExternalName.
    external_name: Option<String>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Its name; empty where there is one port without.
    pub name: String,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its number at the Service's addresses.
    pub port: u16,
    /// Its number at every node's addresses, if it has one.
    pub node_port: Option<u16>,
}

/// `http 80/TCP`, or `80/TCP` of one without a name.
impl fmt::Display for ServicePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.name.is_empty() {
            write!(f, "{} ", self.name)?;
        }
        write!(f, "{}/{}", self.port, self.protocol.name())
    }
}

/// Endpoints of a Service that have the same ports.
#[derive(Clone, Debug)]
pub struct Slice {
    /// Their ports; `None`: all.
    ports: Option<Vec<SlicePort>>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug)]
struct SlicePort {
    name: String,
    protocol: Protocol,
    /// `None`: all.
    port: Option<u16>,
}

/// An endpoint of a Service.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its addresses: of pods one.
    pub addresses: Vec<IpAddr>,
    /// The node that it is on, where that is said.
    pub node: Option<String>,
    /// The pod's `namespace/name`, where it is one.
    pub pod: Option<String>,
    /// Whether new connections are sent to it.
    pub is_ready: bool,
}

impl Slice {
    /// The port of these endpoints that a port of the Service leads to; `None` if it leads
    /// to others.
    #[must_use]
    pub fn target(&self, port: &ServicePort) -> Option<u16> {
        let mut ports = self.ports.iter().flatten();
        let same = |own: &&SlicePort| own.name == port.name && own.protocol == port.protocol;
        ports.find(same)?.port
    }

    /// Whether one of its endpoints has one of these addresses.
    #[must_use]
    pub fn holds(&self, addresses: &HashSet<IpAddr>) -> bool {
        let mut endpoints = self.endpoints.iter();
        endpoints.any(|endpoint| endpoint.addresses.iter().any(|one| addresses.contains(one)))
    }
}

impl Inventory {
    pub(super) fn add_service(&mut self, service: objects::Service) -> Result<(), InventoryError> {
        let objects::Service {
            metadata,
            spec,
            status,
        } = service;
        let name = metadata.full_name();
        let ingress = status.load_balancer.ingress.into_iter();
        let known = Service {
            // `None` stands for a headless one.
            cluster: spec
                .cluster_ips
                .iter()
                .filter_map(|text| text.parse().ok())
                .collect(),
            external: spec
                .external_ips
                .into_iter()
                .chain(ingress.filter_map(|ingress| ingress.ip))
                .map(|text| self.address(&text, "service", &name))
                .collect::<Result<_, _>>()?,
            ports: spec
                .ports
                .into_iter()
                .map(|port| ServicePort {
                    name: port.name,
                    protocol: port.protocol,
                    port: port.port,
                    node_port: (port.node_port != 0).then_some(port.node_port),
                })
                .collect(),
            keeps_clients: spec.session_affinity.as_deref() == Some("ClientIP"),
            is_local_outside: spec.external_traffic_policy.as_deref() == Some("Local"),
            is_local_inside: spec.internal_traffic_policy.as_deref() == Some("Local"),
            external_name: spec.external_name.filter(|_| spec.kind == "ExternalName"),
        };
        for address in known.cluster.iter().chain(&known.external) {
            self.virtual_addresses.insert(*address, name.clone());
        }
        let key = (metadata.namespace, metadata.name);
        self.services.insert(key, known);
        Ok(())
    }

    pub(super) fn add_slice(&mut self, slice: objects::Slice) {
        let objects::Slice {
            mut metadata,
            endpoints,
            ports,
        } = slice;
        let Some(service) = metadata.labels.remove(SERVICE_LABEL) else {
            return;
        };
        let ports = ports.map(|ports| {
            let ports = ports.into_iter().map(|port| SlicePort {
                name: port.name.unwrap_or_default(),
                protocol: port.protocol,
                port: port.port,
            });
            ports.collect()
        });
        let endpoints = endpoints.unwrap_or_default().into_iter();
        let endpoints = endpoints.map(|endpoint| {
            let pod = endpoint.target_ref.filter(|target| target.kind == "Pod");
            Endpoint {
                // In a slice of host names, none is an address.
                addresses: endpoint
                    .addresses
                    .iter()
                    .filter_map(|text| text.parse().ok())
                    .collect(),
                node: endpoint.node_name.filter(|node| !node.is_empty()),
                pod: pod.map(|pod| format!("{}/{}", pod.namespace, pod.name)),
                is_ready: endpoint.conditions.ready.unwrap_or(true),
            }
        });
        let slice = Slice {
            ports,
            endpoints: endpoints.collect(),
        };
        let key = (metadata.namespace, service);
        self.slices.entry(key).or_default().push(slice);
    }

    /// A Service that leads to addresses.
    ///
    /// # Errors
    /// If there is no such Service, with the names that come near; if it stands for a DNS
    /// name.
    pub fn service(&self, namespace: &str, name: &str) -> Result<&Service, InventoryError> {
        let full_name = format!("{namespace}/{name}");
        let Some(service) = self.services.get(&(namespace.to_owned(), name.to_owned())) else {
            return Err(self.unknown_service(full_name, name));
        };
        if let Some(target) = &service.external_name {
            return Err(InventoryError::ExternalName {
                name: full_name,
                target: target.clone(),
            });
        }
        Ok(service)
    }

    fn unknown_service(&self, full_name: String, name: &str) -> InventoryError {
        let path = self.path.clone();
        match namesakes(self.services.keys(), &full_name, name) {
            Namesakes::Elsewhere(elsewhere) => InventoryError::OtherNamespace {
                path,
                kind: "service",
                name: full_name,
                elsewhere,
            },
            Namesakes::Near(near) => InventoryError::UnknownService {
                path,
                age: self.age,
                name: full_name,
                near,
            },
        }
    }

    /// The endpoints of a Service.
    #[must_use]
    pub fn slices(&self, namespace: &str, name: &str) -> &[Slice] {
        let key = (namespace.to_owned(), name.to_owned());
        self.slices.get(&key).map_or(&[], Vec::as_slice)
    }

    /// Whether a Service, as `namespace/name`, has endpoints that are ready, as far as is known.
    pub(super) fn kind_of_service(&self, name: &str) -> OwnerKind {
        let key = name.split_once('/');
        let key = key.map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
        let Some(slices) = key.and_then(|key| self.slices.get(&key)) else {
            return OwnerKind::Service;
        };
        let endpoints = || slices.iter().flat_map(|slice| &slice.endpoints);
        if endpoints().any(|endpoint| endpoint.is_ready) {
            OwnerKind::Service
        } else if endpoints().next().is_some() {
            OwnerKind::Unserved
        } else {
            OwnerKind::Empty
        }
    }

    /// The owners of endpoints' addresses, as slices have them: pods, and Services where they
    /// name none, or one of which it is known that it is not there.
    pub(super) fn endpoint_owners(&self) -> impl Iterator<Item = (IpAddr, Owner)> {
        let endpoints = self.slices.iter().flat_map(|(key, slices)| {
            let endpoints = slices.iter().flat_map(|slice| &slice.endpoints);
            endpoints.map(move |endpoint| (key, endpoint))
        });
        endpoints.flat_map(|((namespace, service), endpoint)| {
            let pod = endpoint.pod.as_ref().filter(|pod| self.may_be(pod));
            let owner = match pod {
                Some(pod) => Owner {
                    name: pod.clone(),
                    kind: OwnerKind::Pod,
                    node: endpoint.node.clone().unwrap_or_default(),
                },
                None => Owner {
                    name: format!("{namespace}/{service}"),
                    kind: OwnerKind::Endpoint,
                    node: String::new(),
                },
            };
            let addresses = endpoint.addresses.iter();
            addresses.map(move |address| (*address, owner.clone()))
        })
    }

    /// Whether there may be a pod, as `namespace/name`: a file has all of them, and of an API
    /// server not all are read.
    fn may_be(&self, pod: &str) -> bool {
        let key = pod.split_once('/');
        let key = key.map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
        self.is_live || key.is_some_and(|key| self.pods.contains_key(&key))
    }

    /// The Services of which an endpoint has one of these addresses, by namespace and name.
    pub fn services_to(
        &self,
        addresses: &HashSet<IpAddr>,
    ) -> impl Iterator<Item = (&Key, &Service)> {
        let slices = self.slices.iter();
        let leading = slices.filter(|(_, slices)| slices.iter().any(|one| one.holds(addresses)));
        leading.filter_map(|(key, _)| self.services.get_key_value(key))
    }

    /// The Services that have a port of this number, by namespace and name.
    pub fn services_with(&self, number: u16) -> impl Iterator<Item = (&Key, &Service)> {
        let mut all: Vec<_> = self.services.iter().collect();
        // In an order that is the same each time.
        all.sort_unstable_by_key(|(key, _)| *key);
        let has = move |port: &ServicePort| port.port == number;
        all.into_iter()
            .filter(move |(_, service)| service.ports.iter().any(has))
    }

    /// The Service, by namespace and name, that has a virtual address.
    #[must_use]
    pub fn service_at(&self, address: IpAddr) -> Option<(&str, &str)> {
        let name = self.virtual_addresses.get(&address)?;
        name.split_once('/')
    }
}
