//! A journey in the making: where its packet, or which bytes of it, were
//! seen so far.

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

/// How long a journey whose fate is known waits for what belongs to it: a
/// drop inside the pod that it was handed to, the copy of it that arrives, the
/// error that its sender gets. All of these follow within the same system
/// call or interrupt, or the receiver's next system call.
pub(crate) const SETTLE: i64 = 100_000_000;

/// From pod to pod across two nodes, over an overlay.
pub(super) const USUAL_STEPS: usize = 8;

/// A time at which nothing is due: what was not scheduled yet.
const UNSCHEDULED: i64 = i64::MAX;

/// What few journeys have.
#[derive(Clone, Debug, Default)]
pub(super) struct Rest {
    /// The number that its SYN or FIN takes in its stream.
    pub(super) mark: Option<i64>,
    /// The first journey that answers its question, and whether that tells that
    /// it answers this one, whoever asks the same.
    pub(super) answer: Option<(Id, bool)>,
    /// As in the journey.
    pub(super) answers: Option<u64>,
    pub(super) answered_by: Option<u64>,
    pub(super) impostor: Option<Impostor>,
    pub(super) stand_in: Option<StandIn>,
    pub(super) refusal: Option<Refusal>,
    pub(super) retransmits: Option<u64>,
    /// When the question that it answers was seen first, on each node.
    pub(super) asked: SmallVec<[(usize, i64); 2]>,
    pub(super) drops: Vec<Drop>,
    /// What of it was dropped.
    gone: Ranges,
    /// What was seen at a point, where that is not one range.
    pieces: Vec<Ranges>,
    /// What was captured, and in which visit.
    captured: Vec<(usize, CapturedFrame)>,
}

/// What a journey is that has only begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    pub(super) number: u64,
    /// What it covers.
    pub(super) range: Range,
    /// When it was first heard of, Unix time, ns.
    pub(super) time: i64,
    /// Whether no other transmission of its bytes can have come before.
    pub(super) is_first: bool,
    /// Whether it asks what every receiver answers.
    pub(super) asks: bool,
}

/// A journey that hops can still join.
#[derive(Clone, Debug)]
pub(super) struct Track {
    /// The journey's number.
    pub(super) number: u64,
    /// The packet, as in the journey.
    pub(super) packet: Packet,
    /// What it covers.
    pub(super) range: Range,
    /// When it was last heard of, Unix time, ns.
    pub(super) last: i64,
    /// When it is to be seen whether it is to be closed: not later than that.
    pub(super) scheduled: i64,
    /// The slot of the stream that its bytes or its mark are in.
    pub(super) stream: u32,
    /// Not yet reported.
    pub(super) is_open: bool,
    /// Whether no other transmission of its bytes can have come before.
    pub(super) is_first: bool,
    /// Whether an acknowledgement of its first byte, and of none before, carries
    /// its timestamp.
    pub(super) echoed: bool,
    /// Whether others of its content come first: it was reported, or what
    /// became of it is known.
    pub(super) settled: bool,
    /// As in the journey.
    pub(super) asks: bool,
    pub(super) asked_again: bool,
    pub(super) ambiguous: bool,
    /// Whether its last hop was of the whole datagram that it is a fragment of.
    pub(super) in_whole: bool,
    /// Whether some of what is gone may have been a copy: others may still arrive.
    copied: bool,
    rest: Option<Box<Rest>>,
    /// The sk_buffs that its packet was the last one in, by agent.
    pub(super) skbs: SmallVec<[(u32, u64); 2]>,
    /// What of it was seen where it can be seen last.
    pub(super) arrived: Ranges,
    visits: Vec<Visit>,
    /// The passage of each visit; empty once the journey was reported.
    passages: Vec<Passage>,
}

impl Track {
    /// One that was not seen anywhere. `lists`: empty ones, for what it will have.
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

    /// What few journeys have, if this one has any of it.
    pub(super) fn rest(&self) -> Option<&Rest> {
        self.rest.as_deref()
    }

    /// To be changed.
    pub(super) fn rest_mut(&mut self) -> &mut Rest {
        self.rest.get_or_insert_default()
    }

    /// The first journey that answers its question, see [`Rest::answer`].
    pub(super) fn answer(&self) -> Option<(Id, bool)> {
        self.rest()?.answer
    }

    /// Whether anything refuses it.
    pub(super) fn is_refused(&self) -> bool {
        self.rest().is_some_and(|rest| rest.refusal.is_some())
    }

    /// Whether anything answers it.
    pub(super) fn is_answered(&self) -> bool {
        self.rest().is_some_and(|rest| rest.answered_by.is_some())
    }

    /// The stream that its bytes belong to; `None`: it is found by its content.
    pub(super) fn stream(&self) -> Option<StreamKey> {
        let tcp = self.packet.stream_data()?;
        Some(StreamKey::of(&self.packet, tcp))
    }

    /// The stream in which its SYN or FIN takes a number; `None`: it has none, or
    /// data, which is found by its bytes.
    pub(super) fn mark(&self) -> Option<StreamKey> {
        let Transport::Tcp(tcp) = &self.packet.transport else {
            return None;
        };
        let takes_one = tcp.flags.has(Flags::SYN) || tcp.flags.has(Flags::FIN);
        let alone = tcp.payload_len == 0 && self.packet.fragment.is_none();
        (takes_one && alone && !tcp.flags.has(Flags::RST)).then(|| StreamKey::of(&self.packet, tcp))
    }

    /// Which of its bytes its receiver has from it and from no other transmission, if
    /// it has acknowledged them.
    ///
    /// An echo tells that of the first segment. Those after it may have come earlier,
    /// with a transmission of which nothing is remembered, and waited for the first.
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

    /// The packet that it is a fragment of.
    pub(super) fn datagram(&self) -> Option<Datagram> {
        self.packet.fragment?;
        Datagram::of(&self.packet)
    }

    /// TCP timestamp value of this transmission.
    pub(super) fn stamp(&self) -> Option<u32> {
        stamp(&self.packet)
    }

    /// Whether what of it is in `range` was not dropped yet.
    pub(super) fn is_there(&self, range: Range) -> bool {
        self.rest().is_none_or(|rest| !rest.gone.intersects(range))
    }

    /// Adds that some of it was freed. `is_copy`: that may have been a copy.
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

    /// Why it is finished, if nothing more is heard of it until it is due.
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

    /// When that is.
    pub(super) fn due(&self, limits: &Limits) -> i64 {
        let wait = match self.why() {
            Closed::Known => SETTLE.min(limits.hold),
            _ => limits.hold,
        };
        self.last.saturating_add(wait).min(UNSCHEDULED - 1)
    }

    /// What it was seen at, when it is forgotten.
    pub(super) fn into_visits(self) -> Vec<Visit> {
        self.visits
    }

    /// Takes it for reported: what only the journey has is given away.
    pub(super) fn close(&mut self) -> Vec<Passage> {
        self.is_open = false;
        std::mem::take(&mut self.passages)
    }
}
