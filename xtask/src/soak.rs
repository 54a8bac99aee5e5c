//! Hours in minutes: records clean traffic, as much as the lab carries. The recorder is killed in
//! the middle again and again, while one follow lives through all of it. No packet may be called
//! dropped, and memory must not grow.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use clap::Args;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
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

/// Memory limit of a tracer, bytes.
const MEMORY: u64 = 1 << 30;
/// Limit of the follow's growth in memory after its first round, bytes. The memory that an
/// allocator holds back varies.
const GROWTH: u64 = 64 << 20;
/// The verdict on a packet of clean traffic.
const CLEAN: &str = "delivered";
/// The other causes that are allowed, for packets on their way while a recorder starts or is
/// killed.
const CUT: [&str; 3] = ["still-open", "before-start", "events-lost"];
/// The packets of so many seconds may be cut off.
const ON_THE_WAY: u64 = 2;

/// The sums so far.
#[derive(Default)]
struct Sums {
    verdicts: BTreeMap<String, u64>,
    rounds: u64,
    /// The highest memory use of a recorder, bytes.
    memory: u64,
    /// The size of all recordings, bytes.
    bytes: u64,
}

/// Runs the task.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(
        setup::is_root(),
        "this makes network namespaces and loads kernel programs: run `cargo xtask soak` as root"
    );
    setup::tools()?;
    check::build()?;
    let lab = Lab::new(&LabSpec::default())?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let traffic = scope.spawn(|| {
            let sent = send_until(&lab, &over);
            over.store(true, Ordering::Relaxed);
            sent
        });
        let soaked = soak(&lab, options, &over);
        over.store(true, Ordering::Relaxed);
        let sent = traffic
            .join()
            .map_err(|_| anyhow!("the traffic panicked"))?;
        // A failure of the traffic ends everything, and is reported first.
        sent.and(soaked)
    })
}

/// Sends clean traffic without a pause.
fn send_until(lab: &Lab, over: &AtomicBool) -> Result<()> {
    let flow = Flow::new(&lab.pods[0], &lab.pods[1]);
    let flows = [flow.clone(), flow.v6(true)];
    for flow in flows.iter().cycle() {
        if over.load(Ordering::Relaxed) {
            break;
        }
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
    Ok(())
}

/// Starts and kills recorders until enough packets were recorded.
fn soak(lab: &Lab, options: &Options, over: &AtomicBool) -> Result<()> {
    let begin = Instant::now();
    let follow = Tracer::follow(lab)?;
    let mut sums = Sums::default();
    let mut at_first = None;
    while packets(&sums) < options.packets && !over.load(Ordering::Relaxed) {
        round(lab, Duration::from_secs(options.seconds), &mut sums)?;
        let (now, most) = (follow.memory("VmRSS:")?, follow.memory("VmHWM:")?);
        let first = *at_first.get_or_insert(now);
        ensure!(
            now < first + GROWTH && most < MEMORY,
            "the follow has {now} bytes of memory, {first} after the first round, {most} at most"
        );
        say(format!(
            "{} packets after {} rounds and {} s: {:?}; memory {} MiB, of the follow {} MiB; \
             recordings {} MiB",
            packets(&sums),
            sums.rounds,
            begin.elapsed().as_secs(),
            sums.verdicts,
            sums.memory >> 20,
            now >> 20,
            sums.bytes >> 20,
        ));
    }
    say(format!("the follow saw {:?}", follow.end()?));
    Ok(())
}

fn packets(sums: &Sums) -> u64 {
    sums.verdicts.values().sum()
}

/// Records for a time, kills the recorder with packets on their way, and examines the recording.
fn round(lab: &Lab, time: Duration, sums: &mut Sums) -> Result<()> {
    let file = lab.directory()?.join("soak.arrows");
    let mut recorder = Tracer::record(lab, &file)?;
    thread::sleep(time);
    sums.memory = sums.memory.max(recorder.memory("VmHWM:")?);
    ensure!(sums.memory < MEMORY, "{} bytes of memory", sums.memory);
    recorder.child.kill()?;
    recorder.child.wait()?;

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
    let stats = serde_json::from_slice(&stats.stdout)?;
    judge(&stats, time.as_secs(), sums)?;
    Ok(fs::remove_file(file)?)
}

/// Checks the statistics of a recording of clean traffic, which took `seconds`.
fn judge(stats: &Value, seconds: u64, sums: &mut Sums) -> Result<()> {
    let (mut all, mut cut) = (0, 0);
    for share in stats["journeys"].as_array().context("no journeys")? {
        let (Some(kind), Some(journeys)) = (share["verdict"].as_str(), share["journeys"].as_u64())
        else {
            bail!("no share: {share}");
        };
        *sums.verdicts.entry(kind.to_owned()).or_default() += journeys;
        all += journeys;
    }
    for loss in stats["losses"].as_array().into_iter().flatten() {
        let is_cut = CUT.iter().any(|cause| loss["reason"] == *cause);
        ensure!(is_cut, "not {CLEAN}, in clean traffic: {loss}");
        cut += loss["journeys"].as_u64().unwrap_or_default();
    }
    ensure!(
        cut * seconds <= all * ON_THE_WAY,
        "{cut} of {all} packets were cut off"
    );
    Ok(())
}

/// A running `tracer`, which is killed when this value is dropped.
struct Tracer {
    child: Child,
    /// Counts the verdicts in its output.
    counter: Option<thread::JoinHandle<BTreeMap<String, u64>>>,
}

impl Tracer {
    /// Records into `file`.
    fn record(lab: &Lab, file: &Path) -> Result<Self> {
        let mut command = command(lab, "record")?;
        command.arg("-w").arg(file);
        command.args(["--budget", "2000000", "--ring-size", "64MiB"]);
        Self::start(command, &file.with_extension("err"), "Ctrl-C ends")
    }

    /// Follows, and counts the verdicts. A low budget makes it a sample, so that it leaves CPU time
    /// for the recorders.
    fn follow(lab: &Lab) -> Result<Self> {
        let mut command = command(lab, "follow")?;
        command.args(["-o", "json", "--budget", "2000"]);
        command.stdout(Stdio::piped());
        let mut follow = Self::start(command, &lab.directory()?.join("follow.err"), "")?;
        let shown = follow.child.stdout.take().context("it is piped")?;
        follow.counter = Some(thread::spawn(|| count(shown)));
        Ok(follow)
    }

    /// Starts `tracer`, and returns once its stderr contains `ready`.
    fn start(mut command: Command, said: &PathBuf, ready: &str) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stderr(fs::File::create(said)?)
            .spawn()
            .context("cannot run tracer")?;
        let mut tracer = Self {
            child,
            counter: None,
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !fs::read_to_string(said)?.contains(ready) {
            let ended = tracer.child.try_wait()?;
            let late = Instant::now() > deadline;
            if ended.is_some() || late {
                bail!("it did not start: {}", fs::read_to_string(said)?);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(tracer)
    }

    /// Its present or its highest memory use, in bytes, without the maps, which belong to the
    /// kernel.
    fn memory(&self, what: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(what));
        let kib = line.and_then(|line| line.split_whitespace().next());
        let kib: u64 = kib.context("the kernel tells nothing of memory")?.parse()?;
        Ok(kib << 10)
    }

    /// Ends the follow, and returns its verdicts. Events beyond its budget make journeys unknown,
    /// but never dropped or lost.
    fn end(mut self) -> Result<BTreeMap<String, u64>> {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT)?;
        let counter = self.counter.take().context("nobody counts")?;
        let verdicts = counter.join().map_err(|_| anyhow!("the count panicked"))?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the follow ended with {status}");
        let allowed = |kind: &str| [CLEAN, "unknown"].contains(&kind);
        ensure!(
            verdicts.keys().all(|kind| allowed(kind)) && verdicts.contains_key(CLEAN),
            "the follow saw {verdicts:?} in clean traffic"
        );
        Ok(verdicts)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Both fail only if the child was waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A `tracer` between the lab's first pods.
fn command(lab: &Lab, name: &str) -> Result<Command> {
    let [from, to] = lab.pods.as_slice() else {
        unreachable!("the default is two nodes with a pod on each");
    };
    let full_name = |pod: &Pod| format!("{}/{}", pod.namespace, pod.name);
    let mut command = Command::new(release_binary("tracer")?);
    command
        .arg(name)
        .args(["--src-pod", &full_name(from), "--dst-pod", &full_name(to)])
        .args(lab.agent_args()?);
    Ok(command)
}

/// Counts the journeys in JSON lines by verdict, without parsing each line.
fn count(shown: ChildStdout) -> BTreeMap<String, u64> {
    let mut verdicts = BTreeMap::new();
    for line in BufReader::new(shown).lines().map_while(Result::ok) {
        let kind = line.split_once("\"verdict\":{\"kind\":\"");
        if let Some((kind, _)) = kind.and_then(|(_, rest)| rest.split_once('"')) {
            *verdicts.entry(kind.to_owned()).or_default() += 1;
        }
    }
    verdicts
}
