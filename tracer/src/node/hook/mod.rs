//! Where the kernel lets a program see the packets of an interface.
//!
//! tcx (Linux 6.6) has links: the kernel detaches what a process attached when
//! that ends, however it ends, and keeps our programs ahead of the others.
//! Older kernels have clsact, which keeps everything until somebody removes it;
//! what that takes is in `clsact` and `owner`.

mod clsact;
mod filter;
mod owner;
mod tcx;

use aya::programs::{SchedClassifier, TcAttachType};
use nix::sys::utsname::uname;

use super::{NodeError, discover::Interface};
use crate::link::{Direction, Foreign};
use clsact::Clsact;

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
    let is_old = || uname().is_ok_and(|own| is_before_5_14(&own.release().to_string_lossy()));
    direction == Direction::Ingress
        && match kind {
            "xfrm" => true,
            "ipip" | "ip6tnl" | "ip6gre" => is_old(),
            _ => false,
        }
}

fn is_before_5_14(release: &str) -> bool {
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < (5, 14),
        _ => false,
    }
}

/// What others have attached there, in the order in which it runs: to tcx, and
/// after that to clsact, as far as the kernel has each.
pub(super) fn foreign(device: Device<'_>, direction: Direction) -> Vec<Foreign> {
    let mut all = tcx::attached(device, direction);
    all.extend(clsact::attached(device.index, direction));
    all.retain(|program| !is_ours(program));
    all
}

/// What the plan of a node should say of programs that may hide packets, as far as
/// this process may know: it takes CAP_NET_ADMIN.
pub(super) fn notes(interfaces: &[Interface]) -> Vec<String> {
    let mut notes = Vec::new();
    for Interface { name, ifindex, .. } in interfaces {
        let device = Device {
            name,
            index: *ifindex,
        };
        for direction in [Direction::Ingress, Direction::Egress] {
            let others = foreign(device, direction);
            notes.extend(Foreign::warning(&others, name, direction));
        }
    }
    notes
}

/// The calling thread's namespace, as far as programs can be attached in it.
pub(super) enum Hooks {
    /// Links.
    Tcx,
    /// Filters of a queueing discipline.
    Clsact(Clsact),
}

/// An interface.
#[derive(Clone, Copy, Debug)]
pub(super) struct Device<'a> {
    pub(super) name: &'a str,
    pub(super) index: u32,
}

/// Whether a program, or a filter, is a tracer's.
fn is_ours(program: &Foreign) -> bool {
    program.name.starts_with(OURS)
}

impl Hooks {
    /// Whether the kernel has tcx.
    pub(super) fn has_tcx() -> bool {
        // Every namespace has this interface.
        SchedClassifier::query_tcx("lo", TcAttachType::Ingress).is_ok()
    }

    /// Looks what the kernel has. What a tracer left here that has been killed
    /// is removed.
    pub(super) fn open() -> Result<Self, NodeError> {
        if Self::has_tcx() {
            return Ok(Self::Tcx);
        }
        let mut clsact = Clsact::open()?;
        clsact.remove_leftovers()?;
        Ok(Self::Clsact(clsact))
    }

    /// What a point calls it.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Clsact(_) => "clsact",
        }
    }

    /// What the user should know of it, one sentence.
    pub(super) const fn note(&self) -> Option<&'static str> {
        match self {
            Self::Tcx => None,
            Self::Clsact(_) => Some(STAYS),
        }
    }

    /// Attaches a loaded program called `name`, ahead of all others where that
    /// can be had.
    pub(super) fn attach(
        &mut self,
        program: &mut SchedClassifier,
        name: &str,
        device: Device<'_>,
        direction: Direction,
    ) -> Result<(), NodeError> {
        match self {
            Self::Tcx => tcx::attach(program, device, direction),
            Self::Clsact(clsact) => clsact.attach(program, name, device, direction),
        }
    }

    /// All that is attached there by the same means.
    pub(super) fn attached(&mut self, device: Device<'_>, direction: Direction) -> Vec<Foreign> {
        match self {
            Self::Tcx => tcx::attached(device, direction),
            Self::Clsact(clsact) => clsact.attached(device.index, direction),
        }
    }

    /// Detaches all that was attached here.
    pub(super) fn detach(&mut self) -> Result<(), NodeError> {
        match self {
            // Unloading the programs drops the links.
            Self::Tcx => Ok(()),
            Self::Clsact(clsact) => clsact.detach(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_as_numbers() {
        for (release, before) in [
            ("5.10.0-32-cloud-amd64", true),
            ("5.4", true),
            ("5.14.0-70.el9", false),
            ("6.1.0-50-cloud-amd64", false),
            ("of my own", false),
        ] {
            assert_eq!(is_before_5_14(release), before, "{release}");
        }
    }
}
