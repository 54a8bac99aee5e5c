//! Reads counters of a node's kernel: those of devices over rtnetlink, and those of sockets
//! from `/proc`, which shows each thread its own network namespace.

use std::{collections::HashMap, fs, io, path::PathBuf, sync::Arc};

use netlink_sys::protocols::NETLINK_ROUTE;
use tracer_core::input::{DeviceHealth, Health, SocketHealth};

use super::{
    clock::now,
    netlink::{Netlink, Question, attributes},
    qdisc::Qdisc,
    visit::Visitor,
};

/// Name of the node's host namespace.
const HOST: &str = "host";

/// Length of `struct ifinfomsg`, before the attributes, bytes.
const LINK_HEADER: usize = 16;

/// Indexes of the counters in `struct rtnl_link_stats64`, in units of `u64`.
const RX_PACKETS: usize = 0;
const RX_ERRORS: usize = 4;
const TX_ERRORS: usize = 5;
const RX_DROPPED: usize = 6;
const TX_DROPPED: usize = 7;
const RX_MISSED: usize = 14;

/// Files of counters in `/proc/thread-self/net`.
const FILES: [&str; 3] = ["snmp", "netstat", "snmp6"];

/// Counters of packets that the kernel discards without a drop event. Some of them also count
/// packets with a drop event. Names are as `nstat` prints them.
const COUNTERS: [&str; 53] = [
    "IpInHdrErrors",
    "IpInAddrErrors",
    "IpInUnknownProtos",
    "IpInDiscards",
    "IpOutDiscards",
    "IpOutNoRoutes",
    "IpReasmTimeout",
    "IpReasmFails",
    "IpFragFails",
    "IpExtInNoRoutes",
    "IpExtInTruncatedPkts",
    "IpExtInCsumErrors",
    "Ip6InHdrErrors",
    "Ip6InTooBigErrors",
    "Ip6InNoRoutes",
    "Ip6InAddrErrors",
    "Ip6InUnknownProtos",
    "Ip6InTruncatedPkts",
    "Ip6InDiscards",
    "Ip6OutDiscards",
    "Ip6OutNoRoutes",
    "Ip6ReasmTimeout",
    "Ip6ReasmFails",
    "Ip6FragFails",
    "TcpInErrs",
    "TcpInCsumErrors",
    "TcpExtListenOverflows",
    "TcpExtListenDrops",
    "TcpExtTCPReqQFullDrop",
    "TcpExtTCPReqQFullDoCookies",
    "TcpExtTCPBacklogDrop",
    "TcpExtTCPRcvQDrop",
    "TcpExtTCPZeroWindowDrop",
    "TcpExtTCPDeferAcceptDrop",
    "TcpExtTCPTimeWaitOverflow",
    "TcpExtTCPMinTTLDrop",
    "TcpExtPFMemallocDrop",
    "TcpExtPAWSActive",
    "TcpExtPAWSEstab",
    "TcpExtSyncookiesFailed",
    "TcpExtIPReversePathFilter",
    "UdpNoPorts",
    "UdpInErrors",
    "UdpRcvbufErrors",
    "UdpSndbufErrors",
    "UdpInCsumErrors",
    "UdpMemErrors",
    "Udp6NoPorts",
    "Udp6InErrors",
    "Udp6RcvbufErrors",
    "Udp6SndbufErrors",
    "Udp6InCsumErrors",
    "Udp6MemErrors",
];

/// File of conntrack's counters in that folder. The list has the columns for discarded packets,
/// with their names here (`conntrack -S`).
const CONNTRACK: &str = "stat/nf_conntrack";
const CONNTRACK_COUNTERS: [(&str, &str); 3] = [
    ("insert_failed", "ConntrackInsertFailed"),
    ("drop", "ConntrackDrop"),
    ("early_drop", "ConntrackEarlyDrop"),
];

/// Reads the counters of a node. It belongs to the thread that created it, which must be in the
/// node's host namespace and stays there.
pub(super) struct Gauge {
    devices: Vec<(u32, Arc<str>)>,
    visitor: Visitor,
    netlink: Netlink,
}

impl Gauge {
    /// Creates a gauge for interfaces of the calling thread's namespace, by index and name, and
    /// for sockets there and in other namespaces, by name and path. Namespaces that cannot be
    /// found are left out.
    ///
    /// # Errors
    /// If the netlink socket cannot be created.
    pub(super) fn new(
        devices: impl IntoIterator<Item = (u32, Arc<str>)>,
        namespaces: impl IntoIterator<Item = (Arc<str>, PathBuf)>,
    ) -> io::Result<Self> {
        Ok(Self {
            devices: devices.into_iter().collect(),
            visitor: Visitor::new(Arc::from(HOST), namespaces)?,
            netlink: Netlink::open(NETLINK_ROUTE)?,
        })
    }

    /// Replaces interfaces and namespaces, as in [`Gauge::new`].
    pub(super) fn replace(
        &mut self,
        devices: impl IntoIterator<Item = (u32, Arc<str>)>,
        namespaces: impl IntoIterator<Item = (Arc<str>, PathBuf)>,
    ) {
        self.devices = devices.into_iter().collect();
        self.visitor.replace(namespaces);
    }

    /// Reads all counters; unreadable ones are left out.
    pub(super) fn read(&mut self) -> Health {
        let qdiscs = self.qdisc_drops();
        let netlink = &mut self.netlink;
        let devices = self.devices.iter().filter_map(|(index, name)| {
            Some(DeviceHealth {
                interface: Arc::clone(name),
                qdisc_drops: qdiscs.get(index).copied().unwrap_or(0),
                ..device(&netlink.get(&link_question(*index)).ok()?)?
            })
        });
        let devices = devices.collect();
        let names = self.visitor.names();
        let sockets = names.into_iter().filter_map(|netns| {
            let counters = self.visitor.visit(&netns, counters)?.into_iter();
            let counters: Vec<_> = counters.map(|(name, by)| (name.into(), by)).collect();
            (!counters.is_empty()).then_some(SocketHealth { netns, counters })
        });
        Health {
            time: now(),
            devices,
            sockets: sockets.collect(),
        }
    }

    /// Drops of qdiscs by interface index.
    fn qdisc_drops(&mut self) -> HashMap<u32, u64> {
        let mut sums: HashMap<u32, u64> = HashMap::new();
        // If the table changed during the dump, other devices changed.
        if let Ok(answers) = self.netlink.dump(&Qdisc::list(), Qdisc::parse) {
            for qdisc in answers.items {
                *sums.entry(qdisc.device).or_default() += u64::from(qdisc.drops);
            }
        }
        sums
    }
}

fn link_question(index: u32) -> Question {
    let mut header = [0; LINK_HEADER];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    Question::new(libc::RTM_GETLINK, &header)
}

/// The counters of an interface, without its name.
fn device(message: &[u8]) -> Option<DeviceHealth> {
    let (mut stats, mut carrier_changes) = (None, 0);
    for (kind, value) in attributes(message.get(LINK_HEADER..)?) {
        match kind {
            libc::IFLA_STATS64 => stats = Some(value),
            libc::IFLA_CARRIER_CHANGES => {
                carrier_changes = value.try_into().map_or(0, u32::from_ne_bytes);
            }
            _ => {}
        }
    }
    let stats = stats?;
    let counter = |index: usize| -> Option<u64> {
        let bytes = stats.get(index * 8..index * 8 + 8)?;
        Some(u64::from_ne_bytes(bytes.try_into().ok()?))
    };
    Some(DeviceHealth {
        interface: Arc::from(""),
        rx_packets: Some(counter(RX_PACKETS)?),
        rx_errors: counter(RX_ERRORS)?,
        rx_dropped: counter(RX_DROPPED)?,
        rx_missed: counter(RX_MISSED)?,
        tx_errors: counter(TX_ERRORS)?,
        tx_dropped: counter(TX_DROPPED)?,
        carrier_changes: carrier_changes.into(),
        qdisc_drops: 0,
    })
}

/// Counters of the calling thread's namespace; fewer without IPv6.
fn counters() -> Vec<(&'static str, u64)> {
    let read = |file: &&str| fs::read_to_string(format!("/proc/thread-self/net/{file}"));
    let texts = FILES.iter().filter_map(|file| read(file).ok());
    let mut counters = parse(&texts.collect::<String>());
    counters.extend(
        read(&CONNTRACK)
            .ok()
            .iter()
            .flat_map(|text| conntrack(text)),
    );
    counters
}

/// Parses a line of column names, and a line of hexadecimal numbers for each CPU.
fn conntrack(text: &str) -> Vec<(&'static str, u64)> {
    let mut lines = text.lines();
    let columns: Vec<&str> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let rows: Vec<Vec<&str>> = lines
        .map(|line| line.split_whitespace().collect())
        .collect();
    let sum = |(column, name)| {
        let at = columns.iter().position(|other| *other == column)?;
        let values = rows.iter().filter_map(|row| row.get(at));
        let values = values.filter_map(|value| u64::from_str_radix(value, 16).ok());
        Some((name, values.sum()))
    };
    CONNTRACK_COUNTERS.into_iter().filter_map(sum).collect()
}

/// Parses lines such as `Udp6NoPorts 7`, or pairs such as `Udp: InDatagrams NoPorts` and `Udp:
/// 12 7`.
fn parse(text: &str) -> Vec<(&'static str, u64)> {
    let mut found = HashMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut words = line.split_ascii_whitespace();
        let Some(first) = words.next() else { continue };
        if let Some(prefix) = first.strip_suffix(':') {
            let values = lines.next().unwrap_or_default().split_ascii_whitespace();
            for (name, value) in words.zip(values.skip(1)) {
                found.insert(format!("{prefix}{name}"), value);
            }
        } else if let Some(value) = words.next() {
            found.insert(first.to_owned(), value);
        }
    }
    let counter = |name| Some((name, found.get(name)?.parse().ok()?));
    COUNTERS.into_iter().filter_map(counter).collect()
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn counters_are_found_by_their_usual_names() {
        let text = "Ip: Forwarding InDiscards OutNoRoutes\nIp: 1 2 3\n\
                    Udp: NoPorts\nUdp: 4\n\
                    TcpExt: ListenOverflows ListenDrops\nTcpExt: 5 6\n\
                    Udp6NoPorts                     \t7\nIp6InReceives \t8\n";
        assert_eq!(
            parse(text),
            [
                ("IpInDiscards", 2),
                ("IpOutNoRoutes", 3),
                ("TcpExtListenOverflows", 5),
                ("TcpExtListenDrops", 6),
                ("UdpNoPorts", 4),
                ("Udp6NoPorts", 7),
            ]
        );
        assert_eq!(parse("Udp: NoPorts\n"), []);
    }

    #[test]
    fn those_of_conntrack_are_summed_over_cpus() {
        let text = "entries  clashres insert insert_failed drop early_drop icmp_error\n\
                    00000009  00000000 00000001 0000000a 00000002 00000000 00000000\n\
                    00000009  00000000 00000001 00000001 00000000 00000000 00000000\n";
        let expected = [
            ("ConntrackInsertFailed", 11),
            ("ConntrackDrop", 2),
            ("ConntrackEarlyDrop", 0),
        ];
        assert_eq!(conntrack(text), expected);
        assert_eq!(conntrack(""), []);
    }

    #[test]
    fn the_running_kernel_has_every_counter() {
        let found: Vec<_> = counters().into_iter().map(|(name, _)| name).collect();
        let missing: Vec<_> = COUNTERS
            .iter()
            .filter(|name| !found.contains(name))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn the_devices_here_can_be_read() {
        // Every namespace has the loopback interface, with this index.
        let mut gauge = Gauge::new([(1, Arc::from("lo"))], []).expect("a netlink socket");
        let health = gauge.read();
        assert_eq!(&*health.devices[0].interface, "lo");
        let received = |health: &Health| health.devices[0].rx_packets.expect("a counter");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("an address");
        socket.send_to(b"x", address).expect("it is sent");
        assert!(received(&gauge.read()) > received(&health));
        assert_eq!(&*health.sockets[0].netns, "host");
        assert!(gauge.read().time > health.time);
    }
}
