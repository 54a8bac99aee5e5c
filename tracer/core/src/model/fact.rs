//! What an agent read of its kernel right after a drop, because it may be why.
//!
//! A fact holds the object that was read, by the names with which people and
//! programs find it again: family, table and chain; device; address; sysctl. What
//! follows from it is for others to say, and so are sentences.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Connection, Direction, Foreign, Mac};

/// Something that was read in the network namespace of a drop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "fact", rename_all = "kebab-case")]
pub enum Fact {
    /// What the packet's sk_buff held when it was freed. Unlike all else, the kernel
    /// program read it in that very moment.
    SkBuff {
        /// Its mark, which rules and routing policies set and match.
        mark: u32,
        /// Its connection; `None` if connection tracking has none for it: it is invalid,
        /// or nobody tracks connections there.
        connection: Option<Connection>,
        /// The device that its route leads out of; `None` if it has none yet.
        outlet: Option<String>,
    },
    /// A device, and whether it carries packets.
    Device {
        /// Its name.
        device: String,
        /// Whether somebody switched it on.
        up: bool,
        /// Whether there is something at its other end.
        carrier: bool,
        /// Bytes of the largest packet.
        mtu: u32,
        /// Its state, of a port of a bridge.
        bridge_port: Option<PortState>,
    },
    /// A frame came in that was for another MAC address than the device's.
    OtherMac {
        /// The device.
        device: String,
        /// The device's own.
        own: Mac,
        /// Whom the frame was for.
        frame: Mac,
    },
    /// Where packets to an address go.
    Route {
        /// The address.
        to: IpAddr,
        /// Whether that is the packet's source, so that this is the way back.
        back: bool,
        /// What the kernel does with them.
        #[serde(rename = "type")]
        kind: RouteKind,
        /// The next hop; `None` if the address is on the link, or nothing goes out.
        via: Option<IpAddr>,
        /// The device that they go out of.
        device: Option<String>,
    },
    /// The neighbour entry of an address.
    Neighbour {
        /// The address.
        address: IpAddr,
        /// The device that it is on.
        device: String,
        /// `None` if there is none.
        entry: Option<NeighbourEntry>,
    },
    /// The forwarding database entry of a VXLAN device for a MAC address.
    Fdb {
        /// The MAC address; all zeros stands for all that have no entry.
        mac: Mac,
        /// The VXLAN device.
        device: String,
        /// `None` if there is none.
        entry: Option<FdbEntry>,
    },
    /// How large a packet may be on its way out.
    Mtu {
        /// The device that it goes out of.
        device: String,
        /// That device's, bytes.
        mtu: u32,
        /// Whom the packet was for.
        to: IpAddr,
        /// What the route or what was learned of the path says, bytes.
        route_mtu: Option<u32>,
        /// Bytes of the packet that was dropped.
        packet: Option<u32>,
    },
    /// Whether sources are checked; the greater of the two values counts
    /// (Documentation/networking/ip-sysctl.rst).
    RpFilter {
        /// The device that the packet came in by.
        device: String,
        /// `net.ipv4.conf.all.rp_filter`.
        all: u32,
        /// The device's own.
        own: u32,
    },
    /// A setting.
    Sysctl {
        /// Its name, as sysctl(8) takes it: `net.ipv4.ip_forward`.
        name: String,
        /// Its value.
        value: u32,
    },
    /// Connection tracking takes no more connections.
    ConntrackFull {
        /// How many there are.
        count: u64,
        /// `nf_conntrack_max`.
        max: u64,
    },
    /// The chains of nftables at a hook on the packet's way, which may have dropped it.
    Chains {
        /// The hook.
        hook: Hook,
        /// The device, of a hook that each device has.
        device: Option<String>,
        /// The chains, in the order in which they see packets.
        chains: Vec<Chain>,
        /// How many more there are.
        more: u32,
    },
    /// The same of iptables that is not nftables'.
    LegacyChains {
        /// `ip` or `ip6`.
        family: Family,
        /// The hook, which is the chain's name, too.
        hook: Hook,
        /// A chain for each table that has one.
        chains: Vec<LegacyChain>,
    },
    /// Tables of that iptables that are there, but could not be read.
    LegacyTables {
        /// `ip` or `ip6`.
        family: Family,
        /// Their names.
        tables: Vec<String>,
    },
    /// An address that should be somewhere else is the namespace's own.
    OwnAddress {
        /// The address.
        address: IpAddr,
    },
    /// Programs of others at a device's tc hook.
    TcPrograms {
        /// The device.
        device: String,
        /// Which of its two hooks.
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
    /// What a device's root qdisc counts.
    Qdisc {
        /// The device.
        device: String,
        /// The qdisc's kind: `fq_codel`, `tbf`, ….
        kind: String,
        /// Packets in it.
        queued: u32,
        /// Packets that it has dropped so far.
        drops: u32,
    },
    /// No socket takes packets to a port.
    NoSocket {
        /// The sockets' protocol.
        proto: SocketProto,
        /// The port.
        port: u16,
    },
    /// Sockets take packets to a port, but not to this address.
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
        /// Connections that wait to be accepted.
        waiting: u32,
        /// `net.core.somaxconn`, which bounds them.
        somaxconn: Option<u32>,
    },
    /// The UDP socket that is bound to a port.
    UdpSocket {
        /// The port.
        port: u16,
        /// Bytes that wait to be read.
        unread: u32,
        /// Packets that found no room so far.
        drops: Option<u64>,
    },
    /// Whose checksum was wrong.
    Checksum {
        /// Who made it.
        src: IpAddr,
        /// Who found it wrong.
        dst: IpAddr,
        /// Whether these are a tunnel's addresses, and it is that of the tunnel's header.
        tunnel: bool,
    },
}

/// What the kernel does with packets to an address: the type of the route, as iproute2
/// names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RouteKind {
    /// They go out of a device.
    Unicast,
    /// They are for this namespace.
    Local,
    /// They are dropped.
    Blackhole,
    /// They are refused: prohibited.
    Prohibit,
    /// They are refused: unreachable.
    Unreachable,
    /// There is no route.
    None,
}

/// What is known of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NeighbourEntry {
    /// The entry's state.
    pub state: NeighbourState,
    /// Its MAC address, where that is known.
    pub mac: Option<Mac>,
}

/// States of a neighbour entry, as iproute2 names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum NeighbourState {
    /// It was never used.
    None,
    /// Asked for, not answered yet.
    Incomplete,
    /// Confirmed.
    Reachable,
    /// Not confirmed for some time.
    Stale,
    /// Used since; about to be asked.
    Delay,
    /// Asked whether it is still there.
    Probe,
    /// It did not answer.
    Failed,
    /// It needs no answer.
    Noarp,
    /// Somebody has set it.
    Permanent,
}

/// Where a forwarding database entry sends frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FdbEntry {
    /// The remote VTEP.
    pub remote: Option<IpAddr>,
}

/// States of a bridge port (`BR_STATE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PortState {
    /// It does nothing.
    Disabled,
    /// It listens for other bridges.
    Listening,
    /// It learns MAC addresses.
    Learning,
    /// It forwards frames.
    Forwarding,
    /// It would close a loop.
    Blocking,
}

/// A hook of netfilter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    /// What comes in, before its route is known.
    Prerouting,
    /// What is for this namespace.
    Input,
    /// What passes through it.
    Forward,
    /// What it sends itself.
    Output,
    /// What goes out, after its route is known.
    Postrouting,
    /// What comes in by a device, before everything else.
    Ingress,
    /// What goes out of a device, after everything else.
    Egress,
}

/// A family of netfilter's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// A device's own hooks.
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
    /// Its handle within the table; `None` of an older recording that does not tell.
    pub handle: Option<u64>,
    /// Its priority at the hook: the lowest comes first.
    pub priority: i32,
    /// What becomes of packets that no rule takes.
    pub policy: Policy,
}

/// A built-in chain of a table of iptables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LegacyChain {
    /// The table's name.
    pub table: String,
    /// How many rules are in it.
    pub rules: usize,
    /// What becomes of packets that no rule takes.
    pub policy: Policy,
}

/// What becomes of packets that no rule takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// They go on.
    Accept,
    /// They are dropped.
    Drop,
}

/// A protocol of sockets that wait for packets to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SocketProto {
    /// TCP: sockets that listen.
    Tcp,
    /// UDP: sockets that are bound.
    Udp,
}
