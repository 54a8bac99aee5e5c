//! The namespaces of a machine, and its first process: this program itself, which
//! starts what runs there, starts it again when it ends, and reaps what is left over.
//! When it is killed, the kernel kills all others of its process namespace.

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

/// Where control groups are.
const CGROUPS: &str = "/sys/fs/cgroup";
/// The cluster's own group, in each hierarchy.
pub(super) const CGROUP: &str = "tracer-cluster";
/// Groups without a parent of their own are containerd's, by this name.
const CONTAINERD_CGROUP: &str = "k8s.io";

/// How often a machine's first process looks around.
const TICK: Duration = Duration::from_millis(100);
/// What ended is started again after so long.
const AGAIN: Duration = Duration::from_secs(1);
/// What is told to end and does not is killed after so long.
const PATIENCE: Duration = Duration::from_secs(3);

/// Starts a machine, whose network namespace is there.
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

/// What a machine's first process does, until it is killed.
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

/// A program that runs for as long as its machine does.
pub(super) struct Service {
    name: &'static str,
    command: Command,
    state: State,
}

enum State {
    Ended(Option<Instant>),
    Running(Pid),
    /// It was told to end, then.
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
    /// A service whose file `NAME.stop` is there does not run; one that runs has a
    /// file `NAME.pid`.
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
                    // It may have ended a moment ago.
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

/// Its process is reaped with all others, by its id.
fn spawn(command: &mut Command, log: &Path) -> Result<Pid> {
    let log = File::options().append(true).create(true).open(log)?;
    let command = command.stdin(Stdio::null()).stderr(log.try_clone()?);
    // Of a group of its own: a signal to one reaches no other.
    let child = command.stdout(log).process_group(0).spawn();
    let child = child.with_context(|| format!("cannot start {:?}", command.get_program()))?;
    Ok(Pid::from_raw(child.id().cast_signed()))
}

/// A process that has ended, whoever started it.
fn reap() -> Result<Option<Pid>> {
    match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => Ok(None),
        Ok(status) => Ok(status.pid()),
        Err(error) => Err(error.into()),
    }
}

/// The hierarchies of control groups that this machine has.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(CGROUPS)?;
    let paths = entries.map(|entry| Ok(entry?.path()));
    paths.collect()
}

/// Those of version 1. Version 2 has no controllers beside them.
fn first_version() -> Result<Vec<PathBuf>> {
    let mut found = hierarchies()?;
    found.retain(|path| path.join("tasks").exists());
    ensure!(
        !found.is_empty(),
        "the cluster's nodes take control groups of version 1, which this machine has not"
    );
    Ok(found)
}

/// What kubelet wants to be there.
fn make_cgroups(node: &str) -> Result<()> {
    for hierarchy in first_version()? {
        let mut group = hierarchy.clone();
        for part in [CGROUP, node] {
            group.push(part);
            fs::create_dir_all(&group)?;
            // A group without processors takes no process.
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
