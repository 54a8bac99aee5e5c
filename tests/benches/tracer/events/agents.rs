//! The agents of two nodes that see packets between two pods, over VXLAN, and the batches that they
//! would send.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use tracer_common::counters::Counters;
use tracer_common::drop::Scope;
use tracer_core::{
    input::{Batch, Report},
    model::{
        Direction, Encap, EncapKind, Ends, Freed, Hello, Hop, Mac, Network, Packet, Place, Point,
        Role,
    },
};
use tracer_tests::rng::Rng;

/// The pods' addresses, each on the node of the same index.
pub(super) const PODS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 244, 1, 5), Ipv4Addr::new(10, 244, 2, 7)];
/// The Service whose endpoint is the second pod.
const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
const NODES: [Ipv4Addr; 2] = [Ipv4Addr::new(172, 18, 0, 2), Ipv4Addr::new(172, 18, 0, 3)];
/// The differences between Unix time and the nodes' monotonic clocks, ns.
const OFFSETS: [i64; 2] = [1_760_000_000_000_000_000, 1_750_000_000_000_000_000];

/// A node's devices, each with a point for either direction.
const DEVICES: [(&str, Role); 4] = [
    ("veth1a2b3c4d", Role::Veth),
    ("cni0", Role::Bridge),
    ("flannel.1", Role::Overlay),
    ("eth0", Role::Uplink),
];
/// The points on a packet's way out of a node, and the points on a packet's way into one.
const WAY: [[usize; 4]; 2] = [[0, 2, 5, 7], [6, 4, 3, 1]];
/// The number of points before the wire.
pub(super) const WIRE: usize = 4;
/// The number of points in all.
pub(super) const POINTS: usize = 8;

/// The time from point to point, ns.
const STEP: i64 = 3_000;
/// The time from node to node, ns.
const FLIGHT: i64 = 20_000;
/// The size of VXLAN's headers, bytes.
const VXLAN: u32 = 50;
/// The number of sk_buffs that a node uses in turn.
const BUFFERS: u64 = 8192;

/// The age of a watermark in its batch, ns.
const GRACE: i64 = 20_000_000;

/// One node's agent.
pub(super) struct Agent {
    node: usize,
    /// The events that are not sent yet, each with its Unix time, ns.
    hops: Vec<(i64, Hop)>,
    freed: Vec<(i64, Freed)>,
    /// The number of sk_buffs used so far.
    buffers: u64,
    /// Whether the node translates every other flow of its pod.
    translates: bool,
}

impl Agent {
    pub(super) const fn new(node: usize, translates: bool) -> Self {
        Self {
            node,
            hops: Vec::new(),
            freed: Vec::new(),
            buffers: 0,
            translates,
        }
    }

    pub(super) fn hello(&self) -> Hello {
        let point = |ifindex, interface: &str, role, direction| Point {
            netns: "host".to_owned(),
            interface: interface.to_owned(),
            ifindex,
            direction,
            hook: "tcx".into(),
            role,
            kind: String::new(),
            addresses: vec![match role {
                Role::Veth => PODS[self.node].into(),
                _ => NODES[self.node].into(),
            }],
            why: String::new(),
            foreign: Vec::new(),
            since: 0,
            until: None,
        };
        let points = (2..).zip(DEVICES).flat_map(|(ifindex, (interface, role))| {
            [Direction::Ingress, Direction::Egress]
                .map(|direction| point(ifindex, interface, role, direction))
        });
        Hello {
            node: format!("node-{}", self.node),
            boot_id: format!("boot-{}", self.node),
            kernel: None,
            realtime_offset: OFFSETS[self.node],
            clock_bound: 0,
            points: points.collect(),
            streams: 2,
            next_hops: Vec::new(),
            local: vec![NODES[self.node].into()],
            drops: Some(Vec::new()),
            drops_later: Vec::new(),
            network: Network::default(),
            snaplen: 0,
            notes: Vec::new(),
        }
    }

    /// The time of the node's own clock, ns.
    fn time(&self, unix: i64) -> u64 {
        (unix - OFFSETS[self.node]).cast_unsigned()
    }

    /// Sees a packet at the first `points` points on its way out of this node or into it. The
    /// kernel may then drop the packet. Returns the time of the last event.
    pub(super) fn see(
        &mut self,
        mut at: i64,
        leaves: bool,
        packet: &Packet,
        (points, freed): (usize, bool),
        rng: &mut Rng,
    ) -> i64 {
        self.buffers += 1;
        let skb = 0xffff_8880_0000_0000 + self.buffers % BUFFERS * 256;
        let way = WAY[usize::from(!leaves)];
        let (from, to) = if leaves { (0, 1) } else { (1, 0) };
        let [from, to] = [from, to].map(|which| NODES[self.node ^ which]);
        let payload = packet.stream_data().map_or(0, |tcp| tcp.payload_len);
        for point in way.into_iter().take(points) {
            at += STEP + i64::from(rng.range(0, 1000));
            let (_, role) = DEVICES[point / 2];
            let encap = (role == Role::Uplink).then_some(Encap {
                kind: EncapKind::Vxlan,
                vni: Some(1),
                outer_src: IpAddr::V4(from),
                outer_dst: IpAddr::V4(to),
                levels: 1,
            });
            let mut packet = match role {
                Role::Veth | Role::Bridge => self.before_translation(leaves, packet),
                _ => packet.clone(),
            };
            // The nodes route the packet, which lowers its TTL.
            packet.ttl -= match (leaves, role) {
                (true, Role::Veth | Role::Bridge) => 0,
                (false, Role::Veth | Role::Bridge) => 2,
                _ => 1,
            };
            let hop = Hop {
                point,
                time: self.time(at),
                skb,
                generation: 1,
                len: packet.len + 14 + encap.map_or(0, |_| VXLAN),
                segments: payload.div_ceil(super::traffic::SEGMENT).max(1),
                src_mac: Some(Mac([2, 0, 0, 0, 0, 1])),
                dst_mac: Some(Mac([2, 0, 0, 0, 0, 2])),
                vlan: None,
                encap,
                packet,
                frame: None,
            };
            self.hops.push((at, hop));
        }
        if freed {
            let freed = self.free(at + 1000, skb, packet);
            self.freed.push(freed);
        }
        at + FLIGHT
    }

    /// A packet as this node's pod sends or gets it: to or from a Service's address, if the node
    /// translates the flow.
    fn before_translation(&self, leaves: bool, packet: &Packet) -> Packet {
        let (Some(ends), Some((src_port, dst_port))) = (packet.ends(), packet.ports()) else {
            return packet.clone();
        };
        let client = if leaves { src_port } else { dst_port };
        if !self.translates || !client.is_multiple_of(2) {
            return packet.clone();
        }
        packet.with_ends(&if leaves {
            Ends {
                dst: SERVICE.into(),
                dst_port: 80,
                ..ends
            }
        } else {
            Ends {
                src: SERVICE.into(),
                src_port: 80,
                ..ends
            }
        })
    }

    fn free(&self, at: i64, skb: u64, packet: &Packet) -> (i64, Freed) {
        let freed = Freed {
            time: self.time(at),
            skb,
            reason: Arc::from("NETFILTER_DROP"),
            place: Place {
                function: Arc::from("nft_do_chain"),
                offset: 0x4d2,
            },
            netns: Some(Arc::from("host")),
            scope: Some(Scope::Device),
            device: Some(Arc::from("flannel.1")),
            dst_mac: None,
            protocol: 0x800,
            encap: None,
            packet: Some(packet.clone()),
            facts: Arc::from([]),
        };
        (at, freed)
    }

    /// The batches of each stream at `now`. Neighbours in a ring buffer are sometimes out of order.
    pub(super) fn batches(&mut self, now: i64, report: bool, rng: &mut Rng) -> [Batch; 2] {
        self.hops.sort_by_key(|(at, _)| *at);
        let come = self.hops.partition_point(|(at, _)| *at < now);
        let mut hops: Vec<Hop> = self.hops.drain(..come).map(|(_, hop)| hop).collect();
        for pair in hops.chunks_exact_mut(2) {
            if rng.range(0, 9) == 0 {
                pair.swap(0, 1);
            }
        }
        let freed = self.freed.extract_if(.., |(at, _)| *at < now);
        let freed = freed.map(|(_, freed)| freed).collect();
        let report = |drops: bool| {
            report.then(|| Report {
                time: self.time(now),
                counters: (0..POINTS)
                    .map(|point| (point, Counters { packets: [1; 6] }))
                    .filter(|_| !drops)
                    .collect(),
                ..Report::default()
            })
        };
        let watermark = self.time(now - GRACE);
        [
            Batch {
                stream: 0,
                hops,
                watermark,
                report: report(false),
                ..Batch::default()
            },
            Batch {
                stream: 1,
                freed,
                watermark,
                report: report(true),
                ..Batch::default()
            },
        ]
    }
}
