//! Traffic that looks real. The tests choose what is sent and its fate, and the agents' events
//! follow from that.

mod stream;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;
use stream::Due;
use tracer_common::drop::Scope;
use tracer_core::model::{Freed, Icmp, Packet, Place, Transport};

use super::world::{
    Event, FROM_POD, IN, MS, NAMES, OUT, PODS, S, SEGMENT, START, Sight, TO_POD, Truth, US, Unit,
    World, hop,
};

/// What a pod sends.
#[derive(Clone, Copy, Debug)]
enum What {
    /// A TCP super-packet with this number of segments, which the NIC cuts into segments.
    Data(u32),
    /// The last super-packet again.
    Retransmission,
    /// A datagram unlike all others.
    Datagram,
    /// A datagram like all others of this kind.
    Twin,
    /// A datagram in this number of fragments.
    Fragments(u16),
    /// An echo request. If the request arrives, the receiver answers, and the reply has this fate.
    Ping(Fate),
}

/// The fate of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Arrives,
    /// Arrives, and a bridge floods a copy of it to a pod that drops it.
    Flooded,
    /// Dropped in the sender's pod, before any point.
    DroppedFirst,
    /// Dropped on one of the two nodes on its way.
    DroppedOn(usize),
    /// Waits on the first node for a neighbour that never answers.
    NoNeighbour,
    /// Lost on the wire. Of TCP data, only the last segment is lost.
    Lost,
    /// Dropped by the receiver's pod.
    DroppedInside,
}

#[derive(Clone, Copy, Debug)]
struct Send {
    from: usize,
    what: What,
    fate: Fate,
    /// The time since the packet before, ns.
    pause: i64,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Arrives),
        1 => Just(Fate::Flooded),
        1 => Just(Fate::DroppedFirst),
        1 => (0_usize..2).prop_map(Fate::DroppedOn),
        1 => Just(Fate::NoNeighbour),
        2 => Just(Fate::Lost),
        1 => Just(Fate::DroppedInside),
    ]
}

fn send() -> impl Strategy<Value = Send> {
    let what = prop_oneof![
        3 => (1_u32..4).prop_map(What::Data),
        2 => Just(What::Retransmission),
        2 => Just(What::Datagram),
        2 => Just(What::Twin),
        1 => (2_u16..4).prop_map(What::Fragments),
        2 => fate().prop_map(What::Ping),
    ];
    let pause = prop_oneof![
        4 => (1_i64..200).prop_map(|us| us * US),
        2 => (1_i64..300).prop_map(|ms| ms * MS),
        1 => (3_i64..7).prop_map(|s| s * S),
    ];
    (0_usize..2, what, fate(), pause).prop_map(|(from, what, fate, pause)| Send {
        from,
        what,
        fate,
        pause,
    })
}

/// Some traffic. The second node's clock is off by up to 5 ms.
pub(super) fn world() -> impl Strategy<Value = World> {
    let skew = prop_oneof![Just(0_i64), -5 * MS..5 * MS];
    (prop::collection::vec(send(), 1..25), skew).prop_map(|(sends, skew)| {
        let mut maker = Maker {
            skew,
            now: START,
            ..Maker::default()
        };
        sends.iter().for_each(|send| maker.send(*send));
        World {
            story: format!("{sends:#?}, the second clock off by {skew} ns"),
            ..maker.finish()
        }
    })
}

/// Makes a world, one packet after the other.
#[derive(Default)]
struct Maker {
    skew: i64,
    now: i64,
    events: BTreeMap<i64, Event>,
    truth: HashMap<Unit, Truth>,
    /// A number that distinguishes packets.
    number: u32,
    /// The next byte of each sender, and its last super-packet.
    sent: [u32; 2],
    last: [(u32, u32); 2],
    /// The segments of each sender that have arrived, by their first byte.
    got: [BTreeSet<u32>; 2],
    /// What each sender's receiver has acknowledged last, and the timestamp that the receiver
    /// echoes (RFC 7323, 4.3).
    acked: [u32; 2],
    recent: [u32; 2],
    /// Later actions of receivers, by time.
    due: BTreeMap<i64, Due>,
    /// When each node's buffers become free again.
    buffers: [BTreeMap<u64, i64>; 2],
}

impl Maker {
    fn send(&mut self, send: Send) {
        self.now += send.pause;
        self.receive(self.now);
        self.number += 1;
        let (from, fate, start) = (send.from, send.fate, self.now);
        match send.what {
            What::Data(segments) => {
                let seq = self.sent[from];
                self.sent[from] += segments * SEGMENT;
                self.last[from] = (seq, segments);
                self.data(from, seq, segments, fate);
            }
            What::Retransmission => {
                let (seq, segments) = self.last[from];
                if segments > 0 {
                    self.data(from, seq, segments, fate);
                }
            }
            What::Datagram => {
                let packet = datagram(from, self.number, self.number.into());
                self.one(start, from, &packet, fate);
            }
            What::Twin => {
                let packet = datagram(from, 0, 0);
                self.one(start, from, &packet, fate);
            }
            What::Fragments(count) => self.fragments(from, count, fate),
            What::Ping(answer) => {
                let seq = u16::try_from(self.number).expect("few packets");
                let got = self.one(start, from, &echo(from, 8, seq), fate);
                if let Some(time) = got {
                    self.one(time + 30 * US, 1 - from, &echo(1 - from, 0, seq), answer);
                }
            }
        }
    }

    /// Sends a packet. Returns the time of its arrival, if it arrives.
    fn one(&mut self, start: i64, from: usize, packet: &Packet, fate: Fate) -> Option<i64> {
        let truth = self.truth.entry(Unit::of(packet).remove(0)).or_default();
        match fate {
            Fate::Arrives | Fate::Flooded => truth.delivered += 1,
            Fate::DroppedInside => truth.dropped_inside += 1,
            _ => truth.gone += 1,
        }
        if fate == Fate::DroppedFirst {
            self.freed(from, start, 99, NAMES[from], Scope::Socket, packet);
            return None;
        }
        let first = self.leave(start, from, packet, 1, fate)?;
        let time = first + 50 * US;
        self.arrive(time, from, packet, fate)
    }

    /// Adds a packet's events on its first node. Returns the time when the packet leaves the node,
    /// if it does.
    fn leave(
        &mut self,
        start: i64,
        from: usize,
        packet: &Packet,
        segments: u32,
        fate: Fate,
    ) -> Option<i64> {
        let end = start + 20 * US;
        let wait = if fate == Fate::NoNeighbour { 3 * S } else { 0 };
        let skb = self.buffer(from, start, end + wait);
        self.hop(from, start, hop(FROM_POD, skb, from, segments, packet));
        if fate == Fate::DroppedOn(0) || fate == Fate::NoNeighbour {
            self.freed(from, end + wait, skb, "host", Scope::Device, packet);
            return None;
        }
        self.hop(from, end, hop(OUT, skb, from, segments, packet));
        Some(end)
    }

    /// Adds a packet's events on its second node. Returns the time of its arrival, if it arrives.
    fn arrive(&mut self, start: i64, from: usize, packet: &Packet, fate: Fate) -> Option<i64> {
        if fate == Fate::Lost {
            return None;
        }
        let to = 1 - from;
        let end = start + 20 * US;
        let skb = self.buffer(to, start, end + 5 * US);
        self.hop(to, start, hop(IN, skb, from, 1, packet));
        if fate == Fate::DroppedOn(1) {
            self.freed(to, end, skb, "host", Scope::Device, packet);
            return None;
        }
        self.hop(to, end, hop(TO_POD, skb, from, 1, packet));
        if fate == Fate::DroppedInside {
            self.freed(to, end + 5 * US, skb, NAMES[to], Scope::Device, packet);
            return None;
        }
        if fate == Fate::Flooded {
            let copy = self.buffer(to, start + US, end + 9 * US);
            let at = end + 8 * US;
            self.freed(to, at, copy, "default/other", Scope::Device, packet);
        }
        Some(end)
    }

    /// Sends a datagram in fragments. The receiver's pod drops only whole datagrams.
    fn fragments(&mut self, from: usize, count: u16, fate: Fate) {
        let start = self.now;
        let whole = datagram(from, self.number, 0);
        for index in 0..count {
            let fragment = Packet {
                fragment: Some((index * 1480, index + 1 < count)),
                transport: match index {
                    0 => whole.transport.clone(),
                    _ => Transport::Other(17),
                },
                ..whole.clone()
            };
            let on_its_way = match fate {
                Fate::DroppedInside => Fate::Arrives,
                fate => fate,
            };
            let at = start + i64::from(index) * 3 * US;
            self.one(at, from, &fragment, on_its_way);
            if fate == Fate::DroppedInside {
                let truth = self.truth.get_mut(&Unit::of(&fragment)[0]);
                *truth.expect("it was just sent") = Truth {
                    dropped_inside: 1,
                    ..Truth::default()
                };
            }
        }
        if fate == Fate::DroppedInside {
            let to = 1 - from;
            self.freed(to, start + 200 * US, 98, NAMES[to], Scope::Receiver, &whole);
        }
    }

    /// The lowest buffer of a node that is free at `from`. The packet has the buffer until `to`.
    fn buffer(&mut self, node: usize, from: i64, to: i64) -> u64 {
        let buffers = &mut self.buffers[node];
        let free = (1..).find(|skb| buffers.get(skb).is_none_or(|until| *until < from));
        let skb = free.expect("endless");
        buffers.insert(skb, to);
        skb
    }

    fn hop(&mut self, node: usize, time: i64, hop: tracer_core::model::Hop) {
        self.event(node, time, Sight::Hop(hop));
    }

    fn freed(
        &mut self,
        node: usize,
        time: i64,
        skb: u64,
        netns: &str,
        scope: Scope,
        packet: &Packet,
    ) {
        let (reason, function) = match netns {
            "default/other" => ("OTHERHOST", "ip_rcv_core"),
            "host" => ("NETFILTER_DROP", "nft_do_chain"),
            _ if scope == Scope::Receiver => ("SOCKET_RCVBUFF", "udp_queue_rcv_one_skb"),
            _ => ("NETFILTER_DROP", "nft_do_chain"),
        };
        let freed = Freed {
            time: 0,
            skb,
            reason: reason.into(),
            place: Place {
                function: function.into(),
                offset: 1,
            },
            netns: Some(netns.into()),
            scope: Some(scope),
            device: None,
            dst_mac: None,
            protocol: 0x0800,
            encap: None,
            packet: Some(packet.clone()),
            facts: [].into(),
        };
        self.event(node, time, Sight::Freed(Box::new(freed)));
    }

    /// Adds an event, at the next time that has no other event.
    fn event(&mut self, node: usize, time: i64, sight: Sight) {
        let mut time = time + if node == 1 { self.skew } else { 0 };
        while self.events.contains_key(&time) {
            time += 1;
        }
        self.events.insert(time, Event { node, time, sight });
    }

    fn finish(mut self) -> World {
        self.receive(i64::MAX);
        World {
            events: self.events.into_values().collect(),
            truth: self.truth,
            ..World::default()
        }
    }
}

fn packet(from: usize, ip_id: u32, len: u32, transport: Transport) -> Packet {
    Packet {
        src: PODS[from].into(),
        dst: PODS[1 - from].into(),
        ttl: 64,
        ip_id: Some(ip_id),
        fragment: None,
        len,
        transport,
        payload_hash: Some(0),
    }
}

fn datagram(from: usize, ip_id: u32, payload_hash: u64) -> Packet {
    let transport = Transport::Udp {
        src_port: 40_000,
        dst_port: 8080,
        len: 40,
        dns: None,
    };
    Packet {
        payload_hash: Some(payload_hash),
        ..packet(from, ip_id, 60, transport)
    }
}

fn echo(from: usize, kind: u8, seq: u16) -> Packet {
    let transport = Transport::Icmp(Icmp {
        v6: false,
        kind,
        code: 0,
        echo: Some((7, seq)),
        neighbour: None,
        quote: None,
    });
    packet(from, u32::from(seq), 84, transport)
}
