//! Runs the examples of commands that need neither a network nor rights, as the help and the
//! documentation show them.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result};
use tracer_tests::{
    Process, examples,
    program::{LIMIT, run, tracer},
};

const COMMANDS: [&str; 9] = [
    "replay",
    "show",
    "stats",
    "export",
    "bundle",
    "schema",
    "version",
    "man",
    "completions",
];

/// The files in the examples' directory: a recording with a dropped packet, and expectations for
/// it.
const RECORDING: &str = "nft-forward-far-drop-4.arrows";
const FLOWS: &str =
    "flows:\n  - from: 0.0.0.0/0\n    to: 0.0.0.0/0\n    expect: dropped,delivered\n";

/// All examples of these commands whose files exist.
fn found() -> Result<BTreeSet<Vec<String>>> {
    let mut found = Vec::new();
    for page in examples::pages()? {
        found.extend(examples::of_page(&fs::read_to_string(page)?)?);
    }
    for command in COMMANDS {
        let help = run([command, "--help"])?.stdout;
        let (_, end) = help.split_once("\nEXAMPLES\n").context("examples")?;
        found.extend(examples::of_help(end)?);
    }
    let is_run = |words: &Vec<String>| {
        let is_stdin = |word: &String| word == "-";
        // Another command would have made these recordings.
        let others = |word: &String| {
            word.ends_with(".arrows") && word != "trace.arrows" || word.contains('*')
        };
        COMMANDS.contains(&&*words[1]) && !words.iter().any(|word| is_stdin(word) || others(word))
    };
    Ok(found.into_iter().filter(is_run).collect())
}

#[test]
fn of_the_help_and_the_documentation() -> Result<()> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let all = found()?;
    let commands: BTreeSet<_> = all.iter().map(|words| &*words[1]).collect();
    assert_eq!(commands, BTreeSet::from(COMMANDS));
    for words in all {
        // Each example has its own directory, because some write the same file.
        let directory = tempfile::tempdir()?;
        fs::copy(
            fixtures.join(RECORDING),
            directory.path().join("trace.arrows"),
        )?;
        fs::write(directory.path().join("flows.yaml"), FLOWS)?;
        let home = directory.path().to_str().context("a path")?;
        let args = words[1..].iter().map(|word| word.replace('~', home));
        let mut command = tracer(args)?;
        let ended = Process::start(command.current_dir(directory.path()), "")?.finish(LIMIT)?;
        // 4: the recording has nothing that the filter matches.
        assert!(
            matches!(ended.status.code(), Some(0 | 4)),
            "{words:?} ended with {}: {}",
            ended.status,
            ended.stderr
        );
    }
    Ok(())
}
