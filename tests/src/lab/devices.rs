//! The devices that this kernel supports.

use std::{
    env, fs,
    io::{Write as _, stdout},
    thread,
};

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, unshare};

use super::MACHINE_VARIABLE;
use crate::process;

/// Whether this kernel accepts a command of `ip` that adds a device. The command runs in a new
/// namespace with a pair, `one` and `other`. The attempt also loads the module, if the device needs
/// one.
pub(super) fn kernel_has(add: &str) -> Result<bool> {
    let add = format!("link add name one type veth peer name other\n{add}\n");
    in_new_namespace(|| {
        let mut ip = process::command("ip");
        Ok(process::run(ip.args(["-batch", "-"]), &add).is_ok())
    })
}

/// Whether a command line succeeds in a new network namespace.
pub(super) fn kernel_runs(line: &str) -> Result<bool> {
    in_new_namespace(|| {
        let mut words = line.split_whitespace();
        let mut command = process::command(words.next().context("a command has a name")?);
        let status = command.args(words).output();
        let status = status
            .with_context(|| format!("cannot run `{line}`"))?
            .status;
        Ok(status.success())
    })
}

/// Asks on a thread in a new network namespace.
fn in_new_namespace(ask: impl FnOnce() -> Result<bool> + Send) -> Result<bool> {
    let ask = || {
        unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
        ask()
    };
    thread::scope(|scope| scope.spawn(ask).join().expect("asking does not panic"))
}

/// A kernel's release, as `uname -r` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Release(pub String);

impl Release {
    /// The release of the running kernel.
    #[must_use]
    pub fn own() -> Self {
        let own = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self(own.trim().to_owned())
    }

    /// Whether this release is older than a release of Linux, as `(6, 7)`.
    #[must_use]
    pub fn is_before(&self, release: (u32, u32)) -> bool {
        let mut numbers = self.0.split('.').map(|number| number.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < release
    }
}

/// Whether this kernel is older than a release of Linux, as `(6, 7)`.
#[must_use]
pub fn is_before(release: (u32, u32)) -> bool {
    Release::own().is_before(release)
}

/// Whether this is a machine whose kernel was chosen for a test; see
/// [`MACHINE_VARIABLE`].
pub(super) fn was_chosen() -> bool {
    env::var_os(MACHINE_VARIABLE).is_some()
}

/// Whether a test must leave something to another kernel because it is not `possible` here. If so,
/// prints that. Never true where [`MACHINE_VARIABLE`] is set.
pub(super) fn is_for_another_kernel(what: &str, possible: bool) -> Result<bool> {
    if possible || was_chosen() {
        return Ok(false);
    }
    not_here(&format!("this kernel has no {what}"))?;
    Ok(true)
}

/// The beginning of a line that says that a test does not run here. The test's name and the reason
/// follow, with a colon between. `cargo xtask` counts these lines, because the test runner counts
/// such a test as passed.
pub const NOT_HERE: &str = "tracer-not-here: ";

/// Prints that the test on this thread does not run here, and why. The test then has to return. The
/// line bypasses the test runner, which shows only the output of failing tests.
///
/// # Errors
/// If standard output cannot be written to.
///
/// # Panics
/// On a thread that runs no test, because the line would name no test.
pub fn not_here(why: &str) -> Result<()> {
    let thread = thread::current();
    let test = thread.name().expect("a test's thread has its name");
    Ok(writeln!(stdout(), "{NOT_HERE}{test}: {why}")?)
}
