//! Runs other programs: shows the command, and turns a failure into one sentence.

use std::{
    env,
    ffi::OsStr,
    fmt::Display,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

/// Prints a message, separate from the output of programs.
pub(crate) fn say(what: impl Display) {
    eprintln!("xtask: {what}");
}

/// The cargo that runs this program.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // cargo has set these variables for this program's own package. Build scripts that look at
    // them, such as ring's, would rebuild half of the dependencies.
    let own = ["CARGO_PKG_", "CARGO_MANIFEST_"];
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if own.iter().any(|prefix| name.starts_with(prefix)) {
            cargo.env_remove(&*name);
        }
    }
    cargo
}

/// The path of a binary that `cargo build --release` makes.
///
/// This program is in the target directory as well, wherever that is.
pub(crate) fn release_binary(name: &str) -> Result<PathBuf> {
    let own = env::current_exe()?;
    let target = own
        .ancestors()
        .nth(2)
        .context("run this as `cargo xtask`")?;
    Ok(target.join("release").join(name))
}

/// Runs a program to its end, with its output shown.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run `{}`", line(command)))?;
    ensure!(status.success(), "`{}` failed ({status})", line(command));
    Ok(())
}

/// Runs a program to its end, and shows its output only if it fails.
pub(crate) fn quiet(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run `{}`", line(command)))?;
    ensure!(
        output.status.success(),
        "`{}` failed: {}",
        line(command),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// Runs a program to its end, and returns its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run `{}`", line(command)))?;
    ensure!(output.status.success(), "`{}` failed", line(command));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A number for the present commit, which decides whose turn it is.
pub(crate) fn commit() -> Result<usize> {
    let mut git = Command::new("git");
    git.args(["rev-parse", "--short=7", "HEAD"]);
    let text = output(git.current_dir(env!("CARGO_MANIFEST_DIR")))?;
    usize::from_str_radix(text.trim(), 16).context("git names the commit by no number")
}

/// Shows a command and runs it.
pub(crate) fn run_shown(command: &mut Command) -> Result<()> {
    say(line(command));
    run(command)
}

/// A command as one would type it.
pub(crate) fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name();
    program
        .into_iter()
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}
