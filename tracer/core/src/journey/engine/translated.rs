//! Packets whose ends a translation has changed.

use std::borrow::Cow;

use super::Engine;
use crate::{
    journey::{
        Scene,
        content::Content,
        identity::{Part, part},
        index::{Candidates, Id},
        ranges::Range,
        translation::{Known, is_error},
    },
    model::{Direction, Ends, Flags, Freed, Hop, Packet, Point, Role, Translation, Transport},
};

/// How long an sk_buff may have been with nobody who watches, ns, so that a packet with so
/// little in it that others may have the same is still taken for the one before.
const SHORT: i64 = 50_000_000;

/// The same for a datagram of which a translation has changed both ends.
const SHORTER: i64 = 10_000_000;

impl Engine {
    /// Takes an entry of the table of connections of an agent's node, read at `time`, Unix
    /// time, ns.
    pub fn learn(&mut self, (agent, time): (usize, i64), translation: &Translation) {
        let Translation {
            time: _,
            proto,
            from,
            to,
        } = *translation;
        let most = self.limits.open;
        self.translations.learn(proto, from, to, time, most);
        self.translations.told(proto, from, (agent, time));
        self.translations.begins_with(proto, from);
    }

    /// A packet under the ends that stand for its flow.
    pub(super) fn under_key<'a>(&mut self, packet: &'a Packet, time: i64) -> Cow<'a, Packet> {
        match self.translations.known(packet, time) {
            Some(Known { key, .. }) if packet.ends() != Some(key) => {
                Cow::Owned(packet.with_ends(&key))
            }
            _ => Cow::Borrowed(packet),
        }
    }

    /// What a hop covers, the tracks that it could belong to, and its packet as they have
    /// it. A packet that was on its way when the translation of its flow was first seen is
    /// found under its own ends.
    pub(super) fn candidates<'a>(
        &mut self,
        packet: Cow<'a, Packet>,
        hop: &'a Hop,
        time: i64,
    ) -> (Cow<'a, Packet>, Range, Candidates) {
        let (range, found) = self.memory.candidates(&packet);
        if !found.is_empty() || matches!(packet, Cow::Borrowed(_)) {
            return (packet, range, found);
        }
        let known = self.translations.known(&hop.packet, time);
        let is_young = known.is_some_and(|known| {
            time.saturating_sub(known.since) <= self.limits.hold.saturating_mul(2)
        });
        if is_young {
            let (own_range, own) = self.memory.candidates(&hop.packet);
            if !own.is_empty() {
                return (Cow::Borrowed(&hop.packet), own_range, own);
            }
        }
        (packet, range, found)
    }

    /// The track that was last in a hop's sk_buff, if a translation has given its packet
    /// the hop's ends; notes which.
    pub(super) fn over_translation(
        &mut self,
        scene: &Scene,
        (node, time): (usize, i64),
        hop: &Hop,
    ) -> Option<(Id, Range)> {
        let Before { id, at, ends } = self.before((node, time), hop.skb, &hop.packet)?;
        let track = self.memory.get(id)?;
        let range = track.open_at(&scene.nodes, node, hop, track.range)?;
        let points = &scene.nodes[node].points;
        if begins_at(&points[hop.point], &points[at], &hop.packet) {
            return None;
        }
        self.note_translation(ends, &hop.packet, time);
        if opens(&hop.packet) {
            let proto = hop.packet.proto();
            self.translations.begins_with(proto, ends);
        }
        Some((id, range))
    }

    /// The track that was last in the sk_buff of a freed packet, if a translation has given
    /// that other ends than any hop had.
    pub(super) fn freed_behind_translation(
        &mut self,
        (node, time): (usize, i64),
        freed: &Freed,
        packet: &Packet,
    ) -> Option<(Id, Range)> {
        let Before { id, ends, .. } = self.before((node, time), freed.skb, packet)?;
        let range = self.memory.get(id)?.range;
        if packet.payload_hash.is_some() {
            self.note_translation(ends, packet, time);
        }
        Some((id, range))
    }

    /// What an sk_buff was seen as before, if a translation may have made `packet` of that.
    fn before(&self, (node, time): (usize, i64), skb: u64, packet: &Packet) -> Option<Before> {
        let to = packet.ends()?;
        let id = self.memory.owner(node, skb)?;
        let track = self.memory.get(id).filter(|track| track.is_open)?;
        let (at, ends) = self.memory.last_ends(id, node)?;
        let since = time.saturating_sub(track.last);
        // Ends are compared first: those of most packets are what they were.
        let rewritten = || {
            may_rewrite_both(&ends, &to, packet, since)
                && track.packet.payload_hash == packet.payload_hash
                // The node has forwarded it.
                && track.last_ttl(node) == packet.ttl.checked_add(1)
                // Its answer may have the same payload, and be in the same memory.
                && !self.memory.had_ends(id, &to.reversed())
        };
        let is_translated = (may_lead(&ends, &to, packet, since) || rewritten())
            && Content(&track.packet).is_translated(&Content(packet));
        is_translated.then_some(Before { id, at, ends })
    }

    /// Notes that a packet had the ends `from`. Those of an error follow from the packet that
    /// it quotes.
    fn note_translation(&mut self, from: Ends, packet: &Packet, time: i64) {
        if let Some(to) = packet.ends().filter(|_| !is_error(packet)) {
            let most = self.limits.open;
            self.translations
                .learn(packet.proto(), from, to, time, most);
        }
    }

    /// Notes that a hop shows an answer of DNS, where the hops before did not: Services lead
    /// from its port to others.
    pub(super) fn read_dns(&mut self, id: Id, time: i64, hop: &Hop) {
        let Transport::Udp {
            dns: Some(seen), ..
        } = &hop.packet.transport
        else {
            return;
        };
        if hop.packet.dns().is_none_or(|dns| !dns.is_answer) {
            return;
        }
        let Some(track) = self.memory.get_mut(id) else {
            return;
        };
        let Transport::Udp {
            dns: dns @ None, ..
        } = &mut track.packet.transport
        else {
            return;
        };
        *dns = Some(*seen);
        let packet = track.packet.clone();
        let Some(Part::Answers(question)) = part(&packet) else {
            return;
        };
        let answered = self.answer(id, time, &packet, &question);
        let asked = self.asked_at(answered);
        if let (Some(track), Some(answered)) = (self.memory.get_mut(id), answered) {
            let rest = track.rest_mut();
            rest.answers = Some(answered.number);
            rest.asked = asked;
        }
    }
}

/// What an sk_buff was seen as.
struct Before {
    id: Id,
    /// The point where it was seen last on the node.
    at: usize,
    /// Its ends there.
    ends: Ends,
}

/// Whether packets begin their way at a point, or come to their node there, so that an
/// sk_buff with other ends is another packet in the same memory. `last`: where the sk_buff
/// was seen before.
fn begins_at(point: &Point, last: &Point, packet: &Packet) -> bool {
    match (point.role, point.direction) {
        (Role::Pod, Direction::Egress) | (Role::Uplink | Role::Overlay, Direction::Ingress) => true,
        // A pod's own rules translate between its interface and the host's side of it.
        (Role::Veth, Direction::Ingress) => {
            point.addresses.contains(&packet.src) && last.role != Role::Pod
        }
        _ => false,
    }
}

/// Whether a translation may lead from the ends that an sk_buff's packet had to those that
/// it has now, `since` ns later. None leads back. A packet that is like others has to keep
/// one end, and to come soon: a hop between them may have been lost.
fn may_lead(from: &Ends, to: &Ends, packet: &Packet, since: i64) -> bool {
    let keeps_one = (from.src, from.src_port) == (to.src, to.src_port)
        || (from.dst, from.dst_port) == (to.dst, to.dst_port);
    from != to
        && *from != to.reversed()
        && (is_unlike_others(packet) || (keeps_one && since <= SHORT))
}

/// Whether translations of both ends may lead from the ends that a datagram had to those that it
/// has now, `since` ns later, if the node has forwarded it in between: a proxy that sends its
/// payload on sends a datagram with a TTL of its own.
fn may_rewrite_both(from: &Ends, to: &Ends, packet: &Packet, since: i64) -> bool {
    matches!(packet.transport, Transport::Udp { .. })
        && packet.payload_hash.is_some_and(|hash| hash != 0)
        && since <= SHORTER
        && from.src != to.src
        && from.dst != to.dst
}

/// Whether a packet has something that hardly another one has.
fn is_unlike_others(packet: &Packet) -> bool {
    match &packet.transport {
        Transport::Tcp(_) => true,
        Transport::Udp { dns, .. } => dns.is_some() || packet.ip_id.is_some_and(|id| id != 0),
        _ => packet.ip_id.is_some_and(|id| id != 0),
    }
}

/// Whether a packet is the first one of a connection.
pub(super) fn opens(packet: &Packet) -> bool {
    matches!(&packet.transport, Transport::Tcp(tcp)
        if tcp.flags.has(Flags::SYN) && !tcp.flags.has(Flags::ACK))
}
