//! Programs of tests. A test must not hang on a program that hangs, nor leave a program behind. A
//! program ends when its guard is dropped, and asking for its result has a time limit.

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

/// The time limit of a configuration command, on a slow and busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// The deadline after `limit`. In a virtual machine that was made for the tests, the limit is ten
/// times as long.
pub(crate) fn deadline(limit: Duration) -> Instant {
    let emulated = std::env::var_os(MACHINE_VARIABLE).is_some();
    Instant::now() + limit * if emulated { 10 } else { 1 }
}

/// A command that is killed when the thread that starts it ends, even if this process is killed and
/// cannot clean up.
#[must_use]
pub fn command(program: &str) -> Command {
    let parent = getpid();
    let mut command = Command::new(program);
    let prepare = move || {
        set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have ended before the kernel knew that it has to watch the parent.
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

/// Runs `command` with `input` as its standard input, and returns its standard output.
///
/// # Errors
/// If the command fails, or does not end within the time limit; the error quotes its standard
/// error.
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

/// The result of a program.
#[derive(Debug)]
pub struct Finished {
    /// How the program ended.
    pub status: ExitStatus,
    /// The whole standard output.
    pub stdout: String,
    /// The whole standard error.
    pub stderr: String,
}

impl Process {
    /// Starts `command`, writes `input` to its standard input and closes it. Its output is kept for
    /// [`Process::finish`].
    ///
    /// # Errors
    /// If the program does not exist or cannot be started.
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

    /// Writes the input. A broken pipe is no error: a program that ends before it has read
    /// everything explains that on its standard error.
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
    /// If the program still runs after `limit`. It is killed then.
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

    /// Waits as [`Process::finish`] does, and expects success.
    ///
    /// # Errors
    /// If the program still runs after `limit`, or failed; the error quotes its standard error.
    pub fn succeed(self, limit: Duration) -> Result<String> {
        let what = self.what.clone();
        self.finish(limit)?.succeeded(&what)
    }
}

impl Finished {
    /// The standard output, if the program succeeded. `what` names the program in the error.
    ///
    /// # Errors
    /// If the program failed; the error quotes its standard error.
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
        // Both fail only if the child was waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a pipe to its end on a separate thread, so that a full pipe never blocks the program.
fn collect(mut pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // The data before an error still helps to explain a failure.
        let _ = pipe.read_to_end(&mut bytes);
        // Nobody listens any more once the guard was dropped.
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

/// Waits for something that the kernel does in its own time.
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
