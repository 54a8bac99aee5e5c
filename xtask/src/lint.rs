//! Checks of the source before any test runs: its form, import circles, clippy, rustdoc, the
//! client for another system, the oldest supported compiler, and the dependencies.
//!
//! The release profile serves here, too: see [`crate::check`].

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use crate::{
    circles,
    command::{cargo, output, run, run_shown, say},
    elsewhere, setup,
};

/// The oldest Rust that compiles the workspace, from Cargo.toml.
const OLDEST: &str = env!("CARGO_PKG_RUST_VERSION");

/// The checks of cargo-deny. Its fourth check, for known vulnerabilities, is left to `cargo deny
/// check advisories`. The database of that check changes independently, and a commit that passed
/// must go on passing.
const DENIED: [&str; 3] = ["bans", "licenses", "sources"];

/// Crates whose modules must not import each other in a circle.
const IN_ORDER: [&str; 3] = ["tracer/src", "tracer/core/src", "tracer-common/src"];

/// Checks formatting, import circles, clippy, docs, the client for another system, the oldest
/// compiler and dependencies.
pub(crate) fn lint() -> Result<()> {
    setup::bpf()?;
    run_shown(cargo().args(["fmt", "--all", "--check"]))?;
    for source in IN_ORDER {
        circles::check(Path::new(source))?;
    }
    dependencies()?;
    let clippy = ["clippy", "--release", "--all-targets"];
    let deny = ["--", "-D", "warnings"];
    run_shown(cargo().args(clippy).args(deny))?;
    // The host's clippy checks the kernel programs as well as BPF's compiler would. It only has to
    // know, as BPF's compiler does, that nothing unwinds.
    run_shown(
        cargo()
            .args(clippy)
            .args(["--package", "tracer-ebpf"])
            .args(deny)
            .env("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    )?;
    run_shown(
        cargo()
            .args(["doc", "--release", "--workspace", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    elsewhere::check()?;
    oldest_compiler()
}

/// Checks licences, sources and bans of all dependencies against deny.toml.
fn dependencies() -> Result<()> {
    setup::deny()?;
    run_shown(cargo().args(["deny", "--locked", "check"]).args(DENIED))
}

/// Checks that the oldest supported compiler compiles the workspace. If cargo runs this compiler,
/// the lints have shown that already.
fn oldest_compiler() -> Result<()> {
    let used = output(Command::new("rustc").arg("--version"))?;
    let version = used.split(' ').nth(1).context("rustc has no version")?;
    if version.starts_with(&format!("{OLDEST}.")) {
        say(format!("Rust {version} is the oldest that is supported"));
        return Ok(());
    }
    let mut installed = Command::new("rustup");
    installed.args(["run", OLDEST, "rustc", "--version"]);
    installed.stdout(Stdio::null()).stderr(Stdio::null());
    if !installed.status().is_ok_and(|status| status.success()) {
        let mut install = Command::new("rustup");
        run(install.args(["toolchain", "install", OLDEST, "--profile", "minimal"]))?;
    }
    let mut check = Command::new("rustup");
    check.args(["run", OLDEST, "cargo", "check", "--release"]);
    // In the same folder, another compiler's output would undo what was built.
    run_shown(check.args(["--target-dir", "target/oldest"]))
}
