//! What it means that the kernel freed a packet with `kfree_skb`.
//!
//! A drop is evidence, not a verdict: the same call ends the life of a ping's
//! reply that a raw socket has long had a copy of, of data that came twice,
//! and of a frame that a bridge sent to everybody. The reason alone does not
//! tell them apart, so the function counts, too. What neither tells is
//! `unknown`, and shown as that.

mod table;
mod tally;

use std::net::IpAddr;

use table::entries;
pub use tally::{Kind as DropKind, Tally};

use crate::{
    journey::{Class, Judgement},
    link::{Freed, Packet, Transport},
};

/// What is said of a drop that the table does not know.
const UNKNOWN: Judgement = Judgement {
    class: Class::Unknown,
    cause: "",
    why: "the kernel gives no reason that tells a loss from the end of a delivered packet",
    source: "",
};

/// What a freed packet's reason and place mean.
#[must_use]
pub fn classify(freed: &Freed) -> Judgement {
    let to_many = freed.packet.as_ref().is_some_and(is_to_many);
    look_up(&freed.reason, &freed.place.function, to_many)
}

/// Looks into the table. `to_many` is whether the packet went to a multicast
/// or broadcast address: then nobody is missing it where nobody listens.
fn look_up(reason: &str, function: &str, to_many: bool) -> Judgement {
    let entry = entries().find(|entry| entry.accepts(reason, function, to_many));
    entry.map_or(UNKNOWN, |entry| entry.judgement)
}

/// Whether a packet is for everybody who listens.
fn is_to_many(packet: &Packet) -> bool {
    match (&packet.transport, packet.dst) {
        (Transport::Arp(arp), _) => arp.operation == 1,
        (_, IpAddr::V4(dst)) => dst.is_multicast() || dst.is_broadcast(),
        (_, IpAddr::V6(dst)) => dst.is_multicast(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(reason: &str, function: &str) -> Class {
        look_up(reason, function, false).class
    }

    #[test]
    fn the_same_reason_means_different_things_in_different_functions() {
        assert_eq!(class("NO_SOCKET", "ping_rcv"), Class::Delivered);
        assert_eq!(class("NO_SOCKET", "tcp_v4_rcv"), Class::Refusal);
        assert_eq!(class("NO_SOCKET", "__udp4_lib_rcv"), Class::Refusal);
        assert_eq!(
            class("QUEUE_PURGE", "sk_stream_kill_queues"),
            Class::Delivered
        );
        assert_eq!(class("QUEUE_PURGE", "neigh_flush_dev"), Class::Loss);
        assert_eq!(class("NOT_SPECIFIED", "ip_error"), Class::Loss);
        assert_eq!(class("NOT_SPECIFIED", "some_driver"), Class::Unknown);
        assert_eq!(
            class("SOCKET_RCVBUFF", "udp_queue_rcv_one_skb"),
            Class::Loss
        );
        assert_eq!(class("SOCKET_RCVBUFF", "packet_rcv"), Class::Flooded);
    }

    #[test]
    fn reasons_that_say_it_all() {
        for reason in [
            "NETFILTER_DROP",
            "NEIGH_FAILED",
            "IP_RPFILTER",
            "QDISC_DROP",
        ] {
            assert_eq!(class(reason, "anything"), Class::Loss, "{reason}");
        }
        assert_eq!(class("TCP_OLD_DATA", "tcp_data_queue"), Class::Duplicate);
        assert_eq!(class("OTHERHOST", "ip_rcv_core"), Class::Flooded);
        assert_eq!(class("REASON_999", "ip_rcv_core"), Class::Unknown);
        assert_eq!(class("NO_REASON", "nft_do_chain"), Class::Unknown);
    }

    #[test]
    fn who_calls_to_many_misses_nobody() {
        let judge = |to_many| look_up("NO_TX_TARGET", "vxlan_xmit", to_many).class;
        assert_eq!(judge(false), Class::Loss);
        assert_eq!(judge(true), Class::Flooded);
    }

    #[test]
    fn every_entry_can_be_reached_and_justified() {
        for (index, entry) in entries().enumerate() {
            assert!(entry.judgement.source.contains(".c"), "{entry:?}");
            assert!(!entry.judgement.why.is_empty(), "{entry:?}");
            for reason in entry.reasons {
                let functions = if entry.functions.is_empty() {
                    &["a_function_of_no_entry"][..]
                } else {
                    entry.functions
                };
                for function in functions {
                    let first =
                        entries().position(|other| other.accepts(reason, function, entry.to_many));
                    assert_eq!(first, Some(index), "{reason} at {function} is shadowed");
                }
            }
        }
    }
}
