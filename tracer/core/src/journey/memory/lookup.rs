//! The tracks that a packet may belong to.

use super::{
    Candidates, Memory, RIVALS,
    keys::{asks, is_fragment},
};
use crate::{
    journey::{
        content::Content,
        identity::{Datagram, Question, QuoteKey, StreamKey, stamp},
        index::{Found, Id},
        ranges::Range,
        stream::Stream,
    },
    model::{Packet, Quote},
};

impl Memory {
    /// The range that a packet covers, and the tracks that it may belong to.
    pub(in crate::journey) fn candidates(&mut self, packet: &Packet) -> (Range, Candidates) {
        if let Some(tcp) = packet.stream_data() {
            let key = StreamKey::of(packet, tcp);
            let Some(stream) = self.stream_mut(&key) else {
                return (
                    Stream::new(tcp.seq).range(tcp.seq, tcp.payload_len),
                    Candidates::new(),
                );
            };
            let range = stream.range(tcp.seq, tcp.payload_len);
            return (range, stream.find(range, stamp(packet)));
        }
        let is = |slot| {
            let track = self.tracks.get(slot);
            track.is_some_and(|track| Content(&track.packet) == Content(packet))
        };
        let ids = match self.contents.get(self.hash(&Content(packet)), is) {
            Found::None => Candidates::new(),
            Found::One(slot) => self.id(slot).into_iter().collect(),
            Found::Many { open, settled } => {
                let open = open.iter().take(RIVALS);
                let settled = settled.iter().rev().take(RIVALS);
                open.chain(settled).copied().collect()
            }
        };
        (Range::WHOLE, ids)
    }

    /// The track that was last seen in this sk_buff, if it has the same packet, and all of it.
    ///
    /// This is so for two hops in three, which need no other look-up.
    pub(in crate::journey) fn same_again(
        &mut self,
        (node, skb): (usize, u64),
        packet: &Packet,
    ) -> Option<Id> {
        let id = self.owner(node, skb)?;
        let track = self.tracks.get(id.slot)?;
        match (packet.stream_data(), track.packet.stream_data()) {
            (None, None) => (Content(&track.packet) == Content(packet)).then_some(id),
            (Some(tcp), Some(first)) => {
                let is_same = (tcp.seq, tcp.payload_len) == (first.seq, first.payload_len)
                    && StreamKey::of(packet, tcp) == StreamKey::of(&track.packet, first)
                    && stamp(packet) == track.stamp();
                let start = track.range.start;
                let stream = self.streams.get_mut(track.stream).filter(|_| is_same)?;
                stream.is_at(tcp.seq, start).then_some(id)
            }
            _ => None,
        }
    }

    /// As [`Memory::candidates`], for a packet that was freed in this sk_buff. If its payload could
    /// not be read, the sk_buff tells which of the otherwise equal packets it was.
    pub(in crate::journey) fn candidates_of_freed(
        &mut self,
        (node, skb): (usize, u64),
        packet: &Packet,
    ) -> (Range, Candidates) {
        let (range, mut ids) = self.candidates(packet);
        let owner = self.owner(node, skb).filter(|id| !ids.contains(id));
        let like = |id: &Id| {
            let track = self.get(*id);
            track.is_some_and(|track| Content(&track.packet).is_like(&Content(packet)))
        };
        if packet.payload_hash.is_none() {
            ids.extend(owner.filter(like));
        }
        (range, ids)
    }

    pub(super) fn id(&self, slot: u32) -> Option<Id> {
        let number = self.tracks.get(slot)?.number;
        Some(Id { number, slot })
    }

    /// The tracks that asked `question`, oldest first. At most the latest [`RIVALS`].
    pub(in crate::journey) fn askers(&self, question: &Question) -> Candidates {
        let is = |slot| {
            let track = self.tracks.get(slot);
            track.is_some_and(|track| asks(&track.packet, question))
        };
        self.latest(self.questions.get(self.hash(question), is))
    }

    /// The tracks of packets that look like the one that an ICMP error quotes, oldest first. At
    /// most the latest [`RIVALS`].
    pub(in crate::journey) fn quoted(&self, quote: &Quote) -> Candidates {
        if let Some(key) = QuoteKey::quoted(quote) {
            let is = |slot| {
                let track = self.tracks.get(slot);
                track.is_some_and(|track| QuoteKey::of(&track.packet) == Some(key))
            };
            let found = self.latest(self.quotes.get(self.hash(&key), is));
            if !found.is_empty() {
                return found;
            }
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
        let stream = self.stream(&key);
        let carrier = stream.and_then(|stream| stream.carrier(u32::from_be_bytes(seq)));
        carrier.into_iter().collect()
    }

    /// The tracks of the fragments of a packet's datagram. Empty if there are more than [`RIVALS`]:
    /// a stranger could choose the number of comparisons.
    pub(in crate::journey) fn fragments(&self, packet: &Packet) -> Candidates {
        // Fragments are rare, but nearly every new datagram is looked up here.
        let datagram = Datagram::of(packet).filter(|_| !self.datagrams.is_empty());
        let Some(datagram) = datagram else {
            return Candidates::new();
        };
        let is = |slot| {
            let track = self.tracks.get(slot);
            track.is_some_and(|track| is_fragment(&track.packet, &datagram))
        };
        match self.datagrams.get(self.hash(&datagram), is) {
            Found::None => Candidates::new(),
            Found::One(slot) => self.id(slot).into_iter().collect(),
            Found::Many { open, .. } if open.len() <= RIVALS => open.iter().copied().collect(),
            Found::Many { .. } => Candidates::new(),
        }
    }

    /// The latest of the found tracks, at most [`RIVALS`].
    fn latest(&self, found: Found<'_>) -> Candidates {
        match found {
            Found::None => Candidates::new(),
            Found::One(slot) => self.id(slot).into_iter().collect(),
            Found::Many { open, .. } => {
                let from = open.len().saturating_sub(RIVALS);
                open.range(from..).copied().collect()
            }
        }
    }
}
