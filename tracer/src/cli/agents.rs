//! The agents of a follow, and the ends on nodes without an agent.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use super::{
    ends::{End, EndKind},
    error::SettingsError,
    values::AgentSpec,
};
use crate::{
    inventory::{Inventory, list},
    link::{Place, Pods},
    store::unwatched_end,
};

/// The given agents, checked. Without any, and without a cluster that says where addresses are, the
/// agent is on this machine.
pub(super) fn resolve(
    specs: &[AgentSpec],
    inventory: Option<&Inventory>,
) -> Result<Vec<AgentSpec>, SettingsError> {
    if specs.is_empty() && inventory.is_none() {
        return Ok(vec![AgentSpec {
            node: host_name(),
            place: Place::Local,
        }]);
    }
    let mut namespaces: Vec<(NamespaceId, &str)> = Vec::new();
    for (index, AgentSpec { node, place }) in specs.iter().enumerate() {
        if specs[..index].iter().any(|earlier| earlier.node == *node) {
            return Err(SettingsError::TwoAgents(node.clone()));
        }
        inventory.map_or(Ok(()), |inventory| inventory.node(node))?;
        // Only the running command shows to which namespace it leads.
        let Some(path) = place.namespace() else {
            continue;
        };
        let id = namespace(node, path.as_deref())?;
        if let Some((_, first)) = namespaces.iter().find(|(other, _)| *other == id) {
            return Err(SettingsError::SharedNamespace {
                first: (*first).to_owned(),
                second: node.clone(),
            });
        }
        namespaces.push((id, node));
    }
    Ok(specs.to_vec())
}

/// Adds agents in pods: for nodes whose agent is `pod`, and, with objects from the API, for those
/// of `nodes` that have no other agent.
pub(super) fn with_pods<'a>(
    mut agents: Vec<AgentSpec>,
    nodes: impl Iterator<Item = &'a String>,
    inventory: Option<&Inventory>,
    pods: &Arc<Pods>,
) -> Vec<AgentSpec> {
    for agent in &mut agents {
        if let Place::Pod(own) = &mut agent.place {
            own.clone_from(pods);
        }
    }
    for node in nodes.filter(|_| inventory.is_some_and(Inventory::is_live)) {
        if agents.iter().all(|agent| agent.node != *node) {
            agents.push(AgentSpec {
                node: node.clone(),
                place: Place::Pod(Arc::clone(pods)),
            });
        }
    }
    agents
}

/// The identity of a namespace in the kernel: device and inode.
type NamespaceId = (u64, u64);

/// Makes sure that an agent's namespace exists.
#[cfg(target_os = "linux")]
fn namespace(node: &str, path: Option<&Path>) -> Result<NamespaceId, SettingsError> {
    use std::{fs::File, io, os::unix::fs::MetadataExt as _};

    use nix::sys::statfs::{NSFS_MAGIC, statfs};

    let path = path.unwrap_or(Path::new("/proc/thread-self/ns/net"));
    let denied = |source: io::Error| SettingsError::Namespace {
        node: node.to_owned(),
        path: path.to_owned(),
        source,
    };
    let system = statfs(path).map_err(|errno| denied(errno.into()))?;
    // This check comes before the file is opened, because opening a FIFO would block.
    if system.filesystem_type() != NSFS_MAGIC {
        return Err(SettingsError::NotNamespace {
            node: node.to_owned(),
            path: path.to_owned(),
        });
    }
    let file = File::open(path)
        .and_then(|file| file.metadata())
        .map_err(denied)?;
    Ok((file.dev(), file.ino()))
}

/// Other systems have no network namespaces, and no agents.
#[cfg(not(target_os = "linux"))]
fn namespace(node: &str, _: Option<&Path>) -> Result<NamespaceId, SettingsError> {
    Err(SettingsError::NotLinux(node.to_owned()))
}

pub(super) fn host_name() -> String {
    match fs::read_to_string("/proc/sys/kernel/hostname") {
        Ok(name) if !name.trim().is_empty() => name.trim().to_owned(),
        _ => "localhost".to_owned(),
    }
}

/// Limit of endpoints of a Service that get one warning each.
const ONE_BY_ONE: usize = 3;

/// A warning for each end on a node without an agent.
///
/// # Errors
/// If no end with a known node has an agent, because no packet would be seen.
pub(super) fn unwatched<'a>(
    agents: &[AgentSpec],
    inventory: Option<&Inventory>,
    ends: &(impl Iterator<Item = &'a End> + Clone),
) -> Result<Vec<String>, SettingsError> {
    let watched: BTreeSet<&String> = agents.iter().map(|agent| &agent.node).collect();
    let is_watched = |node: &&String| watched.contains(node);
    let nodes: BTreeSet<&String> = ends.clone().filter_map(|end| end.node.as_ref()).collect();
    if !nodes.is_empty() && !nodes.iter().any(is_watched) {
        let mut named = Vec::new();
        for node in ends.clone().filter_map(|end| end.node.clone()) {
            if !named.contains(&node) {
                named.push(node);
            }
            if named.len() == nodes.len() {
                break;
            }
        }
        return Err(SettingsError::NoAgent { nodes: named });
    }
    let names = || ends.clone().map(ToString::to_string);
    if agents.is_empty() && inventory.is_some() {
        return Err(SettingsError::NoPlace {
            source_end: names().next().unwrap_or_default(),
            destination_end: names().last().unwrap_or_default(),
        });
    }
    let unwatched = ends.clone().filter_map(|end| {
        let node = end.node.as_ref().filter(|node| !is_watched(node))?;
        Some((end, node))
    });
    let endpoints = unwatched
        .clone()
        .filter(|(end, _)| end.kind == EndKind::Endpoint);
    let nodes: BTreeSet<&str> = endpoints.clone().map(|(_, node)| node.as_str()).collect();
    let is_many = endpoints.clone().count() > ONE_BY_ONE;
    let mut warnings = Vec::new();
    for (end, node) in unwatched.filter(|(end, _)| !is_many || end.kind != EndKind::Endpoint) {
        let warning = unwatched_end(end, node);
        // An end may have addresses of two families, and gets one warning.
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    if is_many {
        let nodes: Vec<&str> = nodes.into_iter().collect();
        warnings.push(format!(
            "{} endpoints run on {}, which no agent watches: packets to them are shown as left, \
             unless they are answered",
            endpoints.count(),
            list(&nodes, "and")
        ));
    }
    Ok(warnings)
}
