//! Checks the types of the client for another system than Linux.
//!
//! Nothing is linked, so no compiler for C of that system is needed: a script stands for it, and
//! makes empty files.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::command::{cargo, quiet, run_shown};

/// The system, by Rust's name.
const TARGET: &str = "aarch64-apple-darwin";

/// Stands for a compiler: makes the file that `-o` names.
const COMPILER: &str = "\
#!/bin/sh
before=
for word; do
  [ \"$before\" = -o ] && : > \"$word\"
  before=$word
done
";

/// Stands for an archiver: makes the archive.
const ARCHIVER: &str = "\
#!/bin/sh
for word; do
  case $word in *.a) : > \"$word\" ;; esac
done
";

/// Checks the client.
pub(crate) fn check() -> Result<()> {
    quiet(Command::new("rustup").args(["target", "add", TARGET]))?;
    let tools = tempfile::tempdir()?;
    let variable = TARGET.replace('-', "_");
    let mut check = cargo();
    check.args([
        "check",
        "--release",
        "--package",
        "tracer",
        "--target",
        TARGET,
    ]);
    check.env("RUSTFLAGS", "-D warnings");
    for (name, script) in [("CC", COMPILER), ("AR", ARCHIVER)] {
        let tool = tools.path().join(name);
        write_script(&tool, script)?;
        check.env(format!("{name}_{variable}"), tool);
    }
    run_shown(&mut check)
}

fn write_script(path: &Path, script: &str) -> Result<()> {
    let written = fs::write(path, script)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)));
    written.with_context(|| format!("cannot write {}", path.display()))
}
