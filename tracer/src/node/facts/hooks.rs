//! Hooks of netfilter on a packet's path.

use tracer_core::model::Hook;

/// The hooks that a packet passes.
pub(super) const fn passed(from_here: bool, to_here: bool) -> &'static [Hook] {
    match (from_here, to_here) {
        (false, false) => &[Hook::Prerouting, Hook::Forward, Hook::Postrouting],
        (false, true) => &[Hook::Prerouting, Hook::Input],
        (true, false) => &[Hook::Output, Hook::Postrouting],
        (true, true) => &[
            Hook::Output,
            Hook::Postrouting,
            Hook::Prerouting,
            Hook::Input,
        ],
    }
}

/// A hook's number for IP and bridges; `None` for hooks of devices.
pub(super) const fn number_of(hook: Hook) -> Option<u32> {
    match hook {
        Hook::Prerouting => Some(0),
        Hook::Input => Some(1),
        Hook::Forward => Some(2),
        Hook::Output => Some(3),
        Hook::Postrouting => Some(4),
        Hook::Ingress | Hook::Egress => None,
    }
}
