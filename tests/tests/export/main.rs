//! Exports of recordings. The programs for which they are made read them, and the tests compare
//! them with a replay of the same recordings. The tests need no root, except `captured`,
//! `expect`, `extcap` and `live`.

// Bundles, read by tar.
mod bundle;
// Captured bytes, read by tshark.
mod captured;
// Errors for bad recordings and places, and the files that stay.
mod endings;
// Flows that must or must not pass.
mod expect;
// The capture interface, read by tshark.
mod extcap;
// Pages, read by Chromium.
mod html;
// Exports that are imported again.
mod import;
// Unfinished captures, read by tshark.
mod live;
// Tables, read by pyarrow and DuckDB.
mod parquet;
// Captures, read by tshark.
mod pcapng;
// The profile beside a capture, read by tshark.
mod profile;
// The schema of JSON lines and documents.
mod schema;
// The names of Services.
mod services;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tracer_tests::{process, program::run};

/// A recording in the repository.
fn fixture(name: &str) -> String {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    fixtures
        .join(format!("{name}.arrows"))
        .display()
        .to_string()
}

/// A folder that is removed with the test.
fn folder() -> Result<TempDir> {
    Ok(tempfile::tempdir()?)
}

/// The names in a folder.
fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder)?.map(|entry| {
        let name = entry?.file_name().into_string();
        name.ok().context("a name in UTF-8")
    });
    let mut names: Vec<String> = entries.collect::<Result<_>>()?;
    names.sort();
    Ok(names)
}

/// Exports a recording into a folder, and returns the path.
fn export(folder: &TempDir, recording: &str, args: &[&str]) -> Result<PathBuf> {
    let path = folder.path().join("out");
    let out = path.display().to_string();
    let ended = run([&["export", recording, "-o", &out], args].concat())?;
    ensure!(ended.status.success(), "{recording}: {}", ended.stderr);
    Ok(path)
}

/// The output of `tracer`.
fn printed(args: &[&str]) -> Result<String> {
    let ended = run(args)?;
    ensure!(ended.status.success(), "{args:?}: {}", ended.stderr);
    Ok(ended.stdout)
}

/// The journeys of a recording, as `tracer replay -o json` shows them.
fn journeys(recording: &str) -> Result<Vec<Value>> {
    let printed = printed(&["replay", "-o", "json", recording])?;
    let lines = printed.lines().map(serde_json::from_str);
    let lines: Vec<Value> = lines.collect::<Result<_, _>>()?;
    let journeys = lines.into_iter();
    let journeys = journeys.filter(|line| line["schema"] == "tracer.journey/2");
    Ok(journeys.collect())
}

/// `2026-11-25T15:05:38.588205932Z` as seconds since 1970.
fn epoch(time: &Value) -> Result<String> {
    let time = time.as_str().context("a time")?;
    let (seconds, nanoseconds) = time.trim_end_matches('Z').split_once('.').context("ns")?;
    let mut date = process::command("date");
    date.args(["-u", "+%s", "-d", &format!("{seconds}Z")]);
    // A process runs only once for each second.
    thread_local! {
        static KNOWN: RefCell<BTreeMap<String, String>> = const { RefCell::new(BTreeMap::new()) };
    }
    let known = KNOWN.with_borrow(|known| known.get(seconds).cloned());
    let since = match known {
        Some(since) => since,
        None => process::run(&mut date, "")?.trim().to_owned(),
    };
    KNOWN.with_borrow_mut(|known| known.insert(seconds.to_owned(), since.clone()));
    Ok(format!("{since}.{nanoseconds}"))
}

/// The variable that names a Python with pyarrow and DuckDB.
const PYTHON: &str = "TRACER_PYTHON";

/// The output of a Python program, run in a folder.
fn python(program: &str, args: &[&str], folder: &Path) -> Result<String> {
    let python = env::var(PYTHON).with_context(|| {
        format!("{PYTHON} names a Python with pyarrow and duckdb: `cargo xtask test` provides it")
    })?;
    let mut command = process::command(&python);
    command.args(["-c", program]).args(args).current_dir(folder);
    process::run(&mut command, "")
}
