//! Runs a program with less than root's rights, or as on a kernel that tells less. Nothing here
//! changes the machine for other programs.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::{fs, mem};

use anyhow::Result;
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Capabilities (include/uapi/linux/capability.h).
pub const CAP_NET_BROADCAST: libc::c_int = 11;
/// See [`CAP_NET_BROADCAST`].
pub const CAP_NET_ADMIN: libc::c_int = 12;
/// See [`CAP_NET_BROADCAST`].
pub const CAP_SYS_PTRACE: libc::c_int = 19;
/// See [`CAP_NET_BROADCAST`].
pub const CAP_SYS_ADMIN: libc::c_int = 21;
/// See [`CAP_NET_BROADCAST`].
pub const CAP_SYSLOG: libc::c_int = 34;
/// See [`CAP_NET_BROADCAST`].
pub const CAP_PERFMON: libc::c_int = 38;
/// See [`CAP_NET_BROADCAST`].
pub const CAP_BPF: libc::c_int = 39;
/// The last capability.
const CAP_LAST: libc::c_int = 40;

/// The program that `command` runs has all capabilities of root but this one.
pub fn without(command: &mut Command, capability: libc::c_int) -> &mut Command {
    drop_all(command, vec![capability])
}

/// The program that `command` runs has these capabilities only.
pub fn with_only<'a>(command: &'a mut Command, kept: &[libc::c_int]) -> &'a mut Command {
    let others = (0..=CAP_LAST).filter(|capability| !kept.contains(capability));
    drop_all(command, others.collect())
}

fn drop_all(command: &mut Command, capabilities: Vec<libc::c_int>) -> &mut Command {
    let drop = move || {
        for capability in &capabilities {
            // SAFETY: takes no pointers.
            let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, *capability) };
            if result != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes system calls and neither
    // allocates nor takes a lock.
    unsafe { command.pre_exec(drop) }
}

/// Makes the program of `command` see the kernel's symbols as with `kernel.kptr_restrict=2`: all at
/// address 0, whatever its rights. The files for this are made in `directory`.
///
/// # Errors
/// If the files cannot be written.
pub fn hide_symbols<'a>(command: &'a mut Command, directory: &Path) -> Result<&'a mut Command> {
    let files = [
        (
            "/proc/kallsyms",
            "0000000000000000 T _text\n0000000000000000 T icmp_rcv\n",
        ),
        ("/proc/sys/kernel/kptr_restrict", "2\n"),
    ];
    let mut shown = Vec::new();
    for (number, (path, text)) in files.into_iter().enumerate() {
        let file = directory.join(format!("hidden-{number}"));
        fs::write(&file, text)?;
        shown.push((
            CString::new(file.as_os_str().as_bytes())?,
            CString::new(path)?,
        ));
    }
    let hide = move || {
        let nothing: Option<&str> = None;
        private_mounts()?;
        for (file, path) in &shown {
            let (file, path) = (file.as_c_str(), path.as_c_str());
            mount(Some(file), path, nothing, MsFlags::MS_BIND, nothing)?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes system calls and neither
    // allocates nor takes a lock.
    Ok(unsafe { command.pre_exec(hide) })
}

/// The program that `command` runs has a `/proc` of processes only (`subset=pid`):
/// no symbols, no modules, no settings.
pub fn bare_proc(command: &mut Command) -> &mut Command {
    let hide = || {
        private_mounts()?;
        let proc = Some("proc");
        Ok(mount(
            proc,
            "/proc",
            proc,
            MsFlags::empty(),
            Some("subset=pid"),
        )?)
    };
    // SAFETY: between fork and exec the closure makes system calls, with paths
    // that are short enough to need no allocation, and takes no lock.
    unsafe { command.pre_exec(hide) }
}

fn private_mounts() -> nix::Result<()> {
    let nothing: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(nothing, "/", nothing, private, nothing)
}

/// The program that `command` runs may not attach to the kernel's tracepoints, as on a locked-down
/// kernel: the system call for it fails.
pub fn no_tracepoints(command: &mut Command) -> &mut Command {
    // The command of bpf(2) is BPF_RAW_TRACEPOINT_OPEN (include/uapi/linux/bpf.h).
    refuse(command, 17, libc::EPERM)
}

/// The program that `command` runs finds no tcx, as before Linux 6.6: a query of the hook fails as
/// if the kernel did not know it.
pub fn no_tcx(command: &mut Command) -> &mut Command {
    // BPF_PROG_QUERY.
    refuse(command, 16, libc::EINVAL)
}

/// The program that `command` runs gets an error for one of the commands of bpf(2).
fn refuse(command: &mut Command, refused: u32, error: libc::c_int) -> &mut Command {
    const NUMBER: u32 = mem::offset_of!(libc::seccomp_data, nr) as u32;
    const FIRST: u32 = mem::offset_of!(libc::seccomp_data, args) as u32;
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, (jt, jf), k| libc::sock_filter { code, jt, jf, k };
    let low = if cfg!(target_endian = "big") { 4 } else { 0 };
    let mut filter = [
        step(LOAD, (0, 0), NUMBER),
        step(EQUAL, (0, 3), libc::SYS_bpf as u32),
        step(LOAD, (0, 0), FIRST + low),
        step(EQUAL, (0, 1), refused),
        step(RETURN, (0, 0), libc::SECCOMP_RET_ERRNO | error as u32),
        step(RETURN, (0, 0), libc::SECCOMP_RET_ALLOW),
    ];
    let refuse = move || {
        let program = libc::sock_fprog {
            len: filter.len() as u16,
            filter: filter.as_mut_ptr(),
        };
        let mode = libc::SECCOMP_MODE_FILTER;
        // SAFETY: the kernel copies the filter, which lives until then.
        let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    };
    // SAFETY: between fork and exec the closure makes one system call and neither
    // allocates nor takes a lock.
    unsafe { command.pre_exec(refuse) }
}
