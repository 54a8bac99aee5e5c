//! The settings of `tracer drops`, with every name looked up.

use std::{net::IpAddr, time::Duration};

use tracer_core::model::{OwnerKind, Owners};

use super::{
    agents,
    args::{DropsArgs, Output},
    error::SettingsError,
    load::{self, Objects, Reading},
    settings::{USUAL_VXLAN_PORTS, check_ring},
    values::{AgentSpec, EndName, PodName},
};
use crate::inventory::{Inventory, list};

/// A watch for drops, ready to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropsSettings {
    /// The pod whose drops to show: its name and its addresses.
    pub pod: Option<(String, Vec<IpAddr>)>,
    /// How long to watch; `None`: no limit.
    pub duration: Option<Duration>,
    /// The number of drops after which the command ends; `None`: no limit.
    pub count: Option<u64>,
    /// The form of the output.
    pub output: Output,
    /// Whether to show times in UTC.
    pub utc: bool,
    /// Whether to read facts that may explain a drop.
    pub explain: bool,
    /// UDP ports of VXLAN, besides those of the nodes' devices.
    pub vxlan_ports: Vec<u16>,
    /// Size of a node's ring buffer, bytes.
    pub ring_size: u32,
    /// Limit of events per second and node.
    pub budget: u32,
    /// The agents of the nodes to watch; never empty.
    pub agents: Vec<AgentSpec>,
    /// The owners of addresses.
    pub owners: Owners,
    /// Notes on the objects for the user, one sentence each.
    pub warnings: Vec<String>,
}

impl DropsSettings {
    /// Looks up what the arguments name.
    ///
    /// # Errors
    /// If the arguments name an object that does not exist, or if no node has an agent.
    pub fn resolve(args: &DropsArgs) -> Result<Self, SettingsError> {
        check_ring(args.ring_size)?;
        let mut names: Vec<EndName> = args.pod.iter().cloned().collect();
        // Without --agent, the named node is this machine or a node of a cluster.
        let node = args.node.as_ref().filter(|_| args.agents.is_empty());
        let node = node.filter(|node| **node != agents::host_name());
        names.extend(node.map(|node| EndName::Node(node.clone())));
        let objects = load::objects(
            args.inventory.as_deref(),
            &args.access,
            args.namespace.as_deref(),
            &args.agents,
            &names,
            match args.all_nodes {
                true => Reading::AllNodes,
                false => Reading::Pods,
            },
        )?;
        Self::with(args, &objects)
    }

    pub(super) fn with(args: &DropsArgs, objects: &Objects) -> Result<Self, SettingsError> {
        let inventory = objects.inventory.as_ref();
        let pod = args
            .pod
            .as_ref()
            .map(|name| pod(name, args.namespace.as_deref(), inventory))
            .transpose()?;
        let agents = agents::resolve(&args.agents, inventory)?;
        let home = pod.as_ref().and_then(|(_, addresses)| {
            let home = inventory?.home(*addresses.first()?)?;
            Some(home.to_owned())
        });
        let pods = args.pods.pods(&args.access);
        let all = inventory.filter(|_| args.all_nodes);
        let all: Vec<String> = all.map(Inventory::node_names).unwrap_or_default();
        let nodes = home.iter().chain(&args.node).chain(&all);
        let mut agents = agents::with_pods(agents, nodes, inventory, &pods);
        let is_unwatched = |node: &&String| agents.iter().all(|agent| agent.node != **node);
        let unwatched: Vec<&str> = all
            .iter()
            .filter(is_unwatched)
            .map(String::as_str)
            .collect();
        let mut warnings = objects.warnings.clone();
        if !unwatched.is_empty() {
            warnings.push(format!(
                "no agent watches {}: give --agent for each",
                list(&unwatched, "and")
            ));
        }
        if let Some(node) = &args.node {
            inventory.map_or(Ok(()), |inventory| inventory.node(node))?;
            agents.retain(|agent| agent.node == *node);
            if agents.is_empty() {
                return Err(SettingsError::UnwatchedNode { node: node.clone() });
            }
        }
        if agents.is_empty() {
            return Err(SettingsError::NoNode);
        }
        Ok(Self {
            pod,
            duration: args.duration,
            count: args.count,
            output: args.output,
            utc: args.times.utc,
            explain: args.explain.is_wanted(),
            vxlan_ports: USUAL_VXLAN_PORTS.to_vec(),
            ring_size: args.ring_size,
            budget: args.budget,
            agents,
            owners: inventory.map_or_else(Owners::default, Inventory::owners),
            warnings,
        })
    }

    /// Addresses and names of the pods on a node.
    #[must_use]
    pub fn pods_on(&self, node: &str) -> Vec<(IpAddr, String)> {
        self.owners
            .all_at(Owners::LATEST)
            .filter(|(_, owner)| owner.kind == OwnerKind::Pod && owner.node == node)
            .map(|(address, owner)| (address, owner.name.clone()))
            .collect()
    }
}

fn pod(
    name: &EndName,
    namespace: Option<&str>,
    inventory: Option<&Inventory>,
) -> Result<(String, Vec<IpAddr>), SettingsError> {
    let EndName::Pod(PodName {
        namespace: own,
        name,
    }) = name
    else {
        unreachable!("--pod takes names of pods only");
    };
    let inventory = inventory.expect("objects that were named have been read");
    let namespace = own.as_deref().or(namespace);
    let namespace = namespace.unwrap_or(inventory.namespace());
    let pod = inventory.pod(namespace, name)?;
    Ok((format!("{namespace}/{name}"), pod.addresses.clone()))
}

#[cfg(test)]
#[path = "drops_tests.rs"]
mod tests;
