//! Before there were reasons (Linux 5.17): functions that free packets for one
//! reason only, from the source of Linux 5.10. Others stay unknown there.

use super::{
    Cause,
    Class::{Loss, Refusal},
    Entry, entry, wrapped,
};

/// What stands in the place of a reason.
const NONE: &[&str] = &["NO_REASON"];

/// See [`super`].
pub(super) static TABLE: &[Entry] = &[
    entry(
        NONE,
        &["nf_hook_slow"],
        Loss,
        Cause::Netfilter,
        "an iptables or nftables rule or policy, or conntrack, drops or rejects the packet",
        "net/netfilter/core.c nf_hook_slow: NF_DROP",
    ),
    entry(
        NONE,
        &["arp_error_report", "ndisc_error_report", "neigh_invalidate"],
        Loss,
        Cause::Neighbour,
        "the next hop does not answer ARP or neighbour solicitations",
        "net/ipv4/arp.c arp_error_report; net/ipv6/ndisc.c ndisc_error_report",
    ),
    entry(
        NONE,
        &["ip_error", "ip6_pkt_drop"],
        Loss,
        Cause::NoRoute,
        "there is no route to the destination, or its type is blackhole, unreachable or prohibit",
        "net/ipv4/route.c ip_error; net/ipv6/route.c ip6_pkt_drop",
    ),
    wrapped(entry(
        NONE,
        &["__udp4_lib_rcv", "__udp6_lib_rcv"],
        Loss,
        Cause::NoTunnel,
        "no tunnel device here accepts the packet, or its length or checksum is wrong",
        "net/ipv4/udp.c __udp4_lib_rcv; net/ipv6/udp.c __udp6_lib_rcv",
    )),
    // What a socket gets, and what is for many, is not freed there.
    entry(
        NONE,
        &["__udp4_lib_rcv", "__udp6_lib_rcv"],
        Refusal,
        Cause::NoListener,
        "nobody listens on this port, or the packet's length or checksum is wrong",
        "net/ipv4/udp.c __udp4_lib_rcv; net/ipv6/udp.c __udp6_lib_rcv",
    ),
];
