//! What it means that the kernel freed a packet with `kfree_skb`.
//!
//! A drop is evidence, not a verdict. The kernel also calls `kfree_skb` for data that came twice,
//! for a flooded frame, and for a ping's reply that a raw socket has copied. The reason alone does
//! not tell these apart, so the table looks at the function as well. If the function does not tell
//! them apart either, the class is `unknown`, and views show that.

mod table;
mod tally;

use std::net::IpAddr;

use table::{Of, entries};
pub use tally::{Kind as DropKind, Ports, Tally};

use crate::{
    journey::{Class, Judgement},
    model::{Cause, Flags, Freed, Packet, Transport},
};

/// The judgement of a drop that the table does not know.
const UNKNOWN: Judgement = Judgement {
    class: Class::Unknown,
    cause: None,
    why: "the kernel gives no reason that tells a loss from the end of a delivered packet",
    source: "",
};

/// The judgement of a drop whose function the kernel hides, if the function would decide.
const NO_FUNCTION: Judgement = Judgement {
    why: "the kernel hides which function freed the packet, and this reason alone does not tell \
          a loss from the end of a delivered packet",
    ..UNKNOWN
};

/// The meaning of a drop, by its reason, its function, and the kind of packet.
#[must_use]
pub fn classify(freed: &Freed) -> Judgement {
    let kind = match (&freed.encap, &freed.packet) {
        (Some(encap), _) if encap.outer_dst.is_multicast() => Of::ToMany,
        (Some(_), _) => Of::Wrapped,
        (None, packet) => packet.as_ref().map_or(Of::Any, kind),
    };
    look_up(&freed.reason, freed.place.known_function(), kind)
}

/// The meaning of a drop of which no other event is known. `meant`: whether the packet's addresses
/// say that it was on its way to where it was freed. Then a frame for another MAC address may have
/// been the only copy of the packet.
fn classify_alone(freed: &Freed, meant: bool) -> Judgement {
    let judgement = classify(freed);
    if meant && judgement.class == Class::Flooded && judgement.cause == Some(Cause::WrongMac) {
        return Judgement {
            class: Class::Unknown,
            why: "the frame is for another MAC address, though its IP address is here: the \
                  sender's neighbour entry is wrong, or the frame is a copy",
            ..judgement
        };
    }
    judgement
}

/// Finds the entry for a drop. Entries for all functions stand after those for particular
/// functions. If the function is not known, an entry for all functions decides only if none of the
/// others has another meaning.
fn look_up(reason: &str, function: Option<&str>, kind: Of) -> Judgement {
    let mut of_reason = entries().filter(|entry| entry.is_of(reason, kind));
    if let Some(function) = function {
        let entry = of_reason.find(|entry| entry.is_in(function));
        return entry.map_or(UNKNOWN, |entry| entry.judgement);
    }
    let mut first = None;
    for entry in of_reason {
        let meaning = (entry.judgement.class, entry.judgement.cause);
        if *first.get_or_insert(meaning) != meaning {
            return NO_FUNCTION;
        }
        if entry.functions.is_empty() {
            return entry.judgement;
        }
    }
    // In a function that no entry names, the reason may mean anything.
    first.map_or(UNKNOWN, |_| NO_FUNCTION)
}

/// The kind of packet that the table distinguishes. A drop of a broadcast is no loss where nobody
/// listens. A drop that is the normal end of a bare ACK may lose data, or prevent a connection.
fn kind(packet: &Packet) -> Of {
    let to_many = match (&packet.transport, packet.dst) {
        (Transport::Arp(arp), _) => arp.operation == 1,
        (_, IpAddr::V4(dst)) => dst.is_multicast() || dst.is_broadcast(),
        (_, IpAddr::V6(dst)) => dst.is_multicast(),
    };
    let data = packet.stream_data().is_some();
    let syn = match &packet.transport {
        Transport::Tcp(tcp) => tcp.flags.has(Flags::SYN) && !tcp.flags.has(Flags::ACK),
        _ => false,
    };
    if to_many {
        Of::ToMany
    } else if data {
        Of::Data
    } else if syn {
        Of::Syn
    } else {
        Of::Any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(reason: &str, function: &str) -> Class {
        look_up(reason, Some(function), Of::Any).class
    }

    #[test]
    fn without_the_function_only_what_the_reason_alone_says_decides() {
        let judge = |reason| look_up(reason, None, Of::Any);
        for reason in [
            "NO_SOCKET",
            "NOT_SPECIFIED",
            "NO_REASON",
            "QUEUE_PURGE",
            "SOCKET_RCVBUFF",
            "PROTO_MEM",
            "SOCKET_FILTER",
            // Expired, or broken: two causes.
            "IP_INHDR",
        ] {
            assert_eq!(judge(reason), NO_FUNCTION, "{reason}");
        }
        for (reason, class, cause) in [
            ("NETFILTER_DROP", Class::Loss, Cause::Netfilter),
            ("NEIGH_FAILED", Class::Loss, Cause::Neighbour),
            ("TCP_OLD_DATA", Class::Duplicate, Cause::Duplicate),
            ("OTHERHOST", Class::Flooded, Cause::WrongMac),
        ] {
            let judgement = judge(reason);
            assert_eq!((judgement.class, judgement.cause), (class, Some(cause)));
        }
        assert_eq!(judge("REASON_999"), UNKNOWN);
        let to_many = look_up("NO_TX_TARGET", None, Of::ToMany);
        assert_eq!(to_many.class, Class::Flooded);
    }

    /// A hidden function never leads to another class than any known function.
    #[test]
    fn a_hidden_function_never_decides_otherwise_than_any_known_one() {
        let reasons = entries().flat_map(|entry| entry.reasons);
        let functions = || {
            entries()
                .flat_map(|entry| entry.functions)
                .chain([&"other"])
        };
        for reason in reasons {
            for kind in [Of::Any, Of::ToMany, Of::Data, Of::Syn, Of::Wrapped] {
                let hidden = look_up(reason, None, kind).class;
                for function in functions() {
                    let known = look_up(reason, Some(function), kind).class;
                    assert!(
                        hidden == Class::Unknown || hidden == known,
                        "{reason} in {function}: {hidden:?}, {known:?}"
                    );
                }
            }
        }
    }

    /// Only IPv4's `ip_error` gives a drop for want of a route, and one by a route's type,
    /// different reasons.
    #[test]
    fn the_function_tells_which_route_is_missing() {
        let why = |reason, function| look_up(reason, Some(function), Of::Any).why;
        assert_eq!(
            why("IP_INNOROUTES", "ip_error"),
            "there is no route to the destination"
        );
        assert_eq!(
            why("IP_INNOROUTES", "ip6_pkt_prohibit"),
            "no route leads to the destination, or the route is of type unreachable or prohibit"
        );
        assert_eq!(
            why("IP_OUTNOROUTES", "vxlan_xmit_one"),
            "no usable route leads to the tunnel's remote"
        );
        // A hidden function may be a tunnel's.
        assert_eq!(
            look_up("IP_OUTNOROUTES", None, Of::Any).why,
            "no usable route leads to the destination, or to a tunnel's remote"
        );
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
        assert_eq!(class("NOT_SPECIFIED", "gre_rcv"), Class::Loss);
        assert_eq!(class("NO_REASON", "tunnel4_rcv"), Class::Loss);
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

    /// The kernel sends the error to the tunnel's remote end, so the inner packet's sender gets
    /// none.
    #[test]
    fn what_is_inside_a_tunnels_packet_is_lost_with_it() {
        for (reason, function) in [
            ("NO_SOCKET", "__udp4_lib_rcv"),
            ("NO_SOCKET", "__udp6_lib_rcv"),
            ("NO_REASON", "__udp4_lib_rcv"),
            ("IP_NOPROTO", "ip_protocol_deliver_rcu"),
        ] {
            assert_eq!(class(reason, function), Class::Refusal, "{reason}");
            let judgement = look_up(reason, Some(function), Of::Wrapped);
            let told = (judgement.class, judgement.cause);
            assert_eq!(told, (Class::Loss, Some(Cause::NoTunnel)), "{reason}");
        }
    }

    #[test]
    fn who_calls_to_many_misses_nobody() {
        let judge = |kind| look_up("NO_TX_TARGET", Some("vxlan_xmit"), kind).class;
        assert_eq!(judge(Of::Any), Class::Loss);
        assert_eq!(judge(Of::ToMany), Class::Flooded);
    }

    #[test]
    fn what_ends_an_acknowledgement_may_lose_data() {
        let judge = |reason, function, kind| look_up(reason, Some(function), kind).class;
        for (reason, function, of_data) in [
            (
                "TCP_INVALID_END_SEQUENCE",
                "tcp_validate_incoming",
                Class::Loss,
            ),
            (
                "TCP_INVALID_SEQUENCE",
                "tcp_validate_incoming",
                Class::Unknown,
            ),
            ("TCP_RFC7323_PAWS", "tcp_validate_incoming", Class::Unknown),
            ("NOT_SPECIFIED", "tcp_v4_rcv", Class::Unknown),
            (
                "TCP_OLD_SEQUENCE",
                "tcp_validate_incoming",
                Class::Duplicate,
            ),
        ] {
            assert_eq!(judge(reason, function, Of::Data), of_data, "{reason}");
            let of_none = judge(reason, function, Of::Any);
            assert!(matches!(of_none, Class::Duplicate | Class::Delivered));
        }
        let of_syn = judge("NOT_SPECIFIED", "tcp_v4_rcv", Of::Syn);
        assert_eq!(of_syn, Class::Unknown);
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
                    let first = entries()
                        .position(|other| other.is_of(reason, entry.of) && other.is_in(function));
                    assert_eq!(first, Some(index), "{reason} at {function} is shadowed");
                }
            }
        }
    }
}
