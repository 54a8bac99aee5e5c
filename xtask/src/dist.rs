//! The programs as users get them: files that need nothing from the machine they run on.
//!
//! There are two. `tracer` is what a user copies to where it is needed. The agent alone is what
//! travels to nodes, and `tracer` has it inside. Both are linked statically with musl. If rustup has
//! no musl target, they are linked with the GNU C library, which resolves names less portably. They
//! have their own profile, because the program that tests run keeps its symbols.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    command::{cargo, output, release_binary, run_shown, say},
    setup,
};

/// Limit of the agent's size, bytes: it travels to every node of a follow.
const MOST: u64 = 8_000_000;

/// The variable by which `tracer/build.rs` learns of the agent.
const AGENT: &str = "TRACER_AGENT";

/// Builds the agent alone beside the program that tests run. Returns its path.
pub(crate) fn agent_for_tests() -> Result<PathBuf> {
    let agent = agent()?;
    let beside = release_binary(&name_of_agent())?;
    fs::copy(agent, &beside)?;
    Ok(beside)
}

/// Builds the agent alone, and prints its path and its size. Returns its path.
pub(crate) fn agent() -> Result<PathBuf> {
    let agent = build_one("tracer-agent", &name_of_agent(), None)?;
    let bytes = fs::metadata(&agent)?.len();
    ensure!(
        bytes <= MOST,
        "the agent has {bytes} bytes, and may have {MOST}: look for what it took in with it"
    );
    Ok(agent)
}

/// Builds the program with the agent inside, and prints its path and its size.
pub(crate) fn build() -> Result<()> {
    let agent = agent()?;
    let tracer = fs::read(build_one("tracer", "tracer", Some(&agent))?)?;
    let agent = fs::read(&agent)?;
    ensure!(
        tracer.windows(agent.len()).any(|part| part == agent),
        "tracer does not have the agent inside"
    );
    Ok(())
}

/// The name under which `tracer` looks for an agent beside itself.
fn name_of_agent() -> String {
    format!("tracer-agent-{}", env::consts::ARCH)
}

/// Builds a binary of the package into `target/dist`, under a name. Returns its path.
fn build_one(binary: &str, name: &str, agent: Option<&Path>) -> Result<PathBuf> {
    setup::bpf()?;
    let arch = env::consts::ARCH;
    let (target, flags) = match setup::musl(arch) {
        Ok(target) => (target, ""),
        Err(reason) => {
            say(format!(
                "without musl ({reason:#}), the GNU C library is linked statically"
            ));
            let target = format!("{arch}-unknown-linux-gnu");
            (target, "-C target-feature=+crt-static")
        }
    };
    let variable = target.to_uppercase().replace('-', "_");
    let mut build = cargo();
    build.args(["build", "--profile", "dist", "--package", "tracer"]);
    build.args(["--bin", binary, "--target", &target]);
    if !flags.is_empty() {
        build.env(format!("CARGO_TARGET_{variable}_RUSTFLAGS"), flags);
    }
    match agent {
        Some(agent) => build.env(AGENT, agent),
        None => build.env_remove(AGENT),
    };
    run_shown(&mut build)?;
    let release = release_binary(binary)?;
    let directory = release.ancestors().nth(2).context("it is in a folder")?;
    let built = directory.join(&target).join("dist").join(binary);
    check_alone(&built)?;
    // The program has the same path with either library.
    let path = directory.join("dist").join(name);
    fs::create_dir_all(directory.join("dist"))?;
    fs::copy(&built, &path)?;
    let megabytes = fs::metadata(&path)?.len() as f64 / 1e6;
    say(format!(
        "{}: {megabytes:.1} MB, static ({target})",
        path.display()
    ));
    Ok(path)
}

/// Makes sure that the program runs in an empty folder.
fn check_alone(program: &Path) -> Result<()> {
    let root = env::temp_dir().join(format!("tracer-root-{}", std::process::id()));
    fs::create_dir(&root)?;
    let told = || {
        fs::copy(program, root.join("tracer"))?;
        let mut alone = Command::new("unshare");
        if !setup::is_root() {
            alone.args(["--user", "--map-root-user"]);
        }
        alone.arg("--root").arg(&root).args(["/tracer", "version"]);
        output(&mut alone)
    };
    let told = told();
    fs::remove_dir_all(&root)?;
    let told = told.context("it does not run in an empty folder: it is not static")?;
    ensure!(
        told.contains(env!("CARGO_PKG_VERSION")),
        "it calls itself {told}"
    );
    Ok(())
}
