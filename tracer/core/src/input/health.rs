//! Counters of a node's kernel, for losses without a drop event: a driver discards a frame, or
//! a SYN meets a full backlog.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};

/// Counters of a node's kernel so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Time when the agent read the counters, its monotonic clock, ns.
    pub time: u64,
    /// Interfaces of the node's host namespace. An interface that could not be read is left
    /// out.
    pub devices: Vec<DeviceHealth>,
    /// Network namespaces: the node's host namespace, and those of its pods. A namespace that
    /// could not be read is left out.
    pub sockets: Vec<SocketHealth>,
}

/// Counters of an interface, in packets, since the interface exists.
///
/// They are the kernel's `rtnl_link_stats64` (include/uapi/linux/if_link.h). Drivers differ in
/// which counter counts what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceHealth {
    /// Name of the interface.
    pub interface: Arc<str>,
    /// Received frames. A NIC's driver may update this counter seconds late. `None` if the
    /// agent does not report it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rx_packets: Option<u64>,
    /// Received frames with errors.
    pub rx_errors: u64,
    /// Packets that were received, but not processed.
    pub rx_dropped: u64,
    /// Packets that were not received, because the device had no room.
    pub rx_missed: u64,
    /// Packets that were not sent, because sending failed.
    pub tx_errors: u64,
    /// Packets that were dropped on the way to the device.
    pub tx_dropped: u64,
    /// Number of times that the carrier came or went.
    pub carrier_changes: u64,
    /// Packets that the device's qdiscs dropped, at its ingress as well. A root qdisc's counter
    /// includes those of its classes.
    pub qdisc_drops: u64,
}

/// Counters of drops in a network namespace's sockets and IP layer, in packets, since the
/// namespace exists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketHealth {
    /// `host`, or the pod's name for a pod's own network namespace.
    pub netns: Arc<str>,
    /// Counters by their names in `nstat` (`TcpExtListenOverflows`, `Udp6RcvbufErrors`), also
    /// those that are zero.
    pub counters: Vec<(Cow<'static, str>, u64)>,
}
