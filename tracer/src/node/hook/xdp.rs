//! XDP: what a NIC hands in, before there is an sk_buff.
//!
//! An interface has room for one program there. Where somebody's is attached, that one stays
//! and the point is left out: ours would have to replace it or to run it. A link holds what is
//! attached here, so that the kernel detaches it when the process ends, however it ends.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::programs::{Xdp, loaded_programs};
use nix::net::if_::if_nametoindex;
use tracer_core::{
    model::{Foreign, Point, Role, XDP, XDP_GENERIC},
    request,
};

use super::{Device, is_attached};
use crate::node::{
    bpf,
    discover::{self, Interface, Plan},
    facts,
};

/// `BPF_XDP` (include/uapi/linux/bpf.h).
const HOOK: u32 = 37;

/// `XDP_FLAGS_SKB_MODE` and `XDP_FLAGS_DRV_MODE` (include/uapi/linux/if_link.h).
const GENERIC: u32 = 1 << 1;
const DRIVER: u32 = 1 << 2;

/// What is attached in a namespace. It is detached when this is dropped.
#[derive(Default)]
pub(in crate::node) struct XdpLinks {
    links: HashMap<u32, OwnedFd>,
}

impl XdpLinks {
    /// Attaches a loaded program.
    ///
    /// # Errors
    /// One sentence: why nothing is seen there.
    pub(in crate::node) fn attach(
        &mut self,
        program: &Xdp,
        device: Device<'_>,
        generic: bool,
    ) -> Result<(), String> {
        let name = device.name;
        let failed = |why: &dyn std::error::Error| format!("XDP at {name} is not observed: {why}");
        let program = program.fd().map_err(|source| failed(&source))?;
        let mode = if generic { GENERIC } else { DRIVER };
        match bpf::link(program.as_fd(), device.index, HOOK, mode) {
            Ok(link) => {
                self.links.insert(device.index, link);
                Ok(())
            }
            Err(error) => Err(match error.raw_os_error() {
                Some(libc::EBUSY | libc::EEXIST) => is_taken(device),
                Some(libc::EOPNOTSUPP) => format!(
                    "XDP at {name} is not observed: its driver has no XDP; `--xdp-mode generic` \
                     works there, but behind GRO"
                ),
                _ => failed(&error),
            }),
        }
    }

    /// Whether it is still attached there.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub(in crate::node) fn holds(&self, device: Device<'_>) -> io::Result<bool> {
        let link = self.links.get(&device.index);
        link.map_or(Ok(false), |link| is_attached(link.as_fd(), device))
    }

    pub(in crate::node) fn detach(&mut self) {
        self.links.clear();
    }
}

/// What a point at XDP calls its hook.
pub(in crate::node) const fn name(generic: bool) -> &'static str {
    if generic { XDP_GENERIC } else { XDP }
}

/// Whether packets are to be seen at XDP of a point's interface.
pub(in crate::node) fn is_wanted(wanted: &request::Xdp, point: &Point) -> bool {
    let is_uplink = point.role == Role::Uplink;
    // Inside of pods nothing is attached to XDP.
    point.role != Role::Pod && is_chosen(wanted, &point.interface, is_uplink)
}

fn is_chosen(wanted: &request::Xdp, interface: &str, is_uplink: bool) -> bool {
    if wanted.interfaces.is_empty() {
        is_uplink
    } else {
        wanted.interfaces.iter().any(|name| name == interface)
    }
}

/// Why some of the names lead to none of the interfaces that are observed, one sentence each.
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

/// Says in a plan where XDP would be attached, and what that would change.
pub(in crate::node) fn foresee(wanted: &request::Xdp, plan: &mut Plan) {
    let hook = name(wanted.generic);
    for interface in &mut plan.interfaces {
        let is_uplink = interface.role == discover::Role::Uplink;
        if !is_chosen(wanted, &interface.name, is_uplink) {
            continue;
        }
        let device = Device {
            name: &interface.name,
            index: interface.ifindex,
        };
        if interface.xdp.is_some() {
            plan.notes.push(is_taken(device));
        } else if interface.l2 {
            let changes = changes(&interface.name, &interface.link_kind, hook);
            plan.notes.extend(changes);
            interface.xdp_hook = Some(hook);
        } else {
            plan.notes.push(no_ethernet(&interface.name));
        }
    }
}

/// What the user should know of XDP at an interface of some kind, one sentence.
pub(in crate::node) fn changes(interface: &str, kind: &str, hook: &str) -> Option<String> {
    match kind {
        _ if hook == XDP_GENERIC => None,
        "veth" => Some(format!(
            "XDP at {interface} turns off TSO of its veth peer until tracer ends: TCP is slower"
        )),
        "" => Some(format!(
            "XDP at {interface}: the NIC's driver may reset its queues when tracer begins and ends"
        )),
        _ => None,
    }
}

/// Says that an interface's packets are not for XDP.
pub(in crate::node) fn no_ethernet(name: &str) -> String {
    format!("XDP at {name} is not observed: its packets have no Ethernet header, which XDP needs")
}

/// Says whose program is attached there.
fn is_taken(device: Device<'_>) -> String {
    let id = facts::xdp_program(device.index);
    let whose = id.map_or_else(
        || "another program".to_owned(),
        |id| program(id).to_string(),
    );
    format!(
        "XDP at {} is not observed: {whose} is attached there, and tracer replaces no program",
        device.name
    )
}

/// A loaded program, by its identifier. Its name takes CAP_SYS_ADMIN: without it, it is empty.
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
