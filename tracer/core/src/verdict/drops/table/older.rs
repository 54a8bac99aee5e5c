//! Functions of kernels before Linux 5.17, which have no drop reasons. Each function here frees
//! packets for one reason only, by the source of Linux 5.10. Drops in other functions of such
//! kernels stay unknown.

use super::{
    Cause,
    Class::{Loss, Refusal},
    Entry, entry, wrapped,
};

/// The reason that agents report for these kernels.
const NONE: &[&str] = &["NO_REASON"];

/// The entries of this file. [`super`] explains them.
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
        "no route leads to the destination, or the route is of type blackhole, unreachable or prohibit",
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
    // These functions do not free packets that a socket gets, nor multicast packets.
    entry(
        NONE,
        &["__udp4_lib_rcv", "__udp6_lib_rcv"],
        Refusal,
        Cause::NoListener,
        "nobody listens on this port, or the packet's length or checksum is wrong",
        "net/ipv4/udp.c __udp4_lib_rcv; net/ipv6/udp.c __udp6_lib_rcv",
    ),
];
