//! Recordings of live follows: a replay shows what the follow showed, also after a crash, and other
//! programs can read them.

// Other programs read the file without tracer.
mod others;
// The file can be read after any end of the recorder.
mod endings;
// Replaced addresses and names.
mod anonymous;
// Captures of tcpdump, made during a follow.
mod imported;
// Recordings and objects in pipes.
mod piped;
// The replay has the same output as the live follow.
mod same;

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tracer_tests::program::{FIXTURES_VARIABLE, LIMIT, run, tracer};
use tracer_tests::traffic::Flow;
use tracer_tests::{Lab, Pod};

/// A running recorder, which is killed when this value is dropped.
pub(crate) struct Recorder {
    child: Child,
    /// The file with its standard output.
    pub(crate) stdout: PathBuf,
    /// The file with its standard error.
    pub(crate) stderr: PathBuf,
}

/// The result of a recorder.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Recorder {
    /// Starts `tracer` with these arguments, the lab's objects, some of its agents, and its first
    /// two pods, and waits until all programs are attached. The names of its files begin with
    /// `name`.
    pub(crate) fn start(lab: &Lab, name: &str, agents: &[usize], args: &[&str]) -> Result<Self> {
        Self::between([&lab.pods[0], &lab.pods[1]], lab, name, agents, args)
    }

    /// As [`Recorder::start`], between other pods.
    pub(crate) fn between(
        pods: [&Pod; 2],
        lab: &Lab,
        name: &str,
        agents: &[usize],
        args: &[&str],
    ) -> Result<Self> {
        let directory = lab.directory()?;
        let (stdout, stderr) = (
            directory.join(format!("{name}.out")),
            directory.join(format!("{name}.err")),
        );
        let mut command = command(pods, lab, agents, args)?;
        command
            .stdout(File::create(&stdout)?)
            .stderr(File::create(&stderr)?);
        let recorder = Self {
            child: command.spawn()?,
            stdout,
            stderr,
        };
        recorder.wait(|out, err| {
            out.contains("tracer.started/1")
                || out.contains("Ctrl-C ends")
                || err.contains("Ctrl-C ends")
        })?;
        Ok(recorder)
    }

    /// Waits until `wanted` accepts the output.
    pub(crate) fn wait(&self, wanted: impl Fn(&str, &str) -> bool) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let (out, err) = (read(&self.stdout)?, read(&self.stderr)?);
            if wanted(&out, &err) {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "not in time; it said: {err}{out}"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.child.id().cast_signed()), signal)?)
    }

    /// Whether the recorder still runs.
    pub(crate) fn runs(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Ends the recorder with a signal.
    pub(crate) fn end(self, signal: Signal) -> Result<Ended> {
        self.signal(signal)?;
        self.ended()
    }

    /// Waits until the recorder ends.
    pub(crate) fn ended(mut self) -> Result<Ended> {
        let deadline = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(Instant::now() < deadline, "it does not end");
            thread::sleep(Duration::from_millis(5));
        };
        Ok(Ended {
            code: status.code(),
            stdout: read(&self.stdout)?,
            stderr: read(&self.stderr)?,
        })
    }
}

/// `tracer` with these arguments, the lab's objects, some of its agents, and two pods.
pub(crate) fn command(
    pods: [&Pod; 2],
    lab: &Lab,
    agents: &[usize],
    args: &[&str],
) -> Result<Command> {
    let [from, to] = pods.map(full_name);
    let mut command = tracer(args)?;
    command
        .args(["--src-pod", &from, "--dst-pod", &to])
        .arg("--inventory")
        .arg(lab.write_objects()?)
        .stdin(Stdio::null());
    for node in agents.iter().map(|index| &lab.nodes[*index]) {
        let spec = format!("{}=netns:/run/netns/{}", node.name, node.netns.name);
        command.args(["--agent", &spec]);
    }
    Ok(command)
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Both fail only if the child was waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    // A recording is no text.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A pod as kubectl names it.
pub(crate) fn full_name(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}

/// The output of a replay, or of another command that reads recordings. The command must succeed.
pub(crate) fn printed(args: &[&str]) -> Result<String> {
    let ended = run(args)?;
    ensure!(ended.status.success(), "{args:?}: {}", ended.stderr);
    Ok(ended.stdout)
}

/// Keeps a recording for the replay tests, if `cargo xtask fixtures` wants it.
pub(crate) fn keep(file: &str, name: &str) -> Result<()> {
    if let Some(directory) = env::var_os(FIXTURES_VARIABLE) {
        fs::copy(file, Path::new(&directory).join(name))?;
    }
    Ok(())
}

/// Sends pings, datagrams with answers, connections, and data.
pub(crate) fn mixed_traffic(lab: &Lab) -> Result<()> {
    let flow = Flow::new(&lab.pods[0], &lab.pods[1]);
    ensure!(flow.ping(5, Duration::from_millis(2))?.is_complete());
    ensure!(flow.udp_exchange(5, 100)?.is_complete());
    ensure!(flow.tcp_connects(3)?.is_complete());
    ensure!(flow.tcp_bulk(300_000)?.is_complete());
    let flow = flow.v6(true);
    ensure!(flow.ping(3, Duration::from_millis(2))?.is_complete());
    Ok(())
}
