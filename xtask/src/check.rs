//! Runs the tests and builds what they need: tier by tier, in the release profile.
//!
//! Everything is compiled in the release profile, also for lints and docs. With one profile, cargo
//! builds `tracer` and its kernel programs once, and tests see the timing that users see. For the
//! same reason, packages are never chosen by name. With fewer packages, cargo gives dependencies
//! fewer features, and builds everything once more.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead as _, BufReader, IsTerminal as _, Write as _, stdout},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tracer_tests::faults::TURN_VARIABLE;

use crate::{
    command::{cargo, commit, line, release_binary, run_shown, say},
    kernels::nodes,
    setup,
    tally::{Summary, Tally},
};

/// The variable that tells the tests which `tracer` to run.
pub(crate) const BINARY: &str = "TRACER_BIN";

/// The variable that tells the tests which Python has the packages that read traces.
pub(crate) const PYTHON: &str = "TRACER_PYTHON";

/// Runs of cargo that have the same needs.
struct Tier {
    name: &'static str,
    what: &'static str,
    runs: &'static [&'static [&'static str]],
    /// Parts of the names of tests that belong to another tier.
    except: &'static [&'static str],
    root: bool,
}

/// Part of the names of tests that need a cluster.
pub(crate) const CLUSTER: &str = "real_cluster::";

/// The tiers, beginning with the one that needs least.
const TIERS: &[Tier] = &[
    Tier {
        name: "pure",
        what: "unit and property tests, examples in the docs",
        runs: &[&["--lib", "--bins"], &["--doc"]],
        except: &[],
        root: false,
    },
    Tier {
        name: "lab",
        what: "real packets between network namespaces",
        runs: &[&["--test", "*"]],
        except: &[CLUSTER, nodes::TESTS],
        root: true,
    },
];

/// Runs all tests, tier by tier. `args` go to the test programs.
pub(crate) fn test(args: &[String]) -> Result<()> {
    let mut summary = Summary::default();
    let tested = test_into(args, &mut summary);
    print!("{summary}");
    tested
}

/// As [`test()`], with the result of each tier in a summary.
pub(crate) fn test_into(args: &[String], summary: &mut Summary) -> Result<()> {
    let python = summary.part("build", |_| {
        setup::tools()?;
        setup::bpf()?;
        let python = setup::python()?;
        build_with_tests()?;
        Ok(python)
    })?;
    for tier in TIERS {
        say(format!("tests, tier {}: {}", tier.name, tier.what));
        ensure!(
            !tier.root || setup::is_root(),
            "this tier makes network namespaces and loads kernel programs: run `cargo xtask test` as root"
        );
        let mut chosen = args.to_owned();
        for except in tier.except {
            chosen.extend(["--skip", except].map(str::to_owned));
        }
        // The other tiers run even if one fails.
        let _failed = summary.part(tier.name, |tally| {
            let mut passed = true;
            for selection in tier.runs {
                let told = [(PYTHON, python.as_os_str())];
                passed &= run_one(selection, &chosen, &told, tally)?;
            }
            ensure!(passed, "tests failed");
            // Arguments may choose tests from one tier only.
            ensure!(tally.ran > 0 || !args.is_empty(), "no test ran");
            Ok(())
        });
    }
    let failed = summary.failed();
    ensure!(
        failed.is_empty(),
        "tests failed in the tier {}",
        failed.join(", ")
    );
    ensure!(summary.ran() > 0, "no test ran: no test has this name");
    Ok(())
}

/// Runs `cargo test` once. Returns whether the tests passed.
pub(crate) fn run_one(
    selection: &[&str],
    args: &[String],
    environment: &[(&str, &OsStr)],
    tally: &mut Tally,
) -> Result<bool> {
    let mut command = cargo();
    command
        .args(["test", "--release", "--no-fail-fast"])
        .args(selection)
        .arg("--");
    if stdout().is_terminal() {
        command.args(["--color", "always"]);
    }
    command
        .args(args)
        .envs(environment.iter().copied())
        .env(BINARY, release_binary("tracer")?);
    // Without git, tests that take turns have no number.
    if env::var_os(TURN_VARIABLE).is_none()
        && let Ok(turn) = commit()
    {
        command.env(TURN_VARIABLE, turn.to_string());
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;

    let output = child.stdout.take().context("cargo has no output")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        tally.hear(&String::from_utf8_lossy(&line));
        let mut stdout = stdout().lock();
        stdout.write_all(&line)?;
        stdout.write_all(b"\n")?;
    }
    Ok(child.wait()?.success())
}

/// Builds the test programs, and returns their paths.
pub(crate) fn test_programs() -> Result<Vec<PathBuf>> {
    let mut cargo = cargo();
    cargo.args(["test", "--release", "--test", "*", "--no-run"]);
    // cargo also builds the programs that the tests need.
    let programs = built(&mut cargo, |message| message["profile"]["test"] == true)?;
    ensure!(!programs.is_empty(), "cargo has built no test program");
    Ok(programs)
}

/// Runs a command of cargo that builds, and returns the paths of the `wanted` programs.
pub(crate) fn built(cargo: &mut Command, wanted: fn(&Value) -> bool) -> Result<Vec<PathBuf>> {
    cargo.args(["--message-format", "json-render-diagnostics"]);
    let built = cargo
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(built.status.success(), "`{}` failed", line(cargo));
    let messages = serde_json::Deserializer::from_slice(&built.stdout).into_iter::<Value>();
    let mut programs = Vec::new();
    for message in messages {
        let message = message?;
        if let Some(program) = message["executable"].as_str().filter(|_| wanted(&message)) {
            programs.push(PathBuf::from(program));
        }
    }
    Ok(programs)
}

/// Whether a test program has any of the tests that `args` choose.
pub(crate) fn has_tests(program: &Path, args: &[String]) -> Result<bool> {
    let mut list = Command::new(program);
    let listed = list.args(["--list", "--format", "terse"]).args(args);
    let listed = listed.stderr(Stdio::inherit()).output()?;
    ensure!(listed.status.success(), "`{}` failed", line(&list));
    Ok(!listed.stdout.is_empty())
}

/// Runs the benchmark. `args` go to it.
pub(crate) fn bench(args: &[String]) -> Result<()> {
    setup::tools()?;
    setup::bpf()?;
    ensure!(
        setup::is_root() || args == ["events"],
        "the benchmark loads kernel programs: run `cargo xtask bench` as root, or only the part \
         that needs none: `cargo xtask bench -- events`"
    );
    build()?;
    let mut bench = cargo();
    bench.args(["bench", "--bench", "*", "--"]).args(args);
    run_shown(bench.env(BINARY, release_binary("tracer")?))
}

/// Builds `tracer` and the tests that run it. With tests, dependencies get more features, so a
/// separate build of `tracer` would compile it twice.
pub(crate) fn build_with_tests() -> Result<()> {
    setup::bpf()?;
    run_shown(cargo().args(["build", "--release", "--bins", "--tests"]))
}

/// Builds `tracer` as users run it.
pub(crate) fn build() -> Result<()> {
    setup::bpf()?;
    run_shown(cargo().args(["build", "--release", "--bins"]))
}
