//! A CPU that the benchmark does not share with other programs.

use std::io::Error;
use std::panic::resume_unwind;
use std::thread;

use anyhow::{Context as _, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Runs `measure` on a thread of real-time priority that stays on one CPU.
///
/// This must not take longer than a second or two, because nothing else runs on that CPU meanwhile.
pub(crate) fn alone<T: Send>(measure: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let run = || {
        take_cpu()?;
        measure()
    };
    // A thread's priority ends with it.
    thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|panic| resume_unwind(panic))
}

fn take_cpu() -> Result<()> {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this)?;
    let first = (0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu) == Ok(true));
    let mut only = CpuSet::new();
    only.set(first.context("there is no CPU to run on")?)?;
    sched_setaffinity(this, &only)?;
    let lowest = libc::sched_param { sched_priority: 1 };
    // SAFETY: the kernel copies the parameter, which outlives the call.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const lowest) };
    if result != 0 {
        return Err(Error::last_os_error())
            .context("no real-time priority for the benchmark: run it with CAP_SYS_NICE");
    }
    Ok(())
}
