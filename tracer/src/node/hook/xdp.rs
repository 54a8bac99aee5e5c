//! XDP: packets as a NIC hands them in, before an sk_buff exists.
//!
//! An interface has room for one XDP program. If another tool's program is attached, it stays
//! and the point is left out, because tracer's program would have to replace or call it. A link
//! holds tracer's program, so that the kernel detaches it when the process ends for any reason.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::programs::{Xdp, loaded_programs};
use nix::net::if_::if_nametoindex;
use tracer_core::{
    model::{Foreign, XDP, XDP_GENERIC},
    request,
};

use super::{Device, is_attached, is_ours};
use crate::{
    interfaces::{Interface, Plan, Role},
    node::{
        bpf,
        rtnetlink::{Kernel, Link},
    },
};

/// `BPF_XDP` (include/uapi/linux/bpf.h).
const HOOK: u32 = 37;

/// The kind of an uplink whose lower devices, its ports, are not observed.
const BRIDGE: &str = "bridge";

/// `XDP_FLAGS_SKB_MODE` and `XDP_FLAGS_DRV_MODE` (include/uapi/linux/if_link.h).
const GENERIC: u32 = 1 << 1;
const DRIVER: u32 = 1 << 2;

/// Attached XDP links in a namespace. Dropping the value detaches them.
#[derive(Default)]
pub(in crate::node) struct XdpLinks {
    links: HashMap<u32, OwnedFd>,
}

impl XdpLinks {
    /// Attaches a loaded program.
    ///
    /// # Errors
    /// One sentence: why XDP is not observed there.
    pub(in crate::node) fn attach(
        &mut self,
        program: &Xdp,
        device: Device<'_>,
        hook: &str,
    ) -> Result<(), String> {
        let failed = |why: &str| Err(format!("XDP at {} is not observed: {why}", device.name));
        let mode = if hook == XDP_GENERIC { GENERIC } else { DRIVER };
        let program = match program.fd() {
            Ok(program) => program.as_fd(),
            Err(error) => return failed(&error.to_string()),
        };
        let error = match bpf::link(program, device.index, HOOK, mode) {
            Ok(link) => {
                self.links.insert(device.index, link);
                return Ok(());
            }
            Err(error) => error,
        };
        if let Some(why) = whose(device.index, xdp_program(device.index)) {
            return failed(&why);
        }
        let why = match error.raw_os_error() {
            Some(libc::EOPNOTSUPP) => "its driver has no XDP".to_owned(),
            _ => error.to_string(),
        };
        // If the place is taken (`dev_xdp_attach` in net/core/dev.c), it is taken in each mode.
        let is_taken = matches!(error.raw_os_error(), Some(libc::EEXIST | libc::EBUSY));
        if mode == GENERIC || is_taken {
            return failed(&why);
        }
        failed(&format!(
            "{why}; `--xdp-mode generic` needs no driver, but sees packets behind GRO"
        ))
    }

    /// Whether the program is still attached.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub(in crate::node) fn holds(&self, device: Device<'_>) -> io::Result<bool> {
        let link = self.links.get(&device.index);
        link.map_or(Ok(false), |link| is_attached(link.as_fd(), device))
    }

    /// Detaches the program at one interface.
    pub(in crate::node) fn release(&mut self, ifindex: u32) {
        self.links.remove(&ifindex);
    }

    pub(in crate::node) fn detach(&mut self) {
        self.links.clear();
    }
}

/// An interface at which XDP may be requested.
#[derive(Clone, Copy)]
pub(in crate::node) struct Candidate<'a> {
    pub(in crate::node) name: &'a str,
    /// Kind of the interface, by the kernel's name; empty for a physical interface.
    pub(in crate::node) kind: &'a str,
    /// Whether the interface's packets begin with an Ethernet header.
    pub(in crate::node) l2: bool,
    pub(in crate::node) is_uplink: bool,
}

/// The hook for XDP at an interface; one sentence if XDP is not possible there; `None` without
/// a request.
pub(in crate::node) fn choose(
    wanted: &request::Xdp,
    interface: Candidate<'_>,
) -> Option<Result<&'static str, String>> {
    /// Kinds of interfaces whose frames a driver hands in at the devices below.
    const UPPER: [&str; 4] = ["bond", "team", BRIDGE, "vlan"];

    let Candidate {
        name,
        kind,
        l2,
        is_uplink,
    } = interface;
    let is_upper = UPPER.contains(&kind);
    let is_wanted = if wanted.interfaces.is_empty() {
        is_uplink && (!is_upper || kind == BRIDGE)
    } else {
        wanted.interfaces.iter().any(|one| one == name)
    };
    is_wanted.then(|| {
        if !l2 {
            Err(format!(
                "XDP at {name} is not observed: its packets have no Ethernet header, which XDP \
                 needs"
            ))
        } else if kind == BRIDGE && !wanted.generic {
            Err(format!(
                "XDP at {name} is not observed: drivers hand in its frames at its ports, which \
                 tracer does not observe; `--xdp-mode generic` works, but sees packets behind GRO"
            ))
        } else if is_upper && !wanted.generic {
            Err(format!(
                "XDP at {name} is not observed: drivers hand in its frames at the devices below \
                 it; name those"
            ))
        } else {
            Ok(if wanted.generic { XDP_GENERIC } else { XDP })
        }
    })
}

/// Why XDP is observed nowhere although it was requested, if nothing else says why.
pub(in crate::node) fn nowhere(observed: &[Interface]) -> String {
    let is_uplink = |one: &&Interface| one.role == Role::Uplink;
    observed.iter().find(is_uplink).map_or_else(
        || {
            "XDP is not observed: the follow passes no uplink here; name interfaces, as in \
             --xdp=eth0"
                .to_owned()
        },
        // Examples are a VLAN whose lower device is in another namespace, and a bond without
        // devices.
        |Interface { name, .. }| {
            format!(
                "XDP is not observed: the uplink {name} has no device below it here; \
                 `--xdp={name} --xdp-mode generic` works, but sees packets behind GRO"
            )
        },
    )
}

/// Why some requested names are no observed interface, one sentence each.
pub(in crate::node) fn unknown(
    wanted: &request::Xdp,
    observed: &[Interface],
) -> impl Iterator<Item = String> {
    let is_observed = |name: &str| observed.iter().any(|one| one.name == name);
    let names = wanted.interfaces.iter();
    names.filter(move |name| !is_observed(name)).map(|name| {
        let why = if if_nametoindex(name.as_str()).is_ok() {
            "the follow does not observe that interface"
        } else {
            "there is no such interface"
        };
        format!(
            "XDP at {name} is not observed: {why}; `--dry-run` lists the interfaces that are \
             observed"
        )
    })
}

/// Adds to a plan where XDP would be attached, and what that would change.
pub(in crate::node) fn foresee(wanted: &request::Xdp, plan: &mut Plan) {
    for interface in &mut plan.interfaces {
        let name = &interface.name;
        let candidate = Candidate {
            name,
            kind: &interface.link_kind,
            l2: interface.l2,
            is_uplink: interface.role == Role::Uplink,
        };
        let choice = choose(wanted, candidate).map(|choice| {
            let why = whose(interface.ifindex, interface.xdp);
            why.map_or(choice, |why| {
                Err(format!("XDP at {name} is not observed: {why}"))
            })
        });
        match choice {
            Some(Ok(hook)) => {
                plan.notes.extend(changes(name, &interface.link_kind, hook));
                interface.xdp_hook = Some(hook);
            }
            Some(Err(why)) => plan.notes.push(why),
            None => {}
        }
    }
    let is_planned = plan.interfaces.iter().any(|one| one.xdp_hook.is_some());
    if !is_planned && !plan.notes.iter().any(|note| note.starts_with("XDP")) {
        plan.notes.push(nowhere(&plan.interfaces));
    }
}

/// Removes other tracers' programs from a plan, because they drop nothing.
pub(in crate::node) fn leave_out_ours(plan: &mut Plan) {
    for interface in &mut plan.interfaces {
        interface.xdp = interface.xdp.filter(|id| !is_ours(&program(*id)));
    }
}

/// Notes for the user on XDP at an interface of some kind, one sentence each.
pub(in crate::node) fn changes(interface: &str, kind: &str, hook: &str) -> Vec<String> {
    match kind {
        _ if hook == XDP_GENERIC => Vec::new(),
        // With XDP, a veth uses NAPI, with a ring of `VETH_RING_SIZE` (`veth_enable_xdp` in
        // drivers/net/veth.c).
        "veth" => vec![
            format!(
                "XDP at {interface} turns off TSO of its veth peer until tracer ends: TCP is slower"
            ),
            format!(
                "XDP at {interface} puts a queue of 256 packets in front of it until tracer \
                 ends: a burst may overflow that queue"
            ),
        ],
        "" => vec![format!(
            "XDP at {interface}: the NIC's driver may reset its queues when tracer begins and ends"
        )],
        _ => Vec::new(),
    }
}

/// Why XDP of an interface is taken, by the program there, or by a program on an interface
/// above it; `None` if no such program is known.
fn whose(ifindex: u32, there: Option<u32>) -> Option<String> {
    if let Some(program) = there.map(program) {
        return Some(if is_ours(&program) {
            "another tracer is attached there, and an interface has room for one program".to_owned()
        } else {
            format!("{program} is attached there, and tracer replaces no program")
        });
    }
    let (above, other) = xdp_above(ifindex)?;
    Some(format!(
        "{} is attached to {above} above it, and the kernel allows no other below",
        program(other)
    ))
}

/// Id of an interface's XDP program, in the calling thread's namespace.
fn xdp_program(ifindex: u32) -> Option<u32> {
    Kernel::open().ok()?.link_of(ifindex)?.xdp
}

/// Name of an interface on top of another one, and the id of the XDP program there, if there is
/// such a program. Only interfaces directly above are asked.
fn xdp_above(ifindex: u32) -> Option<(String, u32)> {
    let mut kernel = Kernel::open().ok()?;
    let master = kernel.link_of(ifindex)?.master;
    let is_above = |link: &Link| Some(link.index) == master || link.lower == Some(ifindex);
    let links = kernel.links().into_iter();
    links
        .filter(is_above)
        .find_map(|link| Some((link.name, link.xdp?)))
}

/// A loaded program, by its id. The name needs CAP_SYS_ADMIN, and is empty without it.
pub(in crate::node) fn program(id: u32) -> Foreign {
    let mut loaded = loaded_programs().flatten();
    let info = loaded.find(|info| info.id() == id);
    Foreign {
        id,
        name: info.map_or_else(String::new, |info| {
            String::from_utf8_lossy(info.name()).into_owned()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(names: &[&str], generic: bool, interface: Candidate<'_>) -> Option<bool> {
        let interfaces = names.iter().map(|name| (*name).to_owned()).collect();
        let wanted = request::Xdp {
            interfaces,
            generic,
        };
        choose(&wanted, interface).map(|choice| choice.is_ok())
    }

    #[test]
    fn uplinks_are_chosen_unless_others_are_named() {
        let uplink = Candidate {
            name: "eth0",
            kind: "",
            l2: true,
            is_uplink: true,
        };
        let overlay = Candidate {
            name: "flannel.1",
            kind: "vxlan",
            is_uplink: false,
            ..uplink
        };
        for generic in [false, true] {
            assert_eq!(choice(&[], generic, uplink), Some(true));
            assert_eq!(choice(&[], generic, overlay), None);
            assert_eq!(choice(&["flannel.1"], generic, uplink), None);
            assert_eq!(choice(&["eth1", "flannel.1"], generic, overlay), Some(true));
        }
        let tunnel = Candidate {
            name: "tunl0",
            l2: false,
            ..overlay
        };
        assert_eq!(choice(&["tunl0"], true, tunnel), Some(false));
    }

    /// Frames that come in by a bond are its devices', for the program as well.
    #[test]
    fn what_drivers_hand_in_below_is_observed_there() {
        let bond = Candidate {
            name: "bond0",
            kind: "bond",
            l2: true,
            is_uplink: true,
        };
        assert_eq!(choice(&[], false, bond), None);
        assert_eq!(choice(&["bond0"], false, bond), Some(false));
        assert_eq!(choice(&["bond0"], true, bond), Some(true));
    }

    /// The ports of a bridge are not observed.
    #[test]
    fn a_bridge_is_observed_itself_or_not_at_all() {
        let bridge = Candidate {
            name: "br0",
            kind: "bridge",
            l2: true,
            is_uplink: true,
        };
        for names in [&[][..], &["br0"]] {
            assert_eq!(choice(names, false, bridge), Some(false));
            assert_eq!(choice(names, true, bridge), Some(true));
        }
        let pods = Candidate {
            is_uplink: false,
            ..bridge
        };
        assert_eq!(choice(&[], true, pods), None);
    }
}
