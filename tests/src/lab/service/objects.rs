//! A Service and its EndpointSlices, one for each IP version, as the API server has them.

use std::fmt::Write as _;

use super::super::{Node, Pod};
use super::Service;

/// The items of a list that these are.
pub(in crate::lab) fn items(
    service: &Service,
    nodes: &[Node],
    pods: &[Pod],
    carries_v6: bool,
) -> String {
    let mut text = service_item(service, carries_v6);
    for v6 in [false, true] {
        if carries_v6 || !v6 {
            text += &slice_item(service, nodes, pods, v6);
        }
    }
    text
}

fn service_item(service: &Service, carries_v6: bool) -> String {
    let Service {
        name,
        namespace,
        v4,
        v6,
        ports,
        ..
    } = service;
    let mut text = format!(
        "- apiVersion: v1
  kind: Service
  metadata:
    name: {name}
    namespace: {namespace}
  spec:
    clusterIP: {v4}
    clusterIPs:
    - {v4}\n"
    );
    if carries_v6 {
        text += &format!("    - {v6}\n");
    }
    text += "    ports:\n";
    let has_node_port = ports.iter().any(|port| port.node_port.is_some());
    for port in ports {
        text += &format!("    - name: {}\n", port.name);
        if let Some(node_port) = port.node_port {
            text += &format!("      nodePort: {node_port}\n");
        }
        text += &format!(
            "      port: {}\n      protocol: {}\n      targetPort: {}\n",
            port.port,
            port.proto.to_uppercase(),
            port.target
        );
    }
    let kind = if has_node_port {
        "NodePort"
    } else {
        "ClusterIP"
    };
    text + &format!("    type: {kind}\n  status:\n    loadBalancer: {{}}\n")
}

fn slice_item(service: &Service, nodes: &[Node], pods: &[Pod], v6: bool) -> String {
    let Service {
        name,
        namespace,
        ports,
        endpoints,
        ..
    } = service;
    let family = if v6 { "IPv6" } else { "IPv4" };
    let mut text = format!("- addressType: {family}\n  apiVersion: discovery.k8s.io/v1\n");
    text += match endpoints[..] {
        [] => "  endpoints: null\n",
        _ => "  endpoints:\n",
    };
    for pod in endpoints.iter().map(|index| &pods[*index]) {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "  - addresses:
    - {}
    conditions:
      ready: true
      serving: true
      terminating: false
    nodeName: {}
    targetRef:
      kind: Pod
      name: {}
      namespace: {}
      uid: {}\n",
            pod.address(v6),
            nodes[pod.node].name,
            pod.name,
            pod.namespace,
            pod.uid
        );
    }
    text += &format!(
        "  kind: EndpointSlice
  metadata:
    labels:
      kubernetes.io/service-name: {name}
    name: {name}-{}
    namespace: {namespace}\n",
        family.to_lowercase()
    );
    text += "  ports:\n";
    for port in ports {
        text += &format!(
            "  - name: {}\n    port: {}\n    protocol: {}\n",
            port.name,
            port.target,
            port.proto.to_uppercase()
        );
    }
    text
}
