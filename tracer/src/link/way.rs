//! The connection to an agent: streams, and a process or pod that ends with them.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tracer_core::request::Start;

use super::{
    RemoteError, lock,
    pods::{self, Input, Output, Pods, Session},
    script,
};

/// How long a command may take to end after its agent.
const ENDING: Duration = Duration::from_secs(2);

/// Options of ssh. ssh notices a dead network after ten seconds, as an agent does. It asks for
/// no password, because the terminal belongs to the follow.
const SSH_OPTIONS: &[&str] = &[
    "-T",
    "-o",
    "BatchMode=yes",
    "-o",
    "ConnectTimeout=10",
    "-o",
    "ServerAliveInterval=5",
    "-o",
    "ServerAliveCountMax=2",
];

/// The streams of an agent.
pub(super) struct Way {
    /// The command that a user would type to connect.
    pub(super) name: String,
    /// Whether a shell answers first, whose script receives the program (`upload`).
    pub(super) uploads: bool,
    pub(super) input: Box<dyn Write + Send>,
    pub(super) output: Box<dyn Read + Send>,
    pub(super) errors: Box<dyn Read + Send>,
    pub(super) end: End,
}

impl Way {
    /// Runs a shell command.
    ///
    /// # Errors
    /// [`RemoteError::Run`].
    pub(super) fn command(command: &str) -> Result<Self, RemoteError> {
        let mut shell = Command::new("sh");
        Self::run(shell.args(["-c", command]), command.to_owned(), false)
    }

    /// Logs in to a machine over ssh.
    ///
    /// # Errors
    /// [`RemoteError::Run`].
    pub(super) fn ssh(host: &str) -> Result<Self, RemoteError> {
        let mut ssh = Command::new("ssh");
        // This works with every login shell, because no script here contains a quote.
        let script = format!("exec sh -c '{}'", script::for_login());
        ssh.args(SSH_OPTIONS).args(["--", host, &script]);
        Self::run(&mut ssh, format!("ssh {host}"), true)
    }

    /// Creates an agent's pod, and runs the agent by exec.
    ///
    /// # Errors
    /// [`RemoteError::Pod`]; then the Job is removed.
    pub(super) fn pod(pods: &Pods, start: &Start) -> Result<Self, RemoteError> {
        let (session, streams) = pods::start(pods, start)?;
        Ok(Self {
            name: streams.name,
            uploads: streams.uploads,
            input: Box::new(Input(streams.input)),
            output: Box::new(Output::new(streams.output)),
            errors: Box::new(Output::new(streams.errors)),
            end: End::Pod(session),
        })
    }

    fn run(command: &mut Command, name: String, uploads: bool) -> Result<Self, RemoteError> {
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C must reach only the collector, which then ends its agents in order.
            .process_group(0)
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(source) => {
                let command = name;
                return Err(RemoteError::Run { command, source });
            }
        };
        lock(&RUNNING).insert(group(&child));
        let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let end = End::Command(child);
        let (Some(input), Some(output), Some(errors)) = streams else {
            return Err(RemoteError::Wrong("its streams are not there"));
        };
        Ok(Self {
            name,
            uploads,
            input: Box::new(input),
            output: Box::new(output),
            errors: Box::new(errors),
            end,
        })
    }
}

/// What ends with the connection; dropping it ends the process or pod.
pub(super) enum End {
    /// A command with all its children, which are a process group.
    Command(Child),
    /// A pod.
    Pod(Session),
}

impl End {
    /// Notes that an agent answers from now on. ssh notices by itself if the agent no longer
    /// answers.
    pub(super) fn begin(&self) {
        if let Self::Pod(session) = self {
            session.begin();
        }
    }

    /// Waits until the command or pod ends by itself, and ends it if it does not.
    pub(super) fn wait(&mut self) {
        match self {
            Self::Command(child) => {
                let until = Instant::now() + ENDING;
                while Instant::now() < until && matches!(child.try_wait(), Ok(None)) {
                    thread::sleep(Duration::from_millis(5));
                }
            }
            Self::Pod(session) => session.wait(ENDING),
        }
        self.now();
    }

    /// Ends the command or pod, and waits only for what has to be removed.
    pub(super) fn now(&mut self) {
        match self {
            Self::Command(child) => {
                // The process id of a command that was waited for may be reused by now.
                if matches!(child.try_wait(), Ok(None)) {
                    // Killing fails only if the group has ended in the meantime.
                    let _: nix::Result<()> = killpg(group(child), Signal::SIGKILL);
                    drop(child.wait());
                }
                lock(&RUNNING).remove(&group(child));
            }
            Self::Pod(session) => session.end(),
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.now();
    }
}

fn group(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// Process groups of the running commands.
static RUNNING: Mutex<BTreeSet<Pid>> = Mutex::new(BTreeSet::new());

/// Ends all running commands and all pods, before this process ends. They are left from agents
/// that did not start, or are stuck.
pub fn end_all() {
    pods::end_all();
    for group in std::mem::take(&mut *lock(&RUNNING)) {
        // Killing fails only if the group has ended in the meantime.
        let _: nix::Result<()> = killpg(group, Signal::SIGKILL);
    }
}
