//! In and out of a host: queues, devices, tunnels.

use super::{
    Class::{Flooded, Loss},
    Entry, entry, to_many,
};

/// See [`super`].
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
