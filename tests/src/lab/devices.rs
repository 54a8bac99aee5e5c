//! What devices this kernel has.

use std::{env, fs, thread};

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, unshare};

use super::MACHINE_VARIABLE;
use crate::process;

/// Whether this kernel takes a command of `ip` that adds a device, in a
/// namespace made for it that has a pair, `one` and `other`. Asking for a device
/// loads the module, if it is one.
pub(super) fn kernel_has(add: &str) -> Result<bool> {
    let add = format!("link add name one type veth peer name other\n{add}\n");
    let ask = || -> Result<bool> {
        unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
        let mut ip = process::command("ip");
        Ok(process::run(ip.args(["-batch", "-"]), &add).is_ok())
    };
    thread::scope(|scope| scope.spawn(ask).join().expect("asking does not panic"))
}

/// Whether this kernel is older than a release of Linux, as `(6, 7)`.
#[must_use]
pub fn is_before(release: (u32, u32)) -> bool {
    let own = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = own.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < release
}

/// Whether a test must leave something that is not `possible` to another
/// kernel, which it says. Never true where [`MACHINE_VARIABLE`] is set.
pub(super) fn is_for_another_kernel(what: &str, possible: bool) -> Result<bool> {
    if possible || env::var_os(MACHINE_VARIABLE).is_some() {
        return Ok(false);
    }
    eprintln!("this kernel has no {what}: `cargo xtask kernels` runs this test on one that has");
    Ok(true)
}
