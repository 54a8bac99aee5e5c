//! The Rust that compiles the kernel programs.
//!
//! Nobody ships a ready-made `core` for BPF, and rustc links BPF with an external program. A
//! toolchain for it needs the source of the library (`rust-src`). The LLVM of its `bpf-linker` must
//! not be older than the toolchain's: LLVM reads older bitcode, never newer. The toolchain need not
//! be a nightly: a stable compiler accepts unstable flags if `RUSTC_BOOTSTRAP` is 1.
//!
//! `cargo xtask setup` provides the toolchain, and `tracer/build.rs` uses it. Both include this
//! file, so that they have the same requirements.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

/// The variable that names a rustup toolchain, which is then the only candidate.
pub(crate) const OVERRIDE: &str = "TRACER_BPF_TOOLCHAIN";

/// An ordinary nightly.
pub(crate) const NIGHTLY: &str = "nightly";

/// The distribution's compiler. `cargo xtask setup` links it under this name.
pub(crate) const DISTRIBUTION: &str = "bpf";

/// A toolchain that can compile `core` for BPF.
#[derive(Debug)]
pub(crate) struct Toolchain {
    /// Its name in rustup.
    pub(crate) name: String,
    /// The major version of its LLVM.
    pub(crate) llvm: u32,
}

/// The toolchains to consider, best first.
pub(crate) fn candidates() -> Vec<String> {
    match env::var(OVERRIDE) {
        Ok(name) => vec![name],
        Err(_) => vec![NIGHTLY.to_owned(), DISTRIBUTION.to_owned()],
    }
}

/// The first complete candidate, with its linker.
pub(crate) fn choose() -> Result<(Toolchain, PathBuf)> {
    let mut reasons = Vec::new();
    for name in candidates() {
        match probe(&name).and_then(|toolchain| Ok((linker(&toolchain)?, toolchain))) {
            Ok((linker, toolchain)) => return Ok((toolchain, linker)),
            Err(reason) => reasons.push(format!("{name}: {reason}")),
        }
    }
    let reasons = reasons.join("; ");
    bail!("no toolchain here can build the kernel programs ({reasons}): run `cargo xtask setup`")
}

/// Examines one toolchain. The error says what it lacks.
pub(crate) fn probe(name: &str) -> Result<Toolchain> {
    let version = rustc(name, &["-vV"])?;
    let field = |key: &str| version.lines().find_map(|line| line.strip_prefix(key));
    let release = field("release: ").context("its version is unreadable")?;
    let llvm = field("LLVM version: ").and_then(first_number);
    let llvm = llvm.context("its LLVM version is unreadable")?;

    let wanted = env!("CARGO_PKG_RUST_VERSION");
    ensure!(
        number_pair(release) >= number_pair(wanted),
        "it is Rust {release}, older than {wanted}"
    );

    let sysroot = PathBuf::from(rustc(name, &["--print", "sysroot"])?.trim());
    ensure!(sysroot.join("bin/cargo").exists(), "it has no cargo");
    let library = sysroot.join("lib/rustlib/src/rust/library/Cargo.toml");
    ensure!(library.exists(), "it has no rust-src");
    Ok(Toolchain {
        name: name.to_owned(),
        llvm,
    })
}

/// Finds a bpf-linker that can read the output of `toolchain`.
pub(crate) fn linker(toolchain: &Toolchain) -> Result<PathBuf> {
    const NAME: &str = "bpf-linker";
    let linkers: Vec<_> = program_dirs()
        .into_iter()
        .map(|dir| dir.join(NAME))
        .filter(|path| path.is_file())
        .collect();
    ensure!(!linkers.is_empty(), "{NAME} is missing");
    let llvm = toolchain.llvm;
    linkers
        .into_iter()
        .find(|path| reads(path, llvm))
        .with_context(|| format!("{NAME} does not run or is older than its LLVM {llvm}"))
}

/// The folders of programs: `PATH`, and the folders of `cargo install`, which `PATH` may lack.
fn program_dirs() -> Vec<PathBuf> {
    let mut dirs: Vec<_> = env::var_os("PATH")
        .map(|path| env::split_paths(&path).collect())
        .unwrap_or_default();
    let root = |key| env::var_os(key).map(PathBuf::from);
    dirs.extend(
        [
            root("CARGO_INSTALL_ROOT"),
            root("CARGO_HOME"),
            root("HOME").map(|home| home.join(".cargo")),
        ]
        .into_iter()
        .flatten()
        .map(|root| root.join("bin")),
    );
    dirs
}

/// Whether the linker runs, and its LLVM is new enough. A linker that contains its LLVM does not
/// tell the version, and is trusted.
fn reads(linker: &Path, llvm: u32) -> bool {
    let runs = Command::new(linker).arg("--version").output();
    if !runs.is_ok_and(|output| output.status.success()) {
        return false;
    }
    // This asks the dynamic loader for the program's libraries, and does not run the program.
    let libraries = Command::new(linker)
        .env("LD_TRACE_LOADED_OBJECTS", "1")
        .arg("--version")
        .output();
    libraries
        .ok()
        .and_then(|output| {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.split_once("libLLVM")
                .and_then(|(_, rest)| first_number(rest))
        })
        .is_none_or(|own| own >= llvm)
}

/// The output of the toolchain's rustc.
fn rustc(toolchain: &str, args: &[&str]) -> Result<String> {
    let output = Command::new("rustup")
        .args(["run", toolchain, "rustc"])
        .args(args)
        // rustup would otherwise download a missing toolchain.
        .env("RUSTUP_AUTO_INSTALL", "0")
        .output()
        .context("rustup is missing, see https://rustup.rs")?;
    ensure!(output.status.success(), "it is not installed");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first run of digits: `22` in `.so.22.1 => …` and in `22.1.8`.
fn first_number(text: &str) -> Option<u32> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let digits = text[start..].split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// `(1, 96)` of `1.96.0-nightly`.
fn number_pair(version: &str) -> Option<(u32, u32)> {
    let (major, rest) = version.split_once('.')?;
    Some((major.parse().ok()?, first_number(rest)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_not_text() {
        assert!(number_pair("1.101.0-nightly") > number_pair("1.95"));
        assert!(number_pair("1.94.1") < number_pair("1.95"));
        assert_eq!(number_pair("unknown"), None);
    }

    #[test]
    fn the_major_version_of_llvm_is_found() {
        assert_eq!(first_number("22.1.8"), Some(22));
        assert_eq!(first_number(".so.22.1 => not found"), Some(22));
        assert_eq!(first_number("-21.so"), Some(21));
        assert_eq!(first_number("none"), None);
    }
}
