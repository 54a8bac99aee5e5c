//! The XDP program: what a driver hands in, before there is an sk_buff.
//!
//! `int prog(struct xdp_md *ctx)`, `BPF_PROG_TYPE_XDP`, in frags mode (Linux 5.18), so that it
//! also takes packets of several buffers. The return value says what becomes of the packet. These
//! programs always return `XDP_PASS`. Unlike tc, XDP knows no "next program": where somebody's is
//! attached, these are not.
//!
//! The work on a packet is in [`closer`](crate::closer). No sk_buff exists yet. The event therefore
//! has no sk_buff address, no segments, and no VLAN tag that a NIC has taken out of the frame.
//!
//! Invariant 1 (ARCHITECTURE.md): passive. No path returns anything else, and no helper
//! called here changes a packet.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{xdp_action::XDP_PASS, xdp_md},
    helpers::generated::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    macros::xdp,
    programs::XdpContext,
};
use tracer_common::event::{HopEvent, XDP};

use crate::{
    closer::{Glance, give_up, glance, go_on},
    context::Context,
    maps::XDP_CLOSER,
};

/// Packets that come in from the interface, each with an Ethernet header.
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
#[xdp(frags)]
pub(crate) fn tracer_xdp(ctx: XdpContext) -> u32 {
    let frame = Frame(ctx.ctx);
    if glance(frame, XDP, true) == Glance::Closer {
        // SAFETY: the map holds programs of this kind only. If the program is missing, this
        // one continues below.
        unsafe { XDP_CLOSER.tail_call(&ctx, 0) };
        give_up(frame, XDP);
    }
    XDP_PASS
}

/// Parses a packet that may be a match. It is attached to nothing: [`tracer_xdp`] tail-calls it.
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
#[xdp(frags)]
pub(crate) fn tracer_xdp_closer(ctx: XdpContext) -> u32 {
    go_on(Frame(ctx.ctx));
    XDP_PASS
}

/// An empty program. It is never attached; the benchmark compares costs with it.
#[xdp(frags)]
pub(crate) fn tracer_xdp_empty(_ctx: XdpContext) -> u32 {
    XDP_PASS
}

/// The context of an XDP program.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Frame(*mut xdp_md);

impl Context for Frame {
    #[inline(always)]
    fn linear(self) -> (usize, usize) {
        // SAFETY: the context pointer is valid while the program runs.
        let context = unsafe { &*self.0 };
        (context.data as usize, context.data_end as usize)
    }

    #[inline(always)]
    fn len(self) -> u32 {
        // SAFETY: the context pointer is valid while the program runs.
        unsafe { bpf_xdp_get_buff_len(self.0) as u32 }
    }

    #[inline(always)]
    fn ifindex(self) -> u32 {
        // SAFETY: the context pointer is valid while the program runs.
        unsafe { (*self.0).ingress_ifindex }
    }

    #[inline(always)]
    unsafe fn load(self, offset: usize, to: *mut c_void, len: usize) -> bool {
        // SAFETY: the context pointer is valid; for `to` the caller answers.
        unsafe { bpf_xdp_load_bytes(self.0, offset as u32, to, len as u32) == 0 }
    }

    #[inline(always)]
    fn tell(self, event: &mut HopEvent, _salt: u64) {
        event.skb = 0;
        event.gso_segs = 0;
        event.vlan_tci = 0;
        event.flags = 0;
    }

    #[inline(always)]
    fn tell_captured(self) -> u8 {
        0
    }
}
