//! Every target, on everything that `fuzz/` keeps for it: what libFuzzer
//! found worth keeping, and what once broke something.

use std::{fs, path::PathBuf};

/// Runs a target on its files, and returns how many those are.
fn run(name: &str, target: fn(&[u8])) -> usize {
    let fuzz = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let mut files = 0;
    for kind in ["corpus", "found"] {
        let folder = fuzz.join(kind).join(name);
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("an entry").path();
            // Shown only if the target panics.
            println!("{}", path.display());
            target(&fs::read(&path).expect("the file can be read"));
            files += 1;
        }
    }
    files
}

#[test]
fn walk_takes_its_corpus() {
    assert!(run("walk", super::walk) > 0);
}

#[test]
fn decode_takes_its_corpus() {
    assert!(run("decode", super::decode) > 0);
}

#[test]
fn journey_takes_its_corpus() {
    assert!(run("journey", super::journey) > 0);
}

#[test]
fn trace_takes_its_corpus() {
    assert!(run("trace", super::trace) > 0);
}

#[test]
fn query_takes_its_corpus() {
    assert!(run("query", super::query) > 0);
}

#[test]
fn commands_takes_its_corpus() {
    assert!(run("commands", super::commands) > 0);
}
