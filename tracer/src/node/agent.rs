//! Starting an agent in this process.

use std::{
    convert::Infallible,
    ffi::OsStr,
    fs, io,
    sync::mpsc as std_mpsc,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nix::sys::utsname::uname;
use tokio::sync::mpsc;
use tracer_common::config::{Load, TunnelPorts};
use tracer_core::input::Batch;
use tracer_core::model::{Hello, Kernel, Network, Point};

use super::{
    NodeError, clock,
    discover::{Changes, discover},
    drops, hook,
    kernel::hidden_symbols,
    load::load,
    points::{attach, host_point, pod_point},
    probe::Probe,
    require,
    scout::{PodWorker, Scout, Workers, look_again},
    task::Task,
    worker::{self, Batches, Turn, Worker},
};
use crate::interfaces::{Plan, PodNamespace};
use tracer_core::request::{Command, Commander, Watch};

/// Batches that may be on their way to the collector.
const IN_FLIGHT: usize = 16;

/// An agent that has started.
pub struct Agent {
    /// Its first message.
    pub hello: Hello,
    /// To tell it what to do. Dropping it ends the agent.
    pub commands: Box<dyn Commander>,
    /// Its batches, or why it can send no more. The channel closes once every
    /// program is detached. It is short: a collector that does not keep up
    /// leaves events in the ring buffers, where it is counted what is lost.
    pub batches: mpsc::Receiver<Result<Batch, NodeError>>,
}

/// Attaches to what the agent is to look at.
///
/// # Errors
/// [`NodeError`]; nothing stays attached then.
pub fn start(start: &Task) -> Result<Agent, NodeError> {
    let all_drops = start.watch == Watch::Drops;
    // For drops, pods' namespaces are looked into wherever the node is.
    let enters = start.netns.is_some() || start.request.pod_interfaces;
    require::check(all_drops || enters)?;
    let (sender, batches) = mpsc::channel(worker::RESERVED + IN_FLIGHT);
    let mut agent = Local::default();
    let mut hello = Hello {
        node: start.node.clone(),
        boot_id: boot_id(),
        kernel: kernel(),
        realtime_offset: realtime_offset(),
        clock_bound: 0,
        streams: 0,
        points: Vec::new(),
        next_hops: Vec::new(),
        local: Vec::new(),
        drops: None,
        drops_later: Vec::new(),
        network: Network::default(),
        snaplen: start.snaplen,
        notes: Vec::new(),
    };
    let (observing, observed) = std_mpsc::channel();
    // From here on, giving up ends the workers that have started.
    let (mut workers, load, mut changes) = match start.watch {
        Watch::Follow => {
            let Followed {
                load,
                changes,
                workers,
            } = follow(start, &mut agent, &mut hello, &sender, &observing)?;
            (workers, Some(load), Some(changes))
        }
        Watch::Drops => (Workers::default(), None, None),
    };
    let task = start.clone();
    let observed_there = load.map(|load| (load, hello.points.clone()));
    let netns = start.netns.clone();
    let turn = if load.is_some() {
        drop(observing);
        Turn::Last(observed)
    } else {
        Turn::First(observing)
    };
    let stream = agent.workers.len();
    let watched = Worker::start(stream, turn, netns, sender, move || {
        let (watcher, watched) = drops::prepare(&task, observed_there.as_ref())?;
        Ok((Box::new(watcher) as _, watched))
    });
    match watched {
        Ok((worker, mut watched)) => {
            workers.drops = Some((worker.hand(), watched.namespaces));
            changes = changes.or(watched.changes);
            agent.workers.push(worker);
            hello.drops = Some(watched.pods);
            hello.notes.append(&mut watched.notes);
        }
        Err(error) if all_drops => return Err(error),
        Err(error) => hello.notes.push(format!("drops are not watched: {error}")),
    }
    hello.streams = agent.workers.len();
    if let Some(changes) = changes {
        let TunnelPorts { vxlan, geneve } = load.unwrap_or_default().ports;
        let ports = [vxlan, geneve].concat();
        agent.scout = look_again(start, changes, &mut hello, &ports, workers);
    }
    give_back();
    Ok(Agent {
        hello,
        commands: Box::new(agent),
        batches,
    })
}

/// Gives back to the kernel what a start took and does not need any more: objects and
/// tables that were read once. glibc keeps it for each thread that has ended with it.
fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no preconditions; it moves nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// What a follow has begun with.
struct Followed {
    /// What its programs were loaded with.
    load: Load,
    changes: io::Result<Changes>,
    /// Those that have begun.
    workers: Workers,
}

/// Finds the points of a follow and attaches to them.
fn follow(
    start: &Task,
    agent: &mut Local,
    hello: &mut Hello,
    sender: &Batches,
    observing: &std_mpsc::Sender<Infallible>,
) -> Result<Followed, NodeError> {
    let turn = || Turn::First(observing.clone());
    let host = start.clone();
    let netns = start.netns.clone();
    let (worker, prepared) = Worker::start(0, turn(), netns, sender.clone(), move || {
        let (probe, prepared) = prepare_host(&host)?;
        Ok((Box::new(probe) as _, prepared))
    })?;
    let mut workers = Workers {
        host: Some(worker.hand()),
        ..Workers::default()
    };
    agent.workers.push(worker);
    let Prepared {
        mut plan,
        points,
        load,
        changes,
    } = prepared;
    // A pod of two address families has one interface.
    let pod_interface = |pod: &PodNamespace| (pod.path.clone(), pod.ifindex);
    plan.pod_namespaces.sort_by_key(pod_interface);
    plan.pod_namespaces.dedup_by_key(|pod| pod_interface(pod));
    hello.points = points;
    hello.next_hops = plan.next_hops;
    hello.local = plan.local;
    hello.network = plan.network;
    hello.notes = plan.notes;
    for (stream, pod) in (1..).zip(plan.pod_namespaces) {
        let first = hello.points.len();
        let point = pod_point(start, &pod);
        let task = start.clone();
        let path = Some(pod.path.clone());
        let place = drops::inode(&pod.path).ok();
        let name = point.netns.clone();
        let (worker, points) = Worker::start(stream, turn(), path, sender.clone(), move || {
            let mut probe = Probe::load(load, &task)?;
            let attached = attach(&mut probe, first, &point, true)?;
            Ok((Box::new(probe) as _, attached.points))
        })?;
        workers.pods.push(PodWorker {
            hand: worker.hand(),
            name,
            place: place.map(|inode| (pod.path, inode)),
        });
        agent.workers.push(worker);
        hello.points.extend(points);
    }
    Ok(Followed {
        load,
        changes,
        workers,
    })
}

/// Finds the points of a node without attaching to them.
///
/// # Errors
/// [`NodeError`].
pub fn look(start: &Task) -> Result<Plan, NodeError> {
    require::check_to_look(start.netns.is_some())?;
    let start = start.clone();
    let look = move || {
        start.netns.as_deref().map_or(Ok(()), worker::enter)?;
        let mut plan = discover(&start.request)?;
        plan.notes.extend(hook::notes(&plan.interfaces));
        if let Some(wanted) = &start.request.xdp {
            plan.notes.extend(hook::unknown(wanted, &plan.interfaces));
            hook::foresee(wanted, &mut plan);
        }
        hook::leave_out_ours(&mut plan);
        plan.notes.extend(hidden_symbols());
        Ok(plan)
    };
    // A thread of its own, as it changes its namespace.
    thread::spawn(look).join().unwrap_or_else(|_| {
        Err(NodeError::System {
            what: "look for interfaces",
            source: io::Error::other("the thread that looked has panicked"),
        })
    })
}

/// What a host namespace's worker has found and done.
struct Prepared {
    plan: Plan,
    points: Vec<Point>,
    load: Load,
    changes: io::Result<Changes>,
}

fn prepare_host(start: &Task) -> Result<(Probe, Prepared), NodeError> {
    // Before the first look, so that nothing changes unheard after it.
    let changes = Changes::open(start.every_pod());
    let mut plan = discover(&start.request)?;
    let load = load(start, &plan);
    let mut probe = Probe::load(load, start)?;
    plan.notes.extend(probe.hooks().note().map(str::to_owned));
    let mut points = Vec::new();
    for interface in &plan.interfaces {
        let point = host_point(interface);
        let attached = attach(&mut probe, points.len(), &point, interface.l2)?;
        points.extend(attached.points);
        plan.notes.extend(attached.notes);
    }
    if let Some(wanted) = &start.request.xdp {
        plan.notes.extend(hook::unknown(wanted, &plan.interfaces));
        if !Point::tell_of_xdp(&points, &plan.notes) {
            plan.notes.push(hook::nowhere(&plan.interfaces));
        }
    }
    if points.is_empty() {
        return Err(NodeError::NothingToObserve {
            node: start.node.clone(),
        });
    }
    let prepared = Prepared {
        plan,
        points,
        load,
        changes,
    };
    Ok((probe, prepared))
}

/// Identity of the kernel's boot.
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn kernel() -> Option<Kernel> {
    let names = uname().ok()?;
    let text = |name: &OsStr| name.to_string_lossy().into_owned();
    Some(Kernel {
        release: text(names.release()),
        architecture: text(names.machine()),
    })
}

fn realtime_offset() -> i64 {
    let real = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_nanos();
    i64::try_from(real).unwrap_or(i64::MAX) - i64::try_from(clock::now()).unwrap_or(0)
}

/// The threads of an agent in this process.
#[derive(Default)]
struct Local {
    workers: Vec<Worker>,
    scout: Option<Scout>,
}

impl Commander for Local {
    fn send(&self, command: Command) {
        match (&command, &self.scout) {
            (Command::Stop, Some(scout)) => scout.stop(),
            (Command::Look(look), Some(scout)) => scout.ask(look.clone()),
            _ => {}
        }
        for worker in &self.workers {
            worker.send(command.clone());
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // All are told before any is waited for.
        self.send(Command::Stop);
        if let Some(scout) = self.scout.take() {
            scout.join();
        }
        for worker in self.workers.drain(..) {
            worker.join();
        }
    }
}
