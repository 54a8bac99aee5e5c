//! `tracer follow` as a user runs it, with measurements.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, ChildStdout, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tracer_tests::{Lab, Pod, process};

/// The variable that names the tested `tracer`.
const BINARY: &str = "TRACER_BIN";
/// The time limit of starting or ending.
const LIMIT: Duration = Duration::from_secs(20);
/// Exit codes of a success: something was followed, or there was nothing to follow.
const GOOD: [i32; 2] = [0, 4];

/// A running follow, which is killed when this value is dropped.
pub(crate) struct Follow {
    child: Child,
    lines: Receiver<String>,
    errors: Receiver<String>,
    /// The time from the start of the process to its ready line.
    pub(crate) ready_after: Duration,
}

/// A follow that has ended.
pub(crate) struct Ended {
    /// The time from the interrupt to the end of the process.
    pub(crate) after: Duration,
    /// The last line: `tracer.summary/1`.
    pub(crate) summary: Value,
}

/// CPU time that a process has used.
#[derive(Clone, Copy)]
pub(crate) struct Cpu {
    /// The kernel's accounting, usually in hundredths of a second.
    pub(crate) ticks: u64,
    /// The scheduler's measurement, for all threads together.
    pub(crate) time: Duration,
}

impl Follow {
    /// Follows the packets from one pod to another, and waits until all programs are attached.
    pub(crate) fn start(lab: &Lab, [from, to]: [&Pod; 2], options: &[&str]) -> Result<Self> {
        let mut command = process::command(&binary()?.to_string_lossy());
        let name = |pod: &Pod| format!("{}/{}", pod.namespace, pod.name);
        command
            .args(["follow", "--src-pod", &name(from), "--dst-pod", &name(to)])
            .args(["--output", "json"])
            .args(options)
            .args(lab.agent_args()?)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let start = Instant::now();
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot run tracer: does {BINARY} name it?"))?;
        let lines = first_and_last(child.stdout.take().context("no pipe")?);
        let errors = collect(child.stderr.take().context("no pipe")?);
        let mut follow = Self {
            child,
            lines,
            errors,
            ready_after: Duration::ZERO,
        };
        let first = follow.lines.recv_timeout(LIMIT);
        follow.ready_after = start.elapsed();
        match first {
            Ok(line) if line.contains("\"tracer.started/1\"") => Ok(follow),
            _ => bail!("tracer did not start: {}", follow.end()?),
        }
    }

    /// Sends SIGINT, and waits for the end.
    pub(crate) fn interrupt(mut self) -> Result<Ended> {
        let start = Instant::now();
        kill(self.pid()?, Signal::SIGINT)?;
        let last = self.lines.recv_timeout(LIMIT);
        let status = self.child.wait()?;
        let after = start.elapsed();
        let code = status.code().unwrap_or(-1);
        ensure!(
            GOOD.contains(&code),
            "tracer ended with {status}: {}",
            self.end()?
        );
        let summary = serde_json::from_str(&last.context("tracer wrote no summary")?)?;
        Ok(Ended { after, summary })
    }

    /// CPU time used since the start.
    pub(crate) fn cpu(&self) -> Result<Cpu> {
        let process = format!("/proc/{}", self.child.id());
        let stat = fs::read_to_string(format!("{process}/stat"))?;
        // The name in parentheses may contain anything. utime and stime are the 12th and 13th
        // fields after it (proc_pid_stat(5)).
        let (_, fields) = stat.rsplit_once(')').context("unknown stat")?;
        let times = fields.split_whitespace().skip(11).take(2);
        let ticks = times.map(str::parse::<u64>).sum::<Result<_, _>>()?;
        let mut time = Duration::ZERO;
        for thread in fs::read_dir(format!("{process}/task"))? {
            let schedstat = fs::read_to_string(thread?.path().join("schedstat"))?;
            let ns = schedstat.split_whitespace().next().context("empty")?;
            time += Duration::from_nanos(ns.parse()?);
        }
        Ok(Cpu { ticks, time })
    }

    fn pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.child.id())?))
    }

    /// Kills the process, and returns its standard error.
    fn end(&mut self) -> Result<String> {
        self.child.kill()?;
        Ok(self.errors.recv_timeout(LIMIT)?.trim().to_owned())
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        // Both fail only if the child was waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn binary() -> Result<OsString> {
    env::var_os(BINARY).with_context(|| {
        format!("{BINARY} does not name a tracer: run this as `cargo xtask bench`")
    })
}

/// Reads a pipe to its end, so that the program never blocks. Sends the first line as soon as it
/// comes, and the last line at the end.
fn first_and_last(pipe: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut pipe = BufReader::with_capacity(1 << 20, pipe);
        let mut line = Vec::new();
        let mut last = Vec::new();
        let mut first = true;
        while let Ok(1..) = pipe.read_until(b'\n', &mut line) {
            std::mem::swap(&mut line, &mut last);
            line.clear();
            if std::mem::take(&mut first) {
                // Nobody listens any more once the follow was dropped.
                let _ = sender.send(String::from_utf8_lossy(&last).into_owned());
            }
        }
        let _ = sender.send(String::from_utf8_lossy(&last).into_owned());
    });
    receiver
}

/// Reads a pipe to its end, and sends its content then.
fn collect(mut pipe: ChildStderr) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        // The data before an error still helps to explain a failure. Nobody listens any more once
        // the follow was dropped.
        let _ = pipe.read_to_string(&mut text);
        let _ = sender.send(text);
    });
    receiver
}
