//! Offsets of the fields that the drop programs read.

use tracer_common::drop::{ABSENT, DropLoad};

use super::{Btf, BtfError};

/// Tracepoint that every dropped packet passes.
pub const KFREE_SKB: &str = "kfree_skb";

/// Program for kernels without drop reasons, before Linux 5.17.
pub const WITHOUT_REASON: &str = "tracer_drop_2";

/// Name of the program for this kernel's tracepoint, and the offsets that it needs.
///
/// # Errors
/// [`BtfError::NoField`] and [`BtfError::Tracepoint`].
pub fn drop_program(btf: &Btf) -> Result<(&'static str, DropLoad), BtfError> {
    let program = match btf.tracepoint_arguments(KFREE_SKB) {
        Some(2) => WITHOUT_REASON,
        Some(3) => "tracer_drop_3",
        Some(4) => "tracer_drop_4",
        _ => return Err(BtfError::Tracepoint),
    };
    let skb = |field| btf.offset("sk_buff", field);
    let dev = |field| btf.offset("net_device", field);
    let offsets = DropLoad {
        skb_head: skb("head")?,
        skb_data: skb("data")?,
        skb_tail: skb("tail")?,
        skb_end: skb("end")?,
        skb_len: skb("len")?,
        skb_mac_header: skb("mac_header")?,
        skb_network_header: skb("network_header")?,
        skb_protocol: skb("protocol")?,
        skb_dev: skb("dev")?,
        skb_sk: skb("sk")?,
        shared_gso_segs: btf.offset("skb_shared_info", "gso_segs")?,
        dev_name: dev("name")?,
        dev_ifindex: dev("ifindex")?,
        dev_net: dev("nd_net.net")?,
        sk_net: btf.offset("sock_common", "skc_net.net")?,
        net_inum: btf.offset("net", "ns.inum")?,
        skb_mark: skb("mark")?,
        skb_refdst: skb("_skb_refdst")?,
        dst_dev: btf.offset("dst_entry", "dev")?,
        skb_nfct: skb("_nfct").unwrap_or(ABSENT),
        ct_status: btf.offset("nf_conn", "status").unwrap_or(ABSENT),
        padding: 0,
    };
    Ok((program, offsets))
}
