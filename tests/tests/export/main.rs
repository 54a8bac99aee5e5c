//! Exports of recordings, read by the programs that they are for, and compared with
//! what a replay of the same recordings shows. They need no root, but for
//! `captured`, `extcap` and `live`.

// By tar.
mod bundle;
// What was captured, read by tshark.
mod captured;
// What is said of recordings and places that will not do, and what is left then.
mod endings;
// Flows that must or must not pass.
mod expect;
// By tshark, as a capture interface.
mod extcap;
// By Chromium.
mod html;
// Back to what they were made of.
mod import;
// By tshark, while it is written.
mod live;
// By pyarrow and DuckDB.
mod parquet;
// By tshark.
mod pcapng;
// What lines of JSON are like.
mod schema;

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

/// A recording that is kept in the repository.
fn fixture(name: &str) -> String {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    fixtures
        .join(format!("{name}.arrows"))
        .display()
        .to_string()
}

/// A folder that goes with the test.
fn folder() -> Result<TempDir> {
    Ok(tempfile::tempdir()?)
}

/// What is in a folder, by name.
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

/// What `tracer` prints.
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
    // One process for each second that occurs.
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

/// Names a Python that has pyarrow and DuckDB.
const PYTHON: &str = "TRACER_PYTHON";

/// What a Python program prints, run in a folder.
fn python(program: &str, args: &[&str], folder: &Path) -> Result<String> {
    let python = env::var(PYTHON).with_context(|| {
        format!("{PYTHON} names a Python with pyarrow and duckdb: `cargo xtask test` provides it")
    })?;
    let mut command = process::command(&python);
    command.args(["-c", program]).args(args).current_dir(folder);
    process::run(&mut command, "")
}
