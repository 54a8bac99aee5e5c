//! The agents' parts: the pods of each node whose namespaces are watched.

use std::{collections::BTreeMap, net::IpAddr};

use tracer_common::hash::Key;
use tracer_core::{
    model::{OwnerKind, Owners},
    request::{Filter, Request, Start, Watch},
};

use crate::{
    cli::{AgentSpec, DropsSettings},
    link::Place,
};

/// Addresses and names of the pods on each node.
pub(super) type PodsByNode = BTreeMap<String, Vec<(IpAddr, String)>>;

/// The present pods by their nodes.
pub(super) fn pods_by_node(owners: &Owners) -> PodsByNode {
    let mut pods = PodsByNode::new();
    for (address, owner) in owners.all_at(Owners::LATEST) {
        if owner.kind == OwnerKind::Pod {
            let of_node = pods.entry(owner.node.clone()).or_default();
            of_node.push((address, owner.name.clone()));
        }
    }
    pods
}

/// All agents' tasks.
pub(super) fn starts(settings: &DropsSettings, key: Key) -> Vec<(Place, Start)> {
    let pods = pods_by_node(&settings.owners);
    let agents = settings.agents.iter();
    agents
        .map(|agent| start(settings, agent, key, &pods))
        .collect()
}

/// An agent's task.
pub(super) fn start(
    settings: &DropsSettings,
    agent: &AgentSpec,
    key: Key,
    pods: &PodsByNode,
) -> (Place, Start) {
    let start = Start {
        node: agent.node.clone(),
        watch: Watch::Drops,
        filter: Filter::default(),
        request: Request::default(),
        pods: pods.get(&agent.node).cloned().unwrap_or_default(),
        bystanders: Vec::new(),
        vxlan_ports: settings.vxlan_ports.clone(),
        key,
        ring_size: settings.ring_size,
        budget: settings.budget,
        explain: settings.explain,
        snaplen: 0,
        dns_names: false,
        goes_along: settings.live.is_some(),
    };
    (agent.place.clone(), start)
}
