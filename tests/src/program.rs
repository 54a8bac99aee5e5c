//! Runs `tracer` as its users do: arguments in, lines of JSON and an exit code out. The output is
//! read as it comes. A test waits for the output that it needs, never for a time to pass, and every
//! wait has a limit.
//!
//! The tests' own crate does not build `tracer`. `TRACER_BIN` names it, or it is where cargo puts
//! it, beside the directory of the test program.

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

/// The environment variable that names the tested program.
const BINARY: &str = "TRACER_BIN";
/// The environment variable that names a directory in which tests keep their recordings. `cargo
/// xtask fixtures` sets it.
pub const FIXTURES_VARIABLE: &str = "TRACER_FIXTURES";
/// The time limit for `tracer` to start or to end, on a slow and busy machine.
pub const LIMIT: Duration = Duration::from_secs(90);

/// The tested program.
///
/// # Errors
/// If the program is missing; the error says how to build it.
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

/// The agent alone, beside the tested program.
///
/// # Errors
/// If the program is missing.
pub fn agent() -> Result<PathBuf> {
    let agent = binary()?.with_file_name("tracer-agent");
    ensure!(
        agent.is_file(),
        "there is no program {}: `cargo xtask test` builds it",
        agent.display()
    );
    Ok(agent)
}

/// `target/PROFILE/tracer`, for a test at `target/PROFILE/deps/NAME`.
fn beside_the_test() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let profile = test.ancestors().nth(2).context("a test has a directory")?;
    Ok(profile.join("tracer"))
}

/// `tracer` with `args`. It is killed when the thread that starts it ends.
///
/// # Errors
/// If `tracer` has not been built.
pub fn tracer<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Result<Command> {
    let binary = binary()?;
    let mut command = process::command(binary.to_str().context("its path is text")?);
    command.args(args);
    Ok(command)
}

/// Runs `tracer` with arguments with which it ends by itself.
///
/// # Errors
/// If `tracer` has not been built, or does not end within [`LIMIT`].
pub fn run<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Result<process::Finished> {
    Process::start(&mut tracer(args)?, "")?.finish(LIMIT)
}

/// A running `tracer follow -o json`, which is killed when this value is dropped.
#[derive(Debug)]
pub struct Tracer {
    child: Child,
    lines: Receiver<Line>,
    stdout: Vec<Value>,
    stderr: String,
}

/// The result of a `tracer follow`.
#[derive(Debug)]
pub struct Finished {
    /// How the program ended.
    pub status: ExitStatus,
    /// All lines of `tracer.journey/2`, except those that were taken before.
    pub journeys: Vec<Value>,
    /// The line of `tracer.summary/1`, or null if there was none.
    pub summary: Value,
    /// All messages for the user.
    pub stderr: String,
}

#[derive(Debug)]
enum Line {
    Out(String),
    Err(String),
}

impl Tracer {
    /// Starts a follow in `lab` with `args`, the lab's objects and agents, and `-o json`. If all
    /// agents are in other machines, the program runs without root's rights.
    ///
    /// # Errors
    /// If `tracer` has not been built or cannot be started.
    pub fn follow<A: AsRef<OsStr>>(lab: &Lab, args: impl IntoIterator<Item = A>) -> Result<Self> {
        let mut command = tracer(["follow", "-o", "json"])?;
        command.args(lab.agent_args()?).args(args);
        if lab.is_on_machines() && geteuid().is_root() {
            rights::with_only(&mut command, &[]);
        }
        Self::start(&mut command)
    }

    /// Starts a command with the same output as `tracer follow -o json`.
    ///
    /// # Errors
    /// If the command cannot be started.
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

    /// The first object that `wanted` accepts, among the earlier ones or those to come. `wanted`
    /// sees each object once, in order.
    ///
    /// # Errors
    /// If none came within `limit`, or before the program ended; the error quotes the messages.
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

    /// Waits until `wanted` accepts the messages so far.
    ///
    /// # Errors
    /// If that did not happen within `limit`, or before the program ended; the error quotes the
    /// messages.
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

    /// Waits for the line of `tracer.started/1`, from which on the program sees packets.
    ///
    /// # Errors
    /// If the line did not come within `limit`; the error quotes the messages.
    pub fn wait_started(&mut self, limit: Duration) -> Result<Value> {
        self.wait_for(|value| is(value, "tracer.started/1"), limit)
    }

    /// Takes the journeys so far out of this value, because those of a long run fill the memory.
    pub fn take_journeys(&mut self) -> Vec<Value> {
        let is_journey = |value: &mut Value| is(value, "tracer.journey/2");
        self.stdout.extract_if(.., is_journey).collect()
    }

    /// The program's process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends the program a signal.
    ///
    /// # Errors
    /// If the program was waited for already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = Pid::from_raw(self.child.id().cast_signed());
        kill(id, signal).with_context(|| format!("cannot send {signal} to tracer"))
    }

    /// Ends the program as Ctrl-C does, and waits for its last line.
    ///
    /// # Errors
    /// If the program does not end within [`LIMIT`].
    pub fn stop(self) -> Result<Finished> {
        self.signal(Signal::SIGINT)?;
        self.finish(LIMIT)
    }

    /// Waits until the program ends by itself.
    ///
    /// # Errors
    /// If the program does not end within `limit`.
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

    /// Reads a line, and fails if there are no more.
    fn expect_line(&mut self, deadline: Instant) -> Result<()> {
        ensure!(
            self.next_line(deadline)?,
            "tracer ended ({}) before what was waited for; it said: {}",
            self.child.wait()?,
            self.stderr
        );
        Ok(())
    }

    /// Reads a line. Returns `false` if there are no more.
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

    /// The last lines of the output, for a message.
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
        // Both fail only if the child was waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether an object has this schema, such as `tracer.journey/2`.
#[must_use]
pub fn is(value: &Value, schema: &str) -> bool {
    value["schema"] == schema
}

/// The evidence of one kind for the verdict in a journey's line.
pub fn evidence<'a>(journey: &'a Value, kind: &str) -> impl Iterator<Item = &'a Value> {
    let all = journey["verdict"]["evidence"].as_array().into_iter();
    all.flatten().filter(move |one| one["kind"] == kind)
}

/// Reads lines on a separate thread until the pipe is closed.
fn read(
    pipe: impl Read + Send + 'static,
    lines: Sender<Line>,
    line: impl Fn(String) -> Line + Send + 'static,
) {
    thread::spawn(move || {
        for text in BufReader::new(pipe).lines().map_while(Result::ok) {
            // Nobody listens any more once the guard was dropped.
            if lines.send(line(text)).is_err() {
                break;
            }
        }
    });
}
