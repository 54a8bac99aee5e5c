//! Checks that take too long for each change: hours of fuzzing, all faults in ten labs each, all
//! kernels, mutation, soak. All parts run even if one fails, and each part has a time limit.

use std::{
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, ValueEnum};
use nix::{
    sys::signal::{SigHandler, Signal, killpg, signal},
    unistd::Pid,
};
use tracer_tests::faults::SEEDS_VARIABLE;

use crate::{
    command::{line, say},
    kernels::ALWAYS,
    setup,
    tally::Summary,
    toolchain::{DISTRIBUTION, OVERRIDE},
};

/// Which of it.
#[derive(Args)]
pub(crate) struct Options {
    /// Only these; else all, in this order
    #[arg(value_enum, value_name = "PART")]
    parts: Vec<Part>,
    /// Give each part at most so many minutes
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: Option<u64>,
}

/// A part of the night's work.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The static programs, each of which must run in an empty folder
    Build,
    /// The lab's tests on all kernels, each of them on one at least
    Kernels,
    /// The lab's tests between two machines, for each pair of kernels and each wiring
    Machines,
    /// The kernel programs of the other compiler, on all kernels
    Compilers,
    /// All faults, each in ten labs, with one wiring and by turns another
    Faults,
    /// Millions of packets without a fault
    Soak,
    /// Half an hour of made-up inputs for each target
    Fuzz,
    /// A part of `verdict` and `journey`, broken line by line: do tests notice?
    Mutants,
}

impl Part {
    /// The arguments for xtask, and its environment.
    fn task(
        self,
    ) -> (
        &'static [&'static str],
        &'static [(&'static str, &'static str)],
    ) {
        match self {
            Self::Build => (&["build"], &[]),
            Self::Kernels => (&["kernels", "all"], &[]),
            Self::Machines => (&["machines"], &[]),
            // Everything else runs with an ordinary nightly, which is preferred.
            Self::Compilers => (
                &["kernels", "all", "--", ALWAYS],
                &[(OVERRIDE, DISTRIBUTION)],
            ),
            Self::Faults => (&["test", "--", "journeys::"], &[(SEEDS_VARIABLE, "10")]),
            Self::Soak => (&["soak", "--packets", "5000000"], &[]),
            Self::Fuzz => (&["fuzz", "--minutes", "30"], &[]),
            Self::Mutants => (&["mutants"], &[]),
        }
    }

    /// The time limit in minutes. A good run on two cores takes less.
    fn minutes(self) -> u64 {
        match self {
            Self::Build | Self::Compilers => 30,
            Self::Kernels | Self::Machines => 90,
            Self::Faults | Self::Fuzz => 180,
            Self::Soak => 60,
            Self::Mutants => 150,
        }
    }

    fn name(self) -> String {
        let value = self.to_possible_value().expect("no part is hidden");
        value.get_name().to_owned()
    }
}

/// How long a part may take to tidy up after it was asked to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether a signal has asked this program to end.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Runs the parts one after the other.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(
        setup::is_root(),
        "this makes network namespaces and loads kernel programs: run `cargo xtask nightly` as root"
    );
    note_interrupts()?;
    let mut parts = options.parts.clone();
    if parts.is_empty() {
        parts = Part::value_variants().to_vec();
    }
    let mut summary = Summary::default();
    for (number, part) in (1..).zip(&parts) {
        let minutes = options.minutes.unwrap_or(part.minutes());
        say(format!(
            "part {number} of {}, {}: at most {minutes} minutes",
            parts.len(),
            part.name()
        ));
        let limit = Duration::from_secs(60 * minutes);
        if let Err(error) = summary.part(part.name(), |_| run_part(*part, limit)) {
            say(format!("{}: {error:#}", part.name()));
        }
        if INTERRUPTED.load(Ordering::Relaxed) {
            break;
        }
    }
    print!("{summary}");
    let failed = summary.failed();
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

/// Runs a part as a separate program, so that it can be ended.
fn run_part(part: Part, limit: Duration) -> Result<()> {
    let (args, environment) = part.task();
    let mut task = Command::new(std::env::current_exe()?);
    task.args(args).envs(environment.iter().copied());
    say(line(&task));
    // The part gets its own process group, to be ended with all that it has started.
    let task = task.stdin(Stdio::null()).process_group(0);
    let mut child = task.spawn().context("cannot run xtask once more")?;
    let deadline = Instant::now() + limit;
    let late = loop {
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "it failed ({status})");
            return Ok(());
        }
        let late = Instant::now() > deadline;
        if late || INTERRUPTED.load(Ordering::Relaxed) {
            break late;
        }
        thread::sleep(Duration::from_millis(100));
    };
    end(&mut child)?;
    if late {
        bail!("it took longer than {} minutes", limit.as_secs() / 60);
    }
    bail!("it was interrupted");
}

/// Ends a program and all that it has started. SIGINT comes first, because each program takes down
/// its own labs.
fn end(child: &mut Child) -> Result<()> {
    let group = Pid::from_raw(child.id().cast_signed());
    let deadline = Instant::now() + PATIENCE;
    killpg(group, Signal::SIGINT).context("cannot end it")?;
    while child.try_wait()?.is_none() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(100));
    }
    // This fails if no process of the group is left.
    let _ = killpg(group, Signal::SIGKILL);
    child.wait()?;
    Ok(())
}

/// Keeps this program alive on Ctrl-C, so that it ends the running part and prints the summary.
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
