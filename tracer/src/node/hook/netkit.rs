//! Programs of netkit devices (Linux 6.7), which run in the pair itself: packets from one end
//! pass them on the way to the other end.
//!
//! All programs are read at the primary end, which is on the node. Programs at
//! `BPF_NETKIT_PRIMARY` see packets that this end sends, after tc. Programs at
//! `BPF_NETKIT_PEER` see packets from the pod before tc of the primary end does, and may
//! redirect them.

use std::io;

use tracer_core::model::{Direction, Foreign};

use super::{Device, xdp::program};
use crate::node::bpf;

/// Programs at a pair, from any tool, for packets in one direction at an interface. Empty if
/// the interface is not the primary end of a pair.
pub(super) fn attached(device: Device<'_>, direction: Direction) -> io::Result<Vec<Foreign>> {
    let ids = match bpf::attached(device.index, hook(direction)) {
        Err(error) if is_no_primary(&error) => return Ok(Vec::new()),
        ids => ids?,
    };
    Ok(ids.into_iter().map(program).collect())
}

/// Whether the kernel's error means that the interface has no such hook (drivers/net/netkit.c):
/// the kernel lacks netkit (EINVAL), the interface is of another kind (ENXIO), or is the peer
/// end (EACCES).
fn is_no_primary(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::ENXIO | libc::EACCES)
    )
}

/// `BPF_NETKIT_PEER` and `BPF_NETKIT_PRIMARY` (include/uapi/linux/bpf.h).
const fn hook(direction: Direction) -> u32 {
    match direction {
        Direction::Ingress => 55,
        Direction::Egress => 54,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_says_that_there_is_no_such_hook_is_no_error() {
        for (code, is_none) in [
            (libc::EINVAL, true),
            (libc::ENXIO, true),
            (libc::EACCES, true),
            (libc::EPERM, false),
            (libc::ENODEV, false),
        ] {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(is_no_primary(&error), is_none, "{error}");
        }
    }
}
