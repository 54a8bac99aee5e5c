//! Watching a node for drops.
//!
//! The kernel frees packets of all its namespaces through one function. An
//! agent takes those of its node's own namespace and of its pods', known by
//! their inode numbers, so that agents of several nodes on one kernel do not
//! claim each other's.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    net::IpAddr,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::Arc,
};

use tracer_common::config::Load;

use super::{
    NodeError, agent,
    discover::{self, Request, discover},
    drop_probe::DropProbe,
};
use crate::link::{Start, Watch};

/// What a node's own namespace is called.
const HOST: &str = "host";

/// Where drops are seen.
pub(super) struct Watched {
    /// The pods whose own namespaces were found.
    pub(super) pods: Vec<Arc<str>>,
    /// What was not found, one sentence each.
    pub(super) notes: Vec<String>,
}

/// Finds the namespaces of a node and its pods, and attaches. The calling
/// thread is in the node's. `load` is that of the node's other programs, which
/// make the same of a packet; `None` if there are none.
pub(super) fn prepare(
    start: &Start,
    load: Option<Load>,
) -> Result<(DropProbe, Watched), NodeError> {
    let load = match load {
        Some(load) => load,
        None => agent::load(start, &discover(&Request::default())?),
    };
    let own = inode(Path::new("/proc/thread-self/ns/net"))?;
    let mut namespaces = HashMap::from([(own, Arc::from(HOST))]);
    let mut notes = Vec::new();
    if start.pods.is_empty() {
        notes.push(format!(
            "no pod of {} is known: drops inside pods are not shown (--inventory FILE tells of them)",
            start.node
        ));
    } else {
        find_pods(start, &mut namespaces, &mut notes)?;
    }
    let mut pods: Vec<Arc<str>> = namespaces.values().cloned().collect();
    pods.retain(|name| **name != *HOST);
    pods.sort();
    let all = start.watch == Watch::Drops;
    let probe = DropProbe::start(load, namespaces, start.ring_size, start.budget, all)?;
    if !probe.has_symbols() {
        notes.push(
            "the kernel does not show where its functions are: places are raw addresses and \
             reasons are judged without them (that takes CAP_SYSLOG, and kernel.kptr_restrict \
             below 2)"
                .to_owned(),
        );
    }
    Ok((probe, Watched { pods, notes }))
}

/// Adds the namespaces of the node's pods, as far as they are found.
fn find_pods(
    start: &Start,
    namespaces: &mut HashMap<u32, Arc<str>>,
    notes: &mut Vec<String>,
) -> Result<(), NodeError> {
    let addresses: Vec<IpAddr> = start.pods.iter().map(|(address, _)| *address).collect();
    let (found, mut problems) = discover::pod_namespaces(&addresses)?;
    let mut seen: HashSet<&str> = HashSet::new();
    for (address, name) in &start.pods {
        let Some(pod) = found.iter().find(|pod| pod.pod == *address) else {
            continue;
        };
        // A pod that has just ended is as good as one not found.
        if let Ok(inode) = inode(&pod.path) {
            namespaces.insert(inode, Arc::from(name.as_str()));
            seen.insert(name);
        }
    }
    let mut missing: Vec<&str> = start.pods.iter().map(|(_, name)| name.as_str()).collect();
    missing.retain(|name| !seen.contains(name));
    missing.dedup();
    if !missing.is_empty() {
        notes.append(&mut problems);
        notes.push(format!(
            "the network namespaces of {} were not found on {}: drops inside them are not shown",
            missing.join(", "),
            start.node
        ));
    }
    Ok(())
}

/// The number by which the kernel knows a namespace.
fn inode(path: &Path) -> Result<u32, NodeError> {
    let namespace = |source| NodeError::Namespace {
        path: path.to_owned(),
        source,
    };
    let inode = fs::metadata(path).map_err(namespace)?.ino();
    u32::try_from(inode).map_err(|_| namespace(io::Error::other("not a namespace's inode number")))
}
