//! Where the kernel lets a program see the packets of an interface.
//!
//! tcx (Linux 6.6) has links: the kernel detaches what a process attached when
//! that ends, however it ends, and keeps our programs ahead of the others.
//! Older kernels have clsact, which keeps everything until somebody removes it;
//! what that takes is in `clsact` and `owner`. XDP (`xdp`) has links, too.
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
use tracer_common::event::{EGRESS, INGRESS, XDP};

use super::{NodeError, bpf, discover::Interface};
use clsact::Clsact;
use tcx::Links;
use tracer_core::model::{Direction, Foreign};
pub(super) use xdp::{
    Candidate, XdpLinks, changes, choose, foresee, leave_out_ours, nowhere, program, unknown,
};

/// What programs of tracer's are called begins so, and no other's.
const OURS: &str = "tracer_";

/// Says that programs may stay behind, where they may.
const STAYS: &str = "this kernel has no tcx (Linux 6.6): programs are attached by clsact, and if \
                     tracer is killed they stay until it is started again here";

/// Whether what passes there begins with the outer frame's Ethernet header, though
/// the device is one of IP packets: what comes in from these did until Linux 5.14,
/// as they left `mac_header` where it was (net/ipv4/ipip.c; net/ipv6/ip6_tunnel.c).
/// IPv4 in sit does, too, but not IPv6, for which it is there. IPsec still moves it
/// to what it has decrypted (`skb_mac_header_rebuild` in net/xfrm/xfrm_input.c).
pub(super) fn shows_outer_frame(kind: &str, direction: Direction) -> bool {
    let is_old = || KernelVersion::current().is_ok_and(|own| own < KernelVersion::new(5, 14, 0));
    direction == Direction::Ingress
        && match kind {
            "xfrm" => true,
            "ipip" | "ip6tnl" | "ip6gre" => is_old(),
            _ => false,
        }
}

/// What others have attached there, in the order in which it runs: to tcx, and
/// after that to clsact, as far as the kernel has each. Programs of a netkit pair run before
/// these for what comes in, and after them for what goes out.
///
/// # Errors
/// If the kernel does not say: it takes CAP_NET_ADMIN, and the interface.
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

/// What the plan of a node should say of programs that may hide packets.
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

/// The calling thread's namespace, as far as programs can be attached in it.
pub(super) enum Hooks {
    /// Links.
    Tcx(Links),
    /// Filters of a queueing discipline.
    Clsact(Clsact),
}

/// An interface.
#[derive(Clone, Copy, Debug)]
pub(super) struct Device<'a> {
    pub(super) name: &'a str,
    pub(super) index: u32,
}

/// Where at an interface a program sees packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum At {
    /// At tc, in one direction.
    Tc(Direction),
    /// At XDP: what comes in.
    Xdp,
}

impl At {
    /// As an event has it ([`tracer_common::event::HopEvent::place`]).
    pub(crate) const fn of(place: u8) -> Option<Self> {
        match place {
            INGRESS => Some(Self::Tc(Direction::Ingress)),
            EGRESS => Some(Self::Tc(Direction::Egress)),
            XDP => Some(Self::Xdp),
            _ => None,
        }
    }

    /// The same number.
    pub(crate) const fn place(self) -> u8 {
        match self {
            Self::Tc(Direction::Ingress) => INGRESS,
            Self::Tc(Direction::Egress) => EGRESS,
            Self::Xdp => XDP,
        }
    }
}

/// Whether a link is still attached to an interface. The link itself is asked, which takes
/// no capability.
fn is_attached(link: BorrowedFd<'_>, device: Device<'_>) -> io::Result<bool> {
    /// Where a link's interface stands in `struct bpf_link_info`, in words: 0 when that has
    /// gone, or somebody has detached the link.
    const IFINDEX: usize = 4;

    let info: [u32; IFINDEX + 1] = bpf::info(link)?;
    // One that was moved to another namespace keeps its link.
    let is_here = if_nametoindex(device.name) == Ok(device.index);
    Ok(is_here && info[IFINDEX] == device.index)
}

/// Whether a program, or a filter, is a tracer's.
pub(super) fn is_ours(program: &Foreign) -> bool {
    program.name.starts_with(OURS)
}

impl Hooks {
    /// Looks what the kernel has. What a tracer left here that has been killed
    /// is removed.
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

    /// What a point calls it.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Tcx(_) => "tcx",
            Self::Clsact(_) => "clsact",
        }
    }

    /// What the user should know of it, one sentence.
    pub(super) const fn note(&self) -> Option<&'static str> {
        match self {
            Self::Tcx(_) => None,
            Self::Clsact(_) => Some(STAYS),
        }
    }

    /// Attaches a loaded program called `name`, ahead of all others where that
    /// can be had.
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

    /// Whether what was attached there still is.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub(super) fn holds(&mut self, device: Device<'_>, direction: Direction) -> io::Result<bool> {
        match self {
            Self::Tcx(links) => links.holds(device, direction),
            Self::Clsact(clsact) => clsact.holds(device.index, direction),
        }
    }

    /// Detaches what was attached to one interface.
    pub(super) fn release(&mut self, ifindex: u32) -> Result<(), NodeError> {
        match self {
            Self::Tcx(links) => {
                links.release(ifindex);
                Ok(())
            }
            Self::Clsact(clsact) => clsact.release(ifindex),
        }
    }

    /// Detaches all that was attached here.
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
