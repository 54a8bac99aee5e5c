//! Machines with kernels of their own, each of which plays one node of a lab:
//! `cargo xtask machines` starts them, joined by a wire, and tells tests where they are.
//!
//! Tests run outside. What a test runs on a node or in a pod goes over a serial line to the
//! program `lab serve` in that machine ([`serve`]); agents are reached over another one. So a
//! [`Netns`](crate::Netns) of such a machine takes command lines, but no closures.

pub mod control;
pub mod relay;
pub mod serve;

use std::env;
use std::hash::{Hash, Hasher};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fmt, mem};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::lab::{Lab, LabSpec, Release, Wiring};
use crate::process::Finished;
use crate::program;

/// The environment variable that names the directory with the machines' sockets.
pub const MACHINES_VARIABLE: &str = "TRACER_MACHINES";
/// The environment variable that says how the nodes are wired: `Flannel` or `Calico`.
pub const WIRING_VARIABLE: &str = "TRACER_MACHINES_WIRING";

/// What the machines are called, in the order of their nodes.
pub const NAMES: [&str; 2] = ["near", "far"];
/// The name of the serial line that [`serve`] listens to.
pub const CONTROL: &str = "tracer-control";
/// The name of the serial line that leads to an agent.
pub const AGENT: &str = "tracer-agent";
/// What [`serve`] says once it listens.
pub const READY: &str = "tracer-machine: ready";
/// The object of QEMU that lets nothing out of a machine while its `status` is `on`.
pub const HOLE: &str = "hole";

/// More than a machine needs for anything that it is asked.
const LIMIT: Duration = Duration::from_secs(300);

/// A machine.
#[derive(Clone)]
pub struct Machine(Arc<Inner>);

struct Inner {
    name: &'static str,
    directory: PathBuf,
    release: Release,
    line: Mutex<Line>,
}

/// Where a socket of a machine is.
#[must_use]
pub fn socket(directory: &Path, name: &str, what: &str) -> PathBuf {
    directory.join(format!("{name}.{what}"))
}

impl Machine {
    fn reach(directory: &Path, name: &'static str) -> Result<Self> {
        let mut line = Line::open(&socket(directory, name, CONTROL))?;
        let told = line.ask(&["kernel"])?;
        let release = told["release"].as_str().context("it has no kernel")?;
        Ok(Self(Arc::new(Inner {
            name,
            directory: directory.to_owned(),
            release: Release(release.to_owned()),
            line: Mutex::new(line),
        })))
    }

    /// Its kernel.
    #[must_use]
    pub fn release(&self) -> &Release {
        &self.0.release
    }

    /// Asks the program in it for something; see [`serve`].
    ///
    /// # Errors
    /// If that fails there, or no answer comes.
    pub fn ask(&self, words: &[&str]) -> Result<Value> {
        let mut line = self.0.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.ask(words)
            .with_context(|| format!("on the {} machine: {}", self.0.name, words.join(" ")))
    }

    pub(crate) fn run(&self, netns: &str, line: &str, input: &str) -> Result<Finished> {
        serve::finished(&self.ask(&["run", netns, line, input])?)
    }

    pub(crate) fn set(&self, netns: &str, (name, value): (&str, &str)) -> Result<()> {
        self.ask(&["sysctl", netns, name, value]).map(drop)
    }

    /// A shell's command that leads to an agent in it.
    ///
    /// # Errors
    /// If the program that joins the streams has not been built.
    pub fn agent_command(&self) -> Result<String> {
        let lab = program::binary()?.with_file_name("lab");
        ensure!(lab.is_file(), "there is no {}", lab.display());
        let socket = socket(&self.0.directory, self.0.name, AGENT);
        Ok(format!(
            "exec '{}' relay '{}'",
            lab.display(),
            socket.display()
        ))
    }

    /// Lets nothing out of it, or lets all out again. Neither kernel can notice but by what
    /// does not come.
    ///
    /// # Errors
    /// If QEMU refuses.
    pub fn swallow(&self, yes: bool) -> Result<()> {
        let status = if yes { "on" } else { "off" };
        let path = format!("/objects/{HOLE}");
        let set = json!({ "path": path, "property": "status", "value": status });
        self.emulator("qom-set", &set)
    }

    /// Stops all its processors.
    ///
    /// # Errors
    /// If QEMU refuses.
    pub fn pause(&self) -> Result<()> {
        self.emulator("stop", &json!({}))
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// If QEMU refuses.
    pub fn resume(&self) -> Result<()> {
        self.emulator("cont", &json!({}))
    }

    fn emulator(&self, command: &str, arguments: &Value) -> Result<()> {
        control::run(
            &socket(&self.0.directory, self.0.name, control::NAME),
            command,
            arguments,
        )
        .with_context(|| format!("cannot {command} the {} machine", self.0.name))
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} machine", self.0.name)
    }
}

impl PartialEq for Machine {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Machine {}

impl Hash for Machine {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

/// The machines that are up.
#[derive(Debug)]
pub struct Machines(Vec<Machine>);

impl Machines {
    /// Those that the environment names.
    ///
    /// # Errors
    /// If it names none, or they do not answer.
    pub fn up() -> Result<Self> {
        let directory = env::var_os(MACHINES_VARIABLE).with_context(|| {
            format!("{MACHINES_VARIABLE} names no machines: `cargo xtask machines` starts some")
        })?;
        let directory = PathBuf::from(directory);
        let machines = NAMES.map(|name| {
            Machine::reach(&directory, name)
                .with_context(|| format!("cannot reach the {name} machine"))
        });
        let machines: Result<_> = machines.into_iter().collect();
        Ok(Self(machines?))
    }

    /// The machine of the first node.
    #[must_use]
    pub fn near(&self) -> &Machine {
        &self.0[0]
    }

    /// The machine of the second node.
    #[must_use]
    pub fn far(&self) -> &Machine {
        &self.0[1]
    }

    /// The lab whose nodes they are, with two pods on each, wired as the environment says.
    /// It is made when somebody first asks for it.
    ///
    /// # Errors
    /// If it cannot be made, or another one has been.
    pub fn lab(&self) -> Result<Lab> {
        let wiring = env::var(WIRING_VARIABLE);
        let spec = LabSpec {
            pods_per_node: 2,
            wiring: Wiring::named(wiring.as_deref().unwrap_or("Flannel"))?,
            ..LabSpec::default()
        };
        Lab::on_machines(&spec, &self.0)
    }
}

/// A serial line, from outside.
struct Line {
    stream: BufReader<UnixStream>,
    number: u64,
}

impl Line {
    fn open(path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path)
            .with_context(|| format!("cannot connect to {}", path.display()))?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(Self {
            stream: BufReader::new(stream),
            number: u64::from(std::process::id()) << 32,
        })
    }

    /// Asks, and waits for the answer. Whoever asked before and left may have one coming.
    fn ask(&mut self, words: &[&str]) -> Result<Value> {
        self.number += 1;
        let mut question = json!({ "number": self.number, "words": words }).to_string();
        question.push('\n');
        self.stream.get_mut().write_all(question.as_bytes())?;
        loop {
            let mut answer = String::new();
            let count = self.stream.read_line(&mut answer).context("no answer")?;
            ensure!(count > 0, "the machine has gone off");
            let Ok(mut answer) = serde_json::from_str::<Value>(&answer) else {
                continue;
            };
            if answer["number"] != self.number {
                continue;
            }
            if let Some(error) = answer["error"].as_str() {
                bail!("{error}");
            }
            return Ok(mem::take(&mut answer["told"]));
        }
    }
}
