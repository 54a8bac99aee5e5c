//! A Kubernetes cluster on this machine: three nodes that run the programs of real nodes. Each node
//! has its own network, mount, process and host name namespaces.
//!
//! - `programs`: compiles programs once and keeps them, with Debian's packages.
//! - `image`: container images, made from files.
//! - `place`: paths and names.
//! - `keys`: certificates and kubeconfigs.
//! - `network`: the wire between the machines.
//! - `machine`: the namespaces of one machine, and its first process.
//! - `control`, `node`: the services of the machines.
//!
//! No file lists the cluster's processes. `down` finds all of them by their namespaces, so it also
//! tidies up after an `up` that was killed.

mod control;
mod image;
mod keys;
mod machine;
mod network;
mod node;
mod place;
mod programs;

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Subcommand, ValueEnum};
use nix::{
    fcntl::{Flock, FlockArg},
    sys::signal::{SigHandler, Signal, signal},
};

use crate::{
    check,
    command::{self, say},
    dist, setup,
    tally::{Summary, Tally},
};
use place::{NODES, Place};

/// What is done with it.
#[derive(Subcommand)]
pub(crate) enum Task {
    /// Compile its programs, if they are not kept already (most of an hour)
    #[command(after_help = "Example:\n  cargo xtask cluster build")]
    Build,
    /// Start it; it runs until it is taken down (root)
    #[command(after_help = "\
Examples:
  cargo xtask cluster up
  cargo xtask cluster up --backend ipip --proxy nftables")]
    Up(Wiring),
    /// End all of it, and remove what it made (root)
    #[command(after_help = "Example:\n  cargo xtask cluster down")]
    Down,
    /// Run the tests that need one (root)
    ///
    /// Uses the cluster that is up, else starts one and takes it down at the end.
    #[command(after_help = "\
Examples:
  cargo xtask cluster test
  cargo xtask cluster test -- restart --nocapture")]
    Test {
        /// For the test program: names of tests, and their options
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// The first process of one of its machines
    #[command(hide = true)]
    Init {
        /// The machine
        machine: String,
        /// How it is wired
        #[command(flatten)]
        wiring: Wiring,
    },
}

/// How its nodes are wired.
#[derive(Clone, Copy, clap::Args)]
pub(crate) struct Wiring {
    /// How Flannel carries pods' packets between nodes
    #[arg(long, value_enum, default_value_t = Backend::Vxlan)]
    backend: Backend,
    /// What kube-proxy writes its rules for
    #[arg(long, value_enum, default_value_t = Proxy::Iptables)]
    proxy: Proxy,
}

/// A backend of Flannel.
#[derive(Clone, Copy, ValueEnum)]
enum Backend {
    Vxlan,
    HostGw,
    Ipip,
}

/// A mode of kube-proxy.
#[derive(Clone, Copy, ValueEnum)]
enum Proxy {
    Iptables,
    Nftables,
}

/// The word for an option's value, as clap reads it.
fn word(value: &impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

/// The variable that tells the tests where the cluster's files are.
const PLACE: &str = "TRACER_CLUSTER";
/// CI's last line if no programs are kept.
const NOT_RUN: &str = "cluster: NOT RUN";
/// The time limit for nodes to become ready on a busy machine.
const READY: Duration = Duration::from_secs(240);
/// The duration after which a wait is worth a line.
const A_WHILE: Duration = Duration::from_secs(3);
/// CI's time limit for the cluster and its tests, without the build.
const CI_LIMIT: Duration = Duration::from_secs(6 * 60);

/// Runs one of the tasks.
pub(crate) fn run(task: &Task) -> Result<()> {
    let place = Place::new()?;
    if let Task::Init { machine, wiring } = task {
        return machine::init(&place, machine, *wiring);
    }
    match task {
        Task::Build => programs::build(&place),
        Task::Up(wiring) => {
            root()?;
            programs::build(&place)?;
            up(&place, *wiring)
        }
        Task::Down => {
            root()?;
            down(&place)
        }
        Task::Test { args } => {
            root()?;
            programs::build(&place)?;
            let mut summary = Summary::default();
            let ran = test(&place, args, None, &mut summary);
            print!("{summary}");
            ran
        }
        Task::Init { .. } => Ok(()),
    }
}

/// CI's share: runs the tests if the programs are kept, and otherwise returns the reason.
///
/// # Errors
/// If a test fails.
pub(crate) fn run_if_kept(summary: &mut Summary) -> Result<Option<String>> {
    let place = Place::new()?;
    if let Some(why) = not_run(&place) {
        return Ok(Some(why));
    }
    root()?;
    setup::cluster()?;
    test(&place, &[], Some(CI_LIMIT), summary).map(|()| None)
}

/// The reason why the tests do not run, if programs are missing.
fn not_run(place: &Place) -> Option<String> {
    let missing = programs::kept(place).err()?;
    Some(format!(
        "{missing:#}: `cargo xtask cluster build` makes them\n{NOT_RUN}"
    ))
}

fn root() -> Result<()> {
    ensure!(
        setup::is_root(),
        "a cluster takes namespaces, mounts and cgroups: run this as root"
    );
    Ok(())
}

/// Starts the whole cluster, or nothing.
fn up(place: &Place, wiring: Wiring) -> Result<()> {
    fs::create_dir_all(place.root())?;
    let lock = fs::File::create(place.root().join("lock"))?;
    let Ok(_lock) = Flock::lock(lock, FlockArg::LockExclusiveNonblock) else {
        bail!("another `cargo xtask cluster` is starting one now");
    };
    ensure!(
        !place.run().exists(),
        "there is a cluster, or what is left of one: `cargo xtask cluster down` removes it"
    );
    note_interrupts()?;
    let begin = Instant::now();
    let started = start(place, wiring);
    if let Err(error) = started {
        say("the cluster did not start: it is taken down");
        keep_logs(place);
        down(place)?;
        return Err(error);
    }
    say(format!(
        "{} nodes are ready after {:.0} s",
        NODES.len(),
        begin.elapsed().as_secs_f64()
    ));
    say(format!("from outside the nodes: {}", place.example()));
    Ok(())
}

fn start(place: &Place, wiring: Wiring) -> Result<()> {
    keys::make(place)?;
    network::wire()?;
    if matches!(wiring.backend, Backend::Ipip) {
        network::has_ipip()?;
    }
    machine::start(place, place::CONTROL, wiring)?;
    wait("the API server answers", || {
        Ok(place.kubectl(&["get", "--raw", "/readyz"]).is_ok())
    })?;
    place.apply(include_str!(
        "../../../tests/cluster/manifests/flannel.yaml"
    ))?;
    for node in NODES {
        machine::start(place, node, wiring)?;
    }
    place.apply(include_str!("../../../tests/cluster/manifests/dns.yaml"))?;
    wait("every node is ready", || {
        let nodes = place.kubectl(&["get", "nodes", "--no-headers"])?;
        let ready = nodes.lines().filter(|line| line.contains(" Ready"));
        Ok(ready.count() == NODES.len())
    })?;
    // This manifest comes last, so that its pods spread over all nodes.
    place.apply(include_str!("../../../tests/cluster/manifests/shop.yaml"))?;
    wait("every pod is ready", || {
        let query =
            "jsonpath={range .items[*]}{.status.conditions[?(@.type==\"Ready\")].status} {end}";
        let ready = place.kubectl(&["get", "pods", "-A", "-o", query])?;
        let mut ready = ready.split_whitespace().peekable();
        Ok(ready.peek().is_some() && ready.all(|status| status == "True"))
    })
}

/// Whether there is a cluster that answers: its processes may have been killed.
fn is_up(place: &Place) -> bool {
    place.run().exists() && place.kubectl(&["get", "--raw", "/readyz"]).is_ok()
}

/// Waits until `is_so` holds, and prints a line if that takes a while.
fn wait(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let begin = Instant::now();
    let deadline = begin + READY;
    let mut said = false;
    loop {
        ensure!(!INTERRUPTED.load(Ordering::Relaxed), "it was interrupted");
        // Until the deadline, an error is a reason to wait, too.
        let last = is_so();
        if matches!(last, Ok(true)) {
            return Ok(());
        }
        if !said && begin.elapsed() > A_WHILE {
            say(format!("waiting until {what}"));
            said = true;
        }
        if Instant::now() > deadline {
            last?;
            bail!("{} s later, not yet: {what}", READY.as_secs());
        }
        thread::sleep(Duration::from_millis(250));
    }
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Keeps this program alive on Ctrl-C, so that it takes down what it has started.
fn note_interrupts() -> Result<()> {
    extern "C" fn note(_: i32) {
        INTERRUPTED.store(true, Ordering::Relaxed);
    }
    for asked in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the handler only stores to an atomic, which any signal may interrupt.
        unsafe { signal(asked, SigHandler::Handler(note)) }.context("cannot wait for signals")?;
    }
    Ok(())
}

/// Keeps the logs of a cluster that failed, until the next one fails.
fn keep_logs(place: &Place) {
    let kept = place.root().join("failed");
    // Both fail if there are no logs, and then there is nothing to tell.
    let _ = fs::remove_dir_all(&kept);
    if fs::rename(place.logs(), &kept).is_ok() {
        say(format!("what its programs said is in {}", kept.display()));
    }
}

/// Ends every process in the cluster's namespaces, and removes what it made.
fn down(place: &Place) -> Result<()> {
    // A user who interrupts an earlier step wants the cluster to be taken down.
    INTERRUPTED.store(false, Ordering::Relaxed);
    network::end()?;
    machine::remove_cgroups()?;
    remove(&place.run())?;
    say("there is no cluster any more");
    Ok(())
}

/// Removes a directory, if it exists.
fn remove(directory: &Path) -> Result<()> {
    if !directory.exists() {
        return Ok(());
    }
    fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))
}

/// Runs the tests on the cluster that is up, or on one that is started for them.
fn test(
    place: &Place,
    args: &[String],
    limit: Option<Duration>,
    summary: &mut Summary,
) -> Result<()> {
    summary.part("build for the cluster", |_| {
        check::build_with_tests()?;
        let agent = dist::agent_for_tests()?;
        // A test gives this image to the nodes.
        let archive = agent.with_file_name(crate::image::ARCHIVE);
        crate::image::tracer(&agent, &archive).map(drop)
    })?;
    // The limit is without the build, which takes longer than all tests the first time.
    let begin = Instant::now();
    let own = !is_up(place);
    if own {
        if place.run().exists() {
            say("the cluster that was here is dead: it is taken down");
            down(place)?;
        }
        let wiring = Wiring {
            backend: Backend::Vxlan,
            proxy: Proxy::Iptables,
        };
        summary.part("cluster up", |_| up(place, wiring))?;
    }
    let run = place.run();
    let told = [(PLACE, run.as_os_str())];
    let tested = summary.part("cluster", |tally: &mut Tally| {
        // The tests share the cluster, and some of them break it for a while.
        let mut args = args.to_owned();
        args.push("--test-threads=1".to_owned());
        let passed = check::run_one(&["--test", "cluster"], &args, &told, tally)?;
        ensure!(passed, "tests failed on the cluster");
        ensure!(tally.ran > 0, "no test ran on the cluster");
        Ok(())
    });
    if own {
        if tested.is_err() {
            keep_logs(place);
        }
        summary.part("cluster down", |_| down(place))?;
    }
    tested?;
    if let Some(limit) = limit {
        ensure!(
            begin.elapsed() < limit,
            "the cluster's tests took {} s, of {} s that CI has for them",
            begin.elapsed().as_secs(),
            limit.as_secs()
        );
    }
    Ok(())
}

/// Runs a program that fails only if something is wrong with the machine.
fn must(line: &str) -> Result<()> {
    let mut words = line.split_whitespace();
    let program = words.next().context("there is no command")?;
    command::run(std::process::Command::new(program).args(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_is_kept_the_last_line_says_that_nothing_ran() {
        let why = not_run(&Place::below("/nowhere".as_ref())).expect("there is nothing");
        assert_eq!(why.lines().last(), Some("cluster: NOT RUN"));
        assert!(why.contains("cargo xtask cluster build"), "{why}");
    }
}
