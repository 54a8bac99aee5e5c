//! Hooks, at which a program sees the packets of an interface.
//!
//! tcx (Linux 6.6) has links: the kernel detaches them when their process ends for any reason,
//! and runs tracer's programs before all others. Older kernels have clsact, which keeps
//! programs until somebody removes them; `clsact` and `owner` do so. XDP (`xdp`) has links,
//! too.
//!
//! Invariant 7 (ARCHITECTURE.md): nothing stays attached.

mod clsact;
mod filter;
mod netkit;
mod owner;
mod tcx;
mod xdp;

use std::{io, os::fd::BorrowedFd};

use aya::{programs::SchedClassifier, util::KernelVersion};
use nix::net::if_::if_nametoindex;

use super::{NodeError, bpf};
use crate::interfaces::Interface;
use clsact::Clsact;
use tcx::Links;
use tracer_core::model::{Direction, Foreign};
pub(super) use xdp::{
    Candidate, XdpLinks, changes, choose, foresee, leave_out_ours, nowhere, program, unknown,
};

/// Prefix of the names of tracer's programs; no other program has it.
const OURS: &str = "tracer_";

/// Note for kernels on which programs may stay behind.
const STAYS: &str = "this kernel has no tcx (Linux 6.6): programs are attached by clsact, and if \
                     tracer is killed they stay until it is started again here";

/// Whether packets at a device of IP packets begin with the Ethernet header of the outer frame.
/// Incoming packets did until Linux 5.14, because these tunnels left `mac_header` unchanged
/// (net/ipv4/ipip.c; net/ipv6/ip6_tunnel.c). IPv4 in sit does, too, but not IPv6, for which sit
/// is made. IPsec still moves the header to the decrypted packet (`skb_mac_header_rebuild` in
/// net/xfrm/xfrm_input.c).
pub(super) fn shows_outer_frame(kind: &str, direction: Direction) -> bool {
    let is_old = || KernelVersion::current().is_ok_and(|own| own < KernelVersion::new(5, 14, 0));
    direction == Direction::Ingress
        && match kind {
            "xfrm" => true,
            "ipip" | "ip6tnl" | "ip6gre" => is_old(),
            _ => false,
        }
}

/// Foreign programs at an interface, in the order in which they run: those at tcx, then those
/// at clsact, as far as the kernel has each. Programs of a netkit pair run before these for
/// incoming packets, and after them for outgoing ones.
///
/// # Errors
/// If the kernel refuses: it needs CAP_NET_ADMIN, and the interface must exist.
pub(super) fn foreign(device: Device<'_>, direction: Direction) -> io::Result<Vec<Foreign>> {
    let mut all = tcx::attached(device, direction)?;
    all.extend(clsact::attached(device.index, direction)?);
    let of_pair = netkit::attached(device, direction)?;
    let first = match direction {
        Direction::Ingress => 0,
        Direction::Egress => all.len(),
    };
    all.splice(first..first, of_pair);
    all.retain(|program| !is_ours(program));
    Ok(all)
}

/// Notes for a plan on foreign programs that may hide packets.
pub(super) fn notes(interfaces: &[Interface]) -> Vec<String> {
    let mut notes = Vec::new();
    for Interface { name, ifindex, .. } in interfaces {
        let device = Device {
            name,
            index: *ifindex,
        };
        for direction in [Direction::Ingress, Direction::Egress] {
            match foreign(device, direction) {
                Ok(others) => notes.extend(Foreign::warning(&others, name, direction)),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return vec![
                        "tc programs of others are not known: tracer needs CAP_NET_ADMIN to ask \
                         for them"
                            .to_owned(),
                    ];
                }
                Err(error) => notes.push(format!(
                    "tc at {name} {direction}: programs of others are not known: {error}"
                )),
            }
        }
    }
    notes
}

/// Attached programs in the calling thread's namespace.
pub(super) enum Hooks {
    /// Links of tcx.
    Tcx(Links),
    /// Filters of clsact.
    Clsact(Clsact),
}

/// An interface.
#[derive(Clone, Copy, Debug)]
pub(super) struct Device<'a> {
    pub(super) name: &'a str,
    pub(super) index: u32,
}

/// Whether a link is still attached to an interface. The link itself is asked, which takes
/// no capability.
fn is_attached(link: BorrowedFd<'_>, device: Device<'_>) -> io::Result<bool> {
    /// Index of the interface in `struct bpf_link_info`, in words. The value is 0 if the
    /// interface is gone, or somebody detached the link.
    const IFINDEX: usize = 4;

    let info: [u32; IFINDEX + 1] = bpf::info(link)?;
    // An interface that was moved to another namespace keeps its link.
    let is_here = if_nametoindex(device.name) == Ok(device.index);
    Ok(is_here && info[IFINDEX] == device.index)
}

/// Whether a program or filter is a tracer's.
pub(super) fn is_ours(program: &Foreign) -> bool {
    program.name.starts_with(OURS)
}

impl Hooks {
    /// Finds out what the kernel has, and removes what a killed tracer left here.
    pub(super) fn open() -> Result<Self, NodeError> {
        let has_tcx = tcx::is_there().map_err(|source| NodeError::System {
            what: "ask the kernel whether it has tcx",
            source,
        })?;
        if has_tcx {
            return Ok(Self::Tcx(Links::default()));
        }
        let mut clsact = Clsact::open()?;
        clsact.remove_leftovers()?;
        Ok(Self::Clsact(clsact))
    }

    /// The hook's name in points.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Tcx(_) => "tcx",
            Self::Clsact(_) => "clsact",
        }
    }

    /// A note on the hook for the user, one sentence.
    pub(super) const fn note(&self) -> Option<&'static str> {
        match self {
            Self::Tcx(_) => None,
            Self::Clsact(_) => Some(STAYS),
        }
    }

    /// Attaches a loaded program with the name `name`, before all others if possible.
    pub(super) fn attach(
        &mut self,
        program: &SchedClassifier,
        name: &str,
        device: Device<'_>,
        direction: Direction,
    ) -> Result<(), NodeError> {
        match self {
            Self::Tcx(links) => links.attach(program, device, direction),
            Self::Clsact(clsact) => clsact.attach(program, name, device, direction),
        }
    }

    /// Whether the program is still attached.
    ///
    /// # Errors
    /// If the kernel does not answer.
    pub(super) fn holds(&mut self, device: Device<'_>, direction: Direction) -> io::Result<bool> {
        match self {
            Self::Tcx(links) => links.holds(device, direction),
            Self::Clsact(clsact) => clsact.holds(device.index, direction),
        }
    }

    /// Detaches the programs at one interface.
    pub(super) fn release(&mut self, ifindex: u32) -> Result<(), NodeError> {
        match self {
            Self::Tcx(links) => {
                links.release(ifindex);
                Ok(())
            }
            Self::Clsact(clsact) => clsact.release(ifindex),
        }
    }

    /// Detaches all programs.
    pub(super) fn detach(&mut self) -> Result<(), NodeError> {
        match self {
            Self::Tcx(links) => {
                links.detach();
                Ok(())
            }
            Self::Clsact(clsact) => clsact.detach(),
        }
    }
}
