//! Where packets enter and leave a host: qdiscs, devices, tunnels.

use super::{
    Cause,
    Class::{Flooded, Loss},
    Entry, entry, to_many,
};

/// The reasons of functions that give none, and of kernels that have none.
const NO_REASON: &[&str] = &["NOT_SPECIFIED", "NO_REASON"];

/// Functions that encapsulate packets.
const TUNNELS_SEND: &[&str] = &[
    "ip_tunnel_xmit",
    "ip_md_tunnel_xmit",
    "ipip_tunnel_xmit",
    "ipgre_xmit",
    "gre_tap_xmit",
    "gre_fb_xmit",
    "sit_tunnel_xmit",
    "ipip6_tunnel_xmit",
    "ip6_tnl_start_xmit",
    "ip6gre_tunnel_xmit",
    "vxlan_xmit",
    "vxlan_xmit_one",
    "wg_xmit",
];

/// Functions that decapsulate packets.
const TUNNELS_RECEIVE: &[&str] = &[
    "ip_tunnel_rcv",
    "ipip_tunnel_rcv",
    "ipip_rcv",
    "ipip6_rcv",
    "ip6_tnl_rcv",
    "vxlan_rcv",
    "geneve_udp_encap_recv",
    "geneve_rx",
];

/// The entries of this file. [`super`] explains them.
pub(super) static TABLE: &[Entry] = &[
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
        Cause::Qdisc,
        "the device's qdisc drops the packet: the queue is full, the rate is limited, or there \
         is no carrier",
        "net/core/dev.c __dev_xmit_skb; net/sched/sch_tbf.c; net/sched/sch_fq.c; \
         net/sched/sch_generic.c noop_enqueue",
    ),
    entry(
        &["CPU_BACKLOG"],
        &[],
        Loss,
        Cause::CpuBacklog,
        "this CPU's backlog of received packets is full (net.core.netdev_max_backlog)",
        "net/core/dev.c enqueue_to_backlog",
    ),
    entry(
        &["DEV_READY"],
        &[],
        Loss,
        Cause::DeviceDown,
        "the device is down",
        "net/core/dev.c enqueue_to_backlog; drivers/net/tun.c tun_get_user",
    ),
    entry(
        &["FULL_RING", "TAP_FILTER", "TAP_TXFILTER"],
        &[],
        Loss,
        Cause::DeviceFull,
        "the queue of the tun or tap device is full, or its filter rejects the packet",
        "drivers/net/tun.c tun_net_xmit",
    ),
    entry(
        &["NOMEM", "PFMEMALLOC", "SKB_GSO_SEG", "SKB_UCOPY_FAULT"],
        &[],
        Loss,
        Cause::Memory,
        "the kernel had no memory for the packet",
        "net/core/dev.c; net/core/filter.c sk_filter_trim_cap; drivers/net/tun.c",
    ),
    entry(
        &["NOT_SPECIFIED"],
        &[
            "veth_xmit",
            "veth_forward_skb",
            "__dev_forward_skb",
            "__dev_forward_skb2",
            "____dev_forward_skb",
            "dev_forward_skb",
        ],
        Loss,
        Cause::DeviceDown,
        "the veth peer is down, or its MTU is too small for the packet",
        "drivers/net/veth.c veth_xmit; net/core/dev.c __dev_forward_skb2",
    ),
    entry(
        &["NOT_SPECIFIED"],
        &["__netif_receive_skb_core", "enqueue_to_backlog"],
        Loss,
        Cause::DeviceDown,
        "the device is down or accepts no packets",
        "net/core/dev.c",
    ),
    // Before Linux 6.10, a rule of nftables' bridge family drops without a reason here. A rule of
    // ebtables always does.
    entry(
        &["NOT_SPECIFIED"],
        &["br_handle_frame"],
        Loss,
        Cause::PortBlocked,
        "the bridge port that the packet came in by is blocked, or a rule at the bridge's \
         prerouting hook drops the packet",
        "net/bridge/br_input.c br_handle_frame, nf_hook_bridge_pre: NF_DROP",
    ),
    // `br_forward` ends with its call of `kfree_skb`. If that is a tail call, the kernel reports
    // the caller of `br_forward`.
    entry(
        &["NOT_SPECIFIED"],
        &["br_forward", "br_dev_xmit", "br_handle_frame_finish"],
        Loss,
        Cause::PortBlocked,
        "the bridge port to the destination is blocked, isolated, not in the packet's VLAN, or \
         the port that the packet came in by, with hairpin mode off",
        "net/bridge/br_forward.c br_forward, should_deliver",
    ),
    // Tunnels.
    to_many(entry(
        &["NO_TX_TARGET"],
        &[],
        Flooded,
        Cause::NoPort,
        "a broadcast or multicast frame that has no receiver here",
        "drivers/net/vxlan/vxlan_core.c vxlan_xmit; net/bridge/br_forward.c br_flood",
    )),
    entry(
        &["NO_TX_TARGET"],
        &["vxlan_xmit", "vxlan_xmit_one", "vxlan_mdb_xmit"],
        Loss,
        Cause::NoFdb,
        "no fdb entry says which remote has the destination MAC address",
        "drivers/net/vxlan/vxlan_core.c vxlan_xmit",
    ),
    entry(
        &["NO_TX_TARGET"],
        &[],
        Loss,
        Cause::NoPort,
        "the bridge has no port to send the frame out of",
        "net/bridge/br_forward.c br_flood",
    ),
    entry(
        &["VXLAN_VNI_NOT_FOUND"],
        &[],
        Loss,
        Cause::Vni,
        "no VXLAN device here has the packet's VNI",
        "drivers/net/vxlan/vxlan_core.c vxlan_rcv",
    ),
    // None of these functions frees a packet that a device accepts, nor did they before Linux 5.17.
    // If the kernel has IPsec interfaces, they are asked last, so `xfrm_input` frees the packet.
    entry(
        NO_REASON,
        &["xfrm_input"],
        Loss,
        Cause::Xfrm,
        "neither IPsec nor a tunnel device here accepts the packet: no matching state, no \
         matching device that is up, or a failed check",
        "net/xfrm/xfrm_input.c xfrm_input; net/xfrm/xfrm_interface_core.c xfrmi4_rcv_tunnel",
    ),
    entry(
        NO_REASON,
        &[
            "gre_rcv",
            "tunnel4_rcv",
            "tunnel64_rcv",
            "tunnel6_rcv",
            "tunnel46_rcv",
        ],
        Loss,
        Cause::NoTunnel,
        "no tunnel device here that is up has the packet's outer addresses and key",
        "net/ipv4/ip_gre.c, net/ipv6/ip6_gre.c gre_rcv; net/ipv4/tunnel4.c; net/ipv6/tunnel6.c",
    ),
    entry(
        &[
            "VXLAN_INVALID_HDR",
            "VXLAN_ENTRY_EXISTS",
            "MAC_INVALID_SOURCE",
        ],
        &[],
        Loss,
        Cause::Tunnel,
        "the VXLAN device rejects the packet: a wrong header, a wrong source MAC, or a loop",
        "drivers/net/vxlan/vxlan_core.c vxlan_rcv, vxlan_set_mac, vxlan_snoop",
    ),
    entry(
        &["IP_TUNNEL_ECN", "TUNNEL_TXINFO"],
        &[],
        Loss,
        Cause::Tunnel,
        "the tunnel's metadata (ECN bits, transmit information) does not fit the packet",
        "drivers/net/vxlan/vxlan_core.c vxlan_rcv; include/net/ip_tunnels.h",
    ),
    // None of these functions calls `kfree_skb` for a packet that it has sent.
    to_many(entry(
        NO_REASON,
        TUNNELS_SEND,
        Flooded,
        Cause::Tunnel,
        "a broadcast or multicast frame that this tunnel device does not send",
        "net/ipv4/ip_tunnel.c ip_tunnel_xmit",
    )),
    entry(
        NO_REASON,
        TUNNELS_SEND,
        Loss,
        Cause::Tunnel,
        "the tunnel device cannot send the packet: no remote, no route to the remote, or the \
         packet is too large",
        "net/ipv4/ip_tunnel.c ip_tunnel_xmit, tx_error; net/ipv6/sit.c ipip6_tunnel_xmit; \
         drivers/net/wireguard/device.c wg_xmit",
    ),
    entry(
        NO_REASON,
        TUNNELS_RECEIVE,
        Loss,
        Cause::Tunnel,
        "the tunnel device rejects the packet: a wrong VNI, header, checksum or sequence number",
        "net/ipv4/ip_tunnel.c ip_tunnel_rcv; drivers/net/geneve.c geneve_udp_encap_recv",
    ),
    entry(
        &["ARP_PVLAN_DISABLE"],
        &[],
        Flooded,
        Cause::Copy,
        "an ARP request that this host does not answer for another host (proxy ARP)",
        "net/ipv4/arp.c arp_process",
    ),
];
