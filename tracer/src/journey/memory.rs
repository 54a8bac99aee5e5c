//! What the engine remembers, and under what it is found again.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    hash::Hash,
};

use super::{
    identity::{Content, Datagram, Question, QuoteKey, StreamKey},
    ranges::Range,
    stream::Stream,
    track::{Key, Track},
};
use crate::link::{Packet, Quote, Tcp};

/// How many identical packets are looked at for the one that a hop belongs
/// to. Where more are on their way, the oldest are taken. Of those that an
/// ICMP error may quote, the latest.
const RIVALS: usize = 64;

/// Tracks, and the indexes to them.
#[derive(Debug, Default)]
pub(super) struct Memory {
    tracks: HashMap<u64, Track>,
    contents: HashMap<Content, Twins>,
    streams: HashMap<StreamKey, Stream>,
    questions: HashMap<Question, u64>,
    quotes: HashMap<QuoteKey, VecDeque<u64>>,
    datagrams: HashMap<Datagram, VecDeque<u64>>,
    /// Whose packet was last seen in an sk_buff, by agent. A buffer holds one
    /// packet at a time, so the latest owner is the only one.
    owners: HashMap<(usize, u64), u64>,
}

/// Tracks of packets with the same content, each in order.
#[derive(Debug, Default)]
struct Twins {
    open: VecDeque<u64>,
    reported: VecDeque<u64>,
}

impl Memory {
    #[cfg(any(test, feature = "fuzz"))]
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
        self.tracks.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Track> {
        self.tracks.get_mut(&id)
    }

    /// What a packet covers, and the tracks that it could belong to.
    pub(super) fn candidates(&mut self, packet: &Packet) -> (Range, Vec<u64>) {
        if let Some(tcp) = packet.stream_data() {
            let key = StreamKey::of(packet, tcp);
            let Some(stream) = self.streams.get_mut(&key) else {
                return (
                    Stream::new(tcp.seq).range(tcp.seq, tcp.payload_len),
                    Vec::new(),
                );
            };
            let range = stream.range(tcp.seq, tcp.payload_len);
            return (range, stream.overlapping(range));
        }
        let twins = self.contents.get(&Content::of(packet));
        let ids = twins.map_or_else(Vec::new, |twins| {
            let open = twins.open.iter().take(RIVALS);
            let reported = twins.reported.iter().rev().take(RIVALS);
            open.chain(reported).copied().collect()
        });
        (Range::WHOLE, ids)
    }

    /// Whose packet was last seen in this sk_buff.
    pub(super) fn owner(&self, node: usize, skb: u64) -> Option<u64> {
        self.owners.get(&(node, skb)).copied()
    }

    /// Notes that a track's packet was seen in this sk_buff.
    pub(super) fn own(&mut self, node: usize, skb: u64, id: u64) {
        if self.owners.insert((node, skb), id) != Some(id)
            && let Some(track) = self.tracks.get_mut(&id)
        {
            track.skbs.push((node, skb));
        }
    }

    /// The track that asked `question`.
    pub(super) fn asker(&self, question: &Question) -> Option<u64> {
        self.questions.get(question).copied()
    }

    /// The tracks of packets that look like the one that an ICMP error
    /// quotes, oldest first; the latest of them.
    pub(super) fn quoted(&self, quote: &Quote) -> Vec<u64> {
        if let Some(ids) = QuoteKey::quoted(quote).and_then(|key| self.quotes.get(&key)) {
            let from = ids.len().saturating_sub(RIVALS);
            return ids.range(from..).copied().collect();
        }
        let (6, Some((src_port, dst_port)), Some(header)) =
            (quote.proto, quote.ports, quote.header)
        else {
            return Vec::new();
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
    pub(super) fn fragments(&self, packet: &Packet) -> Vec<u64> {
        let ids = Datagram::of(packet).and_then(|datagram| self.datagrams.get(&datagram));
        ids.into_iter().flatten().copied().collect()
    }

    /// Notes what a packet acknowledges.
    pub(super) fn acknowledge(&mut self, packet: &Packet, tcp: &Tcp) {
        let other = StreamKey::of(packet, tcp).reverse();
        if let Some(stream) = self.streams.get_mut(&other) {
            stream.acknowledge(tcp.ack);
        }
    }

    /// Whether the bytes of a track were acknowledged, and only it can have
    /// brought them.
    pub(super) fn is_acked(&self, id: u64) -> bool {
        let Some(track) = self.tracks.get(&id) else {
            return false;
        };
        let Key::Stream(key) = &track.key else {
            return false;
        };
        let stream = self.streams.get(key);
        stream.is_some_and(|stream| stream.is_acked(track.range, id))
    }

    /// The last track before that carried any of these bytes.
    pub(super) fn before(&self, key: &StreamKey, range: Range) -> Option<u64> {
        let stream = self.streams.get(key)?;
        stream.overlapping(range).last().copied()
    }

    pub(super) fn insert(&mut self, id: u64, track: Track) {
        match &track.key {
            Key::Content(content) => {
                let twins = self.contents.entry(content.clone()).or_default();
                twins.open.push_back(id);
            }
            Key::Stream(key) => {
                let stream = self.streams.entry(*key);
                let stream = stream.or_insert_with(|| Stream::new(track.first_seq));
                stream.insert(track.range, id);
            }
        }
        if let Some(question) = track.question {
            self.questions.insert(question, id);
        }
        if let Some(quote) = track.quote {
            self.quotes.entry(quote).or_default().push_back(id);
        }
        if let Some(datagram) = track.datagram {
            self.datagrams.entry(datagram).or_default().push_back(id);
        }
        self.tracks.insert(id, track);
    }

    /// Notes that a track was reported: others of its content come first.
    pub(super) fn reported(&mut self, id: u64) {
        let Some(Key::Content(content)) = self.tracks.get(&id).map(|track| &track.key) else {
            return;
        };
        if let Some(twins) = self.contents.get_mut(content) {
            remove(&mut twins.open, id);
            twins.reported.push_back(id);
        }
    }

    pub(super) fn forget(&mut self, id: u64) {
        let Some(track) = self.tracks.remove(&id) else {
            return;
        };
        match &track.key {
            Key::Content(content) => {
                if let Some(twins) = self.contents.get_mut(content) {
                    remove(&mut twins.reported, id);
                    if twins.open.is_empty() && twins.reported.is_empty() {
                        self.contents.remove(content);
                    }
                }
            }
            Key::Stream(key) => {
                if let Some(stream) = self.streams.get_mut(key) {
                    stream.remove(track.range, id);
                    if stream.is_empty() {
                        self.streams.remove(key);
                    }
                }
            }
        }
        if let Some(question) = track.question
            && self.questions.get(&question) == Some(&id)
        {
            self.questions.remove(&question);
        }
        if let Some(quote) = track.quote {
            forget_in(&mut self.quotes, quote, id);
        }
        if let Some(datagram) = track.datagram {
            forget_in(&mut self.datagrams, datagram, id);
        }
        for place in track.skbs {
            if self.owners.get(&place) == Some(&id) {
                self.owners.remove(&place);
            }
        }
    }
}

/// Removes an id from a list of them, and the list with the last.
fn forget_in<K: Eq + Hash>(index: &mut HashMap<K, VecDeque<u64>>, key: K, id: u64) {
    if let Entry::Occupied(mut ids) = index.entry(key) {
        remove(ids.get_mut(), id);
        if ids.get().is_empty() {
            ids.remove();
        }
    }
}

/// Removes an id, which is usually near the front.
fn remove(ids: &mut VecDeque<u64>, id: u64) {
    if let Some(at) = ids.iter().position(|other| *other == id) {
        ids.remove(at);
    }
}
