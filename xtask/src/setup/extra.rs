//! Needs of some tasks only: programs that cargo builds, and Python's packages.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Result, ensure};

use super::{apt_install, cache, is_program, rustup};
use crate::{
    command::{self, say},
    toolchain::NIGHTLY,
};

/// Python's packages that read traces in the tests, in versions that are known to work.
const READERS: &[&str] = &["pyarrow==26.0.1", "duckdb==2.0.1"];

/// Provides a Python with these packages, separate from the system's, and returns its path.
pub(crate) fn python() -> Result<PathBuf> {
    let home = cache()?.join("python");
    let python = home.join("bin/python3");
    let has = |python: &Path| {
        let mut look = Command::new(python);
        look.args(["-c", "import pyarrow, duckdb"]);
        look.stdout(Stdio::null()).stderr(Stdio::null());
        look.status().is_ok_and(|status| status.success())
    };
    if has(&python) {
        return Ok(python);
    }
    if !is_program("python3") {
        apt_install(&["python3", "python3-venv"])?;
    }
    say(format!("installing {} for Python", READERS.join(" and ")));
    let venv = || {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv", "--clear"]).arg(&home);
        command::run(&mut venv)
    };
    if venv().is_err() {
        apt_install(&["python3-venv"])?;
        venv()?;
    }
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--only-binary", ":all:"]);
    command::run(pip.args(READERS))?;
    ensure!(has(&python), "Python cannot load {}", READERS.join(" and "));
    Ok(python)
}

/// Provides what fuzzing needs: a nightly compiler, a C++ compiler, and cargo-fuzz.
pub(crate) fn fuzzer() -> Result<()> {
    let mut nightly = rustup();
    ensure!(
        command::run(nightly.args(["which", "--toolchain", NIGHTLY, "cargo"])).is_ok(),
        "fuzzing needs a nightly compiler: run `rustup toolchain install nightly`, then this again"
    );
    if !is_program("c++") {
        say("c++ is missing (compiles libFuzzer)");
        apt_install(&["g++"])?;
    }
    cargo_tool("fuzz", &[])
}

/// Provides cargo-mutants.
pub(crate) fn mutants() -> Result<()> {
    cargo_tool("mutants", &[])
}

/// Provides cargo-deny. It runs for a second, so optimizing it would take longer than it saves.
pub(crate) fn deny() -> Result<()> {
    cargo_tool("deny", &["--debug"])
}

/// Builds a subcommand of cargo, if it is missing.
fn cargo_tool(name: &str, options: &[&str]) -> Result<()> {
    let mut look = command::cargo();
    look.args([name, "--version"]);
    look.stdout(Stdio::null()).stderr(Stdio::null());
    if look.status().is_ok_and(|status| status.success()) {
        return Ok(());
    }
    let program = format!("cargo-{name}");
    say(format!("building {program} (takes some minutes)"));
    let mut install = command::cargo();
    install
        .args(["install", &program, "--locked"])
        .args(options);
    // The tool is for all projects, so its build does not belong into this target directory.
    command::run(install.env_remove("CARGO_TARGET_DIR"))
}

/// The nightly cargo.
pub(crate) fn nightly_cargo() -> Command {
    let mut cargo = Command::new("rustup");
    cargo.args(["run", NIGHTLY, "cargo"]);
    cargo
}

/// The sanitizer for fuzzing: the address sanitizer, if the nightly compiler has its runtime.
pub(crate) fn sanitizer() -> Result<&'static str> {
    let mut rustc = Command::new("rustup");
    let output = rustc
        .args(["run", NIGHTLY, "rustc", "--print", "target-libdir"])
        .output()?;
    let folder = String::from_utf8(output.stdout)?;
    let runtime = |name: &OsString| name.to_string_lossy().ends_with("rt.asan.a");
    let there = fs::read_dir(folder.trim())?
        .flatten()
        .any(|entry| runtime(&entry.file_name()));
    Ok(if there { "address" } else { "none" })
}
