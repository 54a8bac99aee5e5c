//! Links of tcx.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::programs::{SchedClassifier, TcAttachType};
use tracer_core::model::{Direction, Foreign};

use super::{Device, is_attached};
use crate::node::{NodeError, bpf};

/// Index of the loopback interface, which every namespace has.
const LOOPBACK: u32 = 1;

/// Attached links in a namespace. Dropping the value detaches them, and so does the end of the
/// process.
#[derive(Default)]
pub(in crate::node) struct Links {
    links: HashMap<(u32, Direction), OwnedFd>,
}

impl Links {
    pub(super) fn attach(
        &mut self,
        program: &SchedClassifier,
        device: Device<'_>,
        direction: Direction,
    ) -> Result<(), NodeError> {
        let failed =
            |source: &dyn std::error::Error| NodeError::attach(device.name, direction, source);
        let program = program.fd().map_err(|source| failed(&source))?;
        let link = bpf::link(
            program.as_fd(),
            device.index,
            hook(direction),
            bpf::BPF_F_BEFORE,
        );
        let link = link.map_err(|source| failed(&source))?;
        self.links.insert((device.index, direction), link);
        Ok(())
    }

    /// Whether the program is still attached.
    pub(super) fn holds(&self, device: Device<'_>, direction: Direction) -> io::Result<bool> {
        let link = self.links.get(&(device.index, direction));
        link.map_or(Ok(false), |link| is_attached(link.as_fd(), device))
    }

    /// Detaches the programs at one interface.
    pub(super) fn release(&mut self, ifindex: u32) {
        self.links.retain(|(index, _), _| *index != ifindex);
    }

    pub(super) fn detach(&mut self) {
        self.links.clear();
    }
}

/// Whether the kernel has tcx.
pub(super) fn is_there() -> io::Result<bool> {
    match bpf::attached(LOOPBACK, hook(Direction::Ingress)) {
        Ok(_) => Ok(true),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the kernel's error means that it does not know the hook.
fn is_absent(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINVAL)
}

/// All programs at an interface, from any tool; none without tcx. Names need CAP_SYS_ADMIN, and
/// are empty without it.
pub(super) fn attached(device: Device<'_>, direction: Direction) -> io::Result<Vec<Foreign>> {
    let ids = match bpf::attached(device.index, hook(direction)) {
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        ids => ids?,
    };
    let at = match direction {
        Direction::Ingress => TcAttachType::Ingress,
        Direction::Egress => TcAttachType::Egress,
    };
    let named = match &ids[..] {
        [] => Vec::new(),
        _ => {
            SchedClassifier::query_tcx(device.name, at).map_or_else(|_| Vec::new(), |(_, all)| all)
        }
    };
    let foreign = |id| Foreign {
        id,
        name: named
            .iter()
            .find(|info| info.id() == id)
            .map_or_else(String::new, |info| {
                String::from_utf8_lossy(info.name()).into_owned()
            }),
    };
    Ok(ids.into_iter().map(foreign).collect())
}

/// `BPF_TCX_INGRESS` and `BPF_TCX_EGRESS` (include/uapi/linux/bpf.h).
const fn hook(direction: Direction) -> u32 {
    match direction {
        Direction::Ingress => 46,
        Direction::Egress => 47,
    }
}
