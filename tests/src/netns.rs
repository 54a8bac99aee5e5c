//! Network namespaces: one kernel plays all the nodes and pods of a lab, and the network namespace
//! of a thread keeps them apart. A namespace belongs to the *thread*, and a socket keeps the
//! namespace in which it was created. Closures therefore run on separate threads, and a socket may
//! be used anywhere.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::process::CommandExt;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};

use crate::lab::Release;
use crate::machines::Machine;
use crate::process::{self, Finished, Process};

/// The directory of `ip netns`.
pub(crate) const DIRECTORY: &str = "/run/netns";

/// A network namespace that has a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Netns {
    /// The namespace's name, as `ip netns` prints it.
    pub name: String,
    /// The file of the namespace: `/run/netns/NAME`.
    pub path: PathBuf,
    /// The machine of the namespace, if it is not this one. Programs run there, and closures
    /// cannot.
    pub machine: Option<Machine>,
}

impl Netns {
    /// The namespace called `name`, whether or not it exists yet.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        let path = PathBuf::from(DIRECTORY).join(&name);
        Self {
            name,
            path,
            machine: None,
        }
    }

    /// The namespace with the same name in another machine.
    #[must_use]
    pub fn on(self, machine: &Machine) -> Self {
        let machine = Some(machine.clone());
        Self { machine, ..self }
    }

    /// Whether the namespace's kernel is older than a release of Linux, as `(6, 7)`.
    #[must_use]
    pub fn kernel_is_before(&self, release: (u32, u32)) -> bool {
        match &self.machine {
            Some(machine) => machine.release().is_before(release),
            None => Release::own().is_before(release),
        }
    }

    /// Runs `inside` on a new thread in this namespace, and returns its value.
    ///
    /// # Panics
    /// With the panic of `inside`, or if the namespace is gone: to use a namespace after its lab is
    /// a mistake of the caller.
    pub fn enter<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        let namespace = self.open();
        let thread = || {
            setns(&namespace, CloneFlags::CLONE_NEWNET)
                .unwrap_or_else(|error| panic!("cannot enter {}: {error}", self.path.display()));
            inside()
        };
        thread::scope(|scope| scope.spawn(thread).join())
            .unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Binds a socket in this namespace. Waits if the address is in use: a child process of another
    /// test holds this test's sockets until it executes its program.
    ///
    /// # Errors
    /// If the socket cannot be bound, or the address stays in use.
    /// If it cannot be bound, or if the address stays in use.
    pub fn bind<T: Send>(
        &self,
        address: impl Display,
        bind: impl Fn() -> io::Result<T> + Sync,
    ) -> Result<T> {
        let what = format!("{address} in {} is free", self.name);
        let mut bound = None;
        process::until(&what, || match self.enter(&bind) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => Ok(false),
            socket => {
                let cannot = || format!("cannot bind {address} in {}", self.name);
                bound = Some(socket.with_context(cannot)?);
                Ok(true)
            }
        })?;
        bound.context("it was bound")
    }

    /// A command that will run in this namespace. It is killed when the thread that starts it ends.
    ///
    /// # Panics
    /// If the namespace is gone.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let namespace = self.open();
        let mut command = process::command(program);
        let enter = move || Ok(setns(&namespace, CloneFlags::CLONE_NEWNET)?);
        // SAFETY: between fork and exec the closure makes one system call and
        // neither allocates nor takes a lock.
        unsafe { command.pre_exec(enter) };
        command
    }

    /// Runs a command line (split at spaces, no quoting), and returns its standard output.
    ///
    /// # Errors
    /// If the command fails or does not end; the error quotes its standard error.
    pub fn run(&self, line: &str) -> Result<String> {
        self.batch(line, "")
    }

    /// Runs a command line as [`Netns::run`] does, with `input` as its standard input, for `ip
    /// -batch -`.
    ///
    /// # Errors
    /// If the command fails or does not end; the error quotes its standard error.
    pub fn batch(&self, line: &str, input: &str) -> Result<String> {
        self.finish(line, input, process::LIMIT)
            .and_then(|finished| finished.succeeded(line))
            .with_context(|| format!("in the network namespace {}", self.name))
    }

    /// Runs a command line as [`Netns::batch`] does, and returns how it ended.
    ///
    /// # Errors
    /// If the command does not end within `limit`.
    pub fn finish(&self, line: &str, input: &str, limit: Duration) -> Result<Finished> {
        if let Some(machine) = &self.machine {
            return machine.run(&self.name, line, input);
        }
        let mut words = line.split_whitespace();
        let program = words.next().context("the command line is empty")?;
        Process::start(self.command(program).args(words), input)?.finish(limit)
    }

    /// The number of packets that an interface has received, by the interface's counter.
    ///
    /// # Errors
    /// If the interface does not exist.
    pub fn received(&self, interface: &str) -> Result<u64> {
        let text = self.run(&format!("ip -json -statistics link show dev {interface}"))?;
        let links: serde_json::Value = serde_json::from_str(&text)?;
        links[0]["stats64"]["rx"]["packets"]
            .as_u64()
            .context("ip prints no statistics")
    }

    /// Sets kernel parameters of this namespace, each named by its path below
    /// `/proc/sys/net`, as `ipv4/ip_forward`.
    ///
    /// # Errors
    /// If one does not exist or refuses the value.
    pub fn sysctl(&self, settings: &[(&str, &str)]) -> Result<()> {
        if let Some(machine) = &self.machine {
            return settings
                .iter()
                .try_for_each(|setting| machine.set(&self.name, *setting));
        }
        self.enter(|| {
            settings.iter().try_for_each(|(name, value)| {
                fs::write(format!("/proc/sys/net/{name}"), value)
                    .with_context(|| format!("cannot set net/{name} to {value} in {}", self.name))
            })
        })
    }

    /// Keeps bridged packets of this namespace out of netfilter. Kubernetes enables netfilter for
    /// them.
    ///
    /// # Errors
    /// If a kernel with this setting does not accept it.
    pub fn bridge_without_netfilter(&self) -> Result<()> {
        let setting = "/proc/sys/net/bridge/bridge-nf-call-iptables";
        if !self.enter(|| fs::exists(setting))? {
            return Ok(());
        }
        self.sysctl(&[
            ("bridge/bridge-nf-call-iptables", "0"),
            ("bridge/bridge-nf-call-ip6tables", "0"),
            ("bridge/bridge-nf-call-arptables", "0"),
        ])
    }

    fn open(&self) -> File {
        assert!(
            self.machine.is_none(),
            "{} is in another machine: nothing of this one can enter it",
            self.name
        );
        File::open(&self.path).unwrap_or_else(|error| {
            let path = self.path.display();
            panic!("cannot open the network namespace {path}: {error}")
        })
    }
}
