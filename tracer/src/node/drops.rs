//! Watches a node for drops.
//!
//! The kernel frees packets of all namespaces through one function. An agent takes the drops of
//! its node's host namespace and of its pods' namespaces, by their inode numbers. So agents of
//! several nodes on one kernel do not claim each other's drops.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    net::IpAddr,
    os::{fd::BorrowedFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use tracer_common::config::Load;
use tracer_core::{
    input::{Batch, Change, Report},
    model::Point,
};

use super::{
    NodeError, clock,
    conntrack::Due,
    discover::{self, Changes, discover},
    drop_probe::DropProbe,
    facts::Explainer,
    health::Gauge,
    kernel::hidden_symbols,
    load,
    source::{Found, PodNamespace, Source},
    task::Task,
};
use tracer_core::request::{Filter, Request, Start};

/// Name of a node's host namespace.
const HOST: &str = "host";

/// Namespaces that are watched for drops.
pub(super) struct Watched {
    /// Names of the pods whose own namespaces were found.
    pub(super) pods: Vec<Arc<str>>,
    /// Namespaces of these pods and of bystanders.
    pub(super) namespaces: Vec<PodNamespace>,
    /// What was not found, one sentence each.
    pub(super) notes: Vec<String>,
    /// Watches for changes, if nothing else does.
    pub(super) changes: Option<io::Result<Changes>>,
}

/// Finds the namespaces of a node and its pods, and attaches. The calling thread is in the
/// node's host namespace. `follow` is the load of the node's other programs, so that all parse
/// packets alike, and their interfaces; `None` without other programs.
pub(super) fn prepare(
    start: &Task,
    follow: Option<&(Load, Vec<Point>)>,
) -> Result<(Watcher, Watched), NodeError> {
    let mut notes = Vec::new();
    // The socket is opened before the first search, so that no later change is missed.
    let changes = follow.is_none().then(|| Changes::open(start.every_pod()));
    // A pod whose node is not known may be here or elsewhere.
    let is_known = |address: &IpAddr| start.pods.iter().any(|(known, _)| known == address);
    let unplaced = start.request.unplaced.iter().filter(|one| !is_known(one));
    let unplaced: Vec<_> = unplaced.map(|one| (*one, one.to_string())).collect();
    let mut pods = find_pods(&start.pods, &start.node, &mut notes)?;
    pods.extend(find_pods(&unplaced, &start.node, &mut Vec::new())?);
    if pods.is_empty() {
        notes.extend(no_pod_is_known(start));
    }
    // Nobody asked for these pods, so a missing one is no note.
    let mut bystanders = find_pods(&start.bystanders, &start.node, &mut Vec::new())?;
    for bystander in &mut bystanders {
        bystander.followed = false;
    }
    pods.extend(bystanders);
    let unreadable = |source| NodeError::System {
        what: "look into network namespaces",
        source,
    };
    let explainer = start
        .explain
        .then(|| Explainer::new(paths(&pods)))
        .transpose()
        .map_err(unreadable)?;
    let gauge = follow
        .map(|(_, points)| Gauge::new(devices(points), paths(followed(&pods))))
        .transpose()
        .map_err(unreadable)?;
    let load = match follow {
        Some((load, _)) => *load,
        None => load::load(start, &discover(&Request::default())?),
    };
    let own = inode(Path::new("/proc/thread-self/ns/net"))?;
    let namespaces = by_inode(own, &pods);
    let probe = DropProbe::start(load, namespaces, start)?;
    notes.extend(hidden_symbols());
    notes.extend(probe.nameless_reasons().map(str::to_owned));
    let watched = Watched {
        pods: names(&pods),
        namespaces: pods,
        notes,
        changes,
    };
    let watcher = Watcher {
        probe,
        explainer,
        gauge,
        own,
        pods: watched.pods.clone(),
    };
    Ok((watcher, watched))
}

/// A note that drops inside pods are not seen, because no pod is known; `None` otherwise. Pods
/// outside of the follow are watched, too.
fn no_pod_is_known(start: &Start) -> Option<String> {
    (start.pods.is_empty() && start.bystanders.is_empty()).then(|| {
        format!(
            "no pod of {} is known: drops inside pods are not shown (--inventory FILE tells of them)",
            start.node
        )
    })
}

fn followed(pods: &[PodNamespace]) -> impl Iterator<Item = &PodNamespace> {
    pods.iter().filter(|pod| pod.followed)
}

/// Names of the followed pods.
fn names(pods: &[PodNamespace]) -> Vec<Arc<str>> {
    let mut names: Vec<_> = followed(pods).map(|pod| Arc::clone(&pod.name)).collect();
    names.sort();
    names
}

fn paths<'a>(
    pods: impl IntoIterator<Item = &'a PodNamespace>,
) -> impl Iterator<Item = (Arc<str>, PathBuf)> {
    let pods = pods.into_iter();
    pods.map(|pod| (Arc::clone(&pod.name), pod.path.clone()))
}

/// Names of namespaces by inode number, with that of the node's host namespace (`own`).
fn by_inode(own: u32, pods: &[PodNamespace]) -> HashMap<u32, Arc<str>> {
    let pods = pods.iter().map(|pod| (pod.inode, Arc::clone(&pod.name)));
    pods.chain([(own, Arc::from(HOST))]).collect()
}

/// Observed interfaces of the node's host namespace.
pub(super) fn devices(points: &[Point]) -> Vec<(u32, Arc<str>)> {
    let own = points.iter().filter(|point| point.netns == HOST);
    let mut devices: Vec<_> = own
        .map(|point| (point.ifindex, Arc::from(point.interface.as_str())))
        .collect();
    devices.sort();
    devices.dedup();
    devices
}

/// Namespaces of pods on this node, as far as they are found.
pub(super) fn find_pods(
    wanted: &[(IpAddr, String)],
    node: &str,
    notes: &mut Vec<String>,
) -> Result<Vec<PodNamespace>, NodeError> {
    let addresses: Vec<IpAddr> = wanted.iter().map(|(address, _)| *address).collect();
    let (found, mut problems) = discover::pod_namespaces(&addresses)?;
    let mut namespaces: Vec<PodNamespace> = Vec::new();
    let mut seen: HashSet<&str> = HashSet::new();
    for (address, name) in wanted {
        let Some(pod) = found.iter().find(|pod| pod.pod == *address) else {
            continue;
        };
        // A pod that has just ended counts as not found.
        if let Ok(inode) = inode(&pod.path)
            && seen.insert(name)
        {
            namespaces.push(PodNamespace {
                inode,
                name: Arc::from(name.as_str()),
                path: pod.path.clone(),
                followed: true,
            });
        }
    }
    let mut missing: Vec<&str> = wanted.iter().map(|(_, name)| name.as_str()).collect();
    missing.retain(|name| !seen.contains(name));
    missing.dedup();
    if !missing.is_empty() {
        notes.append(&mut problems);
        notes.push(format!(
            "the network namespaces of {} were not found on {node}: drops inside them are not shown",
            missing.join(", ")
        ));
    }
    Ok(namespaces)
}

/// Watches a node for drops, and reads facts that may explain them.
pub(super) struct Watcher {
    probe: DropProbe,
    explainer: Option<Explainer>,
    gauge: Option<Gauge>,
    /// Inode number of the node's host namespace.
    own: u32,
    /// Names of the pods whose namespaces are watched.
    pods: Vec<Arc<str>>,
}

impl Source for Watcher {
    fn arm(&mut self, filter: &Filter) -> Result<(), NodeError> {
        self.probe.arm(filter)
    }

    fn sample(&mut self, sample: u32) -> Result<(), NodeError> {
        self.probe.sample(sample)
    }

    /// This command is for the programs at observation points.
    fn explain(&mut self, _: bool) -> Result<(), NodeError> {
        Ok(())
    }

    fn readiness(&self) -> BorrowedFd<'_> {
        self.probe.readiness()
    }

    fn drain(&mut self, batch: &mut Batch) -> bool {
        let before = batch.freed.len();
        let complete = self.probe.drain(&mut batch.freed);
        if let Some(explainer) = &mut self.explainer {
            for freed in &mut batch.freed[before..] {
                let more = explainer.explain(freed);
                if !more.is_empty() {
                    freed.facts = freed.facts.iter().chain(&*more).cloned().collect();
                }
            }
        }
        complete
    }

    fn report(&mut self) -> Result<Report, NodeError> {
        Ok(Report {
            time: clock::now(),
            sample: self.probe.sampled(),
            drops: Some(self.probe.report()?),
            health: self.gauge.as_mut().map(Gauge::read),
            ..Report::default()
        })
    }

    fn due(&self) -> Option<Due> {
        None
    }

    fn take_in(&mut self, found: Found) -> Result<Change, NodeError> {
        let Found::Namespaces { pods, devices } = found else {
            return Ok(Change::default());
        };
        self.probe.replace(by_inode(self.own, &pods))?;
        if let Some(explainer) = &mut self.explainer {
            explainer.replace(paths(&pods));
        }
        if let Some(gauge) = &mut self.gauge {
            gauge.replace(devices, paths(followed(&pods)));
        }
        let names = names(&pods);
        let before = std::mem::replace(&mut self.pods, names.clone());
        Ok(Change {
            time: clock::now(),
            drops: (names != before).then_some(names),
            ..Change::default()
        })
    }

    fn detach(&mut self) -> Result<(), NodeError> {
        self.probe.detach()
    }
}

/// Inode number of a namespace.
pub(super) fn inode(path: &Path) -> Result<u32, NodeError> {
    let namespace = |source| NodeError::Namespace {
        path: path.to_owned(),
        source,
    };
    let inode = fs::metadata(path).map_err(namespace)?.ino();
    u32::try_from(inode).map_err(|_| namespace(io::Error::other("not a namespace's inode number")))
}

#[cfg(test)]
mod tests {
    use tracer_common::hash::Key;

    use super::{Start, no_pod_is_known};
    use tracer_core::request::{Filter, Watch};

    #[test]
    fn a_node_with_pods_that_are_not_followed_has_known_pods() {
        let pod = || vec![([10, 1, 0, 5].into(), "default/web".to_owned())];
        let start = |pods, bystanders| Start {
            node: "node-a".to_owned(),
            request: Default::default(),
            filter: Filter::default(),
            watch: Watch::Follow,
            pods,
            bystanders,
            vxlan_ports: Vec::new(),
            key: Key([0, 0]),
            ring_size: 0,
            budget: 0,
            explain: false,
            snaplen: 0,
            dns_names: false,
            goes_along: false,
        };
        assert!(no_pod_is_known(&start(Vec::new(), Vec::new())).is_some());
        assert_eq!(no_pod_is_known(&start(Vec::new(), pod())), None);
        assert_eq!(no_pod_is_known(&start(pod(), Vec::new())), None);
    }
}
