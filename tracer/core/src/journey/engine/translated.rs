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

/// Longest time, in ns, between two sightings of an sk_buff whose packet is like many others. After
/// that, the sk_buff may hold another packet.
const SHORT: i64 = 50_000_000;

/// The same, for a datagram whose both ends a translation has changed.
const SHORTER: i64 = 10_000_000;

impl Engine {
    /// Adds an entry of the conntrack table of an agent's node, read at `time`: Unix time, ns.
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

    /// A packet with the ends that stand for its flow.
    pub(super) fn under_key<'a>(&mut self, packet: &'a Packet, time: i64) -> Cow<'a, Packet> {
        match self.translations.known(packet, time) {
            Some(Known { key, .. }) if packet.ends() != Some(key) => {
                Cow::Owned(packet.with_ends(&key))
            }
            _ => Cow::Borrowed(packet),
        }
    }

    /// The range that a hop covers, the tracks that it may belong to, and its packet as these
    /// tracks have it. A packet that was already on its way when the translation of its flow was
    /// first seen is found under its own ends.
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

    /// The track that was last in a hop's sk_buff, if a translation has given its packet the hop's
    /// ends. Notes that translation.
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

    /// The track that was last in the sk_buff of a freed packet, if a translation has given the
    /// packet ends that no hop had.
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

    /// The last sighting of an sk_buff, if a translation may have made `packet` of the packet in
    /// it.
    fn before(&self, (node, time): (usize, i64), skb: u64, packet: &Packet) -> Option<Before> {
        let to = packet.ends()?;
        let id = self.memory.owner(node, skb)?;
        let track = self.memory.get(id).filter(|track| track.is_open)?;
        let (at, ends) = self.memory.last_ends(id, node)?;
        let since = time.saturating_sub(track.last);
        // The ends are compared first, because most packets keep their ends.
        let rewritten = || {
            may_rewrite_both(&ends, &to, packet, since)
                && track.packet.payload_hash == packet.payload_hash
                // The node has forwarded the packet.
                && track.last_ttl(node) == packet.ttl.checked_add(1)
                // The packet's answer may have the same payload, and be in the same memory.
                && !self.memory.had_ends(id, &to.reversed())
        };
        let is_translated = (may_lead(&ends, &to, packet, since) || rewritten())
            && Content(&track.packet).is_translated(&Content(packet));
        is_translated.then_some(Before { id, at, ends })
    }

    /// Notes that a packet had the ends `from` before. ICMP errors are left out: their ends follow
    /// from the packet that they quote.
    fn note_translation(&mut self, from: Ends, packet: &Packet, time: i64) {
        if let Some(to) = packet.ends().filter(|_| !is_error(packet)) {
            let most = self.limits.open;
            self.translations
                .learn(packet.proto(), from, to, time, most);
        }
    }

    /// Notes that a hop shows the DNS header of an answer, if the hops before did not. The port may
    /// be DNS's only on one side of a Service's translation.
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

/// The last sighting of an sk_buff on a node.
struct Before {
    id: Id,
    /// The point of that sighting.
    at: usize,
    /// The packet's ends at that point.
    ends: Ends,
}

/// Whether packets begin their way at a point, or enter their node there. Then an sk_buff with
/// other ends is another packet in the same memory. `last`: the point of the sk_buff's sighting
/// before.
fn begins_at(point: &Point, last: &Point, packet: &Packet) -> bool {
    match (point.role, point.direction) {
        (Role::Pod, Direction::Egress) | (Role::Uplink | Role::Overlay, Direction::Ingress) => true,
        // A pod's own rules translate packets between the pod's interface and the host's side of
        // the veth pair.
        (Role::Veth, Direction::Ingress) => {
            point.addresses.contains(&packet.src) && last.role != Role::Pod
        }
        _ => false,
    }
}

/// Whether a translation may lead from an sk_buff's earlier ends to its ends now, `since` ns later.
/// No translation merely swaps source and destination. A packet that is like others has to keep one
/// end and come soon, because a hop in between may have been lost.
fn may_lead(from: &Ends, to: &Ends, packet: &Packet, since: i64) -> bool {
    let keeps_one = (from.src, from.src_port) == (to.src, to.src_port)
        || (from.dst, from.dst_port) == (to.dst, to.dst_port);
    from != to
        && *from != to.reversed()
        && (is_unlike_others(packet) || (keeps_one && since <= SHORT))
}

/// Whether translations of both ends may lead from a datagram's earlier ends to its ends now,
/// `since` ns later. The node must have forwarded the datagram: a proxy that sends the payload on
/// gives its datagram a TTL of its own.
fn may_rewrite_both(from: &Ends, to: &Ends, packet: &Packet, since: i64) -> bool {
    matches!(packet.transport, Transport::Udp { .. })
        && packet.payload_hash.is_some_and(|hash| hash != 0)
        && since <= SHORTER
        && from.src != to.src
        && from.dst != to.dst
}

/// Whether a packet has fields that hardly any other packet shares.
fn is_unlike_others(packet: &Packet) -> bool {
    match &packet.transport {
        Transport::Tcp(_) => true,
        Transport::Udp { dns, .. } => dns.is_some() || packet.ip_id.is_some_and(|id| id != 0),
        _ => packet.ip_id.is_some_and(|id| id != 0),
    }
}

/// Whether a packet is the first one of a TCP connection.
pub(super) fn opens(packet: &Packet) -> bool {
    matches!(&packet.transport, Transport::Tcp(tcp)
        if tcp.flags.has(Flags::SYN) && !tcp.flags.has(Flags::ACK))
}
