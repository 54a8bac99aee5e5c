//! The program as users get it: one file that needs nothing from the machine it runs on.
//!
//! It is linked statically with musl. If rustup has no musl target, it is linked with the GNU C
//! library, which resolves names less portably. It has its own profile, because the program that
//! tests run keeps its symbols.

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

/// Builds the program beside the one that tests run, for nodes. Returns its path.
pub(crate) fn agent() -> Result<PathBuf> {
    let agent = release_binary(&format!("tracer-{}", env::consts::ARCH))?;
    fs::copy(build()?, &agent)?;
    Ok(agent)
}

/// Builds the program, and prints its path and its size.
pub(crate) fn build() -> Result<PathBuf> {
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
    build.args([
        "build",
        "--profile",
        "dist",
        "--package",
        "tracer",
        "--bin",
        "tracer",
    ]);
    build.args(["--target", &target]);
    if !flags.is_empty() {
        build.env(format!("CARGO_TARGET_{variable}_RUSTFLAGS"), flags);
    }
    run_shown(&mut build)?;
    let release = release_binary("tracer")?;
    let directory = release.ancestors().nth(2).context("it is in a folder")?;
    let built = directory.join(&target).join("dist/tracer");
    check_alone(&built)?;
    // The program has the same path with either library.
    let path = directory.join("dist/tracer");
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
