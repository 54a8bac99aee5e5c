//! Captures that tshark reads while they are written. They are compared with a file that was
//! written at the end.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;
use tracer_tests::{
    Lab, LabSpec, Pod, process,
    program::{LIMIT, binary, tracer},
};

use crate::{export, fixture, folder, pcapng::RECORDINGS, printed};

/// The fields of a packet that the tests compare. The hash is of the packet's bytes.
const FIELDS: [&str; 6] = [
    "frame.interface_name",
    "frame.time_epoch",
    "frame.len",
    "frame.encap_type",
    "frame.md5_hash",
    "frame.comment",
];
/// The number of pings that tshark must read during the follow.
pub(crate) const PINGS: usize = 20;
/// The comment on the last hop between pods on two nodes.
const ARRIVED: &str = " hop 8 of 8 | delivered";

/// Makes tshark print each packet as it comes.
pub(crate) fn fields(command: &mut Command) -> &mut Command {
    command.args(["-l", "-T", "fields", "-o", "frame.generate_md5_hash:TRUE"]);
    for field in FIELDS {
        command.args(["-e", field]);
    }
    command
}

/// The packets of a file, sorted by their texts.
fn packets(capture: &Path) -> Result<Vec<String>> {
    let mut command = process::command("tshark");
    command.arg("-r").arg(capture);
    let printed = process::run(fields(&mut command), "")?;
    Ok(sorted(printed.lines().map(str::to_owned).collect()))
}

fn sorted(mut packets: Vec<String>) -> Vec<String> {
    packets.sort();
    packets
}

/// The names that a capture has for addresses.
fn hosts(capture: &Path) -> Result<Vec<String>> {
    let mut command = process::command("tshark");
    command.arg("-r").arg(capture).args(["-q", "-z", "hosts"]);
    let printed = process::run(&mut command, "")?;
    let hosts = printed.lines().filter(|line| !line.starts_with('#'));
    Ok(sorted(hosts.map(str::to_owned).collect()))
}

/// The interfaces of a capture, with or without packets.
fn interfaces(capture: &Path) -> Result<Vec<String>> {
    let mut command = process::command("capinfos");
    command.arg("-I").arg(capture);
    let printed = process::run(&mut command, "")?;
    let names = printed
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Name = "));
    Ok(sorted(names.map(str::to_owned).collect()))
}

/// The warnings of a recording. A capture has no place for warnings, so they go to stderr.
fn warnings(recording: &str) -> Result<Vec<String>> {
    let lines = printed(&["replay", "-o", "json", recording])?;
    let started: Value = serde_json::from_str(lines.lines().next().context("a line")?)?;
    let warnings = started["warnings"].as_array().context("a list")?.iter();
    let texts = warnings.map(|text| text.as_str().map(|text| format!("tracer: {text}\n")));
    texts.collect::<Option<_>>().context("texts")
}

#[test]
fn a_stream_has_what_the_file_has() -> Result<()> {
    let mut warned = 0;
    for name in RECORDINGS.iter().chain(&["pod-in-another-subnet-4"]) {
        let recording = fixture(name);
        let folder = folder()?;
        let file = export(&folder, &recording, &["--format", "pcapng"])?;
        let stream = folder.path().join("stream");
        let mut command = process::command("bash");
        command.args(["-c", "exec \"$0\" replay -o pcapng \"$1\" > \"$2\""]);
        command.arg(binary()?).arg(&recording).arg(&stream);
        let ended = process::Process::start(&mut command, "")?.finish(LIMIT)?;
        ensure!(ended.status.success(), "{name}: {}", ended.stderr);
        for warning in warnings(&recording)? {
            warned += 1;
            ensure!(
                ended.stderr.contains(&warning),
                "{warning}: {}",
                ended.stderr
            );
        }
        let expected = packets(&file)?;
        ensure!(!expected.is_empty(), "{name}");
        ensure!(packets(&stream)? == expected, "{name}");
        ensure!(hosts(&stream)? == hosts(&file)?, "{name}");
        ensure!(interfaces(&stream)? == interfaces(&file)?, "{name}");
    }
    ensure!(warned > 0, "no recording has a warning");
    Ok(())
}

/// Pings from the lab's first pod to the second.
fn ping(lab: &Lab, count: usize) -> Result<()> {
    let to = lab.pods[1].address(false);
    let ping = format!("ping -n -q -i 0.01 -W 5 -c {count} {to}");
    lab.pods[0].netns.run(&ping)?;
    Ok(())
}

/// A tshark that reads an unfinished capture, and is killed when this value is dropped.
pub(crate) struct Reader {
    child: Child,
    lines: Receiver<String>,
    packets: Vec<String>,
}

impl Reader {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("tshark is installed")?;
        let stdout = child.stdout.take().context("a pipe")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            // Nobody listens any more once the guard was dropped.
            lines.map(|line| sender.send(line)).find(Result::is_err)
        });
        Ok(Self {
            child,
            lines,
            packets: Vec::new(),
        })
    }

    /// Reads the next line, and returns the number of packets so far that have arrived at their
    /// destination.
    fn arrived(&mut self, patience: Duration) -> usize {
        if let Ok(line) = self.lines.recv_timeout(patience) {
            self.packets.push(line);
        }
        self.packets.extend(self.lines.try_iter());
        let arrived = self.packets.iter().filter(|line| line.contains(ARRIVED));
        arrived.count()
    }

    /// Pings until packets are read, because packets before the start of the follow are not seen.
    /// Then sends the other pings, and waits until all are read.
    pub(crate) fn read_pings(&mut self, lab: &Lab) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        while self.arrived(Duration::from_millis(100)) == 0 {
            self.within(deadline)?;
            ping(lab, 1)?;
        }
        ping(lab, PINGS)?;
        while self.arrived(Duration::from_millis(100)) < 2 * PINGS {
            self.within(deadline)?;
        }
        Ok(())
    }

    /// Pings until the follow has seen enough, and the reader has ended with it.
    pub(crate) fn ping_to_the_end(&mut self, lab: &Lab) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        while self.child.try_wait()?.is_none() {
            ensure!(Instant::now() < deadline, "{:?}", self.packets);
            ping(lab, 1)?;
            self.arrived(Duration::from_millis(10));
        }
        Ok(())
    }

    fn within(&mut self, deadline: Instant) -> Result<()> {
        let ended = self.child.try_wait()?;
        if ended.is_some() || Instant::now() > deadline {
            let _: Result<(), _> = self.child.kill();
            let mut said = String::new();
            let stderr = self.child.stderr.as_mut().context("a pipe")?;
            stderr.read_to_string(&mut said)?;
            ensure!(false, "{ended:?} after {:?}: {said}", self.packets);
        }
        Ok(())
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.child.id().cast_signed()), signal)?)
    }

    /// All packets, sorted by their texts, once tshark has ended by itself.
    pub(crate) fn finish(mut self) -> Result<Vec<String>> {
        let status = ended(&mut self.child)?;
        ensure!(status.success(), "tshark: {status}");
        self.packets.extend(self.lines.iter());
        Ok(sorted(std::mem::take(&mut self.packets)))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Both fail only if the child was waited for already.
        let _: Result<(), _> = self.child.kill();
        let _: Result<_, _> = self.child.wait();
    }
}

/// Waits until a program ends by itself.
fn ended(child: &mut Child) -> Result<ExitStatus> {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        ensure!(Instant::now() < deadline, "it does not end");
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn pod(pod: &Pod) -> String {
    format!("{}:pod/{}", pod.namespace, pod.name)
}

/// A follow of pings that records into a file, and whose capture tshark reads.
fn follow(lab: &Lab, file: &str) -> Result<(Child, Reader)> {
    let [from, to] = [0, 1].map(|number| pod(&lab.pods[number]));
    let mut command = tracer(["follow", "-o", "pcapng", "-w", file])?;
    command.args(lab.agent_args()?);
    command.args(["--proto", "icmp", "--src", &from, "--dst", &to]);
    // Captured frames are the same in the stream and in the file.
    command.args(["--snaplen", "256"]);
    let mut follow = command.stdout(Stdio::piped()).spawn()?;
    let pipe = follow.stdout.take().context("a pipe")?;
    let mut command = process::command("tshark");
    command.args(["-r", "-"]).stdin(pipe);
    Ok((follow, Reader::start(fields(&mut command))?))
}

/// Checks that the recording has the packets that were read live, and no others if `all` were read.
pub(crate) fn check(folder: &TempDir, file: &str, read: &[String], all: bool) -> Result<()> {
    let recorded = packets(&export(folder, file, &["--format", "pcapng"])?)?;
    let mut left = recorded.iter().collect::<BTreeSet<_>>();
    ensure!(left.len() == recorded.len(), "a packet is there twice");
    for packet in read {
        ensure!(left.remove(packet), "not recorded: {packet}");
    }
    ensure!(!all || left.is_empty(), "not read: {left:#?}");
    Ok(())
}

#[test]
fn tshark_reads_a_follow_that_goes_on() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let folder = folder()?;
    let file = folder.path().join("trace.arrows").display().to_string();
    let (mut follow, mut reader) = follow(&lab, &file)?;
    reader.read_pings(&lab)?;
    kill(Pid::from_raw(follow.id().cast_signed()), Signal::SIGINT)?;
    ensure!(ended(&mut follow)?.success());
    check(&folder, &file, &reader.finish()?, true)
}

/// The follow must not wait for the next write, which may never come.
#[test]
fn a_follow_ends_when_its_reader_goes_away() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let folder = folder()?;
    let file = folder.path().join("trace.arrows").display().to_string();
    let (mut follow, mut reader) = follow(&lab, &file)?;
    reader.read_pings(&lab)?;
    reader.signal(Signal::SIGKILL)?;
    ensure!(ended(&mut follow)?.success());
    // The recording has its end.
    ensure!(!printed(&["show", &file])?.contains("middle"));
    Ok(())
}
