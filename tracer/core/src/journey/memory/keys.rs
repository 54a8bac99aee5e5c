//! The keys by which tracks are found, other than the bytes of a stream.

use super::Memory;
use crate::{
    journey::{
        content::Content,
        identity::{Datagram, Part, Question, QuoteKey, part},
        index::{Id, Told},
    },
    model::Packet,
};

impl Memory {
    /// Adds a track to the indexes. `data`: whether the track is found by its bytes.
    pub(super) fn list(&mut self, id: Id, data: bool) {
        let keys = self.keys(id.slot, data);
        let tracks = &self.tracks;
        let tell = |slot: u32, same: &dyn Fn(&Packet) -> bool| {
            let track = tracks.get(slot)?;
            same(&track.packet).then_some(Told {
                number: track.number,
                settled: track.settled,
            })
        };
        let Some(track) = tracks.get(id.slot) else {
            return;
        };
        let packet = &track.packet;
        if let Some(hash) = keys.content {
            let same = |other: &Packet| Content(other) == Content(packet);
            self.contents.push(hash, id, |slot| tell(slot, &same));
        }
        let unsettled = |told: Told| Told {
            settled: false,
            ..told
        };
        if let Some((question, hash)) = keys.question {
            let same = |other: &Packet| asks(other, &question);
            let tell = |slot| tell(slot, &same).map(unsettled);
            self.questions.push(hash, id, tell);
        }
        if let Some((quote, hash)) = keys.quote {
            let same = |other: &Packet| QuoteKey::of(other) == Some(quote);
            let tell = |slot| tell(slot, &same).map(unsettled);
            self.quotes.push(hash, id, tell);
        }
        if let Some((datagram, hash)) = keys.datagram {
            let same = |other: &Packet| is_fragment(other, &datagram);
            let tell = |slot| tell(slot, &same).map(unsettled);
            self.datagrams.push(hash, id, tell);
        }
    }

    /// The keys of a track. `data`: whether the track is found by its bytes.
    pub(super) fn keys(&self, slot: u32, data: bool) -> Keys {
        let Some(track) = self.tracks.get(slot) else {
            return Keys::default();
        };
        let packet = &track.packet;
        let question = match part(packet) {
            Some(Part::Asks(question)) => Some((question, self.hash(&question))),
            _ => None,
        };
        let quote = QuoteKey::of(packet);
        Keys {
            content: (!data).then(|| self.hash(&Content(packet))),
            question,
            quote: quote.map(|quote| (quote, self.hash(&quote))),
            datagram: track
                .datagram()
                .map(|datagram| (datagram, self.hash(&datagram))),
        }
    }
}

/// The keys of a track, with their hashes.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) content: Option<u32>,
    pub(super) question: Option<(Question, u32)>,
    pub(super) quote: Option<(QuoteKey, u32)>,
    pub(super) datagram: Option<(Datagram, u32)>,
}

/// Whether a packet asks a question.
pub(super) fn asks(packet: &Packet, question: &Question) -> bool {
    matches!(part(packet), Some(Part::Asks(other)) if other == *question)
}

/// Whether a packet is a fragment of this datagram.
pub(super) fn is_fragment(packet: &Packet, datagram: &Datagram) -> bool {
    packet.fragment.is_some() && Datagram::of(packet).as_ref() == Some(datagram)
}
