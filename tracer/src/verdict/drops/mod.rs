//! What it means that the kernel freed a packet with `kfree_skb`.
//!
//! A drop is evidence, not a verdict: the same call ends the life of a ping's
//! reply that a raw socket has long had a copy of, of data that came twice,
//! and of a frame that a bridge sent to everybody. The reason alone does not
//! tell them apart, so the function counts, too. What neither tells is
//! `unknown`, and shown as that.

mod table;
mod tally;

use table::entries;
pub use tally::{Kind as DropKind, Tally};

/// What a drop does to the packet's journey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The packet is gone, and whoever waits for it waits in vain.
    Loss,
    /// The receiving host says no, and tells the sender.
    Refusal,
    /// It carried nothing that was not there already.
    Duplicate,
    /// It had arrived.
    Delivered,
    /// A copy for somebody who was not meant, or who only listens in.
    Flooded,
    /// It cannot be told.
    Unknown,
}

impl Class {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 6] = [
        Self::Loss,
        Self::Unknown,
        Self::Refusal,
        Self::Duplicate,
        Self::Delivered,
        Self::Flooded,
    ];

    /// In one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Refusal => "refusal",
            Self::Duplicate => "duplicate",
            Self::Delivered => "delivered",
            Self::Flooded => "flooded",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the packet may be missing somewhere.
    #[must_use]
    pub const fn is_suspect(self) -> bool {
        matches!(self, Self::Loss | Self::Unknown)
    }
}

/// A class, and why it is this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The class.
    pub class: Class,
    /// What happened, in a phrase.
    pub why: &'static str,
    /// Where the kernel's source says so; empty for what is unknown.
    pub source: &'static str,
}

/// What is said of a drop that the table does not know.
const UNKNOWN: Judgement = Judgement {
    class: Class::Unknown,
    why: "the kernel gives no reason that tells a loss from the end of a delivered packet",
    source: "",
};

/// Judges a drop. `to_many` is whether it went to a multicast or broadcast
/// address: then nobody is missing it where nobody listens.
#[must_use]
pub fn classify(reason: &str, function: &str, to_many: bool) -> Judgement {
    let entry = entries().find(|entry| entry.accepts(reason, function, to_many));
    entry.map_or(UNKNOWN, |entry| entry.judgement)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(reason: &str, function: &str) -> Class {
        classify(reason, function, false).class
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
        let judge = |to_many| classify("NO_TX_TARGET", "vxlan_xmit", to_many).class;
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
