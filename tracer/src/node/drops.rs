//! Watching a node for drops.
//!
//! The kernel frees packets of all its namespaces through one function. An
//! agent takes those of its node's own namespace and of its pods', known by
//! their inode numbers, so that agents of several nodes on one kernel do not
//! claim each other's.

use std::{
    collections::{HashMap, HashSet},
    fs,
    hash::{BuildHasher as _, RandomState},
    io,
    net::IpAddr,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::eventfd::{EfdFlags, EventFd},
};
use tokio::sync::mpsc as batches;
use tracer_common::config::Load;
use tracing::warn;

use super::{
    NodeError,
    agent::{boot_id, realtime_offset, vxlan_ports},
    discover::{self, Request, discover},
    drop_probe::DropProbe,
    facts::Explainer,
    require, worker,
};
use crate::link::{DropBatch, DropHello, DropLink, DropStart, Freed};

/// What a node's own namespace is called.
const HOST: &str = "host";

/// After the first event, how long (ms) to let others gather.
const GATHER_MS: u8 = 5;

/// How often (ms) a batch is sent without an event: losses are told, too.
const IDLE_MS: u16 = 1000;

/// Starts to watch a node.
///
/// # Errors
/// [`NodeError`]; nothing stays attached then.
pub fn start(start: &DropStart) -> Result<DropLink, NodeError> {
    // Pods' namespaces are looked into wherever the node is.
    require::check(true)?;
    let system = |what| move |source| NodeError::System { what, source };
    let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
        .map(Arc::new)
        .map_err(|errno| system("make an event descriptor")(errno.into()))?;
    let (sender, batches) = batches::unbounded_channel();
    let (ready, prepared) = mpsc::channel();
    let (stopped, start) = (Arc::clone(&stop), start.clone());
    let run = move || match prepare(&start) {
        Ok((probe, explainer, hello)) => {
            // Nobody waits for the result of a start given up.
            let _: Result<(), _> = ready.send(Ok(hello));
            if let Err(error) = watch(probe, explainer, &sender, &stopped) {
                warn!("the drops of {} are no longer watched: {error}", start.node);
            }
        }
        Err(error) => {
            let _: Result<(), _> = ready.send(Err(error));
        }
    };
    let thread = thread::Builder::new()
        .name("drops".to_owned())
        .spawn(run)
        .map_err(system("start a thread"))?;
    let guard = Guard {
        stop,
        thread: Some(thread),
    };
    let hello = prepared
        .recv()
        .map_err(|_| system("watch for drops")(io::Error::other("its thread ended")))??;
    Ok(DropLink {
        hello,
        batches,
        guard: Box::new(guard),
    })
}

/// Ends the thread when dropped, and waits for its end.
struct Guard {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _: Result<usize, _> = self.stop.write(1);
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            warn!("a thread that watched for drops panicked");
        }
    }
}

/// Finds the node's namespaces and attaches. Leaves the thread in the node's.
fn prepare(start: &DropStart) -> Result<(DropProbe, Option<Explainer>, DropHello), NodeError> {
    start.netns.as_deref().map_or(Ok(()), worker::enter)?;
    let plan = discover(&Request::default())?;
    let mut notes = Vec::new();
    let own = inode(Path::new("/proc/thread-self/ns/net"))?;
    let mut namespaces = HashMap::from([(own, Arc::from(HOST))]);

    let addresses: Vec<IpAddr> = start.pods.iter().map(|(address, _)| *address).collect();
    let (found, mut problems) = if addresses.is_empty() {
        notes.push(format!(
            "no pod of {} is known: drops inside pods are not shown (--inventory FILE tells of them)",
            start.node
        ));
        (Vec::new(), Vec::new())
    } else {
        discover::pod_namespaces(&addresses)?
    };
    let mut seen: HashSet<&str> = HashSet::new();
    let mut paths: Vec<(Arc<str>, PathBuf)> = Vec::new();
    for (address, name) in &start.pods {
        let Some(pod) = found.iter().find(|pod| pod.pod == *address) else {
            continue;
        };
        // A pod that has just ended is as good as one not found.
        if let Ok(inode) = inode(&pod.path) {
            let known: Arc<str> = Arc::from(name.as_str());
            namespaces.insert(inode, Arc::clone(&known));
            paths.push((known, pod.path.clone()));
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

    let load = Load {
        key: start.key,
        // Per node, so that no address is the same on two of them.
        salt: RandomState::new().hash_one(&start.node),
        vxlan_ports: vxlan_ports(&start.vxlan_ports, &plan),
    };
    let mut pods: Vec<Arc<str>> = namespaces.values().cloned().collect();
    pods.retain(|name| **name != *HOST);
    pods.sort();
    let probe = DropProbe::start(load, namespaces, start.ring_size, start.budget)?;
    if !probe.has_symbols() {
        notes.push(
            "the kernel does not show where its functions are: places are raw addresses and \
             reasons are judged without them (that takes CAP_SYSLOG, and kernel.kptr_restrict \
             below 2)"
                .to_owned(),
        );
    }
    let explainer = start
        .explain
        .then(|| Explainer::new(paths))
        .transpose()
        .map_err(|source| NodeError::System {
            what: "look into network namespaces",
            source,
        })?;
    let hello = DropHello {
        node: start.node.clone(),
        boot_id: boot_id(),
        realtime_offset: realtime_offset(),
        pods,
        notes,
    };
    Ok((probe, explainer, hello))
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

/// Sends what the probe sees until told to stop, then detaches.
fn watch(
    mut probe: DropProbe,
    mut explainer: Option<Explainer>,
    batches: &batches::UnboundedSender<DropBatch>,
    stop: &EventFd,
) -> Result<(), NodeError> {
    let wait =
        |descriptors: &mut [PollFd<'_>], ms: u16| match poll(descriptors, PollTimeout::from(ms)) {
            Ok(_) | Err(nix::Error::EINTR) => Ok(descriptors[0].any() == Some(true)),
            Err(errno) => Err(NodeError::System {
                what: "wait for events",
                source: errno.into(),
            }),
        };
    loop {
        let on_stop = || PollFd::new(stop.as_fd(), PollFlags::POLLIN);
        let on_events = PollFd::new(probe.readiness(), PollFlags::POLLIN);
        let ends = wait(&mut [on_stop(), on_events], IDLE_MS)?
            || wait(&mut [on_stop()], GATHER_MS.into())?;
        if ends {
            let report = probe.finish()?;
            let mut freed = Vec::new();
            while !probe.drain(&mut freed) {}
            explain(&mut freed, explainer.as_mut());
            let _: Result<(), _> = batches.send(DropBatch { freed, report });
            return Ok(());
        }
        loop {
            let mut freed = Vec::new();
            let complete = probe.drain(&mut freed);
            explain(&mut freed, explainer.as_mut());
            let report = probe.report()?;
            if batches.send(DropBatch { freed, report }).is_err() || complete {
                break;
            }
        }
    }
}

fn explain(freed: &mut [Freed], explainer: Option<&mut Explainer>) {
    if let Some(explainer) = explainer {
        for freed in freed {
            freed.facts = explainer.explain(freed);
        }
    }
}
