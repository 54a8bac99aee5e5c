//! A thousand flows between two pods, the same every time. One packet in a hundred does not arrive.
//!
//! TCP data leaves in super-packets, of which some are cut on their way, or in single segments.
//! Every other data packet is acknowledged, and lost bytes are sent again. There are datagrams, and
//! pings with their replies. A kernel drops most of the packets that do not arrive, and says so.
//! The others are lost on the wire.

use tracer_core::{
    input::Batch,
    model::{Flags, Hello, Icmp, Packet, Tcp, Transport},
};
use tracer_tests::rng::Rng;

use super::agents::{Agent, PODS, POINTS, WIRE};

/// The number of flows.
pub(super) const FLOWS: u16 = 1000;
/// One packet of this many does not arrive.
pub(super) const DROPPED: u32 = 100;

/// A segment's payload, bytes.
pub(super) const SEGMENT: u32 = 1398;
/// Segments of a super-packet.
const SEGMENTS: u32 = 8;

/// The server port of TCP data.
const SERVER: u16 = 8080;

/// The duration of a batch, ns.
const SLICE: i64 = 5_000_000;
/// The number of slices between reports.
const REPORT_EVERY: u64 = 20;

/// The content of a flow.
#[derive(Clone, Copy)]
enum Kind {
    /// TCP data in packets of this many segments.
    Data {
        segments: u32,
        cut: bool,
    },
    Datagrams,
    Pings,
}

struct Flow {
    kind: Kind,
    port: u16,
    /// Sequence number of the next byte, or number of the next packet.
    next: u32,
    /// Whether the next acknowledgement also covers an earlier packet.
    unacknowledged: bool,
}

/// Makes batches, one slice of time after the other.
pub(super) struct Traffic {
    rng: Rng,
    flows: Vec<Flow>,
    agents: [Agent; 2],
    slices: u64,
    /// Unix time, ns.
    now: i64,
    /// The time between packets, ns.
    gap: i64,
}

impl Traffic {
    /// Traffic with a packet every `gap` ns, and the answers. With `translated`, every other flow
    /// except pings goes to a Service's address.
    pub(super) fn new(gap: i64, translated: bool) -> Self {
        let flow = |index| Flow {
            kind: match index % 10 {
                0..=2 => Kind::Data {
                    segments: SEGMENTS,
                    cut: false,
                },
                3 => Kind::Data {
                    segments: SEGMENTS,
                    cut: true,
                },
                4 | 5 => Kind::Data {
                    segments: 1,
                    cut: false,
                },
                6..=8 => Kind::Datagrams,
                _ => Kind::Pings,
            },
            port: 30_000 + index,
            next: 1,
            unacknowledged: false,
        };
        Self {
            rng: Rng::new(1),
            flows: (0..FLOWS).map(flow).collect(),
            agents: [Agent::new(0, translated), Agent::new(1, false)],
            slices: 0,
            now: 1_770_000_000_000_000_000,
            gap,
        }
    }

    /// The present time, Unix time, ns.
    pub(super) const fn now(&self) -> i64 {
        self.now
    }

    pub(super) fn hellos(&self) -> Vec<Hello> {
        self.agents.iter().map(Agent::hello).collect()
    }

    /// The batches of the next slice of time, each with its agent.
    pub(super) fn slice(&mut self) -> Vec<(usize, Batch)> {
        let end = self.now + SLICE;
        while self.now < end {
            let flow = self.rng.range(0, u32::from(FLOWS) - 1);
            self.advance(flow as usize);
            self.now += self.gap;
        }
        self.slices += 1;
        let reports = self.slices.is_multiple_of(REPORT_EVERY);
        let mut batches = Vec::new();
        for (node, agent) in self.agents.iter_mut().enumerate() {
            let sent = agent.batches(end, reports, &mut self.rng);
            batches.extend(sent.map(|batch| (node, batch)));
        }
        batches
    }

    /// Sends a flow's next packet, and the answers.
    fn advance(&mut self, index: usize) {
        let flow = &self.flows[index];
        let (port, next) = (flow.port, flow.next);
        // The TCP timestamp, in ms.
        let stamp = (self.now / 1_000_000) as u32;
        let (sent, pieces, advance, answer) = match flow.kind {
            Kind::Data { segments, cut } => {
                let len = segments * SEGMENT;
                let data = |at, len| tcp(0, [port, SERVER], [next.wrapping_add(at), 1], len, stamp);
                let pieces = if cut {
                    let starts = (0..len).step_by(SEGMENT as usize);
                    starts.map(|at| data(at, SEGMENT)).collect()
                } else {
                    vec![data(0, len)]
                };
                let ack = || tcp(1, [SERVER, port], [1, next.wrapping_add(len)], 0, stamp);
                (data(0, len), pieces, len, flow.unacknowledged.then(ack))
            }
            Kind::Datagrams => {
                let sent = datagram(port, next);
                (sent.clone(), vec![sent], 1, None)
            }
            Kind::Pings => {
                let sent = ping(0, 8, port, next);
                (sent.clone(), vec![sent], 1, Some(ping(1, 0, port, next)))
            }
        };
        let Some(arrived) = self.send(self.now, 0, &sent, &pieces) else {
            return;
        };
        let flow = &mut self.flows[index];
        flow.next = next.wrapping_add(advance);
        flow.unacknowledged ^= true;
        if let Some(answer) = answer {
            self.send(arrived, 1, &answer, std::slice::from_ref(&answer));
        }
    }

    /// Sends a packet from a node to the other, where it arrives in pieces. Returns the time of
    /// arrival, if it arrives.
    fn send(&mut self, at: i64, from: usize, sent: &Packet, pieces: &[Packet]) -> Option<i64> {
        let Self { rng, agents, .. } = self;
        let falls = rng.range(1, DROPPED) == 1;
        let points = match pieces {
            _ if !falls => POINTS,
            [_] => rng.range(1, 7) as usize,
            _ => rng.range(1, 4) as usize,
        };
        let freed = falls && points != WIRE;
        let leaving = (points.min(WIRE), freed && points < WIRE);
        let mut at = agents[from].see(at, true, sent, leaving, rng);
        if points > WIRE {
            for piece in pieces {
                let coming = (points - WIRE, freed);
                at = agents[1 - from].see(at, false, piece, coming, rng);
            }
        }
        (!falls).then_some(at)
    }
}

/// A packet from the pod of a node to the other's.
fn packet(from: usize, id: u32, payload_hash: u64, payload: u32, transport: Transport) -> Packet {
    let header = match &transport {
        Transport::Tcp(_) => 20 + 32,
        _ => 20 + 8,
    };
    Packet {
        src: PODS[from].into(),
        dst: PODS[1 - from].into(),
        ttl: 64,
        ip_id: Some(id & 0xffff),
        fragment: None,
        len: header + payload,
        transport,
        payload_hash: Some(payload_hash),
    }
}

/// `ports` and `numbers` (sequence and acknowledgement) are the sender's and
/// the receiver's; `stamp` is the sender's TCP timestamp.
fn tcp(from: usize, ports: [u16; 2], numbers: [u32; 2], payload: u32, stamp: u32) -> Packet {
    let header = Tcp {
        src_port: ports[0],
        dst_port: ports[1],
        seq: numbers[0],
        ack: numbers[1],
        flags: Flags(Flags::ACK),
        window: 501,
        payload_len: payload,
        timestamps: Some((stamp, stamp)),
        options_hash: stamp.into(),
    };
    packet(
        from,
        numbers[0] / SEGMENT,
        0,
        payload,
        Transport::Tcp(header),
    )
}

fn datagram(port: u16, number: u32) -> Packet {
    let header = Transport::Udp {
        src_port: port,
        dst_port: 53_000,
        len: 208,
        dns: None,
    };
    packet(0, number, number.into(), 200, header)
}

/// An echo request (type 8) or its reply (0).
fn ping(from: usize, kind: u8, port: u16, number: u32) -> Packet {
    let header = Transport::Icmp(Icmp {
        v6: false,
        kind,
        code: 0,
        echo: Some((port, (number & 0xffff) as u16)),
        neighbour: None,
        quote: None,
    });
    packet(from, number, number.into(), 56, header)
}
