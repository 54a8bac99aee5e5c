//! TCP data, and how its receiver reacts.

use tracer_common::drop::Scope;
use tracer_core::model::{Flags, Packet, Tcp, Transport};

use super::{
    super::world::{NAMES, SEGMENT, US, Unit},
    Fate, Maker, packet,
};

/// An action of the receiver of TCP data.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    /// Takes a segment from this sender.
    Segment { from: usize, at: u32, stamp: u32 },
    /// Acknowledges the data of this sender that has arrived.
    Acknowledgement { from: usize },
}

impl Maker {
    /// Sends TCP data in one super-packet, which arrives in segments.
    pub(super) fn data(&mut self, from: usize, seq: u32, segments: u32, fate: Fate) {
        let (start, stamp) = (self.now, self.number);
        let whole = self.tcp(from, seq, segments * SEGMENT);
        if fate == Fate::DroppedFirst {
            self.freed(from, start, 99, NAMES[from], Scope::Socket, &whole);
        }
        let left = match fate {
            Fate::DroppedFirst => None,
            _ => self.leave(start, from, &whole, segments, fate),
        };
        let mut last = None;
        for (index, unit) in (0..).zip(Unit::of(&whole)) {
            let at = seq + index * SEGMENT;
            let fate = match fate {
                Fate::Lost if index + 1 < segments => Fate::Arrives,
                fate => fate,
            };
            let segment = segment(&whole, at);
            let time = left.map(|time| time + 50 * US + i64::from(index) * 7 * US);
            let got = time.and_then(|time| self.arrive(time, from, &segment, fate));
            let truth = self.truth.entry(unit).or_default();
            match (got, fate) {
                (Some(time), _) => {
                    truth.delivered += 1;
                    self.later(time, Due::Segment { from, at, stamp });
                    last = Some(time);
                }
                (None, Fate::DroppedInside) => truth.dropped_inside += 1,
                (None, _) => truth.gone += 1,
            }
        }
        if let Some(time) = last {
            self.later(time + 40 * US, Due::Acknowledgement { from });
        }
    }

    /// Notes a later action, at the next time that has no other action.
    fn later(&mut self, mut time: i64, due: Due) {
        while self.due.contains_key(&time) {
            time += 1;
        }
        self.due.insert(time, due);
    }

    /// Executes the receivers' actions until `now`, in order.
    pub(super) fn receive(&mut self, now: i64) {
        while let Some(next) = self.due.first_entry()
            && *next.key() <= now
        {
            let (time, due) = next.remove_entry();
            match due {
                Due::Segment { from, at, stamp } => {
                    if at <= self.acked[from] {
                        self.recent[from] = self.recent[from].max(stamp);
                    }
                    self.got[from].insert(at);
                }
                Due::Acknowledgement { from } => {
                    self.number += 1;
                    let packet = self.tcp(1 - from, self.sent[1 - from], 0);
                    self.one(time, 1 - from, &packet, Fate::Arrives);
                }
            }
        }
    }

    /// A TCP segment that acknowledges the data that its sender has got without a gap.
    fn tcp(&mut self, from: usize, seq: u32, len: u32) -> Packet {
        let (other, stamp) = (1 - from, self.number);
        let ack = self.acknowledged(other);
        self.acked[other] = ack;
        tcp(from, seq, len, (stamp, self.recent[other]), ack)
    }

    /// The first byte of `from` that its receiver has not got.
    fn acknowledged(&self, from: usize) -> u32 {
        let mut ack = 0;
        while self.got[from].contains(&ack) {
            ack += SEGMENT;
        }
        ack
    }
}

fn tcp(from: usize, seq: u32, payload_len: u32, timestamps: (u32, u32), ack: u32) -> Packet {
    let transport = Transport::Tcp(Tcp {
        src_port: [40_000, 8080][from],
        dst_port: [8080, 40_000][from],
        seq,
        ack,
        flags: Flags(Flags::ACK),
        window: 500,
        payload_len,
        timestamps: Some(timestamps),
        options_hash: 0,
    });
    packet(from, 0, payload_len + 52, transport)
}

/// One segment of a super-packet.
fn segment(whole: &Packet, at: u32) -> Packet {
    let mut segment = whole.clone();
    if let Transport::Tcp(tcp) = &mut segment.transport {
        segment.len -= tcp.payload_len - SEGMENT;
        (tcp.seq, tcp.payload_len) = (at, SEGMENT);
    }
    segment
}
