//! The cluster objects of a lab, which has no API server. They have the form of `kubectl get
//! nodes,pods,services,endpointslices -A -o yaml`: one `List`, keys in alphabetical order, with the
//! fields that say who has which address.

use super::{Node, Pod, Service, Wiring, service};

pub(super) fn yaml(nodes: &[Node], pods: &[Pod], services: &[Service], wiring: Wiring) -> String {
    let mut text = String::from("apiVersion: v1\nitems:\n");
    let items = nodes.iter().map(|node| node_item(node, wiring)).chain(
        pods.iter()
            .map(|pod| pod_item(pod, &nodes[pod.node], wiring)),
    );
    let services = services
        .iter()
        .map(|service| service::items(service, nodes, pods, wiring.carries_v6()));
    for item in items.chain(services) {
        text.push_str(&item);
    }
    text.push_str("kind: List\nmetadata:\n  resourceVersion: \"\"\n");
    text
}

fn node_item(node: &Node, wiring: Wiring) -> String {
    let Node {
        name,
        underlay,
        pod_cidr_v4,
        pod_cidr_v6,
        ..
    } = node;
    let v6 = if wiring.carries_v6() {
        format!("    - {pod_cidr_v6}\n")
    } else {
        String::new()
    };
    let underlay_v6 = if wiring.carries_v6() {
        let address = node.underlay_v6();
        format!("    - address: {address}\n      type: InternalIP\n")
    } else {
        String::new()
    };
    format!(
        r#"- apiVersion: v1
  kind: Node
  metadata:
    labels:
      kubernetes.io/hostname: {name}
    name: {name}
  spec:
    podCIDR: {pod_cidr_v4}
    podCIDRs:
    - {pod_cidr_v4}
{v6}  status:
    addresses:
    - address: {underlay}
      type: InternalIP
{underlay_v6}    - address: {name}
      type: Hostname
"#
    )
}

fn pod_item(pod: &Pod, node: &Node, wiring: Wiring) -> String {
    let Pod {
        name,
        namespace,
        uid,
        v4,
        v6,
        ..
    } = pod;
    let Node {
        name: node,
        underlay,
        ..
    } = node;
    let v6 = if wiring.carries_v6() {
        format!("    - ip: {v6}\n")
    } else {
        String::new()
    };
    let app = name.split('-').next().unwrap_or(name);
    format!(
        r#"- apiVersion: v1
  kind: Pod
  metadata:
    labels:
      app: {app}
    name: {name}
    namespace: {namespace}
    uid: {uid}
  spec:
    nodeName: {node}
  status:
    hostIP: {underlay}
    hostIPs:
    - ip: {underlay}
    phase: Running
    podIP: {v4}
    podIPs:
    - ip: {v4}
{v6}"#
    )
}
