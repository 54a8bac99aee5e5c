//! Reads the pods that are on the concerned nodes beside the ends.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};

use super::{
    Cluster, ClusterError,
    read::{Read, others},
};

/// The most nodes whose pods are listed and watched node by node. Of more nodes, one list and one
/// watch tell with those of the whole cluster, because each watch keeps a connection.
pub(crate) const FEW_NODES: usize = 50;

/// Pods of a page of a long list, as kubectl and kube have it.
const PAGE: u32 = 500;

impl Cluster {
    /// Takes in the other pods on the nodes, unless the user may not list them.
    pub(super) async fn take_pods_on_nodes(&self, read: &mut Read) -> Result<(), ClusterError> {
        for list in lists(&read.nodes) {
            let mut parameters = list;
            loop {
                let pods = Api::<Pod>::all(self.client.clone());
                let page = async {
                    let page = pods.list(&parameters).await;
                    page.map_err(|error| self.explain(error))
                };
                let page = self.in_time(page).await;
                let Some(page) = read.refused.unless("other pods", page)? else {
                    return Ok(());
                };
                let next = page.metadata.continue_.unwrap_or_default();
                for pod in others(page.items, &read.ends) {
                    if is_on(&pod, &read.nodes) {
                        read.inventory.take_pod(&pod)?;
                    }
                }
                if next.is_empty() {
                    break;
                }
                parameters = parameters.continue_token(&next);
            }
        }
        Ok(())
    }
}

/// The lists that have all pods on these nodes.
fn lists(nodes: &BTreeSet<String>) -> Vec<ListParams> {
    if nodes.len() > FEW_NODES {
        return vec![ListParams::default().limit(PAGE)];
    }
    let fields = nodes.iter().map(|name| format!("spec.nodeName={name}"));
    // The server's memory has an index of the nodes of pods. For a name, slightly old data is good
    // enough.
    let each = fields.map(|field| ListParams::default().fields(&field).match_any());
    each.collect()
}

/// Whether a pod is on one of the nodes.
fn is_on(pod: &Pod, nodes: &BTreeSet<String>) -> bool {
    let spec = pod.spec.as_ref();
    let node = spec.and_then(|spec| spec.node_name.as_ref());
    node.is_some_and(|node| nodes.contains(node))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::FEW_NODES;
    use crate::cluster::{
        Leading, Wanted,
        fake::{Answer, Fake},
    };

    fn pod(name: &str, node: &str, address: &str) -> Value {
        json!({
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"nodeName": node, "containers": []},
            "status": {"podIPs": [{"ip": address}]},
        })
    }

    /// A cluster of so many nodes with a pod each, whose list has two pages.
    fn cluster(nodes: usize) -> Fake {
        let node = |index| {
            let address = format!("192.168.{}.{}", index / 200, 1 + index % 200);
            json!({
                "metadata": {"name": format!("node-{index}")},
                "status": {"addresses": [{"type": "InternalIP", "address": address}]},
            })
        };
        let pod = |index| {
            let address = format!("10.244.{}.{}", index / 200, 1 + index % 200);
            pod(&format!("web-{index}"), &format!("node-{index}"), &address)
        };
        let half = nodes / 2;
        Fake::start(move |path| match path {
            path if path.starts_with("/api/v1/nodes") => {
                Answer::List((0..nodes).map(node).collect())
            }
            path if path.contains("fieldSelector") => {
                let (_, index) = path.split_once("node-").expect("a node");
                let digits = index.split(|sign: char| !sign.is_ascii_digit());
                let index = digits.take(1).collect::<String>().parse();
                Answer::List(vec![pod(index.expect("a number"))])
            }
            path if path.contains("continue=") => Answer::List((half..nodes).map(pod).collect()),
            _ => Answer::Page((0..half).map(pod).collect()),
        })
    }

    #[tokio::test]
    async fn pods_of_many_nodes_come_in_one_list() {
        for (nodes, lists) in [(3, 3), (FEW_NODES + 1, 2)] {
            let fake = cluster(nodes);
            let read = fake.cluster();
            let read = read.read(&[Wanted::AllNodes], Leading::Nothing).await;
            let (inventory, notes) = read.expect("all may be read");
            assert_eq!(notes, [""; 0]);
            for index in 0..nodes {
                let address = [10, 244, 0, 1 + u8::try_from(index).expect("few")].into();
                let owner = inventory.owner(address).expect("it is a pod's");
                assert_eq!(owner.name, format!("shop/web-{index}"));
            }
            let mut requests = fake.requests();
            requests.retain(|path| path.starts_with("/api/v1/pods"));
            assert_eq!(requests.len(), lists, "{requests:#?}");
        }
    }
}
