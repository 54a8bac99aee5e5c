//! Foreign programs in tc and XDP. They drop packets for one address, or redirect them, as
//! dataplanes in BPF do.
//!
//! The system call itself loads these programs: a dozen instructions do not need a compiler.

use std::ffi::CString;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};
use nix::libc;
use nix::net::if_::if_nametoindex;

use crate::netns::Netns;

/// The programs' name in `bpftool prog`.
pub const NAME: &str = "somebody_elses";

/// The hook of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Packets that come in from a device.
    TcxIngress,
    /// Packets that go out of a device.
    TcxEgress,
    /// Packets that come in, before there is an `sk_buff`.
    Xdp,
    /// Packets that the primary end of a netkit pair sends.
    NetkitPrimary,
    /// Packets that the peer end of a netkit pair sends.
    NetkitPeer,
}

impl Hook {
    /// `BPF_PROG_TYPE_*`.
    fn program(self) -> u32 {
        if self == Self::Xdp { 6 } else { 3 }
    }

    /// `BPF_XDP`, `BPF_TCX_INGRESS`, `BPF_TCX_EGRESS`, `BPF_NETKIT_PRIMARY`,
    /// `BPF_NETKIT_PEER`.
    fn attach(self) -> u32 {
        match self {
            Self::Xdp => 37,
            Self::TcxIngress => 46,
            Self::TcxEgress => 47,
            Self::NetkitPrimary => 54,
            Self::NetkitPeer => 55,
        }
    }

    /// `BPF_F_XDP_HAS_FRAGS`: without it, a veth pair with a large MTU takes no XDP.
    fn flags(self) -> u32 {
        if self == Self::Xdp { 1 << 5 } else { 0 }
    }

    /// The offsets of the packet's first byte and of its end in the context.
    fn data(self) -> [i16; 2] {
        if self == Self::Xdp { [0, 4] } else { [76, 80] }
    }

    /// `XDP_PASS`, or `TC_ACT_UNSPEC`: the next program decides.
    fn pass(self) -> i32 {
        if self == Self::Xdp { 2 } else { -1 }
    }

    /// `XDP_DROP` or `TC_ACT_SHOT`.
    fn shot(self) -> i32 {
        if self == Self::Xdp { 1 } else { 2 }
    }
}

/// What a program does with its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The packet is dropped.
    Dropped,
    /// The packet goes out of a device of this namespace (`bpf_redirect`).
    Out(u32),
    /// The packet comes in from the peer of a pair, in the peer's namespace (`bpf_redirect_peer`).
    Peer(u32),
    /// The packet goes out of a device, to the neighbour that a route names (`bpf_redirect_neigh`).
    Neighbour(u32),
}

/// A program for packets to one address.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The program's hook.
    pub hook: Hook,
    /// The packets' destination. Only its last four bytes are compared.
    pub to: IpAddr,
    /// The number of bytes before the inner packet, which a bare Ethernet frame does not have.
    pub shift: i16,
    /// What the program does with the packets.
    pub fate: Fate,
    /// Whether the program runs before the existing ones.
    pub first: bool,
}

/// The index of a device in a namespace.
///
/// # Errors
/// If there is none of that name.
pub fn index_of(netns: &Netns, device: &str) -> Result<u32> {
    netns
        .enter(|| if_nametoindex(device))
        .with_context(|| format!("there is no {device} in {}", netns.name))
}

/// Detaches everything that a process keeps attached to devices of this index, in any namespace, as
/// a cleanup tool may do. Returns the number of programs.
///
/// # Errors
/// If the kernel refuses.
pub fn detach_all_of(process: u32, ifindex: u32) -> Result<usize> {
    /// `BPF_LINK_GET_FD_BY_ID`, `BPF_LINK_DETACH`, whose attributes begin with the number.
    const BY_ID: libc::c_long = 30;
    const DETACH: libc::c_long = 34;

    let mut detached = 0;
    for entry in fs::read_dir(format!("/proc/{process}/fdinfo"))? {
        // A descriptor may be closed meanwhile.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        let value = |name: &str| -> Option<u32> {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        };
        if let Some(id) = value("link_id:")
            && value("ifindex:") == Some(ifindex)
        {
            let link = bpf(BY_ID, &[id, 0, 0])?;
            command(DETACH, &[link.as_raw_fd().cast_unsigned()])?;
            detached += 1;
        }
    }
    Ok(detached)
}

/// The descriptors that keep a program attached.
pub type Attached = [OwnedFd; 2];

impl Program {
    /// Attaches the program to a device, as long as the returned descriptors stay open.
    ///
    /// # Errors
    /// If the kernel rejects the program.
    pub fn attach(&self, netns: &Netns, device: &str) -> Result<Attached> {
        let program = self
            .load()
            .context("the kernel does not take the program")?;
        let link = netns
            .enter(|| self.link(&program, device))
            .with_context(|| format!("cannot attach a program to {device}"))?;
        Ok([program, link])
    }

    fn code(&self) -> Vec<u8> {
        let (offset, last) = match self.to {
            IpAddr::V4(v4) => (14 + 16, v4.octets()),
            IpAddr::V6(v6) => {
                let [.., w, x, y, z] = v6.octets();
                (14 + 24 + 12, [w, x, y, z])
            }
        };
        let offset = offset + self.shift;
        let [data, end] = self.hook.data();
        let fate = self.fate.code(self.hook);
        let rest = i16::try_from(fate.len()).expect("a few instructions");
        let head: [Instruction; 9] = [
            (0xbf, 6, 1, 0, 0),                           // r6 = context
            (0xb7, 0, 0, 0, self.hook.pass()),            // r0 = pass
            (0x61, 2, 1, data, 0),                        // r2 = context->data
            (0x61, 3, 1, end, 0),                         // r3 = context->data_end
            (0xbf, 4, 2, 0, 0),                           // r4 = r2
            (0x07, 4, 0, 0, i32::from(offset) + 4),       // r4 += offset + 4
            (0x2d, 4, 3, rest + 2, 0),                    // if r4 > r3 goto exit
            (0x61, 5, 2, offset, 0),                      // r5 = the word at offset
            (0x56, 5, 0, rest, i32::from_ne_bytes(last)), // if w5 != it goto exit
        ];
        let exit = (0x95, 0, 0, 0, 0);
        let all = head.into_iter().chain(fate).chain([exit]);
        all.flat_map(encoded).collect()
    }

    fn load(&self) -> io::Result<OwnedFd> {
        let program = self.code();
        let license = CString::new("GPL")?;
        let mut prog_name = [0; 16];
        prog_name[..NAME.len()].copy_from_slice(NAME.as_bytes());
        let attributes = ProgLoad {
            prog_type: self.hook.program(),
            insn_cnt: (program.len() / 8) as u32,
            insns: program.as_ptr().addr() as u64,
            license: license.as_ptr().addr() as u64,
            log_level: 0,
            log_size: 0,
            log_buf: 0,
            kern_version: 0,
            prog_flags: self.hook.flags(),
            prog_name,
        };
        bpf(5, &attributes)
    }

    fn link(&self, program: &OwnedFd, device: &str) -> io::Result<OwnedFd> {
        /// Without a relative program, this means the first place.
        const BPF_F_BEFORE: u32 = 1 << 3;
        let attributes = LinkCreate {
            prog_fd: program.as_raw_fd().cast_unsigned(),
            target_ifindex: if_nametoindex(device)?,
            attach_type: self.hook.attach(),
            flags: if self.first { BPF_F_BEFORE } else { 0 },
            more: [0; 4],
        };
        bpf(28, &attributes)
    }
}

/// An instruction: operation, destination and source register, offset, constant.
type Instruction = (u8, u8, u8, i16, i32);

impl Fate {
    /// The code that leaves the program's return value in r0. The context is in r6.
    fn code(self, hook: Hook) -> Vec<Instruction> {
        let constant = |register, value| (0xb7, register, 0, 0, value);
        let call = |helper| (0x85, 0, 0, 0, helper);
        // The kernel drops a frame for another MAC address, unless the program marks it as for this
        // host: bpf_skb_change_type(context, PACKET_HOST).
        let to_host = [(0xbf, 1, 6, 0, 0), constant(2, 0), call(32)];
        let device = |ifindex: u32| constant(1, ifindex.cast_signed());
        let redirect: Vec<Instruction> = match self {
            Self::Dropped => return vec![constant(0, hook.shot())],
            Self::Out(to) => vec![device(to), constant(2, 0), call(23)],
            Self::Peer(to) => vec![device(to), constant(2, 0), call(155)],
            Self::Neighbour(to) => {
                let rest = [2, 3, 4].map(|register| constant(register, 0));
                [[device(to)].as_slice(), &rest, &[call(152)]].concat()
            }
        };
        [&to_host[..], &redirect].concat()
    }
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

/// bpf(2), for commands that return a descriptor.
fn bpf<T>(number: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    let fd = command(number, attributes)?;
    // SAFETY: the descriptor is new, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// bpf(2).
fn command<T>(number: libc::c_long, attributes: &T) -> io::Result<i32> {
    let (pointer, size) = (&raw const *attributes, size_of::<T>());
    // SAFETY: the attributes have the command's layout, are as long as `size` says, and outlive the
    // call. So does the memory that they point to.
    let result = unsafe { libc::syscall(libc::SYS_bpf, number, pointer, size) };
    let Ok(result) = i32::try_from(result) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
