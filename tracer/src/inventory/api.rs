//! The same objects, as the API server gives them.

use std::{collections::BTreeMap, path::PathBuf};

use k8s_openapi::{api::core::v1, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::{Group, Inventory, InventoryError, objects};

impl Inventory {
    /// Nothing yet of a cluster; what is named without a namespace is in this one.
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
            owners: BTreeMap::new(),
        }
    }

    /// Takes in a pod, and that there is its node.
    pub(crate) fn take_pod(&mut self, pod: &v1::Pod) -> Result<(), InventoryError> {
        let pod = objects::Pod::from(pod);
        self.expect_node(&pod.spec.node_name);
        self.add_pod(pod)
    }

    /// Takes in a node.
    pub(crate) fn take_node(&mut self, node: &v1::Node) -> Result<(), InventoryError> {
        self.add_node(objects::Node::from(node))
    }

    /// Takes in a Service.
    pub(crate) fn take_service(&mut self, service: &v1::Service) {
        self.add_service(&objects::Service::from(service));
    }

    /// Takes note that there is a node of this name, whatever its addresses are.
    pub(crate) fn expect_node(&mut self, name: &str) {
        if !name.is_empty() {
            self.nodes.entry(name.to_owned()).or_default();
        }
    }

    /// Takes note which pods a group has, by namespace and name.
    pub(crate) fn take_group(&mut self, group: Group, pods: Vec<(String, String)>) {
        self.groups.insert(group, pods);
    }

    /// The nodes that are known by name, and of which nothing else is known.
    pub(crate) fn unread_nodes(&self) -> Vec<String> {
        let nodes = self.nodes.iter();
        let unread = nodes.filter(|(_, node)| node.addresses.is_empty());
        unread.map(|(name, _)| name.clone()).collect()
    }
}

fn metadata(of: &ObjectMeta) -> objects::Metadata {
    objects::Metadata {
        name: of.name.clone().unwrap_or_default(),
        namespace: of.namespace.clone().unwrap_or_default(),
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
        Self {
            metadata: metadata(&service.metadata),
            spec: objects::ServiceSpec {
                cluster_ips: spec.cluster_ips.unwrap_or_default(),
            },
        }
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
        api.take_service(&typed(&service));
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
