//! The fields of Kubernetes objects that are read.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A Kubernetes object that has addresses.
pub(super) enum Object {
    Node(Node),
    Pod(Pod),
    Service(Service),
    Slice(Slice),
}

/// Whether objects of this kind are parsed.
pub(super) fn is_of_use(kind: &str) -> bool {
    matches!(kind, "Node" | "Pod" | "Service" | "EndpointSlice") || kind.ends_with("List")
}

/// Label of an EndpointSlice that names its Service.
pub(crate) const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Fields that are read with all their contents.
pub(super) const WHOLE: [&str; 2] = ["endpoints", "ports"];

/// Fields that are read, by the field around them: those of the structs below.
pub(super) const SECTIONS: [(&str, &[&str]); 3] = [
    ("metadata", &["name", "namespace", "labels"]),
    (
        "spec",
        &[
            "podCIDR",
            "podCIDRs",
            "nodeName",
            "hostNetwork",
            "clusterIPs",
            "externalIPs",
            "externalName",
            "externalTrafficPolicy",
            "internalTrafficPolicy",
            "ports",
            "sessionAffinity",
            "type",
        ],
    ),
    (
        "status",
        &["addresses", "phase", "podIP", "podIPs", "loadBalancer"],
    ),
];

#[derive(Deserialize)]
pub(super) struct Metadata {
    pub(super) name: String,
    #[serde(default = "default_namespace")]
    pub(super) namespace: String,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
}

/// Namespace that kubectl uses for objects without one.
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
    #[serde(default)]
    pub(super) status: ServiceStatus,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ServiceSpec {
    #[serde(rename = "clusterIPs")]
    pub(super) cluster_ips: Vec<String>,
    #[serde(rename = "externalIPs")]
    pub(super) external_ips: Vec<String>,
    pub(super) external_name: Option<String>,
    pub(super) external_traffic_policy: Option<String>,
    pub(super) internal_traffic_policy: Option<String>,
    pub(super) session_affinity: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) ports: Vec<ServicePort>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServicePort {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) protocol: Protocol,
    pub(super) port: u16,
    /// Number of the node port; 0 without one.
    #[serde(default)]
    pub(super) node_port: u16,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ServiceStatus {
    pub(super) load_balancer: LoadBalancer,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct LoadBalancer {
    pub(super) ingress: Vec<Ingress>,
}

#[derive(Deserialize)]
pub(super) struct Ingress {
    /// IP address; other entries have a host name.
    #[serde(default)]
    pub(super) ip: Option<String>,
}

/// A protocol, by Kubernetes' name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP, which is the default.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// IANA protocol number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// Kubernetes' name of the protocol.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

/// An EndpointSlice, which has some of the endpoints of a Service.
#[derive(Deserialize)]
pub(super) struct Slice {
    pub(super) metadata: Metadata,
    /// Endpoints; `null` in a slice without any.
    #[serde(default)]
    pub(super) endpoints: Option<Vec<Endpoint>>,
    /// Ports; `null` for all ports.
    #[serde(default)]
    pub(super) ports: Option<Vec<SlicePort>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Endpoint {
    /// Addresses, or host names in a slice of host names.
    #[serde(default)]
    pub(super) addresses: Vec<String>,
    #[serde(default)]
    pub(super) conditions: Conditions,
    #[serde(default)]
    pub(super) node_name: Option<String>,
    #[serde(default)]
    pub(super) target_ref: Option<TargetRef>,
}

#[derive(Default, Deserialize)]
pub(super) struct Conditions {
    /// Whether the endpoint is ready, which is the default.
    #[serde(default)]
    pub(super) ready: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct TargetRef {
    #[serde(default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) namespace: String,
}

#[derive(Deserialize)]
pub(super) struct SlicePort {
    /// Name of the Service's port; empty for a port without a name.
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) protocol: Protocol,
    /// Number of the port; `None`: all ports.
    #[serde(default)]
    pub(super) port: Option<u16>,
}
