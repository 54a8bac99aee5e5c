//! Calls of bpf(2) that aya lacks, or that aya makes only with more rights: looking up a
//! program's name by its number needs CAP_SYS_ADMIN.
//!
//! Attributes and answers are laid out as in include/uapi/linux/bpf.h, in the
//! machine's byte order.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_PROG_QUERY: libc::c_long = 16;
const BPF_LINK_CREATE: libc::c_long = 28;

/// Flag of [`link`] for tcx: run before all other programs.
pub(super) const BPF_F_BEFORE: u32 = 1 << 3;

/// Limit of programs at a hook: `BPF_MPROG_MAX` (include/linux/bpf_mprog.h).
const MOST: usize = 64;

/// Reads the kernel's description of a program or link, as the words of `struct bpf_prog_info`
/// or `struct bpf_link_info`. Words that the kernel does not know are 0.
///
/// # Errors
/// Errors of the call.
pub(super) fn info<const WORDS: usize>(fd: BorrowedFd<'_>) -> io::Result<[u32; WORDS]> {
    #[repr(C)]
    struct Attributes {
        fd: u32,
        length: u32,
        info: u64,
    }

    let mut info = [0_u32; WORDS];
    let mut attributes = Attributes {
        fd: fd.as_raw_fd().cast_unsigned(),
        length: u32::try_from(size_of_val(&info)).expect("some bytes"),
        info: info.as_mut_ptr().expose_provenance() as u64,
    };
    // SAFETY: the kernel writes at most `length` bytes to `info`.
    unsafe { call(BPF_OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    Ok(info)
}

/// Attaches a program to a hook of an interface, with flags of that hook. Closing the
/// descriptor detaches the program.
///
/// # Errors
/// Errors of the call.
pub(super) fn link(
    program: BorrowedFd<'_>,
    ifindex: u32,
    hook: u32,
    flags: u32,
) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        program: u32,
        ifindex: u32,
        hook: u32,
        flags: u32,
        relative: u32,
        padding: u32,
        revision: u64,
    }

    let mut attributes = Attributes {
        program: program.as_raw_fd().cast_unsigned(),
        ifindex,
        hook,
        flags,
        relative: 0,
        padding: 0,
        revision: 0,
    };
    // SAFETY: the attributes hold no pointer.
    let fd = unsafe { call(BPF_LINK_CREATE, &mut attributes) }?;
    // SAFETY: the kernel has just made this descriptor for its caller.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Numbers of the programs at a hook of an interface in the calling thread's namespace, in the
/// order in which they run.
///
/// # Errors
/// Errors of the call: EINVAL on a kernel without this hook, EPERM without CAP_NET_ADMIN,
/// ENODEV without such an interface.
pub(super) fn attached(ifindex: u32, hook: u32) -> io::Result<Vec<u32>> {
    #[repr(C)]
    struct Attributes {
        ifindex: u32,
        hook: u32,
        flags: u32,
        attach_flags: u32,
        ids: u64,
        count: u32,
        padding: u32,
        more: [u64; 4],
    }

    let mut ids = [0_u32; MOST];
    let mut attributes = Attributes {
        ifindex,
        hook,
        flags: 0,
        attach_flags: 0,
        ids: ids.as_mut_ptr().expose_provenance() as u64,
        count: u32::try_from(MOST).expect("a few"),
        padding: 0,
        more: [0; 4],
    };
    // SAFETY: the kernel writes at most `count` numbers to `ids`.
    match unsafe { call(BPF_PROG_QUERY, &mut attributes) } {
        Ok(_) => {
            let count = (attributes.count as usize).min(MOST);
            Ok(ids[..count].to_vec())
        }
        // The first kernels with tcx return this if nothing was ever attached.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// # Safety
/// `attributes` must be laid out as the command takes them, and what they point
/// to must have the size that they say.
unsafe fn call<T>(command: libc::c_long, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: the kernel reads and writes no more than the attributes' size, and
    // what they point to, for which the caller answers.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(result).map_err(io::Error::other)
}
