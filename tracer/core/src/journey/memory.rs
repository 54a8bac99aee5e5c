//! The engine's memory: tracks, and the indexes that find them by a packet's fields.
//!
//! Hashes have a random seed. Nothing here iterates over a table, so the seed never changes a
//! result.

mod keys;
mod lookup;
mod owners;
mod stand_ins;

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use self::owners::Owner;
use super::{
    Captured, CapturedFrame, Closed, Journey, Scene, Step, Translated,
    content::Content,
    course::course,
    frames::{Frame, Frames},
    identity::{Part, StreamKey, conversation, part},
    index::{Candidates, Id, Index},
    ranges::{Range, Ranges},
    slab::Slab,
    stream::{Mark, Stream},
    track::{Begun, Passage, Track, USUAL_STEPS, Visit},
};
use crate::model::{Ends, Flags, Hop, Packet, Tcp, Transport};

/// Maximum number of identical packets that are compared with a hop. If there are more, the oldest
/// ones are compared. For packets that an ICMP error may quote, or whose question is answered, the
/// latest ones are.
const RIVALS: usize = 64;

/// Maximum number of lists of each kind that are kept for reuse: as many as come back between two
/// reports.
const SPARE: usize = 1024;

/// Tracks, and the indexes to them.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    tracks: Slab<Track>,
    frames: Frames,
    contents: Index,
    streams: Slab<Stream>,
    /// The slot of each stream.
    stream_of: HashMap<StreamKey, u32>,
    questions: Index,
    quotes: Index,
    datagrams: Index,
    owners: HashTable<Owner>,
    /// Lists for reuse. Each journey has one of each kind, and allocating them costs more than
    /// filling them.
    spare_steps: Vec<Vec<Step>>,
    spare_passages: Vec<Vec<Passage>>,
    spare_visits: Vec<Vec<Visit>>,
    /// Whether a proxy ever answered a connection in the place of a pod.
    stand_ins: bool,
    hasher: DefaultHashBuilder,
}

impl Memory {
    pub(super) fn is_empty(&self) -> bool {
        self.tracks.is_empty()
            && self.frames.is_empty()
            && self.contents.is_empty()
            && self.streams.is_empty()
            && self.stream_of.is_empty()
            && self.questions.is_empty()
            && self.quotes.is_empty()
            && self.datagrams.is_empty()
            && self.owners.is_empty()
    }

    /// Approximate memory of a clone, in bytes. `open`: number of open tracks.
    pub(super) fn weight(&self, open: usize) -> usize {
        /// Bytes of the index entries, stream and sk_buffs of a track, and of data that only few
        /// tracks have.
        const INDEXED: usize = 256;

        self.tracks.slots() * size_of::<Option<Track>>()
            + self.tracks.len() * (USUAL_STEPS * size_of::<Visit>() + INDEXED)
            + open * USUAL_STEPS * size_of::<Passage>()
    }

    pub(super) fn get(&self, id: Id) -> Option<&Track> {
        let track = self.tracks.get(id.slot);
        track.filter(|track| track.number == id.number)
    }

    pub(super) fn get_mut(&mut self, id: Id) -> Option<&mut Track> {
        let track = self.tracks.get_mut(id.slot);
        track.filter(|track| track.number == id.number)
    }

    /// The slot of a stream. Creates the stream if necessary.
    fn stream_at(&mut self, key: StreamKey, seq: u32) -> u32 {
        let streams = &mut self.streams;
        let slot = self.stream_of.entry(key);
        *slot.or_insert_with(|| streams.insert(Stream::new(seq)))
    }

    fn stream(&self, key: &StreamKey) -> Option<&Stream> {
        self.streams.get(*self.stream_of.get(key)?)
    }

    fn stream_mut(&mut self, key: &StreamKey) -> Option<&mut Stream> {
        self.streams.get_mut(*self.stream_of.get(key)?)
    }

    fn hash(&self, key: &impl std::hash::Hash) -> u32 {
        // The upper half, because the tables take the place of an entry from the lower bits.
        (self.hasher.hash_one(key) >> 32) as u32
    }

    /// Adds a hop's share to a track. Returns whether the track is open.
    pub(super) fn add(
        &mut self,
        id: Id,
        (node, time): (usize, i64),
        hop: &Hop,
        share: Range,
    ) -> bool {
        self.own(node, hop.skb, id);
        let track = self.tracks.get_mut(id.slot).expect("a ranked track exists");
        track.add(&mut self.frames, (node, time), hop, share);
        track.in_whole = false;
        track.is_open
    }

    /// Agent, point and frame of each step of an open track.
    pub(super) fn steps(&self, id: Id) -> impl DoubleEndedIterator<Item = (usize, usize, &Frame)> {
        let passages = self.get(id).into_iter().flat_map(Track::passages);
        passages.map(|(node, point, passage)| (node, point, self.frames.get(passage.frame)))
    }

    /// The point where an open track was last seen on a node, and its ends there.
    pub(super) fn last_ends(&self, id: Id, node: usize) -> Option<(usize, Ends)> {
        let track = self.get(id)?;
        let mut steps = track.passages();
        let (_, point, passage) = steps.rfind(|(on, ..)| *on == node)?;
        let ends = self.frames.get(passage.frame).ends;
        Some((point, ends.or_else(|| track.packet.ends())?))
    }

    /// Whether an open track ever had these ends.
    pub(super) fn had_ends(&self, id: Id, ends: &Ends) -> bool {
        let Some(track) = self.get(id) else {
            return false;
        };
        let mut passages = track.passages();
        track.packet.ends().as_ref() == Some(ends)
            || passages
                .any(|(.., passage)| self.frames.get(passage.frame).ends.as_ref() == Some(ends))
    }

    /// Notes what a packet acknowledges. An acknowledgement echoes the timestamp of the segment
    /// that brought the next byte after the last one acknowledged (RFC 7323, 4.3). So the echo
    /// shows that this byte did not come in a transmission from before the follow.
    ///
    /// If the echo belongs to a segment further on, its receiver had acknowledged more, unseen.
    pub(super) fn acknowledge(&mut self, packet: &Packet, tcp: &Tcp) {
        let other = StreamKey::of(packet, tcp).reverse();
        let Some(stream) = self.stream_mut(&other) else {
            return;
        };
        let echoed = tcp.timestamps.map(|(_, echoed)| echoed);
        let (Some(new), Some(_)) = (stream.acknowledge(tcp.ack, echoed), echoed) else {
            return;
        };
        let tracks = stream.overlapping(new);
        let is_of_then = |id: &Id| self.get(*id).is_some_and(|track| track.stamp() == echoed);
        let mut of_then = tracks.into_iter().filter(is_of_then);
        // If several were sent within one tick of the timestamp, any of them may have arrived.
        if let (Some(id), None) = (of_then.next(), of_then.next())
            && let Some(track) = self.get_mut(id)
        {
            track.echoed |= track.range.start == new.start;
        }
    }

    /// The parts of a track that its receiver has acknowledged, and that only this track can have
    /// brought.
    fn acked(&self, id: Id) -> Ranges {
        let mut acked = Ranges::default();
        let Some(track) = self.get(id) else {
            return acked;
        };
        let Some(stream) = self.streams.get(track.stream) else {
            return acked;
        };
        if track.packet.stream_data().is_some() {
            if let Some(range) = track.brought() {
                acked = stream.acked(range, id);
            }
        } else if let Some(mark) = track.rest().and_then(|rest| rest.mark)
            // A SYN has an answer, which shows more. So only a SYN-ACK and a FIN count here.
            && part(&track.packet).is_none_or(|part| matches!(part, Part::Answers(_)))
            && stream.is_mark_acked(mark, id)
        {
            acked.insert(track.range);
        }
        acked
    }

    /// Whether the engine may have missed sightings of a track, because too many packets share its
    /// bytes.
    pub(super) fn may_be_overlooked(&self, id: Id) -> bool {
        let Some(track) = self.get(id) else {
            return false;
        };
        let stream = track.packet.stream_data();
        let stream = stream.and_then(|_| self.streams.get(track.stream));
        track.is_full() || stream.is_some_and(|stream| stream.may_be_overlooked(track.range))
    }

    /// Whether these bytes are known to be sent for the first time: they follow the bytes that were
    /// seen before. The first bytes of a remembered stream may have been sent before.
    pub(super) fn is_first(&self, key: &StreamKey, range: Range) -> bool {
        let stream = self.stream(key);
        stream.is_some_and(|stream| stream.is_new(range.start))
    }

    /// Whether a sequence number is new: nothing from it on was seen before.
    pub(super) fn is_next(&self, key: &StreamKey, seq: u32) -> bool {
        let stream = self.stream(key);
        stream.is_some_and(|stream| stream.is_new(stream.unwrap(seq)))
    }

    /// The latest track that carried any of these bytes.
    pub(super) fn before(&self, key: &StreamKey, range: Range) -> Option<u64> {
        let tracks = self.stream(key)?.overlapping(range);
        tracks.last().map(|id| id.number)
    }

    /// The identity of the track that is inserted next, with this number.
    pub(super) fn next(&self, number: u64) -> Id {
        Id {
            number,
            slot: self.tracks.next(),
        }
    }

    /// Inserts a track that has just begun, and its index entries.
    pub(super) fn insert(&mut self, packet: Packet, begun: Begun) -> Id {
        let lists = (
            self.spare_visits.pop().unwrap_or_default(),
            self.spare_passages.pop().unwrap_or_default(),
        );
        let mut track = Track::new(packet, begun, lists);
        let data = track.stream();
        let mark = track.mark();
        if let (Some(key), Transport::Tcp(tcp)) = (data.or(mark), &track.packet.transport) {
            track.stream = self.stream_at(key, tcp.seq);
        }
        let slot = self.tracks.insert(track);
        let number = begun.number;
        let id = Id { number, slot };
        let Self {
            tracks, streams, ..
        } = self;
        let track = tracks.get_mut(slot).expect("it was put there");
        let stream = streams.get_mut(track.stream);
        if let (Some(stream), Transport::Tcp(tcp)) = (stream, &track.packet.transport) {
            if data.is_some() {
                stream.insert(track.range, id, track.stamp());
            } else if mark.is_some() {
                let mark = Mark {
                    is_syn: tcp.flags.has(Flags::SYN),
                    stamp: tcp.timestamps.map(|(stamp, _)| stamp),
                    is_first: track.is_first,
                    acked: false,
                };
                let number = stream.mark(tcp.seq, id, mark);
                track.rest_mut().mark = Some(number);
            }
        }
        self.list(id, data.is_some());
        id
    }

    /// Notes that a track was reported, or that its fate is known. Other tracks with its content
    /// are preferred from then on.
    pub(super) fn settled(&mut self, id: Id) {
        let Some(track) = self.get_mut(id) else {
            return;
        };
        if std::mem::replace(&mut track.settled, true) || track.packet.stream_data().is_some() {
            return;
        }
        let Some(track) = self.get(id) else {
            return;
        };
        let hash = self.hash(&Content(&track.packet));
        self.contents.settle(hash, id);
    }

    /// Makes a journey of a track. The caller sets why the journey was closed.
    pub(super) fn report(
        &mut self,
        scene: &Scene,
        id: Id,
        way: Option<Translated>,
    ) -> Option<Box<Journey>> {
        let acked = self.acked(id);
        let stand_in = self.get(id).and_then(|track| self.stand_in(track));
        let track = self.tracks.get_mut(id.slot)?;
        if !track.is_open || track.number != id.number {
            return None;
        }
        let acked = acked.iter().map(|part| part.within(track.range)).collect();
        let mut steps = self.spare_steps.pop().unwrap_or_default();
        steps.reserve_exact(track.passages().len());
        let captured = track.take_captured();
        let seen = track.passages().zip(track.seen());
        for (visit, ((node, point, passage), (ttl, parts))) in seen.enumerate() {
            let frame = self.frames.get(passage.frame);
            steps.push(Step {
                node,
                point,
                time: passage.time,
                len: passage.len,
                segments: passage.segments,
                ttl,
                src_mac: frame.src_mac,
                dst_mac: frame.dst_mac,
                vlan: frame.vlan,
                encap: frame.encap,
                ends: frame.ends.map(Box::new),
                seen: passage.seen,
                parts,
                captured: captured_in(&captured, visit),
            });
        }
        let mut passages = track.close();
        for passage in passages.drain(..) {
            self.frames.release(passage.frame);
        }
        keep(&mut self.spare_passages, passages);
        let drops = match track.rest() {
            Some(rest) if !rest.drops.is_empty() => std::mem::take(&mut track.rest_mut().drops),
            _ => Vec::new(),
        };
        let rest = track.rest();
        Some(Box::new(Journey {
            id: track.number,
            conversation: conversation(&track.packet),
            direction: course(scene, &track.packet, way),
            packet: track.packet.clone(),
            steps,
            drops,
            answers: rest.and_then(|rest| rest.answers),
            asks: track.asks,
            answered_by: rest.and_then(|rest| rest.answered_by),
            asked_again: track.asked_again,
            impostor: rest.and_then(|rest| rest.impostor),
            stand_in,
            refusal: rest.and_then(|rest| rest.refusal),
            acked,
            retransmits: rest.and_then(|rest| rest.retransmits),
            took: None,
            ambiguous: track.ambiguous,
            reassembled: track.in_whole,
            translated: None,
            closed: Closed::End,
        }))
    }

    pub(super) fn forget(&mut self, id: Id) {
        let Some(track) = self.get(id) else {
            return;
        };
        let data = track.packet.stream_data().is_some();
        let keys = self.keys(id.slot, data);
        if let Some(hash) = keys.content {
            self.contents.remove(hash, id);
        }
        if let Some((_, hash)) = keys.question {
            self.questions.remove(hash, id);
        }
        if let Some((_, hash)) = keys.quote {
            self.quotes.remove(hash, id);
        }
        if let Some((_, hash)) = keys.datagram {
            self.datagrams.remove(hash, id);
        }
        let Some(track) = self.tracks.remove(id.slot) else {
            return;
        };
        if let Some(stream) = self.streams.get_mut(track.stream) {
            if data {
                stream.remove(track.range, id);
            } else if let Some(mark) = track.rest().and_then(|rest| rest.mark) {
                stream.unmark(mark, id);
            }
            if stream.is_empty() {
                self.streams.remove(track.stream);
                if let Some(key) = track.stream().or(track.mark()) {
                    self.stream_of.remove(&key);
                }
            }
        }
        for place in &track.skbs {
            self.disown(*place, id.slot);
        }
        let mut visits = track.into_visits();
        visits.clear();
        keep(&mut self.spare_visits, visits);
    }

    /// Takes a list of steps that is no longer needed, to use it for another journey.
    pub(super) fn reuse(&mut self, mut steps: Vec<Step>) {
        steps.clear();
        keep(&mut self.spare_steps, steps);
    }
}

/// The captured frames of one of a track's visits.
fn captured_in(captured: &[(usize, CapturedFrame)], visit: usize) -> Option<Box<Captured>> {
    let own = captured.iter().filter(|(of, _)| *of == visit);
    let frames: Vec<CapturedFrame> = own.map(|(_, frame)| frame.clone()).collect();
    (!frames.is_empty()).then(|| Box::new(Captured { frames }))
}

/// Keeps an empty list for reuse, unless its capacity is unusually large.
fn keep<T>(spare: &mut Vec<Vec<T>>, list: Vec<T>) {
    if spare.len() < SPARE && (1..=USUAL_STEPS).contains(&list.capacity()) {
        spare.push(list);
    }
}
