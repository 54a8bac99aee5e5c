//! Takes objects from the API server into an inventory.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use k8s_openapi::{
    api::{core::v1, discovery::v1::EndpointSlice},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use tracer_core::model::{Owner, OwnerKind};

use super::{Group, Inventory, InventoryError, Pod, Protocol, objects};

impl Inventory {
    /// An empty inventory of a cluster, with the default namespace.
    pub(crate) fn of_cluster(server: &str, namespace: &str) -> Self {
        Self {
            path: PathBuf::from(server),
            age: None,
            is_live: true,
            namespace: namespace.to_owned(),
            nodes: BTreeMap::new(),
            pods: BTreeMap::new(),
            groups: BTreeMap::new(),
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
            virtual_addresses: BTreeMap::new(),
            owners: BTreeMap::new(),
        }
    }

    /// Adds a pod, and the existence of its node.
    pub(crate) fn take_pod(&mut self, pod: &v1::Pod) -> Result<(), InventoryError> {
        let pod = objects::Pod::from(pod);
        self.expect_node(&pod.spec.node_name);
        self.add_pod(pod)
    }

    /// Adds a pod that a watch has told of, without the existence of its node.
    pub(crate) fn take_watched(&mut self, namespace: &str, name: &str, pod: Pod) {
        self.insert_pod(namespace.to_owned(), name.to_owned(), pod);
    }

    /// The nodes alone, with their addresses.
    pub(crate) fn without_pods(&self) -> Self {
        let owners = self.owners.iter();
        let owners = owners.filter(|(_, owner)| owner.kind == OwnerKind::Node);
        Self {
            nodes: self.nodes.clone(),
            owners: owners
                .map(|(address, owner)| (*address, owner.clone()))
                .collect(),
            ..Self::of_cluster(&self.path.to_string_lossy(), &self.namespace)
        }
    }

    /// Removes a node.
    pub(crate) fn forget_node(&mut self, name: &str) {
        self.nodes.remove(name);
        let is_its = |owner: &Owner| owner.kind == OwnerKind::Node && owner.name == name;
        self.owners.retain(|_, owner| !is_its(owner));
    }

    /// Adds a node.
    pub(crate) fn take_node(&mut self, node: &v1::Node) -> Result<(), InventoryError> {
        self.add_node(objects::Node::from(node))
    }

    /// Adds a Service.
    pub(crate) fn take_service(&mut self, service: &v1::Service) -> Result<(), InventoryError> {
        self.add_service(objects::Service::from(service))
    }

    /// Adds some endpoints of a Service, and the existence of their nodes. An otherwise unknown
    /// pod gets its name from there.
    pub(crate) fn take_slice(&mut self, slice: &EndpointSlice) {
        let slice = objects::Slice::from(slice);
        for endpoint in slice.endpoints.iter().flatten() {
            self.expect_node(endpoint.node_name.as_deref().unwrap_or_default());
        }
        self.add_slice(slice);
    }

    /// Notes that a node of this name exists, with unknown addresses.
    pub(crate) fn expect_node(&mut self, name: &str) {
        if !name.is_empty() {
            self.nodes.entry(name.to_owned()).or_default();
        }
    }

    /// Notes the pods of a group, by namespace and name.
    pub(crate) fn take_group(&mut self, group: Group, pods: Vec<(String, String)>) {
        self.groups.insert(group, pods);
    }

    /// Nodes of which only the name is known.
    pub(crate) fn unread_nodes(&self) -> Vec<String> {
        let nodes = self.nodes.iter();
        let unread = nodes.filter(|(_, node)| node.addresses.is_empty());
        unread.map(|(name, _)| name.clone()).collect()
    }
}

impl Pod {
    /// A pod that runs on a node, with addresses of its own, which are still to come.
    pub(crate) fn on(node: &str) -> Self {
        Self {
            addresses: Vec::new(),
            node: node.to_owned(),
            phase: "Running".to_owned(),
            host_network: false,
        }
    }
}

/// What decides where a pod is. Of the phases, a pod's place depends on whether the pod has ended.
impl From<&v1::Pod> for Pod {
    fn from(pod: &v1::Pod) -> Self {
        let spec = pod.spec.as_ref();
        let status = pod.status.as_ref();
        let addresses = status.and_then(|status| status.pod_ips.as_ref());
        let addresses = addresses.into_iter().flatten();
        let addresses: Vec<IpAddr> = addresses.filter_map(|ip| ip.ip.parse().ok()).collect();
        let phase = match status.and_then(|status| status.phase.as_deref()) {
            Some(ended @ ("Succeeded" | "Failed")) => ended,
            _ if addresses.is_empty() => "Pending",
            _ => "Running",
        };
        Self {
            addresses,
            node: spec
                .and_then(|spec| spec.node_name.clone())
                .unwrap_or_default(),
            phase: phase.to_owned(),
            host_network: spec.and_then(|spec| spec.host_network).unwrap_or_default(),
        }
    }
}

fn metadata(of: &ObjectMeta) -> objects::Metadata {
    objects::Metadata {
        name: of.name.clone().unwrap_or_default(),
        namespace: of.namespace.clone().unwrap_or_default(),
        labels: of.labels.clone().unwrap_or_default(),
    }
}

impl From<&v1::Pod> for objects::Pod {
    fn from(pod: &v1::Pod) -> Self {
        let spec = pod.spec.clone().unwrap_or_default();
        let status = pod.status.clone().unwrap_or_default();
        let ips = status.pod_ips.unwrap_or_default().into_iter();
        Self {
            metadata: metadata(&pod.metadata),
            spec: objects::PodSpec {
                node_name: spec.node_name.unwrap_or_default(),
                host_network: spec.host_network.unwrap_or_default(),
            },
            status: objects::PodStatus {
                phase: status.phase.unwrap_or_default(),
                pod_ip: status.pod_ip,
                pod_ips: ips.map(|ip| objects::PodIp { ip: ip.ip }).collect(),
            },
        }
    }
}

impl From<&v1::Node> for objects::Node {
    fn from(node: &v1::Node) -> Self {
        let spec = node.spec.clone().unwrap_or_default();
        let status = node.status.clone().unwrap_or_default();
        let addresses = status.addresses.unwrap_or_default().into_iter();
        let address = |address: v1::NodeAddress| objects::NodeAddress {
            address: address.address,
            kind: address.type_,
        };
        Self {
            metadata: metadata(&node.metadata),
            spec: objects::NodeSpec {
                pod_cidr: spec.pod_cidr,
                pod_cidrs: spec.pod_cidrs.unwrap_or_default(),
            },
            status: objects::NodeStatus {
                addresses: addresses.map(address).collect(),
            },
        }
    }
}

impl From<&v1::Service> for objects::Service {
    fn from(service: &v1::Service) -> Self {
        let spec = service.spec.clone().unwrap_or_default();
        let ports = spec.ports.unwrap_or_default().into_iter();
        let port = |port: v1::ServicePort| objects::ServicePort {
            name: port.name.unwrap_or_default(),
            protocol: protocol(port.protocol.as_deref()),
            port: number(port.port).unwrap_or_default(),
            node_port: port.node_port.and_then(number).unwrap_or_default(),
        };
        let status = service.status.as_ref();
        let balancer = status.and_then(|status| status.load_balancer.as_ref());
        let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref());
        let ingress = ingress
            .into_iter()
            .flatten()
            .map(|ingress| objects::Ingress {
                ip: ingress.ip.clone(),
            });
        Self {
            metadata: metadata(&service.metadata),
            spec: objects::ServiceSpec {
                cluster_ips: spec.cluster_ips.unwrap_or_default(),
                external_ips: spec.external_ips.unwrap_or_default(),
                external_name: spec.external_name,
                external_traffic_policy: spec.external_traffic_policy,
                internal_traffic_policy: spec.internal_traffic_policy,
                session_affinity: spec.session_affinity,
                kind: spec.type_.unwrap_or_default(),
                ports: ports.map(port).collect(),
            },
            status: objects::ServiceStatus {
                load_balancer: objects::LoadBalancer {
                    ingress: ingress.collect(),
                },
            },
        }
    }
}

impl From<&EndpointSlice> for objects::Slice {
    fn from(slice: &EndpointSlice) -> Self {
        let endpoints = slice.endpoints.iter().map(|endpoint| {
            let conditions = endpoint.conditions.as_ref();
            let target = endpoint.target_ref.clone();
            objects::Endpoint {
                addresses: endpoint.addresses.clone(),
                conditions: objects::Conditions {
                    ready: conditions.and_then(|conditions| conditions.ready),
                },
                node_name: endpoint.node_name.clone(),
                target_ref: target.map(|target| objects::TargetRef {
                    kind: target.kind.unwrap_or_default(),
                    name: target.name.unwrap_or_default(),
                    namespace: target.namespace.unwrap_or_default(),
                }),
            }
        });
        let ports = slice.ports.as_ref().map(|ports| {
            let ports = ports.iter().map(|port| objects::SlicePort {
                name: port.name.clone(),
                protocol: protocol(port.protocol.as_deref()),
                port: port.port.and_then(number),
            });
            ports.collect()
        });
        Self {
            metadata: metadata(&slice.metadata),
            endpoints: Some(endpoints.collect()),
            ports,
        }
    }
}

/// A port number. The API's type for ports allows invalid numbers.
fn number(port: i32) -> Option<u16> {
    u16::try_from(port).ok()
}

fn protocol(name: Option<&str>) -> Protocol {
    match name {
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        _ => Protocol::Tcp,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    #[test]
    fn the_api_and_a_file_say_the_same() {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"nodeName": "node-a", "containers": []},
            "status": {"phase": "Running", "podIP": "10.244.1.5",
                       "podIPs": [{"ip": "10.244.1.5"}, {"ip": "fd00::5"}]},
        });
        let node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a"},
            "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"]},
            "status": {"addresses": [{"type": "InternalIP", "address": "192.168.0.1"},
                                     {"type": "Hostname", "address": "node-a"}]},
        });
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"]},
        });
        let list = json!({"kind": "List", "items": [node, pod, service]});
        let path = PathBuf::from("objects.json");
        let file = Inventory::parse(&path, list.to_string().as_bytes()).expect("objects");

        fn typed<T: serde::de::DeserializeOwned>(object: &Value) -> T {
            from_value(object.clone()).expect("the same object")
        }
        let mut api = Inventory::of_cluster("https://10.0.0.1", "shop");
        api.take_pod(&typed(&pod)).expect("addresses");
        assert_eq!(api.unread_nodes(), ["node-a"]);
        api.take_node(&typed(&node)).expect("addresses");
        assert_eq!(api.unread_nodes(), [""; 0]);
        api.take_service(&typed(&service)).expect("addresses");
        assert_eq!(api.owners(), file.owners());
        assert_eq!(api.owners().len(), 4);
        assert_eq!(api.node_addresses(), file.node_addresses());
        let address = "10.244.1.99".parse().expect("an address");
        assert_eq!(
            (api.home(address), file.home(address)),
            (Some("node-a"), Some("node-a"))
        );
        assert!(api.pod("shop", "web").is_ok());
    }
}
