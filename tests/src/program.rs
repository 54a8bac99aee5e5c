//! Tests of the program run the program, as its users do: arguments in, lines
//! of JSON and an exit code out. Its output is read as it comes, so a test
//! waits for what it needs to see, never for a time to pass, and every wait
//! has a limit.
//!
//! `tracer` is not built by the tests' own crate: `TRACER_BIN` names it, or it
//! lies where cargo puts it, beside the directory of the test program.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::Value;

use crate::{Lab, Process, process, rights};

/// Names the program that is tested.
const BINARY: &str = "TRACER_BIN";
/// The environment variable that names a directory for recordings of what tests
/// follow, if they are to be kept: `cargo xtask fixtures` sets it.
pub const FIXTURES_VARIABLE: &str = "TRACER_FIXTURES";
/// More than `tracer` needs to start or to end, on a slow machine that is busy, too.
pub const LIMIT: Duration = Duration::from_secs(90);

/// The program that is tested.
///
/// # Errors
/// Says how it is built, if it is not there.
pub fn binary() -> Result<PathBuf> {
    let path = match std::env::var_os(BINARY) {
        Some(path) => PathBuf::from(path),
        None => beside_the_test()?,
    };
    ensure!(
        path.is_file(),
        "there is no program {} to test: `cargo xtask test` builds it, or {BINARY} says where it is",
        path.display()
    );
    Ok(path)
}

/// `target/PROFILE/tracer`, for a test that is `target/PROFILE/deps/NAME`.
fn beside_the_test() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let profile = test.ancestors().nth(2).context("a test has a directory")?;
    Ok(profile.join("tracer"))
}

/// `tracer` with `args`; it will be killed when the thread that starts it ends.
///
/// # Errors
/// If it has not been built.
pub fn tracer<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Result<Command> {
    let binary = binary()?;
    let mut command = process::command(binary.to_str().context("its path is text")?);
    command.args(args);
    Ok(command)
}

/// Runs `tracer` with arguments of which it ends by itself.
///
/// # Errors
/// If it has not been built, or does not end within [`LIMIT`].
pub fn run<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Result<process::Finished> {
    Process::start(&mut tracer(args)?, "")?.finish(LIMIT)
}

/// A `tracer follow -o json` that runs; killed when this value is dropped.
#[derive(Debug)]
pub struct Tracer {
    child: Child,
    lines: Receiver<Line>,
    stdout: Vec<Value>,
    stderr: String,
}

/// What `tracer follow` left when it had ended.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// All its `tracer.journey/2`, but for those that were taken before.
    pub journeys: Vec<Value>,
    /// Its `tracer.summary/1`, null if there was none.
    pub summary: Value,
    /// All that it told people.
    pub stderr: String,
}

#[derive(Debug)]
enum Line {
    Out(String),
    Err(String),
}

impl Tracer {
    /// Starts to follow in `lab`; `args` say what. The lab's objects and agents
    /// and `-o json` are added. Where all agents are in other machines, it may do nothing
    /// that only root may.
    ///
    /// # Errors
    /// If it has not been built or cannot be started.
    pub fn follow<A: AsRef<OsStr>>(lab: &Lab, args: impl IntoIterator<Item = A>) -> Result<Self> {
        let mut command = tracer(["follow", "-o", "json"])?;
        command.args(lab.agent_args()?).args(args);
        if lab.is_on_machines() && geteuid().is_root() {
            rights::with_only(&mut command, &[]);
        }
        Self::start(&mut command)
    }

    /// Starts a command that prints as `tracer follow -o json` does.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {command:?}"))?;
        let (sender, lines) = mpsc::channel();
        let stdout = child.stdout.take().expect("a pipe was asked for");
        let stderr = child.stderr.take().expect("a pipe was asked for");
        read(stdout, sender.clone(), Line::Out);
        read(stderr, sender, Line::Err);
        Ok(Self {
            child,
            lines,
            stdout: Vec::new(),
            stderr: String::new(),
        })
    }

    /// The first object that `wanted` accepts, of those printed already or, if
    /// there is none, of those to come: it sees each one once, in order.
    ///
    /// # Errors
    /// If none came within `limit` or before the program ended; the error
    /// quotes what it said.
    pub fn wait_for(
        &mut self,
        mut wanted: impl FnMut(&Value) -> bool,
        limit: Duration,
    ) -> Result<Value> {
        let deadline = process::deadline(limit);
        let mut looked_at = 0;
        loop {
            while let Some(value) = self.stdout.get(looked_at) {
                if wanted(value) {
                    return Ok(value.clone());
                }
                looked_at += 1;
            }
            self.expect_line(deadline)?;
        }
    }

    /// Waits until what it told people so far is what `wanted` accepts.
    ///
    /// # Errors
    /// If that did not happen within `limit` or before the program ended; the
    /// error quotes what it said.
    pub fn wait_for_stderr(
        &mut self,
        mut wanted: impl FnMut(&str) -> bool,
        limit: Duration,
    ) -> Result<()> {
        let deadline = process::deadline(limit);
        while !wanted(&self.stderr) {
            self.expect_line(deadline)?;
        }
        Ok(())
    }

    /// Its `tracer.started/1`: from then on it sees packets.
    ///
    /// # Errors
    /// If it did not start within `limit`; the error quotes what it said.
    pub fn wait_started(&mut self, limit: Duration) -> Result<Value> {
        self.wait_for(|value| is(value, "tracer.started/1"), limit)
    }

    /// Takes the journeys that were read so far out of this value: those of a
    /// long run fill the memory.
    pub fn take_journeys(&mut self) -> Vec<Value> {
        let is_journey = |value: &mut Value| is(value, "tracer.journey/2");
        self.stdout.extract_if(.., is_journey).collect()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// If it has been waited for already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = Pid::from_raw(self.child.id().cast_signed());
        kill(id, signal).with_context(|| format!("cannot send {signal} to tracer"))
    }

    /// Ends it as Ctrl-C does, and waits for its last line.
    ///
    /// # Errors
    /// If it does not end within [`LIMIT`].
    pub fn stop(self) -> Result<Finished> {
        self.signal(Signal::SIGINT)?;
        self.finish(LIMIT)
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// If it does not within `limit`.
    pub fn finish(mut self, limit: Duration) -> Result<Finished> {
        let deadline = process::deadline(limit);
        while self.next_line(deadline)? {}
        let status = self.child.wait()?;
        let journeys = self.take_journeys();
        let summary = match self.stdout.last_mut() {
            Some(last) if is(last, "tracer.summary/1") => last.take(),
            _ => Value::Null,
        };
        Ok(Finished {
            status,
            journeys,
            summary,
            stderr: std::mem::take(&mut self.stderr),
        })
    }

    /// Reads a line where it must not have ended.
    fn expect_line(&mut self, deadline: Instant) -> Result<()> {
        ensure!(
            self.next_line(deadline)?,
            "tracer ended ({}) before what was waited for; it said: {}",
            self.child.wait()?,
            self.stderr
        );
        Ok(())
    }

    /// Reads a line; `false` when there are no more.
    fn next_line(&mut self, deadline: Instant) -> Result<bool> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(Line::Out(line)) => {
                let value = serde_json::from_str(&line);
                self.stdout
                    .push(value.with_context(|| format!("tracer printed no JSON: {line}"))?);
            }
            Ok(Line::Err(line)) => {
                self.stderr.push_str(&line);
                self.stderr.push('\n');
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(false),
            Err(RecvTimeoutError::Timeout) => bail!(
                "tracer did not do in time what was waited for; it said: {}\nand printed {} \
                 lines, at last:{}",
                self.stderr,
                self.stdout.len(),
                self.last_lines()
            ),
        }
        Ok(true)
    }

    /// What it printed at last, for a message.
    fn last_lines(&self) -> String {
        const LINES: usize = 10;
        const LENGTH: usize = 400;
        let lines = &self.stdout[self.stdout.len().saturating_sub(LINES)..];
        let short = |line: &Value| -> String { format!("\n{line}").chars().take(LENGTH).collect() };
        lines.iter().map(short).collect()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Both fail only for a child that has been waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether an object is of this kind, such as `tracer.journey/2`.
#[must_use]
pub fn is(value: &Value, schema: &str) -> bool {
    value["schema"] == schema
}

/// What the verdict of a journey's line rests on, of one kind.
pub fn evidence<'a>(journey: &'a Value, kind: &str) -> impl Iterator<Item = &'a Value> {
    let all = journey["verdict"]["evidence"].as_array().into_iter();
    all.flatten().filter(move |one| one["kind"] == kind)
}

/// Reads lines on a thread of their own until the pipe is closed.
fn read(
    pipe: impl Read + Send + 'static,
    lines: Sender<Line>,
    line: impl Fn(String) -> Line + Send + 'static,
) {
    thread::spawn(move || {
        for text in BufReader::new(pipe).lines().map_while(Result::ok) {
            // Nobody listens any more when the guard was dropped.
            if lines.send(line(text)).is_err() {
                break;
            }
        }
    });
}
