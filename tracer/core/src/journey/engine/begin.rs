//! How a journey begins, and which other journeys it answers, refuses or repeats.

use std::net::IpAddr;

use smallvec::SmallVec;

use super::Engine;
use crate::{
    journey::{
        Refusal, Scene,
        identity::{Part, Question, StreamKey, answers_this, part, says_no},
        impostor::{impostor, second_owner},
        index::{Candidates, Id},
        ranges::Range,
        stand_in::stand_in,
        track::{Begun, Track},
    },
    model::{Direction, Flags, Hop, Packet, Proto, Quote, Transport},
};

impl Engine {
    /// Begins a journey with a part of a packet that no other journey has. `hop`: the first
    /// sighting, unless a drop is the first event.
    pub(super) fn begin(
        &mut self,
        scene: &Scene,
        (node, time): (usize, i64),
        (observed, hop): (&Packet, Option<&Hop>),
        part: Range,
        whole: Range,
    ) -> Id {
        let mut packet = observed.clone();
        let mut retransmits = None;
        let mut is_first = true;
        let cut = packet.stream_data().map(|tcp| tcp.payload_len);
        if let (Some(old_len), Transport::Tcp(tcp)) = (cut, &mut packet.transport) {
            let offset = u32::try_from(part.start - whole.start).unwrap_or(0);
            tcp.seq = tcp.seq.wrapping_add(offset);
            tcp.payload_len = u32::try_from(part.len()).unwrap_or(old_len);
            packet.len = packet.len.saturating_sub(old_len) + tcp.payload_len;
            let stream = StreamKey::of(observed, tcp);
            retransmits = self.memory.before(&stream, part);
            is_first = self.memory.is_first(&stream, part);
        }
        let id = self.memory.next(self.next);
        self.next += 1;
        let src = hop.map_or(packet.src, |hop| hop.packet.src);
        let (asks, answers) = self.exchange(id, (node, time), (&packet, src));
        if let Some(hop) = hop {
            self.note_impostor(scene, (id, node, hop), &packet);
            if part == whole {
                self.note_stand_in(scene, (node, time), hop, &packet);
            }
        }
        if cut.is_none() {
            is_first = self.is_first_of_its_kind(&packet, answers);
        }
        let (asked_again, answer) = if asks {
            retransmits = retransmits.or_else(|| self.same_question(&packet));
            self.asked_before(scene, &packet)
        } else {
            (false, None)
        };
        let asked = self.asked_at(answers);
        let begun = Begun {
            number: id.number,
            range: part,
            time,
            is_first,
            asks,
        };
        let id = self.memory.insert(packet, begun);
        let track = self.memory.get_mut(id).expect("it has just begun");
        track.asked_again = asked_again;
        if retransmits.is_some() || answers.is_some() || answer.is_some() {
            let rest = track.rest_mut();
            rest.retransmits = retransmits;
            rest.answers = answers.map(|answered| answered.number);
            rest.asked = asked;
            rest.answered_by = answer.map(|answer| answer.number);
            rest.answer = answer.map(|answer| (answer, false));
        }
        self.schedule(id);
        id
    }

    /// Whether no other transmission of this SYN or FIN can have come before. For a SYN-ACK, the
    /// SYN was seen. For a FIN, everything that was sent before was seen.
    fn is_first_of_its_kind(&self, packet: &Packet, answers: Option<Id>) -> bool {
        match &packet.transport {
            Transport::Tcp(tcp) if tcp.flags.has(Flags::SYN) => answers.is_some(),
            Transport::Tcp(tcp) if tcp.flags.has(Flags::FIN) => {
                self.memory.is_next(&StreamKey::of(packet, tcp), tcp.seq)
            }
            _ => true,
        }
    }

    /// Whether a new journey asks a question that every receiver answers, and which journey it
    /// answers or refuses. Notes the answer or refusal there. `src`: the source address of the
    /// first sighting.
    fn exchange(
        &mut self,
        id: Id,
        (node, time): (usize, i64),
        (packet, src): (&Packet, IpAddr),
    ) -> (bool, Option<Id>) {
        if let Transport::Tcp(tcp) = &packet.transport
            && tcp.flags.has(Flags::ACK)
            && !tcp.flags.has(Flags::RST)
        {
            self.memory.acknowledge(packet, tcp);
        }
        if let Transport::Icmp(error) = &packet.transport
            && let Some(quote) = &error.quote
        {
            if !says_no(error) {
                return (false, None);
            }
            let (refused, alike) = self.refused(node, quote);
            let refusal = Refusal {
                by: id.number,
                from: src,
                icmp: Some((error.kind, error.code)),
                alike,
            };
            self.refuse(refused, refusal, time);
            return (false, refused);
        }
        match part(packet) {
            // A receiver answers only after all fragments have come.
            Some(Part::Asks(question)) => (
                question.is_due_an_answer() && packet.fragment.is_none(),
                None,
            ),
            Some(Part::Answers(question)) => (false, self.answer(id, time, packet, &question)),
            Some(Part::Refuses(question)) => {
                let askers = self.memory.askers(&question);
                let refusal = Refusal {
                    by: id.number,
                    from: src,
                    icmp: None,
                    alike: askers.len() > 1,
                };
                for asker in &askers {
                    self.refuse(Some(*asker), refusal, time);
                }
                (false, askers.last().copied())
            }
            None => (false, None),
        }
    }

    /// Notes an answer with all journeys that ask its question, because it may answer any of them.
    /// Returns the journey that it answers, or probably answers.
    pub(super) fn answer(
        &mut self,
        id: Id,
        time: i64,
        packet: &Packet,
        question: &Question,
    ) -> Option<Id> {
        let askers = self.memory.askers(question);
        let told = |asker: &&Id| {
            let track = self.memory.get(**asker);
            track.is_some_and(|track| answers_this(packet, &track.packet) == Some(true))
        };
        let mut told = askers.iter().filter(told).copied();
        let told = told.next().filter(|_| told.next().is_none());
        for asker in &askers {
            let Some(track) = self.memory.get_mut(*asker) else {
                continue;
            };
            track.last = track.last.max(time);
            let is_open = track.is_open;
            let rest = track.rest_mut();
            let (first, was_told) = *rest.answer.get_or_insert((id, false));
            let is_told = told == Some(*asker) && !was_told;
            if is_told {
                rest.answer = Some((id, true));
            }
            if is_open {
                let answer = if is_told { id } else { first };
                rest.answered_by = Some(answer.number);
                track.asked_again &= !is_told;
            }
            self.reschedule(*asker);
        }
        told.or(askers.last().copied())
    }

    /// Index of each node that saw a question, and the time of its first sighting there.
    pub(super) fn asked_at(&self, question: Option<Id>) -> SmallVec<[(usize, i64); 2]> {
        let mut asked: SmallVec<[(usize, i64); 2]> = SmallVec::new();
        let track = question.and_then(|id| self.memory.get(id));
        for (node, _, passage) in track.into_iter().flat_map(Track::passages) {
            match asked.iter_mut().find(|(other, _)| *other == node) {
                Some((_, time)) => *time = passage.time.min(*time),
                None => asked.push((node, passage.time)),
            }
        }
        asked
    }

    /// The first journey with the same DNS question in the same bytes. Resolvers repeat a question
    /// to which no answer came.
    fn same_question(&self, packet: &Packet) -> Option<u64> {
        packet.dns()?;
        let Some(Part::Asks(question)) = part(packet) else {
            return None;
        };
        let last = self.memory.askers(&question).last().copied()?;
        let track = self.memory.get(last)?;
        let is_same = track.packet.payload_hash == packet.payload_hash;
        let first = track.rest().and_then(|rest| rest.retransmits);
        is_same.then_some(first.unwrap_or(track.number))
    }

    /// Notes an impostor with the journeys that ask a question, if its answer came from one.
    fn note_impostor(
        &mut self,
        scene: &Scene,
        (id, node, hop): (Id, usize, &Hop),
        packet: &Packet,
    ) {
        let Some(Part::Answers(question)) = part(packet) else {
            return;
        };
        for asker in self.memory.askers(&question) {
            let first = self
                .memory
                .get(asker)
                .and_then(Track::answer)
                .filter(|(first, _)| *first != id)
                .and_then(|(first, _)| self.memory.get(first))
                .and_then(|first| second_owner((id.number, node, hop), &first.packet.transport));
            let Some(track) = self.memory.get(asker).filter(|track| track.is_open) else {
                continue;
            };
            let known = track.rest().and_then(|rest| rest.impostor);
            let steps = || self.memory.steps(asker);
            let found = known
                .or_else(|| impostor(scene, (id.number, node, hop), steps()))
                .or(first);
            if let (Some(track), true) = (self.memory.get_mut(asker), found.is_some()) {
                track.rest_mut().impostor = found;
            }
        }
    }

    /// If a proxy sent the packet, notes that with the packets that this one answers or
    /// acknowledges.
    fn note_stand_in(
        &mut self,
        scene: &Scene,
        (node, time): (usize, i64),
        hop: &Hop,
        packet: &Packet,
    ) {
        // A node that reassembles a datagram may send it on in other fragments.
        if hop.packet.fragment.is_some() {
            return;
        }
        // Nearly every packet is first seen coming in at an interface, so this check comes first.
        let Some(stand_in) = stand_in(scene, (node, time), hop, packet.src) else {
            return;
        };
        let asked = match part(packet) {
            Some(Part::Answers(question) | Part::Refuses(question)) => Some(question),
            Some(Part::Asks(_)) => return,
            None => None,
        };
        let acks = match &packet.transport {
            Transport::Tcp(tcp) if tcp.flags.has(Flags::ACK) => Some(tcp),
            _ => None,
        };
        if asked.is_none() && acks.is_none() {
            return;
        }
        // A translated packet may have come in with ends that no agent watches.
        if self.translations.way(packet).is_some() || self.came_in(scene, node, hop) {
            return;
        }
        if let Some(tcp) = acks {
            self.memory.stood_in(packet, tcp, stand_in);
        }
        let askers = asked.map(|asked| self.memory.askers(&asked));
        for asker in askers.into_iter().flatten() {
            if let Some(track) = self.memory.get_mut(asker).filter(|track| track.is_open) {
                track.rest_mut().stand_in = Some(stand_in);
            }
        }
    }

    /// Whether a hop's sk_buff came in before with the same ends. Then a rule has changed the
    /// packet since, so that it looks like another packet.
    fn came_in(&self, scene: &Scene, node: usize, hop: &Hop) -> bool {
        let owner = self.memory.owner(node, hop.skb);
        let last = owner.and_then(|id| self.memory.last_ends(id, node));
        last.is_some_and(|(point, ends)| {
            scene.nodes[node].points[point].direction == Direction::Ingress
                && hop.packet.ends() == Some(ends)
        })
    }

    /// Whether earlier packets ask the same question, and the answer that they got. Notes with the
    /// last of them that the question was asked again.
    fn asked_before(&mut self, scene: &Scene, packet: &Packet) -> (bool, Option<Id>) {
        let Some(Part::Asks(question)) = part(packet) else {
            return (false, None);
        };
        // The packets before the last one have noted this already.
        let last = self.memory.askers(&question).last().copied();
        let Some(track) = last.and_then(|asker| self.memory.get_mut(asker)) else {
            return (false, None);
        };
        let answer = track.answer();
        let told = answer.is_some_and(|(_, told)| told);
        // If clocks differ, an answer that looks earlier may be to this packet.
        let doubtful = answer.is_none() || (!told && !scene.is_one_clock());
        track.asked_again |= track.is_open && doubtful;
        let answer = answer.map(|(id, _)| id);
        (true, answer.filter(|_| question.is_asked_once()))
    }

    /// The journey of the packet that an error quotes, and whether other journeys look the same in
    /// the quote.
    ///
    /// The error comes from a node. The first journey that came to that node, and is not known to
    /// have gone on, is preferred. Otherwise it is the last journey there, because a host answers
    /// at once.
    fn refused(&self, node: usize, quote: &Quote) -> (Option<Id>, bool) {
        let proto = Proto::Ip(quote.proto);
        let key = self.translations.key_of(proto, quote.ends());
        let translated = key.map(|key| quote.with_ends(&key));
        let mut quoted = self.memory.quoted(translated.as_ref().unwrap_or(quote));
        if quoted.is_empty() && translated.is_some() {
            quoted = self.memory.quoted(quote);
        }
        let track = |id: &Id| self.memory.get(*id);
        let waits = |id: &&Id| track(id).is_some_and(|track| track.is_open && !track.is_refused());
        let waiting: Candidates = quoted.iter().filter(waits).copied().collect();
        let is_here = |id: &&Id| track(id).is_some_and(|track| track.last_node() == Some(node));
        let is_open = |id: &&Id| track(id).is_some_and(|track| !track.settled);
        let mut here = waiting.iter().filter(is_here);
        let refused = here
            .clone()
            .find(is_open)
            .or_else(|| here.next_back())
            .or(waiting.first())
            .or(quoted.last());
        (refused.copied(), waiting.len() > 1)
    }

    fn refuse(&mut self, refused: Option<Id>, refusal: Refusal, time: i64) {
        // Keeps the journey open for events that follow, such as the drop after its ICMP error.
        let track = refused.and_then(|id| self.memory.get_mut(id));
        if let Some(track) = track {
            track.last = track.last.max(time);
            if track.is_open && !track.is_answered() {
                track.rest_mut().refusal.get_or_insert(refusal);
            }
        }
        refused.into_iter().for_each(|id| self.reschedule(id));
    }
}
