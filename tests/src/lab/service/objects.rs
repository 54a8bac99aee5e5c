//! A Service and its EndpointSlices, one for each IP version, as the API server has them.

use std::fmt::Write as _;

use super::super::{Node, Pod};
use super::Service;

/// The list items of a Service and its EndpointSlices.
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
    let external = |v6: bool| Some(service.external?.address(v6));
    let externals = || {
        let families = if carries_v6 { 2 } else { 1 };
        let families = [false, true].into_iter().take(families);
        families.filter_map(external)
    };
    let mut text = format!(
        "- apiVersion: v1
  kind: Service
  metadata:
    name: {name}
    namespace: {namespace}
  spec:\n"
    );
    if service.is_headless {
        text += "    clusterIP: None\n    clusterIPs:\n    - None\n";
    } else {
        text += &format!("    clusterIP: {v4}\n    clusterIPs:\n    - {v4}\n");
        if carries_v6 {
            text += &format!("    - {v6}\n");
        }
    }
    let of_balancer = service.external.is_some_and(|own| own.of_balancer);
    if service.external.is_some() && !of_balancer {
        text += "    externalIPs:\n";
        text.extend(externals().map(|address| format!("    - {address}\n")));
    }
    let has_node_port = ports.iter().any(|port| port.node_port.is_some());
    if has_node_port || service.external.is_some() {
        let policy = if service.is_local { "Local" } else { "Cluster" };
        text += &format!("    externalTrafficPolicy: {policy}\n");
    }
    if service.is_local_inside {
        text += "    internalTrafficPolicy: Local\n";
    }
    text += "    ports:\n";
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
    if service.keeps_clients {
        text += "    sessionAffinity: ClientIP
    sessionAffinityConfig:
      clientIP:
        timeoutSeconds: 10800\n";
    }
    let kind = if of_balancer {
        "LoadBalancer"
    } else if has_node_port {
        "NodePort"
    } else {
        "ClusterIP"
    };
    text += &format!("    type: {kind}\n  status:\n");
    if of_balancer {
        text += "    loadBalancer:\n      ingress:\n";
        text.extend(externals().map(|address| format!("      - ip: {address}\n")));
    } else {
        text += "    loadBalancer: {}\n";
    }
    text
}

fn slice_item(service: &Service, nodes: &[Node], pods: &[Pod], v6: bool) -> String {
    let Service {
        name,
        namespace,
        ports,
        endpoints,
        unready,
        ..
    } = service;
    let family = if v6 { "IPv6" } else { "IPv4" };
    let mut text = format!("- addressType: {family}\n  apiVersion: discovery.k8s.io/v1\n");
    let gone = service.gone.filter(|gone| gone.is_ipv6() == v6);
    text += match (&endpoints[..], &unready[..], gone) {
        ([], [], None) => "  endpoints: null\n",
        _ => "  endpoints:\n",
    };
    let ready = endpoints.iter().map(|index| (&pods[*index], true));
    let unready = unready.iter().map(|index| (&pods[*index], false));
    for (pod, is_ready) in ready.chain(unready) {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "  - addresses:
    - {}
    conditions:
      ready: {is_ready}
      serving: {is_ready}
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
    if let Some(gone) = gone {
        let _ = write!(
            text,
            "  - addresses:
    - {gone}
    conditions:
      ready: true\n"
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
