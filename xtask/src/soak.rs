//! Hours in minutes: clean traffic, as much as the lab carries, recorded and
//! killed again and again. What nothing dropped must not be called dropped, and
//! memory must not grow.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use serde_json::Value;
use tracer_tests::{Lab, LabSpec, Pod, traffic::Flow};

use crate::{
    check,
    command::{release_binary, say},
    setup,
};

/// How long it goes.
#[derive(Args)]
pub(crate) struct Options {
    /// Stop after that many packets of the follow
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    packets: u64,

    /// Kill the recorder after that many seconds, each time
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..))]
    seconds: u64,
}

/// More than a recorder may ever have in memory, bytes.
const MEMORY: u64 = 1 << 30;
/// What a packet may be that nothing happened to; more, if its recorder was
/// started or killed while it was on its way.
const CLEAN: &str = "delivered";
/// See `CLEAN`.
const CUT: [&str; 2] = ["still-open", "before-start"];

/// What came of it so far.
#[derive(Default)]
struct Sums {
    verdicts: BTreeMap<String, u64>,
    rounds: u64,
    /// The most that a recorder had in memory, bytes.
    memory: u64,
    /// Bytes of recordings.
    bytes: u64,
}

/// Runs it.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(
        setup::is_root(),
        "this makes network namespaces and loads kernel programs: run `cargo xtask soak` as root"
    );
    setup::tools()?;
    check::build()?;
    let lab = Lab::new(&LabSpec::default())?;
    let begin = Instant::now();
    let mut sums = Sums::default();
    while packets(&sums) < options.packets {
        round(&lab, Duration::from_secs(options.seconds), &mut sums)?;
        say(format!(
            "{} packets after {} rounds and {} s: {:?}; memory {} MiB, recordings {} MiB",
            packets(&sums),
            sums.rounds,
            begin.elapsed().as_secs(),
            sums.verdicts,
            sums.memory >> 20,
            sums.bytes >> 20,
        ));
    }
    Ok(())
}

fn packets(sums: &Sums) -> u64 {
    sums.verdicts.values().sum()
}

/// Records until the time is over, kills the recorder, and looks at what it
/// left.
fn round(lab: &Lab, time: Duration, sums: &mut Sums) -> Result<()> {
    let file = lab.directory()?.join("soak.arrows");
    let mut recorder = Recorder::start(lab, &file)?;
    let flow = Flow::new(&lab.pods[0], &lab.pods[1]);
    let begin = Instant::now();
    while begin.elapsed() < time {
        for flow in [flow.clone(), flow.clone().v6(true)] {
            ensure!(flow.ping_flood(500)?.is_complete(), "pings went missing");
            ensure!(
                flow.udp_exchange(2_000, 200)?.is_complete(),
                "datagrams went missing"
            );
            ensure!(flow.tcp_connects(50)?.is_complete(), "connections failed");
            ensure!(
                flow.tcp_bulk(20_000_000)?.is_complete(),
                "data went missing"
            );
        }
    }
    sums.memory = sums.memory.max(recorder.memory()?);
    ensure!(sums.memory < MEMORY, "{} bytes of memory", sums.memory);
    recorder.0.kill()?;
    recorder.0.wait()?;

    sums.rounds += 1;
    sums.bytes += fs::metadata(&file)?.len();
    let stats = Command::new(release_binary("tracer")?)
        .args(["stats", "-o", "json", "--group-by", "reason"])
        .arg(&file)
        .output()?;
    ensure!(
        stats.status.success(),
        "the recording cannot be read: {}",
        String::from_utf8_lossy(&stats.stderr)
    );
    let stats: Value = serde_json::from_slice(&stats.stdout)?;
    for share in stats["journeys"].as_array().context("no journeys")? {
        let (Some(kind), Some(journeys)) = (share["verdict"].as_str(), share["journeys"].as_u64())
        else {
            bail!("no share: {share}");
        };
        *sums.verdicts.entry(kind.to_owned()).or_default() += journeys;
    }
    for loss in stats["losses"].as_array().into_iter().flatten() {
        let cut = CUT.iter().any(|cause| loss["reason"] == *cause);
        ensure!(cut, "not {CLEAN}, in clean traffic: {loss}");
    }
    Ok(fs::remove_file(file)?)
}

/// A `tracer record`; killed when this value is dropped.
struct Recorder(Child);

impl Recorder {
    /// Returns once it is attached.
    fn start(lab: &Lab, file: &Path) -> Result<Self> {
        let [from, to] = lab.pods.as_slice() else {
            unreachable!("the default is two nodes with a pod on each");
        };
        let name = |pod: &Pod| format!("{}/{}", pod.namespace, pod.name);
        let said: PathBuf = file.with_extension("err");
        let child = Command::new(release_binary("tracer")?)
            .arg("record")
            .arg("-w")
            .arg(file)
            .args(["--src-pod", &name(from), "--dst-pod", &name(to)])
            .args(["--budget", "2000000", "--ring-size", "256MiB"])
            .args(lab.agent_args()?)
            .stdin(Stdio::null())
            .stderr(fs::File::create(&said)?)
            .spawn()
            .context("cannot run tracer")?;
        let mut recorder = Self(child);
        let deadline = Instant::now() + Duration::from_secs(30);
        while !fs::read_to_string(&said)?.contains("Ctrl-C ends") {
            let ended = recorder.0.try_wait()?;
            let late = Instant::now() > deadline;
            if ended.is_some() || late {
                bail!("it did not start: {}", fs::read_to_string(&said)?);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(recorder)
    }

    /// The most that it had in memory, bytes; its maps are the kernel's.
    fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next());
        let kib: u64 = kib.context("the kernel tells no VmHWM")?.parse()?;
        Ok(kib << 10)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Both fail only for a child that has been waited for already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
