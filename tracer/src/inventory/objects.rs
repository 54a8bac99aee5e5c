//! The few fields of Kubernetes objects that are read, and how they are read.

use std::{path::Path, str};

use serde::{Deserialize, de::IgnoredAny};
use serde_saphyr::{Options, budget, options};

use super::InventoryError;

/// A Kubernetes object; whatever else there is, is passed over.
#[derive(Deserialize)]
#[serde(tag = "kind")]
pub(super) enum Object {
    List {
        items: Vec<Self>,
    },
    Node(Node),
    Pod(Pod),
    Service(Service),
    #[serde(other)]
    Other,
}

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

/// The objects of a file: of one document or several.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Object>, InventoryError> {
    let not_yaml = |why: &str| InventoryError::NotYaml {
        path: path.to_owned(),
        why: brief(why),
    };
    let text = str::from_utf8(bytes).map_err(|_| not_yaml("it is not UTF-8 text"))?;
    serde_saphyr::from_multiple_with_options(text, unlimited()).map_err(|error| {
        // Where an object lacks something is said of its end, if at all: only errors of the text keep
        // their line.
        match serde_saphyr::from_multiple_with_options::<IgnoredAny>(text, unlimited()) {
            Err(error) => not_yaml(&error.to_string()),
            Ok(_) => {
                let why = error.to_string();
                let (why, _) = why.split_once(" at line ").unwrap_or((&why, ""));
                InventoryError::NotObjects {
                    path: path.to_owned(),
                    why: brief(why),
                }
            }
        }
    })
}

/// The first line, or as much of it as a sentence has room for: errors may
/// quote all of a file.
fn brief(text: &str) -> String {
    const ROOM: usize = 120;
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(ROOM) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// The parser's limits are meant for small files of strangers: a cluster of a few thousand pods is beyond
/// them. Those on nesting and on aliases stay.
fn unlimited() -> Options {
    options! {
        budget: budget! {
            max_documents: usize::MAX,
            max_events: usize::MAX,
            max_nodes: usize::MAX,
            max_total_scalar_bytes: usize::MAX,
        },
        strict_booleans: true,
        with_snippet: false,
    }
}
