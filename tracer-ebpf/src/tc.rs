//! The tc classifiers: one for each direction.
//!
//! `int cls(struct __sk_buff *skb)`, `BPF_PROG_TYPE_SCHED_CLS`. The return
//! value is tc's verdict on the packet. These programs always return
//! `TCX_NEXT` / `TC_ACT_UNSPEC`, "the next program decides".
//!
//! The work on a packet is in [`closer`](crate::closer).
//!
//! Invariant 1 (ARCHITECTURE.md): passive. No path returns anything else, and no helper
//! called here changes a packet.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{__sk_buff, TC_ACT_UNSPEC},
    helpers::generated::bpf_skb_load_bytes,
    macros::classifier,
    programs::TcContext,
};
use tracer_common::event::{EGRESS, HopEvent, INGRESS, SERVICE_TAG, VLAN};

use crate::{
    closer::{Glance, give_up, glance, go_on},
    context::Context,
    maps::CLOSER,
};

/// Packets that come in from the interface.
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
#[classifier]
pub(crate) fn tracer_ingress(ctx: TcContext) -> i32 {
    observe(&ctx, INGRESS, true)
}

/// Packets that go out through the interface.
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
#[classifier]
pub(crate) fn tracer_egress(ctx: TcContext) -> i32 {
    observe(&ctx, EGRESS, true)
}

/// As [`tracer_ingress`], for an interface whose packets have no Ethernet
/// header: an IP-in-IP tunnel's.
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
#[classifier]
pub(crate) fn tracer_l3_in(ctx: TcContext) -> i32 {
    observe(&ctx, INGRESS, false)
}

/// As [`tracer_egress`], for an interface whose packets have no Ethernet header.
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
#[classifier]
pub(crate) fn tracer_l3_out(ctx: TcContext) -> i32 {
    observe(&ctx, EGRESS, false)
}

/// An empty classifier. It is never attached; the benchmark compares costs with it.
#[classifier]
pub(crate) fn tracer_empty(_ctx: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// Glances at a packet, and continues in [`tracer_closer`] if the glance does not settle the
/// packet.
#[inline(always)]
fn observe(ctx: &TcContext, place: u8, ethernet: bool) -> i32 {
    let skb = Skb(ctx.as_ptr().cast());
    if glance(skb, place, ethernet) == Glance::Closer {
        // SAFETY: the map holds programs of this kind only. If the program is missing, this
        // one continues below.
        unsafe { CLOSER.tail_call(ctx, 0) };
        give_up(skb, place);
    }
    TC_ACT_UNSPEC
}

/// Parses a packet that may be a match. It is attached to nothing: the classifiers tail-call it.
#[expect(clippy::needless_pass_by_value, reason = "the macro's signature")]
#[classifier]
pub(crate) fn tracer_closer(ctx: TcContext) -> i32 {
    go_on(Skb(ctx.as_ptr().cast()));
    TC_ACT_UNSPEC
}

/// The context of a classifier.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Skb(*mut __sk_buff);

/// `ETH_P_8021AD` in network byte order, as in the context.
const SERVICE_TAG_PROTOCOL: u32 = 0x88a8_u16.to_be() as u32;

impl Context for Skb {
    #[inline(always)]
    fn linear(self) -> (usize, usize) {
        // SAFETY: the context pointer is valid while the program runs.
        let context = unsafe { &*self.0 };
        (context.data as usize, context.data_end as usize)
    }

    #[inline(always)]
    fn len(self) -> u32 {
        // SAFETY: the context pointer is valid while the program runs.
        unsafe { (*self.0).len }
    }

    #[inline(always)]
    fn ifindex(self) -> u32 {
        // SAFETY: the context pointer is valid while the program runs.
        unsafe { (*self.0).ifindex }
    }

    #[inline(always)]
    unsafe fn load(self, offset: usize, to: *mut c_void, len: usize) -> bool {
        // SAFETY: the context pointer is valid; for `to` the caller answers.
        unsafe { bpf_skb_load_bytes(self.0.cast(), offset as u32, to, len as u32) == 0 }
    }

    #[inline(always)]
    fn tell(self, event: &mut HopEvent, salt: u64) {
        // Through memory, because the verifier allows no arithmetic with the
        // context pointer itself.
        event.skb = self.0 as u64;
        // SAFETY: the field was just written.
        let address = unsafe { core::ptr::read_volatile(&raw const event.skb) };
        event.skb = address.wrapping_add(salt);
        // SAFETY: the context pointer is valid while the program runs.
        let context = unsafe { &*self.0 };
        event.gso_segs = context.gso_segs as u16;
        event.vlan_tci = context.vlan_tci as u16;
        event.flags = if context.vlan_present != 0 { VLAN } else { 0 };
    }

    #[inline(always)]
    fn tell_captured(self) -> u8 {
        // SAFETY: the context pointer is valid while the program runs.
        let protocol = unsafe { (*self.0).vlan_proto };
        if protocol == SERVICE_TAG_PROTOCOL {
            SERVICE_TAG
        } else {
            0
        }
    }
}
