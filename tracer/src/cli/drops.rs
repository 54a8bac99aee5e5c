//! The settings of `tracer drops`, with every name looked up.

use std::{collections::BTreeSet, time::Duration};

use tracer_core::model::Owners;

use super::{
    agents,
    args::{DropsArgs, Output},
    error::SettingsError,
    load::{self, Objects, Reading},
    settings::{USUAL_VXLAN_PORTS, check_ring},
    values::{AgentSpec, EndName, PodName},
};
use crate::{
    cluster::Access,
    inventory::{Inventory, Pods, list},
    view::Chosen,
};

/// A watch for drops, ready to start.
#[derive(Clone, Debug)]
pub struct DropsSettings {
    /// The pods whose drops to show; `None`: all drops.
    pub chosen: Option<Chosen>,
    /// Whether to watch all nodes of the cluster.
    pub all_nodes: bool,
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
    /// How to look up the names again; `None` if they are not from the API.
    pub live: Option<DropsLive>,
}

/// How to look up again the names that the API has resolved.
#[derive(Clone, Debug)]
pub struct DropsLive {
    /// The cluster.
    pub access: Access,
    /// The nodes, with their addresses.
    pub nodes: Inventory,
    args: DropsArgs,
}

impl DropsLive {
    /// Looks up the names again.
    ///
    /// # Errors
    /// See [`DropsSettings::resolve`].
    pub fn resolve(&self, inventory: Inventory) -> Result<DropsSettings, SettingsError> {
        let mut args = self.args.clone();
        // A node may have left the cluster.
        args.agents
            .retain(|agent| inventory.node(&agent.node).is_ok());
        let objects = Objects {
            inventory: Some(inventory),
            warnings: Vec::new(),
        };
        DropsSettings::with(&args, &objects)
    }
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
        if let (None, Some(namespace)) = (&args.pod, &args.namespace) {
            names.push(EndName::Group {
                namespace: Some(namespace.clone()),
                pods: Pods::All,
            });
        }
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
        let agents = agents::resolve(&args.agents, inventory)?;
        let (chosen, mut asked) = chosen(args, inventory)?.unzip();
        let asked = asked.get_or_insert_default();
        let all = inventory.filter(|_| args.all_nodes);
        asked.extend(all.map(Inventory::node_names).unwrap_or_default());
        let pods = args.pods.pods(&args.access);
        let nodes = asked.iter().chain(&args.node);
        let mut agents = agents::with_pods(agents, nodes, inventory, &pods);
        let mut warnings = objects.warnings.clone();
        if let Some(node) = &args.node {
            inventory.map_or(Ok(()), |inventory| inventory.node(node))?;
            agents.retain(|agent| agent.node == *node);
            if agents.is_empty() {
                return Err(SettingsError::UnwatchedNode { node: node.clone() });
            }
        } else {
            let is_unwatched = |node: &&String| agents.iter().all(|agent| agent.node != **node);
            let unwatched = asked.iter().filter(is_unwatched);
            let unwatched: Vec<&str> = unwatched.map(String::as_str).collect();
            if !unwatched.is_empty() {
                warnings.push(format!(
                    "no agent watches {}: give --agent for each",
                    list(&unwatched, "and")
                ));
            }
        }
        if agents.is_empty() {
            return Err(SettingsError::NoNode);
        }
        let live = inventory.filter(|inventory| inventory.is_live());
        Ok(Self {
            chosen,
            all_nodes: args.all_nodes,
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
            live: live.map(|inventory| DropsLive {
                access: args.access.access(),
                nodes: inventory.without_pods(),
                args: args.clone(),
            }),
        })
    }
}

/// The pods whose drops to show, and their nodes; `None` if all drops are to be shown.
fn chosen(
    args: &DropsArgs,
    inventory: Option<&Inventory>,
) -> Result<Option<(Chosen, BTreeSet<String>)>, SettingsError> {
    let known = || inventory.expect("objects that were named have been read");
    Ok(match (&args.pod, &args.namespace) {
        (None, None) => None,
        (Some(name), namespace) => {
            let EndName::Pod(PodName {
                namespace: own,
                name,
            }) = name
            else {
                unreachable!("--pod takes names of pods only");
            };
            let namespace = own.as_deref().or(namespace.as_deref());
            let namespace = namespace.unwrap_or(known().namespace());
            let addresses = &known().pod(namespace, name)?.addresses;
            let home = addresses.first().and_then(|first| known().home(*first));
            let chosen = Chosen::Pod(format!("{namespace}/{name}"));
            Some((chosen, home.map(str::to_owned).into_iter().collect()))
        }
        (None, Some(namespace)) => {
            let nodes = known().nodes_of_namespace(namespace);
            if nodes.is_empty() {
                return Err(SettingsError::NoPods(namespace.clone()));
            }
            Some((Chosen::Namespace(namespace.clone()), nodes))
        }
    })
}

#[cfg(test)]
#[path = "drops_tests.rs"]
pub(crate) mod tests;
