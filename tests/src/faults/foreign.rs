//! Programs of somebody else, in tc and XDP, which drop.
//!
//! They are loaded by the system call itself: five instructions are no reason
//! for a compiler.

use std::ffi::CString;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};
use nix::libc;
use nix::net::if_::if_nametoindex;

use super::{Fault, Stage};
use crate::netns::Netns;

/// What `bpftool prog` calls them.
pub const NAME: &str = "somebody_elses";

/// See [`super`].
pub(super) fn all() -> Vec<Fault> {
    vec![
        Fault::new("tcx-ingress-near", |stage| {
            attach(
                stage,
                &stage.near().netns,
                &stage.a().veth,
                Hook::TcxIngress,
                0,
            )
        })
        .undo(released),
        Fault::new("tcx-egress-far", |stage| {
            attach(
                stage,
                &stage.far().netns,
                &stage.b().veth,
                Hook::TcxEgress,
                0,
            )
        })
        .undo(released),
        Fault::new("tcx-ingress-far-uplink", |stage| {
            let far = stage.far();
            attach(stage, &far.netns, &far.uplink, Hook::TcxIngress, VXLAN)
        })
        .undo(released),
        Fault::new("xdp-pod", |stage| {
            let b = stage.b();
            attach(stage, &b.netns, &b.interface, Hook::Xdp, 0)
        })
        .undo(released),
        // A device whose driver knows nothing of XDP.
        Fault::new("xdp-generic-far-overlay", |stage| {
            let far = stage.far();
            attach(stage, &far.netns, &far.overlay, Hook::Xdp, 0)
        })
        .undo(released),
        Fault::new("xdp-far-uplink", |stage| {
            let far = stage.far();
            attach(stage, &far.netns, &far.uplink, Hook::Xdp, VXLAN)
        })
        .undo(released),
    ]
}

/// Outer Ethernet, IPv4, UDP and VXLAN headers, in bytes.
const VXLAN: i16 = 50;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hook {
    TcxIngress,
    TcxEgress,
    Xdp,
}

impl Hook {
    /// `BPF_PROG_TYPE_*`.
    fn program(self) -> u32 {
        if self == Self::Xdp { 6 } else { 3 }
    }

    /// `BPF_XDP`, `BPF_TCX_INGRESS`, `BPF_TCX_EGRESS`.
    fn attach(self) -> u32 {
        match self {
            Self::Xdp => 37,
            Self::TcxIngress => 46,
            Self::TcxEgress => 47,
        }
    }

    /// `BPF_F_XDP_HAS_FRAGS`: else a veth pair with a large MTU takes no XDP.
    fn flags(self) -> u32 {
        if self == Self::Xdp { 1 << 5 } else { 0 }
    }

    /// Where the context has the packet's first byte and its end.
    fn data(self) -> [i16; 2] {
        if self == Self::Xdp { [0, 4] } else { [76, 80] }
    }

    /// `TC_ACT_SHOT` or `XDP_DROP`, and what lets the packet pass:
    /// `TC_ACT_UNSPEC`, `XDP_PASS`.
    fn verdicts(self) -> [i32; 2] {
        if self == Self::Xdp { [1, 2] } else { [2, -1] }
    }
}

fn released(stage: &Stage) -> Result<()> {
    stage.release();
    Ok(())
}

/// Drops what is sent to pod *b*, by the last four bytes of its address, which
/// are `shift` bytes further on than in a bare packet.
fn attach(stage: &Stage, netns: &Netns, device: &str, hook: Hook, shift: i16) -> Result<()> {
    let (offset, last) = match stage.address(stage.b()) {
        IpAddr::V4(v4) => (14 + 16, v4.octets()),
        IpAddr::V6(v6) => {
            let [.., w, x, y, z] = v6.octets();
            (14 + 24 + 12, [w, x, y, z])
        }
    };
    let program = program(hook, offset + shift, i32::from_ne_bytes(last));
    let program = load(hook, &program).context("the kernel does not take the program")?;
    let link = netns
        .enter(|| link(&program, device, hook))
        .with_context(|| format!("cannot attach a program to {device}"))?;
    stage.keep(program);
    stage.keep(link);
    Ok(())
}

/// An instruction: operation, destination and source register, offset, constant.
type Instruction = (u8, u8, u8, i16, i32);

fn program(hook: Hook, offset: i16, address: i32) -> Vec<u8> {
    let [data, end] = hook.data();
    let [shot, pass] = hook.verdicts();
    let instructions: [Instruction; 10] = [
        (0xb7, 0, 0, 0, pass),                  // r0 = pass
        (0x61, 2, 1, data, 0),                  // r2 = context->data
        (0x61, 3, 1, end, 0),                   // r3 = context->data_end
        (0xbf, 4, 2, 0, 0),                     // r4 = r2
        (0x07, 4, 0, 0, i32::from(offset) + 4), // r4 += offset + 4
        (0x2d, 4, 3, 3, 0),                     // if r4 > r3 goto exit
        (0x61, 5, 2, offset, 0),                // r5 = the word at offset
        (0x56, 5, 0, 1, address),               // if w5 != address goto exit
        (0xb7, 0, 0, 0, shot),                  // r0 = shot
        (0x95, 0, 0, 0, 0),                     // exit
    ];
    instructions.into_iter().flat_map(encoded).collect()
}

fn encoded((operation, destination, source, offset, constant): Instruction) -> [u8; 8] {
    let registers = if cfg!(target_endian = "little") {
        source << 4 | destination
    } else {
        destination << 4 | source
    };
    let [a, b] = offset.to_ne_bytes();
    let [c, d, e, f] = constant.to_ne_bytes();
    [operation, registers, a, b, c, d, e, f]
}

/// The beginning of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// The beginning of `union bpf_attr` for `BPF_LINK_CREATE`.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
    more: [u64; 4],
}

fn load(hook: Hook, program: &[u8]) -> io::Result<OwnedFd> {
    let license = CString::new("GPL")?;
    let mut prog_name = [0; 16];
    prog_name[..NAME.len()].copy_from_slice(NAME.as_bytes());
    let attributes = ProgLoad {
        prog_type: hook.program(),
        insn_cnt: (program.len() / 8) as u32,
        insns: program.as_ptr().addr() as u64,
        license: license.as_ptr().addr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: hook.flags(),
        prog_name,
    };
    bpf(5, &attributes)
}

fn link(program: &OwnedFd, device: &str, hook: Hook) -> io::Result<OwnedFd> {
    let attributes = LinkCreate {
        prog_fd: program.as_raw_fd().cast_unsigned(),
        target_ifindex: if_nametoindex(device)?,
        attach_type: hook.attach(),
        flags: 0,
        more: [0; 4],
    };
    bpf(28, &attributes)
}

/// bpf(2), for commands that return a descriptor.
fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    let (pointer, size) = (&raw const *attributes, size_of::<T>());
    // SAFETY: the attributes are laid out as the command wants them, are as long
    // as `size` says, and outlive the call, as does what they point to.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, pointer, size) };
    let Ok(fd) = i32::try_from(result) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
