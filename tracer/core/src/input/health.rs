//! Counters of a node's kernel, for a loss that fires no drop: a driver that
//! gives up a frame, a SYN on a full backlog.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};

/// What a node's kernel has counted so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// When it was read: the agent's monotonic clock, ns.
    pub time: u64,
    /// Interfaces of the node's own namespace. One that could not be read is
    /// left out.
    pub devices: Vec<DeviceHealth>,
    /// Network namespaces: the node's own, and those of its pods. One that
    /// could not be read is left out.
    pub sockets: Vec<SocketHealth>,
}

/// What an interface has received, and what it has not sent or received, in
/// packets since it exists.
///
/// The kernel's `rtnl_link_stats64` (include/uapi/linux/if_link.h); drivers
/// differ in what they count where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceHealth {
    /// Its name.
    pub interface: Arc<str>,
    /// Frames received. A NIC's driver may update it seconds late. `None` of
    /// agents that do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rx_packets: Option<u64>,
    /// Bad frames received.
    pub rx_errors: u64,
    /// Received, but not processed.
    pub rx_dropped: u64,
    /// Not received, for want of room in the device.
    pub rx_missed: u64,
    /// Not sent, because sending failed.
    pub tx_errors: u64,
    /// Not sent, because they were given up on the way to the device.
    pub tx_dropped: u64,
    /// How often the carrier came or went.
    pub carrier_changes: u64,
    /// Given up by the device's queueing disciplines, those at its ingress
    /// included. A root's count has those of its classes in it.
    pub qdisc_drops: u64,
}

/// What a network namespace's sockets and IP layer gave up, in packets since
/// it exists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketHealth {
    /// `host`, or the pod's name for a pod's own namespace.
    pub netns: Arc<str>,
    /// Counters by the names that `nstat` has for them
    /// (`TcpExtListenOverflows`, `Udp6RcvbufErrors`), those of zero included.
    pub counters: Vec<(Cow<'static, str>, u64)>,
}
