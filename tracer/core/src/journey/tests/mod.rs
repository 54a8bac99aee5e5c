//! Tests of the engine with hops made by hand. There are two nodes, each with a veth and an uplink,
//! and packets pass these four points.

mod batches;
mod captured;
mod course;
mod drops;
mod echoes;
mod fragments;
mod identity;
mod questions;
mod ranges;
mod stand_in;
mod translation;
mod xdp;

use std::net::IpAddr;

use super::{Closed, Engine, Journey, Limits, Scene};
use crate::{
    by_hand::{self, A, B, FROM_POD, NODE_A, NODE_B, TO_POD, UPLINK_IN as IN, UPLINK_OUT as OUT},
    model::{Encap, EncapKind, Flags, Hop, Names, Owners, Packet, Tcp, Transport},
};

const NODES: [[u8; 4]; 2] = [NODE_A, NODE_B];

/// The path from A to B.
const WAY: [(usize, usize); 4] = [(0, FROM_POD), (0, OUT), (1, IN), (1, TO_POD)];

const MS: i64 = 1_000_000;

/// Time after which a journey with a known fate is closed.
const SETTLED: i64 = 100 * MS;

/// Each node's interfaces have names of their own, and the pods have no known owner.
fn scene() -> Scene {
    let mut nodes = by_hand::scene().nodes;
    for (index, hello) in nodes.iter_mut().enumerate() {
        hello.drops = Some(Vec::new());
        for point in &mut hello.points {
            point.interface.push_str(&index.to_string());
        }
    }
    Scene {
        nodes,
        owners: Owners::default(),
        since: 0,
        sources: vec![IpAddr::from(A).into()],
        asked: Vec::new(),
        names: Names::default(),
    }
}

fn packet(transport: Transport) -> Packet {
    Packet {
        src: A.into(),
        dst: B.into(),
        ttl: 64,
        ip_id: Some(0),
        fragment: None,
        len: 60,
        transport,
        payload_hash: Some(0),
    }
}

fn tcp(seq: u32, payload_len: u32, stamp: u32) -> Packet {
    Packet {
        len: 52 + payload_len,
        ..packet(Transport::Tcp(Tcp {
            src_port: 40_000,
            dst_port: 8080,
            seq,
            ack: 1,
            flags: Flags(Flags::ACK),
            window: 500,
            payload_len,
            timestamps: Some((stamp, 1)),
            options_hash: 0,
        }))
    }
}

fn udp(payload_hash: u64) -> Packet {
    Packet {
        payload_hash: Some(payload_hash),
        ..packet(Transport::Udp {
            src_port: 40_000,
            dst_port: 8080,
            len: 40,
            dns: None,
        })
    }
}

fn taken(engine: &mut Engine) -> Vec<Journey> {
    let journeys = std::iter::from_fn(|| engine.next_finished());
    journeys.map(|journey| *journey).collect()
}

fn hop(point: usize, time: i64, skb: u64, packet: &Packet) -> Hop {
    let wrapped = point == IN || point == OUT;
    Hop {
        point,
        time: time.cast_unsigned(),
        skb,
        generation: 1,
        len: packet.len + 14,
        segments: 1,
        src_mac: None,
        dst_mac: None,
        vlan: None,
        encap: wrapped.then(|| Encap {
            kind: EncapKind::Vxlan,
            vni: Some(1),
            outer_src: NODES[0].into(),
            outer_dst: NODES[1].into(),
            levels: 1,
        }),
        packet: packet.clone(),
        frame: None,
    }
}

/// An engine and its scene.
struct Stage {
    scene: Scene,
    engine: Engine,
    latest: i64,
}

impl Stage {
    fn new() -> Self {
        Self {
            scene: scene(),
            engine: Engine::new(Limits::default()),
            latest: 0,
        }
    }

    fn see(&mut self, node: usize, hop: &Hop) {
        let time = hop.time.cast_signed();
        self.latest = self.latest.max(time);
        self.engine.push(&self.scene, node, time, hop);
    }

    /// Sends a packet along the whole path, in one sk_buff per node.
    fn send(&mut self, start: i64, skb: u64, packet: &Packet) {
        for (time, (node, point)) in (start..).step_by(1000).zip(WAY) {
            let skb = skb + node as u64 * 1000;
            self.see(node, &hop(point, time, skb, packet));
        }
    }

    /// The journeys that are finished so far.
    fn taken(&mut self) -> Vec<Journey> {
        taken(&mut self.engine)
    }

    /// The finished journeys, after [`SETTLED`] has passed.
    fn finished(&mut self) -> Vec<Journey> {
        self.engine.advance(&self.scene, self.latest + SETTLED);
        self.taken()
    }

    fn end(&mut self) -> Vec<Journey> {
        self.engine.end(&self.scene);
        self.taken()
    }
}

/// The points of a journey, as (node, point).
fn way(journey: &Journey) -> Vec<(usize, usize)> {
    journey
        .steps
        .iter()
        .map(|step| (step.node, step.point))
        .collect()
}

#[test]
fn one_packet_is_one_journey() {
    let mut stage = Stage::new();
    stage.send(0, 7, &udp(1));
    let journeys = stage.finished();
    assert_eq!(journeys.len(), 1);
    assert_eq!(way(&journeys[0]), WAY);
    assert_eq!(journeys[0].closed, Closed::Known);
    assert!(!journeys[0].ambiguous);
    assert_eq!(stage.engine.counts().joined, 4);
}

#[test]
fn silence_closes_after_the_hold_time() {
    let mut stage = Stage::new();
    stage.see(0, &hop(FROM_POD, 0, 7, &udp(1)));
    let hold = Limits::default().hold;
    stage.engine.advance(&stage.scene, hold - 1);
    assert!(stage.finished().is_empty());
    stage.engine.advance(&stage.scene, hold);
    let journeys = stage.finished();
    assert_eq!(journeys.len(), 1);
    assert_eq!(journeys[0].closed, Closed::Silence);
}

#[test]
fn a_late_hop_is_not_a_new_journey() {
    let mut stage = Stage::new();
    for (time, (node, point)) in (0..).zip(WAY).filter(|(_, (_, point))| *point != OUT) {
        stage.see(node, &hop(point, time, 7, &udp(1)));
    }
    assert_eq!(stage.finished().len(), 1);
    stage.see(0, &hop(OUT, 1, 7, &udp(1)));
    assert!(stage.end().is_empty());
    let counts = stage.engine.counts();
    assert_eq!((counts.joined, counts.late), (3, 1));
}

#[test]
fn memory_is_bounded_and_what_is_given_up_is_counted() {
    let mut stage = Stage::new();
    stage.engine = Engine::new(Limits {
        open: 10,
        ..Limits::default()
    });
    for index in 0..100_u64 {
        stage.see(0, &hop(FROM_POD, 0, index, &udp(index)));
    }
    assert_eq!(stage.engine.open(), 10);
    assert_eq!(stage.engine.counts().evicted, 90);
    let evicted = stage.finished();
    assert!(
        evicted
            .iter()
            .all(|journey| journey.closed == Closed::Evicted)
    );
    assert_eq!(evicted.len() + stage.end().len(), 100);
}

#[test]
fn everything_is_forgotten_in_the_end() {
    let mut stage = Stage::new();
    for index in 0..50_u32 {
        stage.send(
            i64::from(index) * MS,
            u64::from(index),
            &tcp(index * 100, 100, index),
        );
        stage.send(i64::from(index) * MS, u64::from(index), &udp(index.into()));
    }
    assert_eq!(stage.finished().len(), 100);
    stage.engine.advance(&stage.scene, i64::MAX / 2);
    assert!(stage.engine.is_empty());
}

/// A broken recording may contain any time.
#[test]
fn the_end_of_time_comes() {
    let mut stage = Stage::new();
    for time in [0, i64::MAX, i64::MIN, 5] {
        stage
            .engine
            .push(&stage.scene, 0, time, &hop(FROM_POD, 0, 1, &udp(1)));
    }
    assert!(!stage.end().is_empty());
    stage.engine.advance(&stage.scene, i64::MAX);
    assert!(stage.engine.is_empty());
}
