//! Drops, counted by kind. A fault drops the same kind of packet again and again, and a line for
//! each drop would hide the next fault.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    net::IpAddr,
    sync::Arc,
};

use super::classify_alone;
use crate::{
    journey::{Class, Judgement},
    model::{Freed, Packet, Proto},
};

/// Maximum number of kinds that are kept: a scan of all addresses makes one kind per address.
/// Further drops are counted by class only.
const MAX_KINDS: usize = 10_000;

/// What makes two drops the same kind. Their times may differ, and so may their ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    node: usize,
    netns: Option<Arc<str>>,
    device: Option<Arc<str>>,
    reason: Arc<str>,
    function: Arc<str>,
    ends: Option<(IpAddr, IpAddr, Proto)>,
}

/// Maximum number of ports that are kept: a port scan has all of them.
const MAX_PORTS: usize = 1_000;

/// The ports of one side, of all drops of a kind: at most `MAX_PORTS`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports(BTreeSet<u16>);

impl Ports {
    fn add(&mut self, port: u16) {
        if self.0.len() < MAX_PORTS {
            self.0.insert(port);
        }
    }

    /// The number of different ports, and whether there may be more.
    #[must_use]
    pub fn count(&self) -> (usize, bool) {
        (self.0.len(), self.0.len() == MAX_PORTS)
    }
}

/// Drops of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Index of the agent.
    pub node: usize,
    /// What drops of this kind mean.
    pub judgement: Judgement,
    /// The first drop that was not shown yet.
    pub example: Freed,
    /// Time of that drop: Unix time, ns.
    pub first: i64,
    /// Time of the last drop: Unix time, ns.
    pub last: i64,
    /// Number of drops that were not shown yet.
    pub packets: u64,
    /// Number of all drops of this kind.
    pub total: u64,
    /// Source ports of all drops of this kind, if their protocol has ports.
    pub src_ports: Ports,
    /// Destination ports, likewise.
    pub dst_ports: Ports,
}

impl Kind {
    fn take_ports(&mut self, freed: &Freed) {
        let packet = freed.packet.as_ref();
        if let Some((src, dst)) = packet.and_then(Packet::ports) {
            self.src_ports.add(src);
            self.dst_ports.add(dst);
        }
    }
}

/// All drops since the follow began.
#[derive(Debug, Default)]
pub struct Tally {
    kinds: BTreeMap<Key, Kind>,
    classes: BTreeMap<Class, u64>,
    /// Drops that may be losses, and whose kind is not kept.
    crowded: u64,
    /// Buffers that were freed and never were packets on their way: messages between processes.
    not_packets: u64,
}

impl Tally {
    /// Adds a drop of time `time` (Unix time, ns) on a node. Returns whether it is the first drop
    /// of a kind that views show. `meant`: whether the packet's addresses say that it was on its
    /// way to where it was freed.
    pub fn add(&mut self, node: usize, time: i64, freed: Freed, meant: bool) -> bool {
        if freed.packet.is_none() && freed.protocol == 0 {
            self.not_packets += 1;
            return false;
        }
        let judgement = classify_alone(&freed, meant);
        *self.classes.entry(judgement.class).or_default() += 1;
        if !judgement.class.is_suspect() {
            return false;
        }
        let ends = |packet: &Packet| (packet.src, packet.dst, packet.proto());
        let key = Key {
            node,
            netns: freed.netns.clone(),
            device: freed.device.clone(),
            reason: Arc::clone(&freed.reason),
            function: Arc::clone(&freed.place.function),
            ends: freed.packet.as_ref().map(ends),
        };
        let room = self.kinds.len() < MAX_KINDS;
        match self.kinds.entry(key) {
            btree_map::Entry::Occupied(mut entry) => {
                let kind = entry.get_mut();
                kind.take_ports(&freed);
                if kind.packets == 0 {
                    kind.first = time;
                    kind.example = freed;
                }
                kind.last = kind.last.max(time);
                kind.packets += 1;
                kind.total += 1;
                false
            }
            btree_map::Entry::Vacant(entry) if room => {
                let kind = entry.insert(Kind {
                    node,
                    judgement,
                    example: freed,
                    first: time,
                    last: time,
                    packets: 1,
                    total: 1,
                    src_ports: Ports::default(),
                    dst_ports: Ports::default(),
                });
                let example = kind.example.clone();
                kind.take_ports(&example);
                true
            }
            btree_map::Entry::Vacant(_) => {
                self.crowded += 1;
                false
            }
        }
    }

    /// Shows the drops that were not shown yet, in order of time. With `new`, only kinds that were
    /// never shown.
    ///
    /// # Errors
    /// The errors of `show`.
    pub fn show<E>(
        &mut self,
        new: bool,
        mut show: impl FnMut(&Kind) -> Result<(), E>,
    ) -> Result<(), E> {
        let waits = |kind: &&mut Kind| kind.packets > 0 && (!new || kind.packets == kind.total);
        let mut waiting: Vec<&mut Kind> = self.kinds.values_mut().filter(waits).collect();
        waiting.sort_by_key(|kind| kind.first);
        for kind in waiting {
            show(kind)?;
            kind.packets = 0;
        }
        Ok(())
    }

    /// All kinds, by class, and within a class by number of drops, largest first.
    #[must_use]
    pub fn kinds(&self) -> Vec<&Kind> {
        let mut kinds: Vec<&Kind> = self.kinds.values().collect();
        kinds.sort_by_key(|kind| (kind.judgement.class, std::cmp::Reverse(kind.total)));
        kinds
    }

    /// Number of drops of a class.
    #[must_use]
    pub fn of(&self, class: Class) -> u64 {
        self.classes.get(&class).copied().unwrap_or(0)
    }

    /// Number of drops that may be losses.
    #[must_use]
    pub fn suspects(&self) -> u64 {
        self.of(Class::Loss) + self.of(Class::Unknown)
    }

    /// Number of these drops that are never shown, because their kind is not kept.
    #[must_use]
    pub const fn crowded(&self) -> u64 {
        self.crowded
    }

    /// Number of freed buffers that never were packets on their way.
    #[must_use]
    pub const fn not_packets(&self) -> u64 {
        self.not_packets
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tracer_common::drop::Scope;

    use super::*;
    use crate::model::{Place, Transport};

    fn freed(reason: &str, function: &str, src: [u8; 4]) -> Freed {
        Freed {
            time: 0,
            skb: 0,
            reason: Arc::from(reason),
            place: Place {
                function: Arc::from(function),
                offset: 1,
            },
            netns: Some(Arc::from("host")),
            scope: Some(Scope::Device),
            device: Some(Arc::from("cni0")),
            dst_mac: None,
            protocol: 0x0800,
            encap: None,
            packet: Some(Packet {
                src: src.into(),
                dst: [10, 0, 0, 9].into(),
                ttl: 64,
                ip_id: None,
                fragment: None,
                len: 84,
                transport: Transport::Other(89),
                payload_hash: Some(0),
            }),
            facts: Arc::default(),
        }
    }

    fn shown(tally: &mut Tally, new: bool) -> Vec<(i64, u64, u64)> {
        let mut shown = Vec::new();
        let show = |kind: &Kind| {
            shown.push((kind.first, kind.packets, kind.total));
            Ok::<(), Infallible>(())
        };
        let Ok(()) = tally.show(new, show);
        shown
    }

    #[test]
    fn a_flood_of_one_kind_is_one_line_now_and_then() {
        let mut tally = Tally::default();
        let drop = || freed("NETFILTER_DROP", "nft_do_chain", [10, 0, 0, 1]);
        assert!(tally.add(0, 100, drop(), true), "the first of its kind");
        assert_eq!(shown(&mut tally, true), [(100, 1, 1)]);
        for time in 101..=150 {
            assert!(!tally.add(0, time, drop(), true));
        }
        assert_eq!(shown(&mut tally, true), [], "known by now");
        assert_eq!(shown(&mut tally, false), [(101, 50, 51)]);
        assert_eq!(shown(&mut tally, false), []);
        assert_eq!((tally.of(Class::Loss), tally.suspects()), (51, 51));
    }

    #[test]
    fn nodes_and_ends_are_kept_apart_and_ends_of_life_are_not_shown() {
        let mut tally = Tally::default();
        for (node, last) in [(0, 1), (1, 1), (0, 2)] {
            let drop = freed("NEIGH_FAILED", "neigh_invalidate", [10, 0, 0, last]);
            assert!(tally.add(node, 0, drop, true));
        }
        let end = freed("NO_SOCKET", "ping_rcv", [10, 0, 0, 1]);
        assert!(!tally.add(0, 0, end, true));
        assert_eq!(tally.kinds().len(), 3);
        assert_eq!(tally.of(Class::Delivered), 1);
    }

    /// Nobody loses a frame that a bridge floods. If its IP address is here and its MAC address is
    /// not, the drop may be a loss.
    #[test]
    fn a_frame_with_the_wrong_address_is_shown_where_it_was_meant_for() {
        let mut tally = Tally::default();
        let drop = || freed("OTHERHOST", "ip_rcv_core", [10, 0, 0, 1]);
        assert!(!tally.add(0, 0, drop(), false));
        assert_eq!((tally.of(Class::Flooded), tally.suspects()), (1, 0));
        assert!(tally.add(0, 0, drop(), true));
        assert_eq!((tally.of(Class::Unknown), tally.suspects()), (1, 1));
    }

    #[test]
    fn what_never_was_a_packet_is_counted_apart() {
        let mut tally = Tally::default();
        let message = Freed {
            packet: None,
            protocol: 0,
            ..freed("NOT_SPECIFIED", "unix_stream_read", [0; 4])
        };
        assert!(!tally.add(0, 0, message, false));
        assert_eq!((tally.suspects(), tally.not_packets()), (0, 1));
    }
}
