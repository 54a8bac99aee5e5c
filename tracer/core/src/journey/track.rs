//! A journey that is not reported yet, or only remembered: where its packet, or which bytes of it,
//! were seen so far.

mod visits;

use smallvec::SmallVec;

pub(super) use self::visits::{Passage, Visit};
use super::{
    CapturedFrame, Class, Closed, Drop, Impostor, Limits, Refusal, StandIn,
    identity::{Datagram, StreamKey, stamp},
    index::Id,
    ranges::{Range, Ranges},
};
use crate::model::{Flags, Packet, Transport};

/// Usual number of steps: from pod to pod across two nodes, over an overlay.
pub(super) const USUAL_STEPS: usize = 8;

/// Time of a track that is not in the queue yet, so it is never due.
const UNSCHEDULED: i64 = i64::MAX;

/// Data that only few journeys have.
#[derive(Clone, Debug, Default)]
pub(super) struct Rest {
    /// The number that the packet's SYN or FIN takes in its stream.
    pub(super) mark: Option<i64>,
    /// The first journey that answers the packet's question. `true` if that answer is certainly to
    /// this packet, whoever else asks the same.
    pub(super) answer: Option<(Id, bool)>,
    /// This field and the next ones are as in [`super::Journey`].
    pub(super) answers: Option<u64>,
    pub(super) answered_by: Option<u64>,
    pub(super) impostor: Option<Impostor>,
    pub(super) stand_in: Option<StandIn>,
    pub(super) refusal: Option<Refusal>,
    pub(super) retransmits: Option<u64>,
    /// Each node that saw the question that this packet answers, with the time of the first
    /// sighting.
    pub(super) asked: SmallVec<[(usize, i64); 2]>,
    pub(super) drops: Vec<Drop>,
    /// The parts of the packet that were dropped.
    gone: Ranges,
    /// The parts that were seen in a visit, if these are not one range.
    pieces: Vec<Ranges>,
    /// Captured frames, each with the index of its visit.
    captured: Vec<(usize, CapturedFrame)>,
}

/// A journey that has just begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    pub(super) number: u64,
    /// The range of bytes that the journey covers.
    pub(super) range: Range,
    /// Time of the first event: Unix time, ns.
    pub(super) time: i64,
    /// Whether no other transmission of its bytes can have come before.
    pub(super) is_first: bool,
    /// Whether the packet asks a question that every receiver answers.
    pub(super) asks: bool,
}

/// A journey that hops can still join.
#[derive(Clone, Debug)]
pub(super) struct Track {
    /// The number of the journey.
    pub(super) number: u64,
    /// The packet, as in the journey.
    pub(super) packet: Packet,
    /// The range of bytes that the journey covers.
    pub(super) range: Range,
    /// Time of the last event: Unix time, ns.
    pub(super) last: i64,
    /// Time at which the engine looks again whether the track is due: Unix time, ns. It is never
    /// later than the time when the track is due.
    pub(super) scheduled: i64,
    /// The slot of the stream that has the packet's bytes or its mark.
    pub(super) stream: u32,
    /// Whether the journey is not reported yet.
    pub(super) is_open: bool,
    /// Whether no other transmission of its bytes can have come before.
    pub(super) is_first: bool,
    /// Whether an acknowledgement echoes the packet's timestamp, and newly acknowledges bytes from
    /// the packet's first byte on.
    pub(super) echoed: bool,
    /// Whether other tracks with the same content are preferred, because this one was reported, or
    /// its fate is known.
    pub(super) settled: bool,
    /// This field and the next two are as in [`super::Journey`].
    pub(super) asks: bool,
    pub(super) asked_again: bool,
    pub(super) ambiguous: bool,
    /// Whether the last hop was of the whole datagram that the packet is a fragment of.
    pub(super) in_whole: bool,
    /// Whether a dropped part may have been a copy. Then another copy may still arrive.
    copied: bool,
    rest: Option<Box<Rest>>,
    /// The sk_buffs in which the packet was last, with the index of the agent.
    pub(super) skbs: SmallVec<[(u32, u64); 2]>,
    /// The parts that were seen at the last possible point.
    pub(super) arrived: Ranges,
    visits: Vec<Visit>,
    /// The passage of each visit. Empty after the journey was reported.
    passages: Vec<Passage>,
}

impl Track {
    /// A track without visits. `lists`: empty lists, which the track will fill.
    pub(super) fn new(
        packet: Packet,
        begun: Begun,
        (mut visits, mut passages): (Vec<Visit>, Vec<Passage>),
    ) -> Self {
        visits.reserve_exact(USUAL_STEPS);
        passages.reserve_exact(USUAL_STEPS);
        Self {
            number: begun.number,
            packet,
            range: begun.range,
            last: begun.time,
            scheduled: UNSCHEDULED,
            stream: u32::MAX,
            is_open: true,
            is_first: begun.is_first,
            echoed: false,
            settled: false,
            asks: begun.asks,
            asked_again: false,
            ambiguous: false,
            in_whole: false,
            copied: false,
            rest: None,
            skbs: SmallVec::new(),
            arrived: Ranges::default(),
            visits,
            passages,
        }
    }

    /// The data that only few journeys have, if this journey has any.
    pub(super) fn rest(&self) -> Option<&Rest> {
        self.rest.as_deref()
    }

    /// The data that only few journeys have, to change it.
    pub(super) fn rest_mut(&mut self) -> &mut Rest {
        self.rest.get_or_insert_default()
    }

    /// The first journey that answers the packet's question, see [`Rest::answer`].
    pub(super) fn answer(&self) -> Option<(Id, bool)> {
        self.rest()?.answer
    }

    /// Whether a reset or error refuses the packet.
    pub(super) fn is_refused(&self) -> bool {
        self.rest().is_some_and(|rest| rest.refusal.is_some())
    }

    /// Whether a packet answers this one.
    pub(super) fn is_answered(&self) -> bool {
        self.rest().is_some_and(|rest| rest.answered_by.is_some())
    }

    /// The stream that the packet's bytes belong to. `None` if the track is found by its content.
    pub(super) fn stream(&self) -> Option<StreamKey> {
        let tcp = self.packet.stream_data()?;
        Some(StreamKey::of(&self.packet, tcp))
    }

    /// The stream in which the packet's SYN or FIN takes a number. `None` if the packet has
    /// neither, or has data, which is found by its bytes.
    pub(super) fn mark(&self) -> Option<StreamKey> {
        let Transport::Tcp(tcp) = &self.packet.transport else {
            return None;
        };
        let takes_one = tcp.flags.has(Flags::SYN) || tcp.flags.has(Flags::FIN);
        let alone = tcp.payload_len == 0 && self.packet.fragment.is_none();
        (takes_one && alone && !tcp.flags.has(Flags::RST)).then(|| StreamKey::of(&self.packet, tcp))
    }

    /// The bytes that the receiver has from this transmission, and from no other one, if it has
    /// acknowledged them.
    ///
    /// An echoed timestamp shows this for the first segment only. The segments after it may have
    /// come earlier, in a transmission that the engine does not remember, and waited for the first.
    pub(super) fn brought(&self) -> Option<Range> {
        if self.is_first || !self.echoed {
            return self.is_first.then_some(self.range);
        }
        let whole = self.passages.iter();
        let whole = whole.filter(|passage| i64::from(passage.seen) == self.range.len());
        let segments = whole.map(|passage| i64::from(passage.segments)).max()?;
        // The last segment may be shorter than the others.
        let first = self.range.len() / segments.max(1);
        Some(Range {
            end: self.range.start + first,
            ..self.range
        })
    }

    /// The datagram that the packet is a fragment of.
    pub(super) fn datagram(&self) -> Option<Datagram> {
        self.packet.fragment?;
        Datagram::of(&self.packet)
    }

    /// The TCP timestamp value of this transmission.
    pub(super) fn stamp(&self) -> Option<u32> {
        stamp(&self.packet)
    }

    /// Whether no part of the packet within `range` was dropped.
    pub(super) fn is_there(&self, range: Range) -> bool {
        self.rest().is_none_or(|rest| !rest.gone.intersects(range))
    }

    /// Notes that a kernel freed a part of the packet. `is_copy`: whether this may have been a
    /// copy.
    pub(super) fn drop(&mut self, drop: Drop, range: Range, is_copy: bool) {
        self.last = self.last.max(drop.time);
        let is_loss = matches!(drop.judgement.class, Class::Loss | Class::Refusal);
        let is_open = self.is_open;
        let rest = self.rest_mut();
        let has_room = rest.gone.has_room();
        if is_loss && has_room {
            rest.gone.insert(range);
        }
        if is_open {
            rest.drops.push(drop);
        }
        self.copied |= is_loss && has_room && is_copy;
    }

    /// Why the journey is closed, if no further event comes before it is due.
    pub(super) fn why(&self) -> Closed {
        if !self.is_open {
            return Closed::Known;
        }
        let rest = self.rest();
        let gone = rest.map(|rest| &rest.gone);
        let gone = gone.filter(|gone| !self.copied && !gone.is_empty());
        let is_answered = self.is_answered();
        // If a proxy answered, conntrack may still show where the packet went.
        let is_stood_in = rest.is_some_and(|rest| rest.stand_in.is_some());
        if self.is_refused() || (is_answered && !self.asked_again && !is_stood_in) {
            return Closed::Known;
        }
        if self.asks && !is_answered && gone.is_none() {
            return Closed::Silence;
        }
        let known = match gone {
            None => self.arrived.len(),
            Some(gone) => {
                let mut known = self.arrived.clone();
                gone.iter().for_each(|range| known.insert(range));
                known.len()
            }
        };
        if known >= self.range.len() {
            Closed::Known
        } else {
            Closed::Silence
        }
    }

    /// The time when the journey is due to be closed: Unix time, ns.
    pub(super) fn due(&self, limits: &Limits) -> i64 {
        let wait = match self.why() {
            Closed::Known => limits.settle.min(limits.hold),
            _ => limits.hold,
        };
        self.last.saturating_add(wait).min(UNSCHEDULED - 1)
    }

    /// The list of visits, when the track is forgotten.
    pub(super) fn into_visits(self) -> Vec<Visit> {
        self.visits
    }

    /// Marks the journey as reported. Returns the passages, which only the journey needs.
    pub(super) fn close(&mut self) -> Vec<Passage> {
        self.is_open = false;
        std::mem::take(&mut self.passages)
    }
}
