//! The few fields of Kubernetes objects that are read.

use serde::Deserialize;

/// A Kubernetes object that says something about addresses.
pub(super) enum Object {
    Node(Node),
    Pod(Pod),
    Service(Service),
}

/// Whether an object of this kind is worth parsing.
pub(super) fn is_of_use(kind: &str) -> bool {
    matches!(kind, "Node" | "Pod" | "Service") || kind.ends_with("List")
}

/// The fields that are read, by the one that they are in: those of the structs
/// below.
pub(super) const SECTIONS: [(&str, &[&str]); 3] = [
    ("metadata", &["name", "namespace"]),
    (
        "spec",
        &[
            "podCIDR",
            "podCIDRs",
            "nodeName",
            "hostNetwork",
            "clusterIPs",
        ],
    ),
    ("status", &["addresses", "phase", "podIP", "podIPs"]),
];

#[derive(Deserialize)]
pub(super) struct Metadata {
    pub(super) name: String,
    #[serde(default = "default_namespace")]
    pub(super) namespace: String,
}

/// Where kubectl puts what is written without a namespace.
fn default_namespace() -> String {
    "default".to_owned()
}

impl Metadata {
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

#[derive(Deserialize)]
pub(super) struct Node {
    pub(super) metadata: Metadata,
    #[serde(default)]
    pub(super) spec: NodeSpec,
    #[serde(default)]
    pub(super) status: NodeStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct NodeSpec {
    #[serde(rename = "podCIDR")]
    pub(super) pod_cidr: Option<String>,
    #[serde(rename = "podCIDRs")]
    pub(super) pod_cidrs: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct NodeStatus {
    pub(super) addresses: Vec<NodeAddress>,
}

#[derive(Deserialize)]
pub(super) struct NodeAddress {
    pub(super) address: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
}

#[derive(Deserialize)]
pub(super) struct Pod {
    pub(super) metadata: Metadata,
    #[serde(default)]
    pub(super) spec: PodSpec,
    #[serde(default)]
    pub(super) status: PodStatus,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodSpec {
    pub(super) node_name: String,
    pub(super) host_network: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct PodStatus {
    pub(super) phase: String,
    #[serde(rename = "podIP")]
    pub(super) pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pub(super) pod_ips: Vec<PodIp>,
}

#[derive(Deserialize)]
pub(super) struct PodIp {
    pub(super) ip: String,
}

#[derive(Deserialize)]
pub(super) struct Service {
    pub(super) metadata: Metadata,
    #[serde(default)]
    pub(super) spec: ServiceSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ServiceSpec {
    #[serde(rename = "clusterIPs")]
    pub(super) cluster_ips: Vec<String>,
}
