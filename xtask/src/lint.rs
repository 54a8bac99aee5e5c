//! What holds for the source, before any test runs: its form, what clippy and rustdoc
//! say of it, the oldest compiler that it promises, and what it depends on.
//!
//! The release profile serves here, too: see [`crate::check`].

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::{
    command::{cargo, output, run, run_shown, say},
    setup,
};

/// The oldest Rust that compiles the workspace, as Cargo.toml says.
const OLDEST: &str = env!("CARGO_PKG_RUST_VERSION");

/// What cargo-deny looks at. Its fourth, known vulnerabilities, is left to `cargo deny
/// check advisories`: its database changes without this repository, and a commit that
/// passed must go on passing.
const DENIED: [&str; 3] = ["bans", "licenses", "sources"];

/// Formatting, clippy, docs, the oldest compiler and dependencies.
pub(crate) fn lint() -> Result<()> {
    setup::bpf()?;
    run_shown(cargo().args(["fmt", "--all", "--check"]))?;
    dependencies()?;
    let clippy = ["clippy", "--release", "--all-targets"];
    let deny = ["--", "-D", "warnings"];
    run_shown(cargo().args(clippy).args(deny))?;
    // The host's clippy reads the kernel programs as well as BPF's compiler
    // would, once it is told, as that is, that nothing unwinds.
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
    oldest_compiler()
}

/// Licences, sources and bans of all dependencies, as deny.toml allows them.
fn dependencies() -> Result<()> {
    setup::deny()?;
    run_shown(cargo().args(["deny", "--locked", "check"]).args(DENIED))
}

/// Whether the oldest compiler that is promised compiles the workspace. Where it is the
/// one that cargo runs, the lints have shown that already.
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
    // Another compiler's output in the same folder would undo what was built.
    run_shown(check.args(["--target-dir", "target/oldest"]))
}
