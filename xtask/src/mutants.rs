//! Mutation: breaks `verdict` and `journey`, a line at a time, and expects the pure tests to
//! notice. A survivor is a line whose purpose no test states.
//!
//! All of it takes more than a night, so each run takes a share, which the commit determines. Some
//! changes have no visible effect, so no test can notice them. To skip such a change, give the
//! reason in a new file `.cargo/mutants.toml`, which cargo-mutants reads.

use anyhow::Result;
use clap::Args;

use crate::{
    command::{cargo, commit, run_shown},
    setup,
};

/// Which of it.
#[derive(Args)]
pub(crate) struct Options {
    /// Only files whose paths have this in them
    #[arg(long, value_name = "GLOB")]
    file: Vec<String>,
    /// One of so many shares of them
    #[arg(long, default_value_t = SHARES, value_parser = clap::value_parser!(u64).range(1..))]
    shares: u64,
}

/// The number of shares, so that one share fits into a night.
const SHARES: u64 = 16;

/// The files that verdicts come from.
const FILES: [&str; 2] = [
    "tracer/core/src/verdict/**/*.rs",
    "tracer/core/src/journey/**/*.rs",
];

/// Time limit of a test run, s. The pure tests take less, so a mutant that hangs counts as noticed.
const TIMEOUT: &str = "120";

/// Breaks the lines of a share, and fails if tests do not notice.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::bpf()?;
    setup::mutants()?;
    let share = u64::try_from(commit()?)? % options.shares;
    let mut mutants = cargo();
    mutants.args(["mutants", "--package", "tracer-core", "--timeout", TIMEOUT]);
    // The program's tests replay the fixtures.
    for tested in ["tracer-core", "tracer"] {
        mutants.args(["--test-package", tested]);
    }
    mutants.args(["--shard", &format!("{share}/{}", options.shares)]);
    let given = options.file.iter().map(String::as_str);
    let all = FILES.into_iter().filter(|_| options.file.is_empty());
    for file in given.chain(all) {
        mutants.args(["--file", file]);
    }
    // The results are kept outside the sources.
    mutants.args(["--output", "target"]);
    run_shown(mutants.args(["--", "--lib"]))
}
