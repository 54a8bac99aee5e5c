//! Services and their endpoints.
//!
//! A Service has addresses that no interface has. Packets to one of its ports are translated on
//! their way, to an endpoint's address and port. The port is in the EndpointSlice, because the
//! Service itself may have only its name. Slices name their Service by a label, and each has
//! the ports of all its endpoints.

use std::{collections::HashSet, fmt, net::IpAddr};

use tracer_core::model::{Owner, OwnerKind};

use super::{
    Inventory, InventoryError, Namesakes, namesakes,
    objects::{self, Protocol, SERVICE_LABEL},
};

/// A namespace, and a name in it.
pub(super) type Key = (String, String);

/// A Service.
#[derive(Clone, Debug, Default)]
pub struct Service {
    /// Addresses within the cluster; empty for a headless Service.
    pub cluster: Vec<IpAddr>,
    /// Addresses for access from outside: external IPs, and those of the load balancer.
    pub external: Vec<IpAddr>,
    /// Ports of the Service.
    pub ports: Vec<ServicePort>,
    /// Whether a client keeps its endpoint (`sessionAffinity: ClientIP`).
    pub keeps_clients: bool,
    /// Whether pods' packets go only to endpoints on the pods' own nodes
    /// (`internalTrafficPolicy: Local`).
    pub is_local_inside: bool,
    /// Whether packets from outside go only to endpoints on the node that they come to
    /// (`externalTrafficPolicy: Local`).
    pub is_local_outside: bool,
    /// DNS name of a Service of the type ExternalName.
    external_name: Option<String>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Name of the port; empty for a single port without a name.
    pub name: String,
    /// Protocol of the port.
    pub protocol: Protocol,
    /// Number of the port at the Service's addresses.
    pub port: u16,
    /// Number of the port at every node's addresses, if it has one.
    pub node_port: Option<u16>,
}

/// Writes `http 80/TCP`, or `80/TCP` for a port without a name.
impl fmt::Display for ServicePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.name.is_empty() {
            write!(f, "{} ", self.name)?;
        }
        write!(f, "{}/{}", self.port, self.protocol.name())
    }
}

/// Endpoints of a Service with the same ports.
#[derive(Clone, Debug)]
pub struct Slice {
    /// Ports of the endpoints; `None`: all ports.
    ports: Option<Vec<SlicePort>>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug)]
struct SlicePort {
    name: String,
    protocol: Protocol,
    /// Number of the port; `None`: all ports.
    port: Option<u16>,
}

/// An endpoint of a Service.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Addresses of the endpoint; a pod has one.
    pub addresses: Vec<IpAddr>,
    /// Node of the endpoint, if it is known.
    pub node: Option<String>,
    /// `namespace/name` of the pod, if the endpoint is one.
    pub pod: Option<String>,
    /// Whether new connections go to the endpoint.
    pub is_ready: bool,
}

impl Slice {
    /// Port of these endpoints for a port of the Service; `None` if it leads to other
    /// endpoints.
    #[must_use]
    pub fn target(&self, port: &ServicePort) -> Option<u16> {
        let mut ports = self.ports.iter().flatten();
        let same = |own: &&SlicePort| own.name == port.name && own.protocol == port.protocol;
        ports.find(same)?.port
    }

    /// Whether one of the endpoints has one of these addresses.
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
            // `None` in this field means a headless Service.
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
                // A slice of host names has no addresses.
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

    /// A Service with addresses.
    ///
    /// # Errors
    /// If there is no such Service (with similar names), or if it is of the type ExternalName.
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

    /// EndpointSlices of a Service.
    #[must_use]
    pub fn slices(&self, namespace: &str, name: &str) -> &[Slice] {
        let key = (namespace.to_owned(), name.to_owned());
        self.slices.get(&key).map_or(&[], Vec::as_slice)
    }

    /// Kind of a Service, by `namespace/name`: with ready endpoints, without them, or without
    /// any, as far as it is known.
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

    /// Owners of endpoints' addresses, from slices: pods, or the Service if the slice names no
    /// pod, or a pod that is known not to exist.
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

    /// Whether a pod may exist, by `namespace/name`. A file has all pods, but from an API
    /// server not all are read.
    fn may_be(&self, pod: &str) -> bool {
        let key = pod.split_once('/');
        let key = key.map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
        self.is_live || key.is_some_and(|key| self.pods.contains_key(&key))
    }

    /// Services with an endpoint that has one of these addresses, by namespace and name.
    pub fn services_to(
        &self,
        addresses: &HashSet<IpAddr>,
    ) -> impl Iterator<Item = (&Key, &Service)> {
        let slices = self.slices.iter();
        let leading = slices.filter(|(_, slices)| slices.iter().any(|one| one.holds(addresses)));
        leading.filter_map(|(key, _)| self.services.get_key_value(key))
    }

    /// Services with a port of this number, by namespace and name.
    pub fn services_with(&self, number: u16) -> impl Iterator<Item = (&Key, &Service)> {
        let mut all: Vec<_> = self.services.iter().collect();
        // The order is always the same.
        all.sort_unstable_by_key(|(key, _)| *key);
        let has = move |port: &ServicePort| port.port == number;
        all.into_iter()
            .filter(move |(_, service)| service.ports.iter().any(has))
    }

    /// Namespace and name of the Service that has a virtual address.
    #[must_use]
    pub fn service_at(&self, address: IpAddr) -> Option<(&str, &str)> {
        let name = self.virtual_addresses.get(&address)?;
        name.split_once('/')
    }
}
