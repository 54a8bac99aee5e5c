//! What the engine remembers, and under what it is found again.
//!
//! Packets are found by a hash and then compared: a hash alone never decides
//! that two are the same. The hasher is seeded anew for each process, because
//! strangers choose what is in a packet; nothing is ever listed in a table's
//! order, so that the seed changes no result.

use std::hash::{BuildHasher as _, Hash};

use hashbrown::{DefaultHashBuilder, HashMap, HashTable, hash_map::Entry, hash_table};
use smallvec::SmallVec;

use super::{
    identity::{Content, Datagram, Part, Question, QuoteKey, StreamKey, part, stamp},
    ids::Ids,
    ranges::{Range, Ranges},
    stream::{Mark, Stream},
    track::Track,
};
use crate::model::{Flags, Packet, Quote, Tcp, Transport};

/// How many identical packets are looked at for the one that a hop belongs
/// to. Where more are on their way, the oldest are taken. Of those that an
/// ICMP error may quote, or that ask what is answered, the latest.
const RIVALS: usize = 64;

/// Tracks, by number, that something may belong to: usually one.
pub(super) type Candidates = SmallVec<[u64; 4]>;

/// Tracks, and the indexes to them.
#[derive(Debug, Default)]
pub(super) struct Memory {
    tracks: HashMap<u64, Box<Track>>,
    contents: HashTable<Twins>,
    streams: HashMap<StreamKey, Stream>,
    questions: HashMap<Question, Ids>,
    quotes: HashMap<QuoteKey, Ids>,
    datagrams: HashMap<Datagram, Ids>,
    /// Whose packet was last seen in an sk_buff, by agent. A buffer holds one
    /// packet at a time, so the latest owner is the only one.
    owners: HashMap<(usize, u64), u64>,
    hasher: DefaultHashBuilder,
}

/// Tracks of packets with the same content, each in order; at least one.
#[derive(Debug)]
struct Twins {
    /// Of their content.
    hash: u64,
    /// Those of which it is not known what became of them.
    open: Ids,
    /// The others.
    settled: Ids,
}

impl Twins {
    /// Whether they are those of a packet.
    fn are(&self, packet: &Packet, tracks: &HashMap<u64, Box<Track>>) -> bool {
        let mut ids = self.open.iter().chain(self.settled.iter());
        let track = ids.next().and_then(|id| tracks.get(&id));
        track.is_some_and(|track| Content(&track.packet) == Content(packet))
    }
}

impl Memory {
    pub(super) fn is_empty(&self) -> bool {
        self.tracks.is_empty()
            && self.contents.is_empty()
            && self.streams.is_empty()
            && self.questions.is_empty()
            && self.quotes.is_empty()
            && self.datagrams.is_empty()
            && self.owners.is_empty()
    }

    pub(super) fn get(&self, id: u64) -> Option<&Track> {
        self.tracks.get(&id).map(|track| &**track)
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Track> {
        self.tracks.get_mut(&id).map(|track| &mut **track)
    }

    /// What a packet covers, and the tracks that it could belong to.
    pub(super) fn candidates(&mut self, packet: &Packet) -> (Range, Candidates) {
        if let Some(tcp) = packet.stream_data() {
            let key = StreamKey::of(packet, tcp);
            let Some(stream) = self.streams.get_mut(&key) else {
                return (
                    Stream::new(tcp.seq).range(tcp.seq, tcp.payload_len),
                    Candidates::new(),
                );
            };
            let range = stream.range(tcp.seq, tcp.payload_len);
            return (range, stream.find(range, stamp(packet)));
        }
        let hash = self.hasher.hash_one(Content(packet));
        let twins = self
            .contents
            .find(hash, |twins| twins.are(packet, &self.tracks));
        let ids = twins.map_or_else(Candidates::new, |twins| {
            let open = twins.open.iter().take(RIVALS);
            let settled = twins.settled.iter().rev().take(RIVALS);
            open.chain(settled).collect()
        });
        (Range::WHOLE, ids)
    }

    /// As [`Memory::candidates`], for a packet that was freed in this sk_buff.
    /// Where its payload could not be read, that tells which of the packets that
    /// are like it otherwise it was.
    pub(super) fn candidates_of_freed(
        &mut self,
        (node, skb): (usize, u64),
        packet: &Packet,
    ) -> (Range, Candidates) {
        let (range, mut ids) = self.candidates(packet);
        let owner = self.owner(node, skb).filter(|id| !ids.contains(id));
        let like = |id: &u64| {
            let track = self.get(*id);
            track.is_some_and(|track| Content(&track.packet).is_like(&Content(packet)))
        };
        if packet.payload_hash.is_none() {
            ids.extend(owner.filter(like));
        }
        (range, ids)
    }

    /// Whose packet was last seen in this sk_buff.
    pub(super) fn owner(&self, node: usize, skb: u64) -> Option<u64> {
        self.owners.get(&(node, skb)).copied()
    }

    /// Notes that a track's packet was seen in this sk_buff.
    pub(super) fn own(&mut self, node: usize, skb: u64, id: u64) {
        if self.owner(node, skb) == Some(id) {
            return;
        }
        self.owners.insert((node, skb), id);
        if let Some(track) = self.tracks.get_mut(&id) {
            track.skbs.push((node, skb));
        }
    }

    /// The tracks that asked `question`, oldest first; the latest of them.
    pub(super) fn askers(&self, question: &Question) -> Candidates {
        self.questions
            .get(question)
            .map_or_else(Candidates::new, latest)
    }

    /// The tracks of packets that look like the one that an ICMP error
    /// quotes, oldest first; the latest of them.
    pub(super) fn quoted(&self, quote: &Quote) -> Candidates {
        if let Some(ids) = QuoteKey::quoted(quote).and_then(|key| self.quotes.get(&key)) {
            return latest(ids);
        }
        let (6, Some((src_port, dst_port)), Some(header)) =
            (quote.proto, quote.ports, quote.header)
        else {
            return Candidates::new();
        };
        let key = StreamKey {
            src: quote.src,
            dst: quote.dst,
            src_port,
            dst_port,
        };
        let [_, _, _, _, seq @ ..] = header;
        let stream = self.streams.get(&key);
        let carrier = stream.and_then(|stream| stream.carrier(u32::from_be_bytes(seq)));
        carrier.into_iter().collect()
    }

    /// The tracks of the fragments that a packet was put together from.
    pub(super) fn fragments(&self, packet: &Packet) -> Candidates {
        let ids = Datagram::of(packet).and_then(|datagram| self.datagrams.get(&datagram));
        ids.into_iter().flat_map(Ids::iter).collect()
    }

    /// Notes what a packet acknowledges. It echoes the timestamp of the segment that
    /// brought the byte after the last one acknowledged (RFC 7323, 4.3), so that this
    /// one did not come with a transmission from before the follow.
    ///
    /// An echo of a segment further on contradicts what is known to have been
    /// acknowledged: its receiver had acknowledged more, unseen.
    pub(super) fn acknowledge(&mut self, packet: &Packet, tcp: &Tcp) {
        let other = StreamKey::of(packet, tcp).reverse();
        let Some(stream) = self.streams.get_mut(&other) else {
            return;
        };
        let echoed = tcp.timestamps.map(|(_, echoed)| echoed);
        let (Some(new), Some(_)) = (stream.acknowledge(tcp.ack, echoed), echoed) else {
            return;
        };
        let is_of_then = |id: &u64| {
            let track = self.tracks.get(id);
            track.is_some_and(|track| track.stamp() == echoed)
        };
        let tracks = stream.overlapping(new);
        let mut of_then = tracks.into_iter().filter(is_of_then);
        // Of several that were sent within one tick, one may have arrived.
        if let (Some(id), None) = (of_then.next(), of_then.next())
            && let Some(track) = self.tracks.get_mut(&id)
        {
            track.echoed |= track.range.start == new.start;
        }
    }

    /// What of a track its receiver has acknowledged, and only it can have
    /// brought.
    pub(super) fn acked(&self, id: u64) -> Ranges {
        let mut acked = Ranges::default();
        let Some(track) = self.tracks.get(&id) else {
            return acked;
        };
        let stream = |key| self.streams.get(&key);
        if let (Some(range), Some(stream)) = (track.brought(), track.stream().and_then(stream)) {
            acked = stream.acked(range, id);
        } else if let (Some(number), Some(stream)) = (track.number, track.mark().and_then(stream))
            // A SYN is answered.
            && part(&track.packet).is_none_or(|part| matches!(part, Part::Answers(_)))
            && stream.is_mark_acked(number, id)
        {
            acked.insert(track.range);
        }
        acked
    }

    /// Whether a track may have been seen where that was not noted, because too much
    /// shares its bytes.
    pub(super) fn may_be_overlooked(&self, id: u64) -> bool {
        let Some(track) = self.tracks.get(&id) else {
            return false;
        };
        let stream = track.stream().and_then(|key| self.streams.get(&key));
        track.is_full() || stream.is_some_and(|stream| stream.may_be_overlooked(track.range))
    }

    /// Whether these bytes are known to be on their way for the first time: they
    /// follow on what was seen before. What a stream begins with, in memory, may
    /// have been sent before that.
    pub(super) fn is_first(&self, key: &StreamKey, range: Range) -> bool {
        let stream = self.streams.get(key);
        stream.is_some_and(|stream| stream.is_new(range.start))
    }

    /// Whether a sequence number is: nothing from there on was seen before.
    pub(super) fn is_next(&self, key: &StreamKey, seq: u32) -> bool {
        let stream = self.streams.get(key);
        stream.is_some_and(|stream| stream.is_new(stream.unwrap(seq)))
    }

    /// The last track before that carried any of these bytes.
    pub(super) fn before(&self, key: &StreamKey, range: Range) -> Option<u64> {
        let stream = self.streams.get(key)?;
        stream.overlapping(range).last().copied()
    }

    pub(super) fn insert(&mut self, id: u64, mut track: Track) {
        if let Some(key) = track.stream() {
            let stream = self.streams.entry(key);
            let stream = stream.or_insert_with(|| Stream::new(track.first_seq()));
            stream.insert(track.range, id, track.stamp());
        } else {
            let hash = self.hasher.hash_one(Content(&track.packet));
            let twins = self.contents.entry(
                hash,
                |twins| twins.are(&track.packet, &self.tracks),
                |twins| twins.hash,
            );
            match twins {
                hash_table::Entry::Occupied(mut twins) => twins.get_mut().open.push(id),
                hash_table::Entry::Vacant(place) => {
                    place.insert(Twins {
                        hash,
                        open: Ids::one(id),
                        settled: Ids::default(),
                    });
                }
            }
        }
        if let (Some(key), Transport::Tcp(tcp)) = (track.mark(), &track.packet.transport) {
            let mark = Mark {
                is_syn: tcp.flags.has(Flags::SYN),
                stamp: tcp.timestamps.map(|(stamp, _)| stamp),
                is_first: track.is_first,
                acked: false,
            };
            let stream = self.streams.entry(key);
            let stream = stream.or_insert_with(|| Stream::new(tcp.seq));
            track.number = Some(stream.mark(tcp.seq, id, mark));
        }
        if let Some(Part::Asks(question)) = part(&track.packet) {
            self.questions.entry(question).or_default().push(id);
        }
        if let Some(quote) = QuoteKey::of(&track.packet) {
            self.quotes.entry(quote).or_default().push(id);
        }
        if let Some(datagram) = track.datagram() {
            self.datagrams.entry(datagram).or_default().push(id);
        }
        self.tracks.insert(id, Box::new(track));
    }

    /// Notes that it is known what became of a track, or that it was reported: others
    /// of its content come first.
    pub(super) fn settled(&mut self, id: u64) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        if std::mem::replace(&mut track.settled, true) {
            return;
        }
        let Some(track) = self.tracks.get(&id) else {
            return;
        };
        if track.stream().is_some() {
            return;
        }
        let hash = self.hasher.hash_one(Content(&track.packet));
        let twins = self
            .contents
            .find_mut(hash, |twins| twins.are(&track.packet, &self.tracks));
        if let Some(twins) = twins {
            twins.open.remove(id);
            twins.settled.push(id);
        }
    }

    pub(super) fn forget(&mut self, id: u64) {
        let Some(track) = self.tracks.get(&id) else {
            return;
        };
        if let Some(key) = track.stream() {
            if let Some(stream) = self.streams.get_mut(&key) {
                stream.remove(track.range, id);
                if stream.is_empty() {
                    self.streams.remove(&key);
                }
            }
        } else {
            let hash = self.hasher.hash_one(Content(&track.packet));
            let twins = self
                .contents
                .find_entry(hash, |twins| twins.are(&track.packet, &self.tracks));
            if let Ok(mut twins) = twins {
                twins.get_mut().settled.remove(id);
                if twins.get().open.is_empty() && twins.get().settled.is_empty() {
                    twins.remove();
                }
            }
        }
        if let (Some(key), Some(number)) = (track.mark(), track.number)
            && let Some(stream) = self.streams.get_mut(&key)
        {
            stream.unmark(number, id);
            if stream.is_empty() {
                self.streams.remove(&key);
            }
        }
        if let Some(Part::Asks(question)) = part(&track.packet) {
            forget_in(&mut self.questions, question, id);
        }
        if let Some(quote) = QuoteKey::of(&track.packet) {
            forget_in(&mut self.quotes, quote, id);
        }
        if let Some(datagram) = track.datagram() {
            forget_in(&mut self.datagrams, datagram, id);
        }
        for place in &track.skbs {
            if self.owners.get(place) == Some(&id) {
                self.owners.remove(place);
            }
        }
        self.tracks.remove(&id);
    }
}

/// The last ids of a list, at most [`RIVALS`].
fn latest(ids: &Ids) -> Candidates {
    let from = ids.len().saturating_sub(RIVALS);
    ids.iter().skip(from).collect()
}

/// Removes an id from a list of them, and the list with the last.
fn forget_in<K: Eq + Hash>(index: &mut HashMap<K, Ids>, key: K, id: u64) {
    if let Entry::Occupied(mut ids) = index.entry(key) {
        ids.get_mut().remove(id);
        if ids.get().is_empty() {
            ids.remove();
        }
    }
}
