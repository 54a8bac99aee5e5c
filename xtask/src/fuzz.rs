//! Fuzzing: runs each target of `fuzz/` for a number of inputs.
//!
//! Ordinary tests run the kept inputs through the same code, and this task looks for more. It needs
//! a nightly compiler, for the sanitizer and for coverage, and cargo-fuzz, which drives libFuzzer.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::{
    command::{self, say},
    setup,
};

/// The fuzz targets, beginning with the fastest.
const TARGETS: &[&str] = &["walk", "query", "commands", "decode", "journey", "trace"];

/// Limit of an input, bytes: some dozen events, or twice a record.
const MAX_LEN: u32 = 512;

/// Memory limit of a target, MiB. Using more is a finding.
const MAX_MEMORY: u32 = 1024;

#[derive(Args)]
pub(crate) struct Options {
    /// Only this one
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(TARGETS))]
    target: Option<String>,
    /// Inputs to make up for each target
    #[arg(long, default_value_t = 1_000_000)]
    runs: u64,
    /// Make up inputs for so many minutes instead, for each target
    #[arg(long, conflicts_with = "runs", value_parser = clap::value_parser!(u64).range(1..))]
    minutes: Option<u64>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    setup::bpf()?;
    setup::fuzzer()?;
    let chosen = options.target.as_deref();
    let targets = TARGETS
        .iter()
        .copied()
        .filter(|target| chosen.is_none_or(|chosen| chosen == *target));
    for target in targets {
        fuzz(target, options)?;
    }
    Ok(())
}

fn fuzz(target: &str, options: &Options) -> Result<()> {
    let (bound, bore) = match options.minutes {
        Some(minutes) => (
            format!("-max_total_time={}", 60 * minutes),
            format!("{minutes} minutes of inputs"),
        ),
        None => (
            format!("-runs={}", options.runs),
            format!("{} inputs", options.runs),
        ),
    };
    let folder = folder();
    // libFuzzer writes new inputs to the first folder, and only reads the others.
    let made_up = folder.join("target").join("corpus").join(target);
    fs::create_dir_all(&made_up)?;
    let before = findings(target);
    let mut cargo = setup::nightly_cargo();
    cargo
        .args(["fuzz", "run", "--sanitizer", setup::sanitizer()?])
        .arg("--fuzz-dir")
        .arg(&folder)
        .arg(target)
        .arg(&made_up)
        .arg(folder.join("corpus").join(target));
    let found = folder.join("found").join(target);
    if found.is_dir() {
        cargo.arg(found);
    }
    cargo
        .arg("--")
        .arg(bound)
        .arg(format!("-max_len={MAX_LEN}"))
        .arg(format!("-rss_limit_mb={MAX_MEMORY}"))
        .arg("-print_final_stats=1")
        // Where memory was allocated matters only after a finding.
        .env(
            "ASAN_OPTIONS",
            "detect_odr_violation=0:malloc_context_size=0",
        );
    let ran = command::run_shown(&mut cargo);
    let new: Vec<PathBuf> = findings(target)
        .into_iter()
        .filter(|path| !before.contains(path))
        .collect();
    if let Some(input) = new.first() {
        ensure!(
            ran.is_ok(),
            "`{target}` does not bear {}: what is wrong stands above; once it is mended, keep \
             that file in fuzz/found/{target}",
            input.display()
        );
    }
    ran.with_context(|| format!("`{target}` could not be fuzzed to the end"))?;
    say(format!("`{target}` bore {bore}"));
    Ok(())
}

/// The folder of the targets and their inputs.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

/// The inputs that broke a target.
fn findings(target: &str) -> Vec<PathBuf> {
    let folder = folder().join("artifacts").join(target);
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}
