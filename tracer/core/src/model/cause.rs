//! Why something happened to a packet, in one word.
//!
//! A drop's reason and function mean one of these causes, and a verdict names the cause that
//! decides. The drop's facts and the verdict's evidence say which rule, route or device it was.

macro_rules! causes {
    ($($(#[$doc:meta])* $cause:ident = $name:literal,)*) => {
        /// Why something happened to a packet, in one word.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Cause {
            $($(#[$doc])* $cause,)*
        }

        impl Cause {
            /// All causes.
            pub const ALL: &'static [Self] = &[$(Self::$cause,)*];

            /// The cause's name in JSON.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$cause => $name,)*
                }
            }
        }
    };
}

// In the order in which docs/json.md explains them.
causes! {
    // Rules and routes.
    /// An iptables or nftables rule or policy, or conntrack, dropped or rejected the packet.
    Netfilter = "netfilter",
    /// No endpoint of the Service is ready.
    NoEndpoints = "no-endpoints",
    /// Conntrack still translates the Service's address to one that no pod has.
    StaleDnat = "stale-dnat",
    /// A node has not translated a Service's address.
    NotTranslated = "not-translated",
    /// An IPsec policy or state dropped the packet.
    Xfrm = "xfrm",
    /// A socket filter, a cgroup program or a security module dropped the packet.
    SocketFilter = "socket-filter",
    /// A tc filter or program dropped the packet.
    Tc = "tc",
    /// An XDP program dropped the packet.
    Xdp = "xdp",
    /// There is no route to the destination.
    NoRoute = "no-route",
    /// The route is of type blackhole, unreachable or prohibit.
    RouteType = "route-type",
    /// The destination is not an address of this host, and forwarding is off.
    NotForwarding = "not-forwarding",
    /// The route back to the source does not lead out of the interface that the packet came in by.
    RpFilter = "rp-filter",
    /// The source or destination is not allowed on this interface.
    Martian = "martian",
    /// IPv6 is disabled.
    Ipv6Off = "ipv6-off",
    /// The TTL has expired.
    Ttl = "ttl",
    /// The packet exceeds the MTU, or the size of the largest packets that arrive.
    Pmtu = "pmtu",
    // Devices and neighbours.
    /// The next hop does not answer ARP or neighbour solicitations.
    Neighbour = "neighbour",
    /// The frame is for another MAC address.
    WrongMac = "wrong-mac",
    /// No fdb entry has the destination MAC address.
    NoFdb = "no-fdb",
    /// The bridge has no port to send the frame out of.
    NoPort = "no-port",
    /// A bridge port is blocked.
    PortBlocked = "port-blocked",
    /// A device is down.
    DeviceDown = "device-down",
    /// The queue of a tun or tap device is full.
    DeviceFull = "device-full",
    /// A qdisc dropped the packet.
    Qdisc = "qdisc",
    /// A CPU's backlog of received packets is full.
    CpuBacklog = "cpu-backlog",
    /// No tunnel device accepts the packet.
    NoTunnel = "no-tunnel",
    /// A tunnel device rejects the packet.
    Tunnel = "tunnel",
    /// No VXLAN device has the packet's VNI.
    Vni = "vni",
    /// No tunnel device of the other node has the UDP port.
    TunnelPort = "tunnel-port",
    // The packet itself.
    /// The checksum is wrong.
    Checksum = "checksum",
    /// The headers are malformed.
    Headers = "headers",
    /// Fragments are missing, or came twice.
    Fragments = "fragments",
    /// The kernel had no memory for the packet.
    Memory = "memory",
    // Sockets.
    /// No socket takes such packets.
    NoListener = "no-listener",
    /// The socket's buffer is full.
    Rcvbuf = "rcvbuf",
    /// The socket's backlog is full.
    Backlog = "backlog",
    /// The listening socket's accept queue is full.
    ListenOverflow = "listen-overflow",
    /// The TCP timestamp is too old.
    Paws = "paws",
    /// The segment is outside of the receiver's window.
    OutOfWindow = "out-of-window",
    /// The TCP signature is not the expected one.
    TcpAuth = "tcp-auth",
    /// The last connection on these ports, in TIME_WAIT, took the packet.
    TimeWait = "time-wait",
    /// The connection is closing.
    Closing = "closing",
    /// The socket was closed.
    SocketClosed = "socket-closed",
    /// The connection was reset, or the packet is a reset.
    Reset = "reset",
    /// The receiver had the data already.
    Duplicate = "duplicate",
    /// The packet was a copy, for a packet socket or for no receiver.
    Copy = "copy",
    /// The packet was for a multicast group without members here.
    Multicast = "multicast",
    /// The buffer never was a packet on its way.
    Local = "local",
    /// An ICMP error went back to the sender.
    IcmpError = "icmp-error",
    // Between nodes.
    /// All packets of one tunnel, or of one protocol and its ports, are lost, and others arrive.
    SelectiveLoss = "selective-loss",
    /// The other node's devices receive nothing at all.
    NothingArrives = "nothing-arrives",
    /// A default route led past the destination's node.
    DefaultRoute = "default-route",
    /// The frame went to the MAC address of another machine.
    NextHop = "next-hop",
    /// A tunnel led to another node than the destination's.
    WrongNode = "wrong-node",
    /// A tunnel led to an address that is no node's.
    NoNode = "no-node",
    /// Two pods have the destination address.
    TwoOwners = "two-owners",
    /// The packet was delivered, and no answer came.
    NoAnswer = "no-answer",
    // Why nothing is known.
    /// The follow ended.
    StillOpen = "still-open",
    /// The packet was sent before all points were observed.
    BeforeStart = "before-start",
    /// An agent was gone, or out of reach, while the packet was on its way.
    AgentGone = "agent-gone",
    /// Events were lost.
    EventsLost = "events-lost",
    /// Too many packets were on their way at once.
    Evicted = "evicted",
    /// An identical packet was on its way.
    Ambiguous = "ambiguous",
    /// Another tool's program may have redirected the packet.
    ForeignProgram = "foreign-program",
    /// The interface that leads to the receiver is gone.
    InterfaceGone = "interface-gone",
    /// A proxy on the way answers in the receiver's place.
    StandIn = "stand-in",
    /// The packet was handed to the pod, and the pod's own interface, which is observed, did not
    /// show it.
    NotSeenInPod = "not-seen-in-pod",
    /// A kernel freed the packet or a copy of it, and its reason does not say which.
    UnclearDrop = "unclear-drop",
    /// The packet went into a tunnel that tracer cannot decode.
    Opaque = "opaque",
}
