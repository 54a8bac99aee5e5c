//! Recordings of live follows: what is replayed from them is what was shown,
//! also after a crash, and others can read them.

// Other programs read the file as it is.
mod others;
// However the recorder ends, the file can be read.
mod endings;
// Addresses and names replaced.
mod anonymous;
// Captures of tcpdump, beside a follow.
mod imported;
// The same output as that of the live follow.
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

/// A recorder that runs; killed when this value is dropped.
pub(crate) struct Recorder {
    child: Child,
    /// What it prints.
    pub(crate) stdout: PathBuf,
    /// See `stdout`.
    pub(crate) stderr: PathBuf,
}

/// How it ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Recorder {
    /// Starts `tracer` with these arguments, the lab's objects, some of its
    /// agents, and its first two pods, and waits until it is attached. Its
    /// files begin with `name`.
    pub(crate) fn start(lab: &Lab, name: &str, agents: &[usize], args: &[&str]) -> Result<Self> {
        Self::between([&lab.pods[0], &lab.pods[1]], lab, name, agents, args)
    }

    /// The same between other pods.
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

    /// Waits until what it printed is as `wanted`.
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

    /// Whether it has not ended yet.
    pub(crate) fn runs(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Ends it with a signal.
    pub(crate) fn end(self, signal: Signal) -> Result<Ended> {
        self.signal(signal)?;
        self.ended()
    }

    /// Waits until it ends.
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

/// `tracer` with these arguments, the lab's objects, some of its agents, and
/// two pods.
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
        // Both fail only for a child that has been waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// A pod as kubectl names it.
pub(crate) fn full_name(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}

/// What a replay, or another command that reads traces, prints; it must end
/// well.
pub(crate) fn printed(args: &[&str]) -> Result<String> {
    let ended = run(args)?;
    ensure!(ended.status.success(), "{args:?}: {}", ended.stderr);
    Ok(ended.stdout)
}

/// Keeps a recording for the replay tests, if they are to be recorded anew:
/// `cargo xtask fixtures` does.
pub(crate) fn keep(file: &str, name: &str) -> Result<()> {
    if let Some(directory) = env::var_os(FIXTURES_VARIABLE) {
        fs::copy(file, Path::new(&directory).join(name))?;
    }
    Ok(())
}

/// Pings, datagrams that are answered, connections, and data.
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
