//! Why something happened to a packet, in one word.
//!
//! A drop's reason and function mean one of these, and a verdict names the one that
//! decides. Which rule, route or device it was, the drop's facts and the verdict's
//! evidence hold.

macro_rules! causes {
    ($($(#[$doc:meta])* $cause:ident = $name:literal,)*) => {
        /// Why, in one word.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Cause {
            $($(#[$doc])* $cause,)*
        }

        impl Cause {
            /// All.
            pub const ALL: &'static [Self] = &[$(Self::$cause,)*];

            /// As in JSON.
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
    /// A rule or policy of iptables or nftables, or connection tracking.
    Netfilter = "netfilter",
    /// No endpoint of its Service is ready.
    NoEndpoints = "no-endpoints",
    /// Connection tracking still translates a Service's address to one that nobody has.
    StaleDnat = "stale-dnat",
    /// An IPsec policy or state.
    Xfrm = "xfrm",
    /// A socket's filter program or a security module.
    SocketFilter = "socket-filter",
    /// A tc filter or program.
    Tc = "tc",
    /// An XDP program.
    Xdp = "xdp",
    /// There is no route to its destination.
    NoRoute = "no-route",
    /// Its route is a blackhole, unreachable or prohibit route.
    RouteType = "route-type",
    /// Its destination is not this host's, and forwarding is off.
    NotForwarding = "not-forwarding",
    /// Its source is not behind the interface that it came in by.
    RpFilter = "rp-filter",
    /// Its addresses may not come in by this interface.
    Martian = "martian",
    /// IPv6 is switched off.
    Ipv6Off = "ipv6-off",
    /// Its TTL has expired.
    Ttl = "ttl",
    /// It is larger than the MTU, or than what arrives.
    Pmtu = "pmtu",
    // Devices and neighbours.
    /// The next hop does not answer.
    Neighbour = "neighbour",
    /// A frame for another MAC address.
    WrongMac = "wrong-mac",
    /// No forwarding database entry has its MAC address.
    NoFdb = "no-fdb",
    /// A bridge has no port to send it out of.
    NoPort = "no-port",
    /// A bridge's port is blocked.
    PortBlocked = "port-blocked",
    /// Its device is down.
    DeviceDown = "device-down",
    /// The tun or tap device takes no more.
    DeviceFull = "device-full",
    /// Its device's queue takes no more.
    Qdisc = "qdisc",
    /// A CPU's queue of received packets is full.
    CpuBacklog = "cpu-backlog",
    /// No tunnel device takes it.
    NoTunnel = "no-tunnel",
    /// A tunnel device refuses it.
    Tunnel = "tunnel",
    /// No device has its VXLAN network identifier.
    Vni = "vni",
    /// No tunnel device of the other node has the UDP port.
    TunnelPort = "tunnel-port",
    // The packet itself.
    /// Its checksum is wrong.
    Checksum = "checksum",
    /// Its headers are broken.
    Headers = "headers",
    /// Fragments of it are missing, or came twice.
    Fragments = "fragments",
    /// There was no memory for it.
    Memory = "memory",
    // Sockets.
    /// Nobody takes such packets.
    NoListener = "no-listener",
    /// The socket's buffer is full.
    Rcvbuf = "rcvbuf",
    /// The socket's queue is full.
    Backlog = "backlog",
    /// The queue of new connections is full.
    ListenOverflow = "listen-overflow",
    /// Its timestamp is too old.
    Paws = "paws",
    /// It lies outside of the receiver's window.
    OutOfWindow = "out-of-window",
    /// Its TCP signature is not the expected one.
    TcpAuth = "tcp-auth",
    /// What is left of an older connection took it.
    TimeWait = "time-wait",
    /// Its connection is being closed.
    Closing = "closing",
    /// Its socket was closed.
    SocketClosed = "socket-closed",
    /// Its connection was reset, or it is a reset.
    Reset = "reset",
    /// The receiver has had it.
    Duplicate = "duplicate",
    /// A copy, for who listens in or for nobody.
    Copy = "copy",
    /// For a group that nobody is in.
    Multicast = "multicast",
    /// It never was on its way.
    Local = "local",
    /// An ICMP error told its sender that it was not taken.
    IcmpError = "icmp-error",
    // Between nodes.
    /// All of one tunnel or of one protocol and its ports vanish, and others arrive.
    SelectiveLoss = "selective-loss",
    /// The other node's devices receive nothing at all.
    NothingArrives = "nothing-arrives",
    /// A default route took it past the destination's node.
    DefaultRoute = "default-route",
    /// It was sent to somebody else's MAC address.
    NextHop = "next-hop",
    /// A tunnel took it to another node than its destination's.
    WrongNode = "wrong-node",
    /// A tunnel took it to an address of no node.
    NoNode = "no-node",
    /// Two have the destination's address.
    TwoOwners = "two-owners",
    /// It was delivered, and nobody answered.
    NoAnswer = "no-answer",
    // Why nothing is known.
    /// The follow ended.
    StillOpen = "still-open",
    /// It was on its way before all points were observed.
    BeforeStart = "before-start",
    /// An agent was gone, or out of reach, while it was on its way.
    AgentGone = "agent-gone",
    /// Events were lost.
    EventsLost = "events-lost",
    /// Too many packets were on their way at once.
    Evicted = "evicted",
    /// An identical packet was on its way.
    Ambiguous = "ambiguous",
    /// A program of somebody else may have taken it.
    ForeignProgram = "foreign-program",
    /// The interface that leads to its receiver is gone.
    InterfaceGone = "interface-gone",
    /// The pod's own interface, which is observed, did not show it.
    NotSeenInPod = "not-seen-in-pod",
    /// A kernel freed it, which may be its loss or the end of a copy.
    UnclearDrop = "unclear-drop",
    /// A tunnel that cannot be looked into has it.
    Opaque = "opaque",
}
