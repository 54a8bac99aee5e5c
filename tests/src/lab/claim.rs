//! A namespace outlives the process that made it. A killed process leaves namespaces behind, and
//! the next process removes them, but never those of a process that still runs.
//!
//! Every namespace has its owner in its name: `trc-PID-START-LAB-SEED-…`. The kernel uses process
//! ids again, so PID alone could be another process. START is the start time of the process (in
//! clock ticks since boot, field 22 of `/proc/PID/stat`), and only both together are the owner.
//! There is no other record that could be lost. LAB counts the labs of one process. This process
//! looks up the owner in its own PID namespace. Containers that share `/run/netns`, but not their
//! PID namespace, would not know each other's labs.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::netns::DIRECTORY;

/// The right to a prefix of names. Dropping it removes all namespaces with the prefix.
#[derive(Debug)]
pub(super) struct Claim {
    prefix: String,
}

impl Claim {
    pub(super) fn new(seed: u64) -> Result<Self> {
        static LABS: AtomicU32 = AtomicU32::new(0);
        let pid = process::id();
        let start = start_of(pid).context("cannot read /proc/self/stat: is /proc mounted?")?;
        let lab = LABS.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("trc-{pid}-{start}-{lab}-{:04x}-", seed >> 48);
        Ok(Self { prefix })
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A directory for the lab's files, which the first call makes.
    pub(super) fn directory(&self) -> Result<PathBuf> {
        let path = env::temp_dir().join(format!("{}files", self.prefix));
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        remove(|name| name.starts_with(&self.prefix));
    }
}

/// Removes the remains of labs whose processes were killed, and returns the number of namespaces.
/// Every new lab does this first.
pub fn sweep() -> usize {
    remove(|name| is_abandoned(name).unwrap_or(false))
}

/// Whether `name` belongs to a lab whose process has ended; `None` if it belongs to no lab.
fn is_abandoned(name: &str) -> Option<bool> {
    let mut parts = name.strip_prefix("trc-")?.splitn(5, '-');
    let pid: u32 = parts.next()?.parse().ok()?;
    let start: u64 = parts.next()?.parse().ok()?;
    let _lab: u32 = parts.next()?.parse().ok()?;
    let _seed = u16::from_str_radix(parts.next()?, 16).ok()?;
    parts.next()?;
    Some(start_of(pid) != Some(start))
}

/// The start time of the process `pid`; `None` if it has ended.
fn start_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name, in parentheses, may contain spaces and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let (state, threads, start) = (fields.first()?, fields.get(17)?, fields.get(19)?);
    // A killed process that was not reaped yet is dead. A process whose first thread alone has
    // ended has the same state, and lives.
    if matches!((*state, *threads), ("Z" | "X", "0" | "1")) {
        return None;
    }
    start.parse().ok()
}

fn remove(doomed: impl Fn(&str) -> bool) -> usize {
    let entries = |directory: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .filter(|path| {
                path.file_name()
                    .and_then(OsStr::to_str)
                    .is_some_and(&doomed)
            })
            .collect()
    };
    let namespaces = entries(Path::new(DIRECTORY));
    kill_inside(&namespaces);
    for path in &namespaces {
        // The namespace may not be mounted, if its maker was killed in between. It may be gone, if
        // another process sweeps at the same time.
        let _ = umount2(path, MntFlags::MNT_DETACH);
        if let Err(error) = fs::remove_file(path)
            && error.kind() != ErrorKind::NotFound
        {
            eprintln!("cannot remove {}: {error}", path.display());
        }
    }
    for path in entries(&env::temp_dir()) {
        // This may fail for the same reasons, and temporary files do not matter.
        let _ = fs::remove_dir_all(path);
    }
    namespaces.len()
}

/// Kills the programs in `namespaces`, which would keep these alive. This process itself is spared:
/// its threads leave when they are done.
fn kill_inside(namespaces: &[PathBuf]) {
    let identity = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
    let inhabited: Vec<_> = namespaces.iter().flat_map(|path| identity(path)).collect();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let inhabitants = processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != process::id())
        .filter(|pid| {
            identity(Path::new(&format!("/proc/{pid}/ns/net")))
                .is_ok_and(|namespace| inhabited.contains(&namespace))
        });
    for pid in inhabitants {
        // The process may have ended meanwhile.
        let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_dead_owner_abandons() {
        let pid = process::id();
        let start = start_of(pid).expect("this process runs");
        let owned_by = |pid, start| is_abandoned(&format!("trc-{pid}-{start}-0-00ff-node-a"));
        assert_eq!(owned_by(pid, start), Some(false));
        assert_eq!(
            owned_by(pid, start + 1),
            Some(true),
            "the process id was used again"
        );
        assert_eq!(
            owned_by(u32::MAX, start),
            Some(true),
            "there is no such process"
        );
    }

    #[test]
    fn names_of_others_are_not_touched() {
        for name in [
            "cni-1234",
            "trc",
            "trc-",
            "trc-x-1-0-00ff-a",
            "trc-1-1-0",
            "trc-1-1-0-zz-a",
        ] {
            assert_eq!(is_abandoned(name), None, "{name}");
        }
    }

    #[test]
    fn a_zombie_owns_nothing() {
        let mut child = process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("sleep is there");
        let start = start_of(child.id());
        assert!(start.is_some());
        child.kill().expect("the child is ours");
        let wait = nix::sys::wait::waitid(
            nix::sys::wait::Id::Pid(Pid::from_raw(child.id().cast_signed())),
            nix::sys::wait::WaitPidFlag::WEXITED | nix::sys::wait::WaitPidFlag::WNOWAIT,
        );
        assert!(wait.is_ok());
        assert_eq!(start_of(child.id()), None);
        child.wait().expect("the child can be waited for");
    }
}
