//! The namespaces of a machine, and its first process. The first process is this program. It starts
//! the machine's services, starts them again when they end, and reaps orphaned processes. When it
//! is killed, the kernel kills all others in its process namespace.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, sethostname},
};

use super::{
    Wiring, control, node,
    place::{CONTROL, NODES, Place, namespace},
    wait, word,
};

/// The mount point of control groups.
const CGROUPS: &str = "/sys/fs/cgroup";
/// The cluster's own group, in each hierarchy.
pub(super) const CGROUP: &str = "tracer-cluster";
/// The group in which containerd puts groups without a parent.
const CONTAINERD_CGROUP: &str = "k8s.io";

/// The interval at which a machine's first process checks its services.
const TICK: Duration = Duration::from_millis(100);
/// The pause before an ended service starts again.
const AGAIN: Duration = Duration::from_secs(1);
/// The time after which a service that does not end is killed.
const PATIENCE: Duration = Duration::from_secs(3);

/// Starts a machine whose network namespace exists.
pub(super) fn start(place: &Place, name: &str, wiring: Wiring) -> Result<()> {
    let directory = place.machine(name);
    fs::create_dir_all(&directory)?;
    fs::create_dir_all(place.logs())?;
    if NODES.contains(&name) {
        make_cgroups(name)?;
    }
    let log = File::create(place.logs().join(name).with_extension("log"))?;
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{}", namespace(name)));
    command.args(["setsid", "unshare", "--mount", "--uts", "--ipc", "--pid"]);
    command.args(["--fork", "--kill-child", "--mount-proc"]);
    command.arg(std::env::current_exe()?);
    command.args(["cluster", "init", name]);
    command.args(["--backend", &word(&wiring.backend)]);
    command.args(["--proxy", &word(&wiring.proxy)]);
    command.stdin(Stdio::null()).stderr(log.try_clone()?);
    let outer = command.stdout(log).spawn()?.id();
    let children = format!("/proc/{outer}/task/{outer}/children");
    wait(&format!("{name} runs"), || {
        let children = fs::read_to_string(&children)?;
        let Some(first) = children.split_whitespace().next() else {
            return Ok(false);
        };
        fs::write(directory.join("init"), first)?;
        Ok(true)
    })
}

/// Runs as a machine's first process, until it is killed.
pub(super) fn init(place: &Place, name: &str, wiring: Wiring) -> Result<()> {
    ensure!(
        std::process::id() == 1,
        "this is for the first process of a machine"
    );
    sethostname(name)?;
    let mut machine = Machine {
        directory: place.machine(name),
        logs: place.logs(),
        name: name.to_owned(),
        services: Vec::new(),
    };
    if name == CONTROL {
        machine.services = control::services(place)?;
        machine.supervise(|| Ok(()))
    } else {
        node::mount(place, name)?;
        machine.services = node::runtime(place, name)?;
        machine.look_after(Instant::now())?;
        node::import_images(place)?;
        machine
            .services
            .extend(node::services(place, name, wiring)?);
        machine.supervise(node::configure_pods)
    }
}

/// A program that runs as long as its machine does.
pub(super) struct Service {
    name: &'static str,
    command: Command,
    state: State,
}

enum State {
    Ended(Option<Instant>),
    Running(Pid),
    /// The process was told to end at this time.
    Ending(Pid, Instant),
}

impl Service {
    pub(super) fn new(name: &'static str, command: Command) -> Self {
        Self {
            name,
            command,
            state: State::Ended(None),
        }
    }
}

struct Machine {
    directory: PathBuf,
    logs: PathBuf,
    name: String,
    services: Vec<Service>,
}

impl Machine {
    /// Keeps services running. A service does not run while its file `NAME.stop` exists. A running
    /// service has a file `NAME.pid`.
    fn supervise(&mut self, mut each_time: impl FnMut() -> Result<()>) -> Result<()> {
        loop {
            while let Some(ended) = reap()? {
                self.ended(ended)?;
            }
            self.look_after(Instant::now())?;
            each_time()?;
            thread::sleep(TICK);
        }
    }

    fn ended(&mut self, process: Pid) -> Result<()> {
        for service in &mut self.services {
            if let State::Running(id) | State::Ending(id, _) = service.state
                && id == process
            {
                println!("{} ended", service.name);
                service.state = State::Ended(Some(Instant::now()));
                fs::remove_file(self.directory.join(service.name).with_extension("pid"))?;
            }
        }
        Ok(())
    }

    fn look_after(&mut self, now: Instant) -> Result<()> {
        for service in &mut self.services {
            let file = self.directory.join(service.name);
            let stop = file.with_extension("stop").exists();
            match service.state {
                State::Ended(since) if !stop && since.is_none_or(|since| now > since + AGAIN) => {
                    let log = format!("{}-{}.log", self.name, service.name);
                    let id = spawn(&mut service.command, &self.logs.join(log))?;
                    fs::write(file.with_extension("pid"), id.to_string())?;
                    service.state = State::Running(id);
                }
                State::Running(id) if stop => {
                    // The process may have ended a moment ago.
                    let _ = kill(id, Signal::SIGTERM);
                    service.state = State::Ending(id, now);
                }
                State::Ending(id, since) if now > since + PATIENCE => {
                    let _ = kill(id, Signal::SIGKILL);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Starts a process, which [`reap`] waits for by its id.
fn spawn(command: &mut Command, log: &Path) -> Result<Pid> {
    let log = File::options().append(true).create(true).open(log)?;
    let command = command.stdin(Stdio::null()).stderr(log.try_clone()?);
    // The process gets its own group, so that a signal to it reaches no other service.
    let child = command.stdout(log).process_group(0).spawn();
    let child = child.with_context(|| format!("cannot start {:?}", command.get_program()))?;
    Ok(Pid::from_raw(child.id().cast_signed()))
}

/// A process that has ended, whoever has started it.
fn reap() -> Result<Option<Pid>> {
    match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => Ok(None),
        Ok(status) => Ok(status.pid()),
        Err(error) => Err(error.into()),
    }
}

/// The hierarchies of control groups on this machine.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(CGROUPS)?;
    let paths = entries.map(|entry| Ok(entry?.path()));
    paths.collect()
}

/// The hierarchies of version 1. Version 2 has none of these directories.
fn first_version() -> Result<Vec<PathBuf>> {
    let mut found = hierarchies()?;
    found.retain(|path| path.join("tasks").exists());
    ensure!(
        !found.is_empty(),
        "the cluster's nodes take control groups of version 1, which this machine has not"
    );
    Ok(found)
}

/// Makes the groups that kubelet expects.
fn make_cgroups(node: &str) -> Result<()> {
    for hierarchy in first_version()? {
        let mut group = hierarchy.clone();
        for part in [CGROUP, node] {
            group.push(part);
            fs::create_dir_all(&group)?;
            // A group without processors accepts no process.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if hierarchy.ends_with("cpuset") {
                    fs::write(group.join(file), fs::read(hierarchy.join(file))?)?;
                }
            }
        }
    }
    Ok(())
}

/// Removes the cluster's groups. The kernel empties them a moment after their
/// processes have ended.
pub(super) fn remove_cgroups() -> Result<()> {
    for hierarchy in hierarchies()? {
        for name in [CGROUP, CONTAINERD_CGROUP] {
            let group = hierarchy.join(name);
            let what = format!("{} is empty", group.display());
            if group.exists() {
                wait(&what, || {
                    remove_group(&group)?;
                    Ok(true)
                })?;
            }
        }
    }
    Ok(())
}

fn remove_group(group: &Path) -> Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_group(&entry.path())?;
        }
    }
    fs::remove_dir(group).with_context(|| format!("cannot remove {}", group.display()))
}
