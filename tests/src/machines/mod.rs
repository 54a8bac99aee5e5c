//! Machines with their own kernels, each of which plays one node of a lab. `cargo xtask machines`
//! starts the machines, joined by a wire, and tells tests where they are.
//!
//! Tests run outside of the machines. A serial line leads to the program `lab serve` in each
//! machine ([`serve`]), which runs a test's programs on the node and in its pods. Another serial
//! line reaches agents. A [`Netns`](crate::Netns) of such a machine therefore takes command lines,
//! but no closures.

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

/// The machines' names, in the order of their nodes.
pub const NAMES: [&str; 2] = ["near", "far"];
/// The name of the serial line that [`serve`] listens to.
pub const CONTROL: &str = "tracer-control";
/// The name of the serial line that leads to an agent.
pub const AGENT: &str = "tracer-agent";
/// The line of [`serve`] once it listens.
pub const READY: &str = "tracer-machine: ready";
/// The object of QEMU that discards a machine's outgoing packets while its `status` is `on`.
pub const HOLE: &str = "hole";

/// The time limit for anything that a test asks of a machine.
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

/// The path of a machine's socket.
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

    /// The machine's kernel.
    #[must_use]
    pub fn release(&self) -> &Release {
        &self.0.release
    }

    /// Sends a request to the machine's program; see [`serve`].
    ///
    /// # Errors
    /// If the request fails there, or no answer comes.
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

    /// A shell command that leads to an agent in the machine.
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

    /// Discards all packets that leave the machine, or stops doing so. The kernels can only notice
    /// that packets are missing.
    ///
    /// # Errors
    /// If QEMU refuses.
    pub fn swallow(&self, yes: bool) -> Result<()> {
        let status = if yes { "on" } else { "off" };
        let path = format!("/objects/{HOLE}");
        let set = json!({ "path": path, "property": "status", "value": status });
        self.emulator("qom-set", &set)
    }

    /// Stops all processors of the machine.
    ///
    /// # Errors
    /// If QEMU refuses.
    pub fn pause(&self) -> Result<()> {
        self.emulator("stop", &json!({}))
    }

    /// Lets the processors continue.
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

/// The running machines.
#[derive(Debug)]
pub struct Machines(Vec<Machine>);

impl Machines {
    /// The machines that the environment names.
    ///
    /// # Errors
    /// If the environment names none, or they do not answer.
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

    /// The lab whose nodes are the machines, with two pods on each, wired as the environment says.
    /// The first call makes the lab.
    ///
    /// # Errors
    /// If the lab cannot be made, or another one exists already.
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

/// The outer end of a serial line.
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

    /// Sends a request, and waits for its answer. An answer to an earlier request may come first.
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
