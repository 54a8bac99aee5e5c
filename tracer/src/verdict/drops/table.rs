//! The table: reasons, functions, and what they mean, each with the place in
//! the kernel's source (Linux 6.12 to 6.18) that says so.
//!
//! The first entry that fits counts: those for a function stand before those
//! for all. Functions are named as the symbol table names them, without a
//! compiler's suffixes; where one is inlined into another, both stand here.

use super::{Class, Judgement};

/// One entry.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) reasons: &'static [&'static str],
    /// Empty for any.
    pub(super) functions: &'static [&'static str],
    /// Whether it holds for multicast and broadcast only.
    pub(super) to_many: bool,
    pub(super) judgement: Judgement,
}

impl Entry {
    pub(super) fn accepts(&self, reason: &str, function: &str, to_many: bool) -> bool {
        self.reasons.contains(&reason)
            && (self.functions.is_empty() || self.functions.contains(&function))
            && (to_many || !self.to_many)
    }
}

const fn entry(
    reasons: &'static [&'static str],
    functions: &'static [&'static str],
    class: Class,
    why: &'static str,
    source: &'static str,
) -> Entry {
    Entry {
        reasons,
        functions,
        to_many: false,
        judgement: Judgement { class, why, source },
    }
}

const fn to_many(entry: Entry) -> Entry {
    Entry {
        to_many: true,
        ..entry
    }
}

use Class::{Delivered, Duplicate, Flooded, Loss, Refusal};

/// See the module's documentation.
pub(super) static TABLE: &[Entry] = &[
    // Sockets.
    entry(
        &["NO_SOCKET"],
        &["ping_rcv", "icmp_rcv", "icmpv6_rcv"],
        Delivered,
        "an echo reply, of which raw sockets had their copy before",
        "net/ipv4/ping.c ping_rcv; net/ipv4/icmp.c icmp_rcv; net/ipv6/icmp.c icmpv6_rcv",
    ),
    entry(
        &["NO_SOCKET"],
        &["tcp_v4_rcv", "tcp_v6_rcv"],
        Refusal,
        "no socket takes it: answered with a reset, unless it is one",
        "net/ipv4/tcp_ipv4.c tcp_v4_rcv, no_tcp_socket",
    ),
    entry(
        &["NO_SOCKET"],
        &[],
        Refusal,
        "nobody listens on this port: answered with an ICMP error",
        "net/ipv4/udp.c __udp4_lib_rcv, no_sk; net/ipv6/udp.c __udp6_lib_rcv",
    ),
    entry(
        &["IP_NOPROTO"],
        &[],
        Refusal,
        "nobody takes this protocol: answered with an ICMP error",
        "net/ipv4/ip_input.c ip_protocol_deliver_rcu; net/ipv6/ip6_input.c",
    ),
    entry(
        &["SOCKET_RCVBUFF", "SOCKET_FILTER", "PROTO_MEM"],
        &[
            "packet_rcv",
            "tpacket_rcv",
            "raw_rcv",
            "raw_rcv_skb",
            "rawv6_rcv",
            "rawv6_rcv_skb",
            "raw_v4_input",
            "raw_local_deliver",
            "raw6_local_deliver",
            "sock_queue_rcv_skb_reason",
        ],
        Flooded,
        "a raw or packet socket did not take its copy",
        "net/ipv4/raw.c raw_rcv_skb; net/ipv6/raw.c; net/packet/af_packet.c packet_rcv",
    ),
    entry(
        &["PACKET_SOCK_ERROR"],
        &[],
        Flooded,
        "a packet socket did not take its copy",
        "net/packet/af_packet.c packet_rcv, tpacket_rcv",
    ),
    entry(
        &["SOCKET_RCVBUFF"],
        &[],
        Loss,
        "the receiving socket's buffer is full",
        "net/ipv4/udp.c __udp_enqueue_schedule_skb; net/ipv4/tcp_input.c tcp_data_queue",
    ),
    entry(
        &["SOCKET_BACKLOG"],
        &[],
        Loss,
        "the receiving socket is in use and its backlog is full",
        "net/ipv4/tcp_ipv4.c tcp_add_backlog",
    ),
    entry(
        &["PROTO_MEM"],
        &[],
        Loss,
        "the protocol's memory is used up (net.ipv4.tcp_mem, udp_mem)",
        "net/ipv4/udp.c __udp_enqueue_schedule_skb; net/ipv4/tcp_input.c tcp_data_queue",
    ),
    entry(
        &["SOCKET_FILTER", "BPF_CGROUP_EGRESS", "SECURITY_HOOK"],
        &[],
        Loss,
        "a filter program or security module forbids it",
        "net/core/filter.c sk_filter_trim_cap; net/ipv4/ip_output.c ip_finish_output",
    ),
    entry(
        &["TCP_LISTEN_OVERFLOW", "TCP_REQQFULLDROP"],
        &[],
        Loss,
        "the listening socket's queue of new connections is full",
        "net/ipv4/tcp_minisocks.c tcp_check_req; net/ipv4/tcp_input.c tcp_conn_request",
    ),
    entry(
        &["QUEUE_PURGE"],
        &[
            "neigh_invalidate",
            "neigh_flush_dev",
            "neigh_destroy",
            "neigh_update",
            "__neigh_update",
            "neigh_del_timer",
        ],
        Loss,
        "it waited for a neighbour's address that never came",
        "net/core/neighbour.c neigh_invalidate, neigh_flush_dev, __neigh_update",
    ),
    entry(
        &["QUEUE_PURGE", "SOCKET_CLOSE"],
        &[
            "sk_stream_kill_queues",
            "inet_sock_destruct",
            "udp_destruct_common",
            "udp_sk_rx_dst_set",
            "packet_sock_destruct",
            "__sk_destruct",
            "tcp_close",
            "__tcp_close",
            "tcp_disconnect",
            "netlink_sock_destruct",
            "unix_sock_destructor",
            "unix_release_sock",
        ],
        Delivered,
        "it had reached a socket, which was closed",
        "net/core/stream.c sk_stream_kill_queues; net/ipv4/af_inet.c inet_sock_destruct",
    ),
    entry(
        &["UNIX_DISCONNECT", "UNIX_SKIP_OOB"],
        &[],
        Delivered,
        "a message between processes of one machine",
        "net/unix/af_unix.c",
    ),
    // TCP.
    entry(
        &[
            "TCP_OLD_DATA",
            "TCP_OLD_ACK",
            "TCP_TOO_OLD_ACK",
            "TCP_OFOMERGE",
            "TCP_OFO_DROP",
            "TCP_OLD_SEQUENCE",
            "TCP_RFC7323_PAWS",
            "TCP_RFC7323_PAWS_ACK",
        ],
        &[],
        Duplicate,
        "the receiver has had it already",
        "net/ipv4/tcp_input.c tcp_data_queue, tcp_ack, tcp_validate_incoming",
    ),
    entry(
        &[
            "TCP_INVALID_SEQUENCE",
            "TCP_INVALID_END_SEQUENCE",
            "TCP_INVALID_ACK_SEQUENCE",
            "TCP_ACK_UNSENT_DATA",
            "TCP_INVALID_SYN",
            "TCP_FLAGS",
            "TCP_CLOSE",
            "TCP_FASTOPEN",
        ],
        &[],
        Duplicate,
        "not part of what the connection expects now: an ACK tells its sender",
        "net/ipv4/tcp_input.c tcp_validate_incoming, tcp_rcv_state_process",
    ),
    entry(
        &["NOT_SPECIFIED"],
        &["tcp_rcv_state_process"],
        Delivered,
        "an ACK of a connection that is being closed, which was taken note of",
        "net/ipv4/tcp_input.c tcp_rcv_state_process: not queued in CLOSING and LAST_ACK",
    ),
    entry(
        &["TCP_RESET"],
        &[],
        Delivered,
        "a reset, which has reset its connection",
        "net/ipv4/tcp_input.c tcp_validate_incoming; net/ipv4/tcp_minisocks.c tcp_check_req",
    ),
    entry(
        &["TCP_ABORT_ON_DATA"],
        &[],
        Refusal,
        "data for a connection that its program has closed: answered with a reset",
        "net/ipv4/tcp_input.c tcp_rcv_state_process",
    ),
    entry(
        &["TCP_RFC7323_TW_PAWS"],
        &[],
        Loss,
        "its timestamp is older than that of a connection just closed (PAWS)",
        "net/ipv4/tcp_minisocks.c tcp_timewait_state_process",
    ),
    entry(
        &["TCP_OVERWINDOW", "TCP_ZEROWINDOW", "TCP_OFO_QUEUE_PRUNE"],
        &[],
        Loss,
        "the receiver has no room for it: the sender must repeat it",
        "net/ipv4/tcp_input.c tcp_data_queue, tcp_prune_ofo_queue",
    ),
    entry(
        &["TCP_MINTTL"],
        &[],
        Loss,
        "its TTL is below what the socket asks for",
        "net/ipv4/tcp_ipv4.c tcp_v4_rcv",
    ),
    entry(
        &[
            "TCP_AUTH_HDR",
            "TCP_MD5NOTFOUND",
            "TCP_MD5UNEXPECTED",
            "TCP_MD5FAILURE",
            "TCP_AONOTFOUND",
            "TCP_AOUNEXPECTED",
            "TCP_AOKEYNOTFOUND",
            "TCP_AOFAILURE",
        ],
        &[],
        Loss,
        "its TCP signature is missing, unexpected or wrong",
        "net/ipv4/tcp.c tcp_inbound_hash",
    ),
    entry(
        &["TCP_CSUM", "UDP_CSUM", "ICMP_CSUM", "IP_CSUM", "SKB_CSUM"],
        &[],
        Loss,
        "its checksum is wrong",
        "net/ipv4/tcp_ipv4.c tcp_v4_rcv; net/ipv4/udp.c __udp4_lib_rcv; net/ipv4/ip_input.c ip_rcv_core",
    ),
    // Frames that everybody gets.
    entry(
        &["OTHERHOST", "IPV6_NDISC_NS_OTHERHOST", "LOCAL_MAC"],
        &[],
        Flooded,
        "a frame for somebody else",
        "net/ipv4/ip_input.c ip_rcv_core; net/ipv4/arp.c arp_rcv; net/ipv6/ndisc.c ndisc_recv_ns",
    ),
    entry(
        &["UNICAST_IN_L2_MULTICAST"],
        &[],
        Flooded,
        "a packet for one in a frame for many",
        "net/ipv4/ip_input.c ip_rcv_finish_core",
    ),
    entry(
        &["UNHANDLED_PROTO"],
        &[],
        Flooded,
        "a frame of a kind that nobody here asked for",
        "net/core/dev.c __netif_receive_skb_core",
    ),
    entry(
        &["BRIDGE_INGRESS_STP_STATE"],
        &[],
        Loss,
        "the bridge port that it came in by is blocked",
        "net/bridge/br_input.c br_handle_frame, br_handle_frame_finish",
    ),
    to_many(entry(
        &["NOT_SPECIFIED"],
        &[
            "ip_rcv_finish_core",
            "ip_rcv_finish",
            "ip_rcv",
            "ip6_mc_input",
        ],
        Flooded,
        "for a group that nobody here is a member of",
        "net/ipv4/route.c ip_route_input_rcu; net/ipv6/ip6_input.c ip6_mc_input",
    )),
    // Neighbours.
    entry(
        &["NEIGH_FAILED"],
        &[],
        Loss,
        "the next hop does not answer: no neighbour entry",
        "net/core/neighbour.c neigh_invalidate; net/ipv4/arp.c arp_error_report",
    ),
    entry(
        &[
            "NEIGH_CREATEFAIL",
            "NEIGH_QUEUEFULL",
            "NEIGH_DEAD",
            "NEIGH_HH_FILLFAIL",
        ],
        &[],
        Loss,
        "the next hop's address is not known, and it could not wait for it",
        "net/core/neighbour.c __neigh_event_send; net/ipv4/ip_output.c ip_finish_output2",
    ),
    // Routing and IP.
    entry(
        &["NOT_SPECIFIED"],
        &["ip_error"],
        Loss,
        "its route is a blackhole, unreachable or prohibit route",
        "net/ipv4/route.c ip_error",
    ),
    entry(
        &["NOT_SPECIFIED"],
        &["dst_discard", "dst_discard_out", "dst_blackhole_redirect"],
        Loss,
        "its route is a blackhole route, or its device is going away",
        "include/net/dst.h dst_discard; net/core/dst.c dst_discard_out",
    ),
    entry(
        &["IP_INNOROUTES", "IP_OUTNOROUTES"],
        &[],
        Loss,
        "there is no route to its destination",
        "net/ipv4/route.c ip_error; net/ipv6/route.c ip6_pkt_drop",
    ),
    entry(
        &["IP_INADDRERRORS"],
        &[],
        Loss,
        "its destination is not this host's, and this host does not forward",
        "net/ipv4/route.c ip_error; net/ipv6/ip6_output.c ip6_forward",
    ),
    entry(
        &["IP_RPFILTER"],
        &[],
        Loss,
        "its source is not behind the interface it came in by (rp_filter)",
        "net/ipv4/fib_frontend.c __fib_validate_source; net/ipv4/ip_input.c ip_rcv_finish_core",
    ),
    entry(
        &[
            "IP_LOCAL_SOURCE",
            "IP_INVALID_SOURCE",
            "IP_INVALID_DEST",
            "IP_LOCALNET",
        ],
        &[],
        Loss,
        "its addresses may not come in by this interface (martian)",
        "net/ipv4/route.c ip_route_input_slow, ip_mc_validate_source",
    ),
    entry(
        &["IP_INHDR"],
        &["ip_forward", "ip6_forward"],
        Loss,
        "its TTL has expired here",
        "net/ipv4/ip_forward.c ip_forward; net/ipv6/ip6_output.c ip6_forward",
    ),
    entry(
        &[
            "IP_INHDR",
            "IPV6_BAD_EXTHDR",
            "PKT_TOO_SMALL",
            "HDR_TRUNC",
            "INVALID_PROTO",
            "DEV_HDR",
            "IPV6_NDISC_FRAG",
            "IPV6_NDISC_HOP_LIMIT",
            "IPV6_NDISC_BAD_CODE",
            "IPV6_NDISC_BAD_OPTIONS",
        ],
        &[],
        Loss,
        "its headers are broken",
        "net/ipv4/ip_input.c ip_rcv_core; net/ipv6/ip6_input.c; net/ipv6/ndisc.c ndisc_rcv",
    ),
    entry(
        &["IPV6DISABLED"],
        &[],
        Loss,
        "IPv6 is switched off here",
        "net/ipv6/ip6_input.c ip6_rcv_core",
    ),
    entry(
        &["PKT_TOO_BIG"],
        &[],
        Loss,
        "it is larger than the MTU, and must not be cut",
        "net/ipv4/ip_forward.c ip_forward; net/ipv6/ip6_output.c ip6_forward; drivers/net/vxlan/vxlan_core.c",
    ),
    entry(
        &["DUP_FRAG"],
        &[],
        Duplicate,
        "a fragment that came twice",
        "net/ipv4/ip_fragment.c ip_frag_queue",
    ),
    entry(
        &["FRAG_REASM_TIMEOUT", "FRAG_TOO_FAR"],
        &[],
        Loss,
        "the other fragments of it did not come in time",
        "net/ipv4/ip_fragment.c ip_expire, ip_frag_too_far",
    ),
    entry(
        &["XFRM_POLICY"],
        &[],
        Loss,
        "an IPsec policy forbids it",
        "net/ipv4/ip_forward.c ip_forward; net/ipv4/tcp_ipv4.c tcp_v4_rcv",
    ),
    // Filters.
    entry(
        &["NETFILTER_DROP"],
        &[],
        Loss,
        "a rule of nftables or iptables drops or rejects it",
        "net/netfilter/nf_tables_core.c nft_do_chain; net/netfilter/core.c nf_hook_slow",
    ),
    entry(
        &["TC_INGRESS", "TC_EGRESS"],
        &[],
        Loss,
        "a tc filter or program drops it",
        "net/core/dev.c sch_handle_ingress, sch_handle_egress",
    ),
    entry(
        &["XDP"],
        &[],
        Loss,
        "an XDP program drops it",
        "net/core/dev.c netif_receive_generic_xdp; drivers/net/veth.c veth_xdp_rcv_skb",
    ),
    entry(
        &["TC_COOKIE_ERROR", "TC_CHAIN_NOTFOUND", "TC_RECLASSIFY_LOOP"],
        &[],
        Loss,
        "the tc filters of its device lead nowhere",
        "net/sched/cls_api.c __tcf_classify; net/core/dev.c tc_run",
    ),
    // Queues and devices.
    entry(
        &[
            "QDISC_DROP",
            "QDISC_OVERLIMIT",
            "QDISC_CONGESTED",
            "CAKE_FLOOD",
            "FQ_BAND_LIMIT",
            "FQ_HORIZON_LIMIT",
            "FQ_FLOW_LIMIT",
            "DUALPI2_STEP_DROP",
        ],
        &[],
        Loss,
        "its device's queue is full or limits its rate (qdisc)",
        "net/core/dev.c __dev_xmit_skb; net/sched/sch_tbf.c; net/sched/sch_fq.c",
    ),
    entry(
        &["CPU_BACKLOG"],
        &[],
        Loss,
        "this CPU's queue of received packets is full (net.core.netdev_max_backlog)",
        "net/core/dev.c enqueue_to_backlog",
    ),
    entry(
        &["DEV_READY"],
        &[],
        Loss,
        "its device is down",
        "net/core/dev.c enqueue_to_backlog; drivers/net/tun.c tun_get_user",
    ),
    entry(
        &["FULL_RING", "TAP_FILTER", "TAP_TXFILTER"],
        &[],
        Loss,
        "the tun or tap device that it is for takes no more, or not this",
        "drivers/net/tun.c tun_net_xmit",
    ),
    entry(
        &["NOMEM", "PFMEMALLOC", "SKB_GSO_SEG", "SKB_UCOPY_FAULT"],
        &[],
        Loss,
        "there was no memory for it",
        "net/core/dev.c; net/core/filter.c sk_filter_trim_cap; drivers/net/tun.c",
    ),
    entry(
        &["NOT_SPECIFIED"],
        &[
            "veth_xmit",
            "veth_forward_skb",
            "__dev_forward_skb",
            "____dev_forward_skb",
            "dev_forward_skb",
        ],
        Loss,
        "the other end of its veth pair is down, or its MTU too small",
        "drivers/net/veth.c veth_xmit; net/core/dev.c __dev_forward_skb",
    ),
    entry(
        &["NOT_SPECIFIED"],
        &[
            "__netif_receive_skb_core",
            "enqueue_to_backlog",
            "br_dev_xmit",
        ],
        Loss,
        "its device is down or takes no packets",
        "net/core/dev.c; net/bridge/br_device.c br_dev_xmit",
    ),
    // Tunnels.
    to_many(entry(
        &["NO_TX_TARGET"],
        &[],
        Flooded,
        "for many, and nobody there to get it",
        "drivers/net/vxlan/vxlan_core.c vxlan_xmit; net/bridge/br_forward.c br_flood",
    )),
    entry(
        &["NO_TX_TARGET"],
        &["vxlan_xmit", "vxlan_xmit_one", "vxlan_mdb_xmit"],
        Loss,
        "no forwarding entry says which node its MAC address is on",
        "drivers/net/vxlan/vxlan_core.c vxlan_xmit",
    ),
    entry(
        &["NO_TX_TARGET"],
        &[],
        Loss,
        "there is no port to send it out of",
        "net/bridge/br_forward.c br_flood",
    ),
    entry(
        &["VXLAN_VNI_NOT_FOUND"],
        &[],
        Loss,
        "no VXLAN device here has its network identifier",
        "drivers/net/vxlan/vxlan_core.c vxlan_rcv",
    ),
    entry(
        &[
            "VXLAN_INVALID_HDR",
            "VXLAN_ENTRY_EXISTS",
            "MAC_INVALID_SOURCE",
        ],
        &[],
        Loss,
        "the VXLAN device does not take it: header, source or loop",
        "drivers/net/vxlan/vxlan_core.c vxlan_rcv, vxlan_set_mac, vxlan_snoop",
    ),
    entry(
        &["IP_TUNNEL_ECN", "TUNNEL_TXINFO"],
        &[],
        Loss,
        "the tunnel's metadata does not fit it",
        "drivers/net/vxlan/vxlan_core.c vxlan_rcv; include/net/ip_tunnels.h",
    ),
    entry(
        &["ARP_PVLAN_DISABLE"],
        &[],
        Flooded,
        "an ARP question that this host does not answer for others",
        "net/ipv4/arp.c arp_process",
    ),
];
