//! What is worth reading when a packet was dropped for a reason.

/// One thing that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Topic {
    /// The interface: whether it is up.
    Device,
    /// The interface's own MAC, and that of the frame.
    Mac,
    /// Where packets to the destination go.
    Route,
    /// The next hop's neighbour entry.
    Neighbour,
    /// The VXLAN device's entry for the frame's MAC.
    Forwarding,
    /// The MTU of the way out.
    Mtu,
    /// `rp_filter`, and the route back.
    ReversePath,
    /// Whether packets may be forwarded.
    MayForward,
    /// Whose the addresses are.
    Owners,
    /// netfilter's chains on the way.
    Chains,
    /// The queue of the interface.
    Qdisc,
    /// The queue of a CPU for what it receives.
    Backlog,
    /// The interface's tc and XDP programs.
    Programs,
    /// Who listens on the destination port.
    Listener,
    /// Whose checksum it was.
    Checksum,
}

/// The topics of a drop, by the kernel's reason and function.
pub(super) fn of(reason: &str, function: &str) -> &'static [Topic] {
    match (reason, function) {
        // The kernel's own answer to a question about a route.
        (_, "inet_rtm_getroute" | "inet6_rtm_getroute") => &[],
        ("NETFILTER_DROP", _) | (_, "nf_hook_slow") => &[Topic::Chains],
        (
            "NEIGH_FAILED" | "NEIGH_CREATEFAIL" | "NEIGH_QUEUEFULL" | "NEIGH_DEAD"
            | "NEIGH_HH_FILLFAIL",
            _,
        ) => &[Topic::Neighbour],
        ("QUEUE_PURGE", function) if function.contains("neigh") => &[Topic::Neighbour],
        // IPv6's gives no reason.
        ("NOT_SPECIFIED", "neigh_invalidate" | "ndisc_error_report") => &[Topic::Neighbour],
        ("IP_INNOROUTES" | "IP_OUTNOROUTES", _) => &[Topic::Route],
        ("IP_INADDRERRORS", _) => &[Topic::MayForward, Topic::Route],
        ("IP_RPFILTER", _) => &[Topic::ReversePath],
        ("IP_LOCAL_SOURCE" | "IP_INVALID_SOURCE" | "IP_INVALID_DEST" | "IP_LOCALNET", _) => {
            &[Topic::Owners, Topic::Device]
        }
        ("IP_INHDR", "ip_forward" | "ip6_forward") => &[Topic::Route],
        ("PKT_TOO_BIG", _) | ("NOT_SPECIFIED", "ip6_fragment") => &[Topic::Mtu],
        ("NO_TX_TARGET", _) => &[Topic::Forwarding],
        ("OTHERHOST", _) => &[Topic::Mac],
        ("DEV_READY" | "DEV_HDR" | "BRIDGE_INGRESS_STP_STATE" | "VXLAN_VNI_NOT_FOUND", _) => {
            &[Topic::Device]
        }
        ("NOT_SPECIFIED", "br_handle_frame") => &[Topic::Device, Topic::Chains],
        ("CPU_BACKLOG", _) => &[Topic::Backlog],
        ("TC_INGRESS" | "TC_EGRESS" | "XDP", _) => &[Topic::Programs],
        ("NOT_SPECIFIED", function)
            if function.starts_with("veth_xdp_") || function.contains("_xdp_generic") =>
        {
            &[Topic::Programs]
        }
        // Of an echo reply, this is the end of one that had arrived.
        ("NO_SOCKET", "ping_rcv" | "icmp_rcv" | "icmpv6_rcv") => &[],
        ("NO_SOCKET" | "TCP_LISTEN_OVERFLOW" | "TCP_REQQFULLDROP", _) => &[Topic::Listener],
        ("SOCKET_RCVBUFF" | "PROTO_MEM", function) if function.contains("udp") => {
            &[Topic::Listener]
        }
        (reason, _) if reason.starts_with("QDISC_") || reason == "FULL_RING" => &[Topic::Qdisc],
        ("UDP_CSUM" | "TCP_CSUM" | "ICMP_CSUM" | "IP_CSUM" | "SKB_CSUM", _) => &[Topic::Checksum],
        // In sockets, where neither route nor device matters any more.
        (reason, _) if SOCKETS.iter().any(|start| reason.starts_with(start)) => &[],
        _ => &[Topic::Device, Topic::Route],
    }
}

/// How reasons begin that come from sockets and what they hold.
const SOCKETS: [&str; 9] = [
    "TCP_",
    "UDP_",
    "UNIX_",
    "SOCKET_",
    "PACKET_SOCK_",
    "QUEUE_PURGE",
    "PROTO_MEM",
    "ICMP_",
    "DUP_FRAG",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_had_arrived_needs_no_explanation() {
        for (reason, function) in [
            ("NO_SOCKET", "ping_rcv"),
            ("TCP_OLD_DATA", "tcp_data_queue"),
            ("QUEUE_PURGE", "sk_stream_kill_queues"),
            ("SOCKET_RCVBUFF", "packet_rcv"),
            ("NOT_SPECIFIED", "inet_rtm_getroute"),
        ] {
            assert!(of(reason, function).is_empty(), "{reason} in {function}");
        }
    }

    #[test]
    fn the_function_counts_where_the_reason_is_shared() {
        assert_eq!(of("QUEUE_PURGE", "neigh_flush_dev"), [Topic::Neighbour]);
        assert_eq!(of("NO_SOCKET", "__udp4_lib_rcv"), [Topic::Listener]);
        let buffer = of("SOCKET_RCVBUFF", "__udp_enqueue_schedule_skb");
        assert_eq!(buffer, [Topic::Listener]);
        // Before there were reasons.
        assert_eq!(of("NO_REASON", "nf_hook_slow"), [Topic::Chains]);
        // So old kernels say that a rule of the bridge's drops it.
        let at_the_bridge = of("NOT_SPECIFIED", "br_handle_frame");
        assert_eq!(at_the_bridge, [Topic::Device, Topic::Chains]);
        // A tunnel's packets, too, end in a socket.
        assert_eq!(of("UDP_CSUM", "udp_queue_rcv_one_skb"), [Topic::Checksum]);
        let unknown = of("NOT_SPECIFIED", "some_driver");
        assert_eq!(unknown, [Topic::Device, Topic::Route]);
    }
}
