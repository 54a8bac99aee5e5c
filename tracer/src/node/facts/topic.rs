//! Topics: which facts are worth reading for a drop reason.

/// A kind of fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Topic {
    /// State of the interface.
    Device,
    /// MAC addresses of the interface and of the frame.
    Mac,
    /// Route to the destination.
    Route,
    /// Neighbour entry of the next hop.
    Neighbour,
    /// Forwarding database entry of the VXLAN device for the frame's MAC address.
    Forwarding,
    /// MTU of the path.
    Mtu,
    /// `rp_filter`, and the route back.
    ReversePath,
    /// Whether packets may be forwarded.
    MayForward,
    /// Addresses that the namespace owns.
    Owners,
    /// Chains of netfilter on the path.
    Chains,
    /// Qdisc of the interface.
    Qdisc,
    /// Limit of a CPU's queue of received packets.
    Backlog,
    /// tc and XDP programs of the interface.
    Programs,
    /// Socket at the destination port.
    Listener,
    /// Sender and receiver of the wrong checksum.
    Checksum,
}

/// The topics of a drop, by the kernel's reason and function.
pub(super) fn of(reason: &str, function: &str) -> &'static [Topic] {
    match (reason, function) {
        // The freed packet is the kernel's own, from a route request.
        (_, "inet_rtm_getroute" | "inet6_rtm_getroute") => &[],
        ("NETFILTER_DROP", _) | (_, "nf_hook_slow") => &[Topic::Chains],
        (
            "NEIGH_FAILED" | "NEIGH_CREATEFAIL" | "NEIGH_QUEUEFULL" | "NEIGH_DEAD"
            | "NEIGH_HH_FILLFAIL",
            _,
        ) => &[Topic::Neighbour],
        ("QUEUE_PURGE", function) if function.contains("neigh") => &[Topic::Neighbour],
        // IPv6's function gives no reason.
        ("NOT_SPECIFIED", "neigh_invalidate" | "ndisc_error_report") => &[Topic::Neighbour],
        // The missing route is that of the tunnel's remote, and the packet's own route is there.
        ("IP_OUTNOROUTES", "vxlan_xmit_one") => &[],
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
        // For an echo reply, this is the normal end after its arrival.
        ("NO_SOCKET", "ping_rcv" | "icmp_rcv" | "icmpv6_rcv") => &[],
        ("NO_SOCKET" | "TCP_LISTEN_OVERFLOW" | "TCP_REQQFULLDROP", _) => &[Topic::Listener],
        ("SOCKET_RCVBUFF" | "PROTO_MEM", function) if function.contains("udp") => {
            &[Topic::Listener]
        }
        (reason, _) if reason.starts_with("QDISC_") || reason == "FULL_RING" => &[Topic::Qdisc],
        ("UDP_CSUM" | "TCP_CSUM" | "ICMP_CSUM" | "IP_CSUM" | "SKB_CSUM", _) => &[Topic::Checksum],
        // The drop was in a socket, where route and device no longer matter.
        (reason, _) if SOCKETS.iter().any(|start| reason.starts_with(start)) => &[],
        _ => &[Topic::Device, Topic::Route],
    }
}

/// Beginnings of drop reasons of sockets and their queues.
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
        // Kernels without drop reasons.
        assert_eq!(of("NO_REASON", "nf_hook_slow"), [Topic::Chains]);
        // Old kernels report a drop by a bridge's rule this way.
        let at_the_bridge = of("NOT_SPECIFIED", "br_handle_frame");
        assert_eq!(at_the_bridge, [Topic::Device, Topic::Chains]);
        // A tunnel's packets also end in a socket.
        assert_eq!(of("UDP_CSUM", "udp_queue_rcv_one_skb"), [Topic::Checksum]);
        assert_eq!(of("IP_OUTNOROUTES", "ip6_pkt_discard_out"), [Topic::Route]);
        assert_eq!(of("IP_OUTNOROUTES", "vxlan_xmit_one"), []);
        let unknown = of("NOT_SPECIFIED", "some_driver");
        assert_eq!(unknown, [Topic::Device, Topic::Route]);
    }
}
