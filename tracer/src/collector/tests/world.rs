//! Two nodes with a pod each, and the truth about the packets between them.
//!
//! The tests know everything that nobody knows outside: when each packet passed which point, where
//! it ended, and which of these events agents could see.

use std::{collections::HashMap, fmt, net::IpAddr, ops::Range};

use tracer_core::{
    collect::Beginning,
    journey::Limits,
    model::{
        Direction, Encap, EncapKind, Freed, Hello, Hop, Network, Owner, OwnerKind, Packet, Point,
        Role, Transport,
    },
};

pub(super) const PODS: [[u8; 4]; 2] = [[10, 244, 1, 5], [10, 244, 2, 7]];
pub(super) const NODES: [[u8; 4]; 2] = [[172, 16, 0, 1], [172, 16, 0, 2]];

/// The pods' names, by node.
pub(super) const NAMES: [&str; 2] = ["default/a", "default/b"];

/// Points of each node, by index.
pub(super) const FROM_POD: usize = 0;
pub(super) const TO_POD: usize = 1;
pub(super) const IN: usize = 2;
pub(super) const OUT: usize = 3;

/// Streams of each agent, by index.
pub(super) const HOPS: usize = 0;
pub(super) const DROPS: usize = 1;
pub(super) const STREAMS: usize = 2;

pub(super) const US: i64 = 1_000;
pub(super) const MS: i64 = 1_000 * US;
pub(super) const S: i64 = 1_000 * MS;

/// The beginning of the follow, Unix time, ns.
pub(super) const START: i64 = 1_772_368_496 * S;

/// Size of a TCP segment, bytes. All data is cut into such segments.
pub(super) const SEGMENT: u32 = 1000;

/// An event that an agent sees, at a time of the agent's clock as Unix time, ns.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) node: usize,
    pub(super) time: i64,
    pub(super) sight: Sight,
}

#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are hops, and tests have few"
)]
pub(super) enum Sight {
    Hop(Hop),
    Freed(Box<Freed>),
}

impl Event {
    pub(super) const fn stream(&self) -> usize {
        match self.sight {
            Sight::Hop(_) => HOPS,
            Sight::Freed(_) => DROPS,
        }
    }
}

/// The unit that has one fate: a packet, or a segment of TCP data.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Unit(Packet);

impl Unit {
    /// The units that a packet consists of.
    pub(super) fn of(packet: &Packet) -> Vec<Self> {
        let segment = |index: u32| {
            let mut packet = packet.clone();
            packet.ttl = 0;
            if let (true, Transport::Tcp(tcp)) =
                (packet.stream_data().is_some(), &mut packet.transport)
            {
                tcp.seq = tcp.seq.wrapping_add(index * SEGMENT);
                tcp.payload_len = SEGMENT;
                packet.len = SEGMENT;
            }
            Self(packet)
        };
        let bytes = packet.stream_data().map_or(0, |tcp| tcp.payload_len);
        (0..(bytes / SEGMENT).max(1)).map(segment).collect()
    }

    pub(super) fn is_stream_data(&self) -> bool {
        self.0.stream_data().is_some()
    }
}

/// The numbers of equal units by fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Truth {
    /// Units that reached their receiver.
    pub(super) delivered: u32,
    /// Units that reached the receiver's pod, and were dropped there.
    pub(super) dropped_inside: u32,
    /// Units that were dropped or lost before.
    pub(super) gone: u32,
}

/// Traffic with its events and its truth.
#[derive(Clone, Default)]
pub(super) struct World {
    /// A description of what was sent, which determines everything else.
    pub(super) story: String,
    /// In the order of the nodes' clocks. No two events have the same time.
    pub(super) events: Vec<Event>,
    pub(super) truth: HashMap<Unit, Truth>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.story)
    }
}

impl World {
    /// The times of the beginning and the end, ns.
    pub(super) fn span(&self) -> Range<i64> {
        let last = self.events.last().map_or(START, |event| event.time);
        START..last + 1
    }
}

fn point(role: Role, direction: Direction, interface: &str, address: [u8; 4]) -> Point {
    Point {
        netns: "host".to_owned(),
        interface: interface.to_owned(),
        ifindex: 2,
        direction,
        hook: "tcx".into(),
        role,
        kind: String::new(),
        addresses: vec![address.into()],
        why: String::new(),
        foreign: Vec::new(),
        since: 0,
        until: None,
    }
}

/// The beginning of a follow with two agents on two kernels, which observe the veths and the
/// uplinks, and drops everywhere.
pub(super) fn beginning() -> Beginning {
    let nodes = ["node-a", "node-b"];
    let hello = |index: usize| Hello {
        node: nodes[index].to_owned(),
        boot_id: nodes[index].to_owned(),
        kernel: None,
        realtime_offset: START - 5 * S,
        clock_bound: 0,
        streams: STREAMS,
        points: vec![
            point(Role::Veth, Direction::Ingress, "veth0", PODS[index]),
            point(Role::Veth, Direction::Egress, "veth0", PODS[index]),
            point(Role::Uplink, Direction::Ingress, "eth0", NODES[index]),
            point(Role::Uplink, Direction::Egress, "eth0", NODES[index]),
        ],
        next_hops: Vec::new(),
        local: vec![NODES[index].into()],
        drops: Some(vec![NAMES[index].into()]),
        drops_later: Vec::new(),
        network: Network::default(),
        snaplen: 0,
        notes: Vec::new(),
    };
    let owner = |name: &str, kind, index: usize| Owner {
        name: name.to_owned(),
        kind,
        node: nodes[index].to_owned(),
    };
    Beginning {
        nodes: vec![hello(0), hello(1)],
        owners: (0..2)
            .flat_map(|index| {
                let pod = owner(NAMES[index], OwnerKind::Pod, index);
                let node = owner(nodes[index], OwnerKind::Node, index);
                [(PODS[index].into(), pod), (NODES[index].into(), node)]
            })
            .collect(),
        sources: vec![IpAddr::from(PODS[0]).into()],
        asked: Vec::new(),
        limits: Limits::default(),
        count: None,
        time: START,
        follow: String::new(),
        warnings: Vec::new(),
        skew: 0,
    }
}

/// The hop of a packet at a point. `from` is the node that the packet comes from.
pub(super) fn hop(point: usize, skb: u64, from: usize, segments: u32, packet: &Packet) -> Hop {
    let wrapped = point == IN || point == OUT;
    Hop {
        point,
        time: 0,
        skb,
        generation: 1,
        len: packet.len + if wrapped { 64 } else { 14 },
        segments,
        src_mac: None,
        dst_mac: None,
        vlan: None,
        encap: wrapped.then(|| Encap {
            kind: EncapKind::Vxlan,
            vni: Some(1),
            outer_src: NODES[from].into(),
            outer_dst: NODES[1 - from].into(),
            levels: 1,
        }),
        packet: packet.clone(),
        frame: None,
    }
}
