//! The way to an agent: streams, and what ends when they are given up.

use std::{
    collections::BTreeSet,
    io::{self, Read, Write},
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

use super::{
    RemoteError, lock,
    pods::{self, Session},
    upload,
};

/// How long a command has to end once its agent has, or is to.
const ENDING: Duration = Duration::from_secs(2);

/// A dead network is noticed after ten seconds, as an agent notices it. Nobody is asked for
/// a password: who would answer sits before the follow's own terminal.
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

/// Streams that lead to an agent.
pub(super) struct Way {
    /// What one would type to go it.
    pub(super) name: String,
    /// Whether a shell answers first, whose script takes the program (`upload`).
    pub(super) uploads: bool,
    pub(super) input: Box<dyn Write + Send>,
    pub(super) output: Box<dyn Read + Send>,
    pub(super) errors: Box<dyn Read + Send>,
    pub(super) end: End,
}

impl Way {
    /// Runs a shell's command.
    ///
    /// # Errors
    /// [`RemoteError::Run`].
    pub(super) fn command(command: &str) -> Result<Self, RemoteError> {
        let mut shell = Command::new("sh");
        Self::run(shell.args(["-c", command]), command.to_owned(), false)
    }

    /// Logs in to a machine.
    ///
    /// # Errors
    /// [`RemoteError::Run`].
    pub(super) fn ssh(host: &str) -> Result<Self, RemoteError> {
        let mut ssh = Command::new("ssh");
        // Whatever shell the login has. No script here has a quote in it.
        let script = format!("exec sh -c '{}'", upload::script_for_login());
        ssh.args(SSH_OPTIONS).args(["--", host, &script]);
        Self::run(&mut ssh, format!("ssh {host}"), true)
    }

    fn run(command: &mut Command, name: String, uploads: bool) -> Result<Self, RemoteError> {
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for the collector, which then ends its agents in order.
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

/// What a way ends with. Dropping it ends it.
pub(super) enum End {
    /// A command and all that it has run: they are a group of their own.
    Command(Child),
    /// A pod.
    Pod(Session),
}

impl End {
    /// Takes note that an agent answers from now on. A login has its own way to notice that
    /// nobody does.
    pub(super) fn begin(&self) {
        if let Self::Pod(session) = self {
            session.begin();
        }
    }

    /// Waits until it ends by itself, and ends it if it does not.
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

    /// Ends it without waiting for more than what has to be removed.
    pub(super) fn now(&mut self) {
        match self {
            Self::Command(child) => {
                // The number of one that was waited for may be somebody else's by now.
                if matches!(child.try_wait(), Ok(None)) {
                    // It fails only for one that has ended meanwhile.
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

/// The commands that run, by their groups.
static RUNNING: Mutex<BTreeSet<Pid>> = Mutex::new(BTreeSet::new());

/// Ends all commands that still run and all pods, before this process ends: those of agents
/// that did not come, or that are stuck.
pub fn end_all() {
    pods::end_all();
    for group in std::mem::take(&mut *lock(&RUNNING)) {
        // It fails only for one that has ended meanwhile.
        let _: nix::Result<()> = killpg(group, Signal::SIGKILL);
    }
}

/// What a machine says before it is ready, for people.
pub(super) fn line(input: &mut impl Read, most: usize) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < most && input.read(&mut byte)? > 0 {
        if byte[0] == b'\n' {
            return Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()));
        }
        line.push(byte[0]);
    }
    Ok(None)
}
