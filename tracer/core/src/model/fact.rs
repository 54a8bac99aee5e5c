//! Facts: what an agent read from its kernel right after a drop, because it may explain the
//! drop.
//!
//! A fact holds one kernel object, under the names by which people and programs find it again:
//! family, table and chain; device; address; sysctl. A fact holds no conclusion and no
//! sentence; verdicts and views draw and write these.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Connection, Direction, Foreign, Mac};

/// A fact about the network namespace of a drop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "fact", rename_all = "kebab-case")]
pub enum Fact {
    /// What the packet's sk_buff held when the kernel freed the packet. Only this fact was read
    /// at that very moment, by the kernel program.
    SkBuff {
        /// The packet's mark, which rules and routing policies set and match.
        mark: u32,
        /// The packet's connection. Null if connection tracking has none: the packet is
        /// invalid, or the namespace does not track connections.
        connection: Option<Connection>,
        /// The device by which the packet's route leaves; null if the packet has no route yet.
        outlet: Option<String>,
    },
    /// A device, and whether the device carries packets.
    Device {
        /// The device's name.
        device: String,
        /// Whether the device is up (`IFF_UP`).
        up: bool,
        /// Whether the device has a carrier: a cable, or a veth peer that is up.
        carrier: bool,
        /// MTU, bytes.
        mtu: u32,
        /// State of a bridge port; null if the device is no bridge port.
        bridge_port: Option<PortState>,
    },
    /// A frame came in for another MAC address than the device's.
    OtherMac {
        /// The device.
        device: String,
        /// The device's own MAC address.
        own: Mac,
        /// The frame's destination MAC address.
        frame: Mac,
    },
    /// The route to an address.
    Route {
        /// The address.
        to: IpAddr,
        /// Whether the address is the packet's source, so that this is the route back.
        back: bool,
        /// What the kernel does with packets to the address.
        #[serde(rename = "type")]
        kind: RouteKind,
        /// Next hop; null if the address is on the link, or packets do not go out.
        via: Option<IpAddr>,
        /// Device that packets leave by; null if packets do not go out.
        device: Option<String>,
    },
    /// The neighbour entry of an address.
    Neighbour {
        /// The address.
        address: IpAddr,
        /// Device that the entry is for.
        device: String,
        /// The entry; null if there is none.
        entry: Option<NeighbourEntry>,
    },
    /// The forwarding database entry of a VXLAN device for a MAC address.
    Fdb {
        /// MAC address; all zeros for the default entry, which counts for all addresses without
        /// one.
        mac: Mac,
        /// The VXLAN device.
        device: String,
        /// The entry; null if there is none.
        entry: Option<FdbEntry>,
    },
    /// The MTU of the packet's path.
    Mtu {
        /// Device that the packet was to leave by.
        device: String,
        /// MTU of the device, bytes.
        mtu: u32,
        /// Destination address of the packet.
        to: IpAddr,
        /// MTU of the route, or the path MTU that the kernel learned, bytes; null without
        /// either.
        route_mtu: Option<u32>,
        /// Length of the dropped packet, bytes; null if it is not known.
        packet: Option<u32>,
    },
    /// Whether the kernel checks source addresses (reverse path filter). The greater of the two
    /// values counts (Documentation/networking/ip-sysctl.rst).
    RpFilter {
        /// Device that the packet came in by.
        device: String,
        /// `net.ipv4.conf.all.rp_filter`.
        all: u32,
        /// `net.ipv4.conf.DEVICE.rp_filter`.
        own: u32,
    },
    /// A sysctl.
    Sysctl {
        /// Name, as sysctl(8) takes it: `net.ipv4.ip_forward`.
        name: String,
        /// Value.
        value: u32,
    },
    /// The conntrack table is full.
    ConntrackFull {
        /// Number of connections (`nf_conntrack_count`).
        count: u64,
        /// Limit of connections (`nf_conntrack_max`).
        max: u64,
    },
    /// The nftables chains at a hook on the packet's path, one of which may have dropped the
    /// packet.
    Chains {
        /// The hook.
        hook: Hook,
        /// Device of an `ingress` or `egress` hook; null for other hooks.
        device: Option<String>,
        /// The chains, in the order in which they see packets.
        chains: Vec<Chain>,
        /// Number of further chains that the agent left out.
        more: u32,
    },
    /// The chains of legacy iptables, which is not built on nftables, at a hook on the packet's
    /// path.
    LegacyChains {
        /// `ip` or `ip6`.
        family: Family,
        /// Hook, which is also the chain's name.
        hook: Hook,
        /// The chain at this hook, of each table that has one.
        chains: Vec<LegacyChain>,
    },
    /// Tables of legacy iptables that exist, but could not be read.
    LegacyTables {
        /// `ip` or `ip6`.
        family: Family,
        /// Names of the tables.
        tables: Vec<String>,
    },
    /// The namespace itself owns an address that should be elsewhere.
    OwnAddress {
        /// The address.
        address: IpAddr,
    },
    /// Foreign programs at a device's tc hook.
    TcPrograms {
        /// The device.
        device: String,
        /// Which of the device's two tc hooks.
        direction: Direction,
        /// The programs, in the order in which they run.
        programs: Vec<Foreign>,
    },
    /// A device's XDP program.
    XdpProgram {
        /// The device.
        device: String,
        /// The program.
        program: Foreign,
    },
    /// Counters of a device's root qdisc.
    Qdisc {
        /// The device.
        device: String,
        /// Kind of the qdisc: `fq_codel`, `tbf`, ….
        kind: String,
        /// Packets in the queue now.
        queued: u32,
        /// Packets that the qdisc has dropped so far.
        drops: u32,
    },
    /// No socket receives packets to a port.
    NoSocket {
        /// The sockets' protocol.
        proto: SocketProto,
        /// The port.
        port: u16,
    },
    /// Sockets receive packets to a port, but not at the packet's address.
    SocketElsewhere {
        /// The sockets' protocol.
        proto: SocketProto,
        /// The port.
        port: u16,
        /// The addresses to which they are bound.
        addresses: Vec<IpAddr>,
    },
    /// The TCP socket that listens on a port.
    TcpListener {
        /// The port.
        port: u16,
        /// Connections in the accept queue.
        waiting: u32,
        /// `net.core.somaxconn`, which limits the accept queue; null if it could not be read.
        somaxconn: Option<u32>,
    },
    /// The UDP socket that is bound to a port.
    UdpSocket {
        /// The port.
        port: u16,
        /// Bytes in the socket's receive buffer.
        unread: u32,
        /// Packets that the socket has dropped so far; null if the counter could not be read.
        drops: Option<u64>,
    },
    /// A wrong checksum: its sender and its receiver.
    Checksum {
        /// Address of the sender, which computed the checksum.
        src: IpAddr,
        /// Address of the receiver, which found the checksum wrong.
        dst: IpAddr,
        /// Whether the checksum and both addresses are those of a tunnel's header.
        tunnel: bool,
    },
}

/// What the kernel does with packets to an address: the type of the route, by iproute2's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RouteKind {
    /// Packets leave by a device.
    Unicast,
    /// Packets are for this namespace.
    Local,
    /// Packets are dropped without an answer.
    Blackhole,
    /// Packets are refused: ICMP says that the destination is prohibited.
    Prohibit,
    /// Packets are refused: ICMP says that the destination is unreachable.
    Unreachable,
    /// There is no route.
    None,
}

/// A neighbour entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NeighbourEntry {
    /// State of the entry.
    pub state: NeighbourState,
    /// MAC address of the neighbour; null if it is not known.
    pub mac: Option<Mac>,
}

/// States of a neighbour entry, as iproute2 names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum NeighbourState {
    /// The entry was never used.
    None,
    /// The kernel has asked for the address; no answer has come yet.
    Incomplete,
    /// The neighbour is confirmed.
    Reachable,
    /// The neighbour was not confirmed for some time.
    Stale,
    /// A stale entry was used; the kernel is about to ask the neighbour.
    Delay,
    /// The kernel asks whether the neighbour is still there.
    Probe,
    /// The neighbour did not answer.
    Failed,
    /// The neighbour needs no confirmation.
    Noarp,
    /// An administrator or a network plugin has set the entry.
    Permanent,
}

/// A forwarding database entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FdbEntry {
    /// Address of the remote VTEP; null if the entry has none.
    pub remote: Option<IpAddr>,
}

/// States of a bridge port (`BR_STATE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PortState {
    /// The port does nothing.
    Disabled,
    /// The port listens for other bridges.
    Listening,
    /// The port learns MAC addresses.
    Learning,
    /// The port forwards frames.
    Forwarding,
    /// The port is blocked, because it would close a loop.
    Blocking,
}

/// A hook of netfilter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    /// Incoming packets, before their route is known.
    Prerouting,
    /// Packets for this namespace.
    Input,
    /// Packets that this namespace forwards.
    Forward,
    /// Packets that this namespace sends itself.
    Output,
    /// Outgoing packets, after their route is known.
    Postrouting,
    /// Packets that come in by one device, before all other hooks.
    Ingress,
    /// Packets that leave by one device, after all other hooks.
    Egress,
}

/// A family of netfilter tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// The hooks of a device.
    Netdev,
    /// Frames that a bridge forwards.
    Bridge,
}

/// A base chain of nftables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Chain {
    /// The table's family.
    pub family: Family,
    /// The table's name.
    pub table: String,
    /// The chain's name.
    pub chain: String,
    /// Handle of the chain within the table; null from older recordings, which lack it.
    pub handle: Option<u64>,
    /// Priority at the hook: the chain with the lowest value runs first.
    pub priority: i32,
    /// The chain's policy, for packets without a matching rule.
    pub policy: Policy,
}

/// A built-in chain of a table of iptables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LegacyChain {
    /// The table's name.
    pub table: String,
    /// Number of rules in the chain.
    pub rules: usize,
    /// The chain's policy, for packets without a matching rule.
    pub policy: Policy,
}

/// The chain's policy, for packets without a matching rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The packet goes on.
    Accept,
    /// The packet is dropped.
    Drop,
}

/// Protocol of the sockets at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SocketProto {
    /// TCP; the sockets listen.
    Tcp,
    /// UDP; the sockets are bound.
    Udp,
}
