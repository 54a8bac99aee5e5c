//! Compiles the kernel programs, so that `tracer` can carry them in itself, with an agent for nodes
//! if there is one.
//!
//! The kernel programs need another compiler, target and flags than `tracer`, so `aya-build` starts
//! a second cargo for them. That cargo needs its own environment. A process cannot safely change its
//! environment, so this script runs itself once more as a child with that environment. The script
//! holds back the child's output. If the compiler fails, the script then shows the error as the
//! compiler wrote it, and not as a list of warnings.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Output},
};

use anyhow::{Context as _, Result, ensure};
use aya_build::Package;
use object::{build::elf, elf::SHT_STRTAB};

#[path = "../xtask/src/toolchain.rs"]
mod toolchain;

/// Set by whoever has built the agent alone: its path.
const AGENT: &str = "TRACER_AGENT";

/// Set for the child, to the toolchain's name.
const CHILD: &str = "TRACER_BUILD_CHILD";

fn main() -> Result<ExitCode> {
    match env::var(CHILD) {
        Ok(toolchain) => compile(&toolchain),
        Err(_) => prepare(),
    }
}

/// The parent: chooses the compiler and passes on what the child has to say.
fn prepare() -> Result<ExitCode> {
    take_agent()?;
    // Agents run on Linux, so another system's client has no kernel programs.
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return Ok(ExitCode::SUCCESS);
    }
    println!("cargo::rerun-if-env-changed={}", toolchain::OVERRIDE);
    // What the programs are made of, besides the sources that aya-build lists.
    for input in ["tracer-common", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed=../{input}");
    }

    let (toolchain, linker) = match toolchain::choose() {
        Ok(chosen) => chosen,
        Err(reason) => {
            // With this line cargo fails the build and shows nothing else.
            println!("cargo::error={reason}");
            return Ok(ExitCode::SUCCESS);
        }
    };

    let mut child = Command::new(env::current_exe()?);
    child
        .env(CHILD, &toolchain.name)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &linker)
        .env("CARGO_TARGET_BPFEB_UNKNOWN_NONE_LINKER", &linker)
        // Cut up for incremental builds, their type information contradicts itself.
        .env("CARGO_INCREMENTAL", "0")
        .env("CARGO_TERM_QUIET", "true");
    // `OUT_DIR` differs between profiles, and between build and clippy; the
    // kernel programs do not. Where they are compiled is shared, so that it is
    // done once: the target directory, as far as one can tell.
    if let Some(target) = target_directory() {
        child.env("CARGO_BUILD_BUILD_DIR", target.join("bpf"));
    }
    let Output {
        status,
        stdout,
        stderr,
    } = child.output().context("cannot start the build")?;
    let stdout = String::from_utf8_lossy(&stdout);
    if status.success() {
        print!("{stdout}");
        strip(&out_directory()?.join("tracer-ebpf"))?;
        return Ok(ExitCode::SUCCESS);
    }

    let messages: Vec<_> = stdout
        .lines()
        .filter_map(|line| line.strip_prefix("cargo:warning="))
        .collect();
    if messages.is_empty() {
        eprint!("{}", String::from_utf8_lossy(&stderr));
    } else {
        eprintln!("{}", messages.join("\n"));
    }
    Ok(ExitCode::FAILURE)
}

fn out_directory() -> Result<PathBuf> {
    let out = env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?;
    Ok(PathBuf::from(out))
}

/// Removes the DWARF sections, which are three quarters of the object. The linker has made BTF of
/// them, and nobody reads them afterwards.
fn strip(object: &Path) -> Result<()> {
    let whole = fs::read(object)?;
    let mut elf = elf::Builder::read(&*whole)?;
    for section in &mut elf.sections {
        let name = section.name.as_slice();
        section.delete = name.starts_with(b".debug_") || name.starts_with(b".rel.debug_");
    }
    // LLVM keeps the names of sections among those of symbols, and the builder apart from them.
    let names = elf.sections.add();
    names.name = b".shstrtab".as_slice().into();
    names.sh_type = SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = elf::SectionData::SectionString;
    elf.delete_orphans();
    let mut stripped = Vec::new();
    elf.write(&mut stripped)?;
    fs::write(object, stripped).with_context(|| format!("cannot write {}", object.display()))
}

/// Puts the agent that nodes are given where `link/upload.rs` includes it, or an empty file.
fn take_agent() -> Result<()> {
    println!("cargo::rerun-if-env-changed={AGENT}");
    let taken = out_directory()?.join("agent");
    match env::var_os(AGENT) {
        Some(agent) => {
            ensure!(
                Path::new(&agent).is_absolute(),
                "{AGENT} has to be an absolute path, because cargo runs this in tracer/"
            );
            println!("cargo::rerun-if-changed={}", Path::new(&agent).display());
            fs::copy(&agent, &taken)
                .with_context(|| format!("cannot copy {}", Path::new(&agent).display()))?;
        }
        None => fs::write(&taken, [])?,
    }
    Ok(())
}

/// Where cargo builds, whatever the profile and the target.
fn target_directory() -> Option<PathBuf> {
    let out = PathBuf::from(env::var_os("OUT_DIR")?);
    let directory = out.ancestors().nth(4)?;
    // A target that is named has a directory of its own there.
    let triple = env::var_os("TARGET");
    match directory.file_name() == triple.as_deref() {
        true => directory.parent().map(Path::to_owned),
        false => Some(directory.to_owned()),
    }
}

/// The child: runs the other cargo.
fn compile(toolchain: &str) -> Result<ExitCode> {
    let package = Package {
        name: "tracer-ebpf",
        root_dir: "../tracer-ebpf",
        features: if env::var_os("CARGO_FEATURE_DEBUG").is_some() {
            &["debug"]
        } else {
            &[]
        },
        ..Package::default()
    };
    aya_build::build_ebpf([package], aya_build::Toolchain::Custom(toolchain))?;
    Ok(ExitCode::SUCCESS)
}
