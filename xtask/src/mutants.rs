//! Mutation: `verdict` and `journey` are broken, a line at a time, and the pure tests
//! have to notice. A survivor is a line of which no test says what it is for.
//!
//! All of it takes a night and more, so each run takes a share, as the commit says.
//! What a test cannot notice, because it changes nothing that anybody sees, stands in
//! `.cargo/mutants.toml` with the reason.

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

/// What a night has time for, of all.
const SHARES: u64 = 16;

/// Where verdicts come from.
const FILES: [&str; 2] = [
    "tracer/core/src/verdict/**/*.rs",
    "tracer/core/src/journey/**/*.rs",
];

/// More than the pure tests take, s: a mutant that hangs is one that they notice.
const TIMEOUT: &str = "120";

/// Breaks a share, and fails if tests do not notice.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::bpf()?;
    setup::mutants()?;
    let share = u64::try_from(commit()?)? % options.shares;
    let mut mutants = cargo();
    mutants.args(["mutants", "--package", "tracer-core", "--timeout", TIMEOUT]);
    // The fixtures are replayed by the tests of the program.
    for tested in ["tracer-core", "tracer"] {
        mutants.args(["--test-package", tested]);
    }
    mutants.args(["--shard", &format!("{share}/{}", options.shares)]);
    let given = options.file.iter().map(String::as_str);
    let all = FILES.into_iter().filter(|_| options.file.is_empty());
    for file in given.chain(all) {
        mutants.args(["--file", file]);
    }
    // What came of each is kept outside the sources.
    mutants.args(["--output", "target"]);
    run_shown(mutants.args(["--", "--lib"]))
}
