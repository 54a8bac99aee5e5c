//! A test must not hang on a program that hangs, nor leave one behind. A
//! program started here ends when its guard is dropped, and asking for its
//! result has a time limit.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{getpid, getppid};

use crate::lab::MACHINE_VARIABLE;

/// More than any configuration command needs, on a slow machine that is busy, too.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// When `limit` has passed: in a virtual machine that was made for the tests,
/// ten times as long.
pub(crate) fn deadline(limit: Duration) -> Instant {
    let emulated = std::env::var_os(MACHINE_VARIABLE).is_some();
    Instant::now() + limit * if emulated { 10 } else { 1 }
}

/// A command that will be killed when the thread that starts it ends: also
/// when this process is killed and can tidy nothing up itself.
#[must_use]
pub fn command(program: &str) -> Command {
    let parent = getpid();
    let mut command = Command::new(program);
    let prepare = move || {
        set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have ended before the kernel was asked to watch it.
        if getppid() == parent {
            Ok(())
        } else {
            Err(std::io::ErrorKind::NotConnected.into())
        }
    };
    // SAFETY: between fork and exec the closure makes two system calls and
    // neither allocates nor takes a lock.
    unsafe { command.pre_exec(prepare) };
    command
}

/// Runs `command` with `input` as its standard input and returns what it wrote
/// on its standard output.
///
/// # Errors
/// If it fails or does not end within the time that a program gets here; the error
/// quotes what it wrote on its standard error.
pub fn run(command: &mut Command, input: &str) -> Result<String> {
    Process::start(command, input)?.succeed(LIMIT)
}

/// A running program, killed when this value is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    what: String,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

/// What a program that ended left.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// All that it wrote on its standard output.
    pub stdout: String,
    /// All that it wrote on its standard error.
    pub stderr: String,
}

impl Process {
    /// Starts `command`, writes `input` to its standard input and closes that.
    /// What it writes is kept for [`Process::finish`].
    ///
    /// # Errors
    /// If the program is not there or cannot be started.
    pub fn start(command: &mut Command, input: &str) -> Result<Self> {
        let what = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run `{what}`: is the program installed?"))?;
        let process = Self {
            stdout: collect(child.stdout.take().expect("a pipe was asked for")),
            stderr: collect(child.stderr.take().expect("a pipe was asked for")),
            child,
            what,
        };
        process.feed(input)
    }

    /// A program that ends before it has read everything has its reasons, and
    /// states them on its standard error: a broken pipe is no error here.
    fn feed(mut self, input: &str) -> Result<Self> {
        let mut stdin = self.child.stdin.take().expect("a pipe was asked for");
        match stdin.write_all(input.as_bytes()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error)
                .with_context(|| format!("cannot write to the standard input of `{}`", self.what)),
            _ => Ok(self),
        }
    }

    /// Waits until the program has closed its outputs and ended.
    ///
    /// # Errors
    /// If it is still running after `limit`; it is killed then.
    pub fn finish(mut self, limit: Duration) -> Result<Finished> {
        let deadline = deadline(limit);
        let read = |from: &Receiver<String>| {
            from.recv_timeout(deadline.saturating_duration_since(Instant::now()))
                .with_context(|| format!("`{}` did not end within {limit:?}", self.what))
        };
        let stdout = read(&self.stdout)?;
        let stderr = read(&self.stderr)?;
        let status = self.child.wait()?;
        Ok(Finished {
            status,
            stdout,
            stderr,
        })
    }

    /// Waits as [`Process::finish`] does and wants success.
    ///
    /// # Errors
    /// If it is still running after `limit` or failed; the error quotes what
    /// it wrote on its standard error.
    pub fn succeed(self, limit: Duration) -> Result<String> {
        let what = self.what.clone();
        self.finish(limit)?.succeeded(&what)
    }
}

impl Finished {
    /// What it wrote on its standard output, if it succeeded; `what` ran, for the error.
    ///
    /// # Errors
    /// If it failed; the error quotes what it wrote on its standard error.
    pub(crate) fn succeeded(self, what: &str) -> Result<String> {
        let Self {
            status,
            stdout,
            stderr,
        } = self;
        if !status.success() {
            bail!("`{what}` failed ({status}): {}", stderr.trim());
        }
        Ok(stdout)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a child that has been waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a pipe to its end on a thread of its own, so that a program never
/// waits for room in it.
fn collect(mut pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error still helps to explain a failure.
        let _ = pipe.read_to_end(&mut bytes);
        // Nobody listens any more when the guard was dropped.
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

/// Waits for what the kernel does in its own time.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = deadline(LIMIT);
    while !is_so()? {
        ensure!(
            Instant::now() < deadline,
            "{LIMIT:?} later, not yet: {what}"
        );
        thread::yield_now();
    }
    Ok(())
}
