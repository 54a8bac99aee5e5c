//! Finds the journey of a packet that a kernel freed.

use std::net::IpAddr;

use tracer_common::drop::Scope;

use smallvec::{SmallVec, smallvec};

use super::{Engine, Parts};
use crate::{
    journey::{
        Class, Drop, Judgement, Scene, arrival::is_at_home, identity::stamp, index::Id,
        ranges::Range,
    },
    model::{Freed, Packet, Role},
};

/// The agents' name of a node's own network namespace.
const HOST: &str = "host";

impl Engine {
    /// Adds a packet that agent `node` saw freed at `time`, Unix time, ns. The engine's time passes
    /// first, as in [`Engine::push`].
    pub fn push_freed(
        &mut self,
        scene: &Scene,
        (node, time): (usize, i64),
        freed: &Freed,
        judgement: Judgement,
    ) {
        self.advance(scene, time);
        let Some(packet) = &freed.packet else {
            self.counts.drops_alone += 1;
            return;
        };
        let of = (node, freed.skb);
        let keyed = self.under_key(packet, time);
        let (range, candidates) = match self.freed_behind_translation((node, time), freed, packet) {
            Some((id, range)) => (range, smallvec![id]),
            None => self.memory.candidates_of_freed(of, &keyed),
        };
        let owners = self.owners_of(scene, (node, freed), &keyed, range, &candidates);
        let drop = |part: Range, whole: Range, same_buffer| Drop {
            node,
            time,
            netns: freed.netns.clone().unwrap_or_else(|| "host".into()),
            scope: freed.scope,
            device: freed.device.clone(),
            dst_mac: freed.dst_mac,
            ends: packet.ends().map(Box::new),
            reason: freed.reason.clone(),
            function: freed.place.function.clone(),
            offset: freed.place.offset,
            judgement,
            same_buffer,
            facts: freed.facts.clone(),
            part: part.within(whole),
        };
        let is_copy = may_be_copy(scene, (node, time), freed, packet);
        let (mut joined, mut late) = (false, false);
        let mut rest: Parts = smallvec![range];
        for Owner { id, same_buffer } in owners {
            let mut left = Parts::new();
            for part in rest {
                let track = self.memory.get_mut(id).expect("a candidate exists");
                let Some(share) = track.range.intersection(part) else {
                    left.push(part);
                    continue;
                };
                joined |= track.is_open;
                late |= !track.is_open;
                track.drop(drop(share, track.range, same_buffer), share, is_copy);
                self.reschedule(id);
                left.extend(part.without(share));
            }
            rest = left;
        }
        // If a reassembled datagram is dropped, all its fragments are.
        if !joined && !late {
            for id in self.reassembled(scene, of, &keyed) {
                let track = self.memory.get_mut(id).expect("an indexed track exists");
                joined |= track.is_open;
                late |= !track.is_open;
                track.drop(drop(track.range, track.range, false), track.range, is_copy);
                self.reschedule(id);
            }
        }
        if !joined && !late && begins(scene, (node, time), freed, judgement) {
            joined = true;
            for part in rest {
                let id = self.begin(scene, (node, time), (&keyed, None), part, range);
                let track = self.memory.get_mut(id).expect("it has just begun");
                track.drop(drop(part, part, false), part, is_copy);
                self.reschedule(id);
            }
            self.keep_within_limits(scene);
        }
        if joined {
            self.counts.drops_joined += 1;
        } else if late {
            self.counts.drops_late += 1;
        } else {
            self.counts.drops_alone += 1;
        }
    }

    /// The journeys that the freed packet may belong to, likeliest first. The journey that was last
    /// seen in this sk_buff comes first. Then follow journeys last seen on this node, open
    /// journeys, and journeys not known to be dropped, each in order of their numbers.
    fn owners_of(
        &mut self,
        scene: &Scene,
        (node, freed): (usize, &Freed),
        packet: &Packet,
        range: Range,
        candidates: &[Id],
    ) -> SmallVec<[Owner; 4]> {
        let stamp = stamp(packet);
        let owner = self.memory.owner(node, freed.skb);
        let rank = |id: &Id| {
            let track = self.memory.get(*id)?;
            let part = track.range.intersection(range)?;
            let owns = owner == Some(*id);
            let last = track.last_node() == Some(node);
            // If the kernel does not tell the namespace of the drop, all agents on that kernel
            // report it.
            let told = freed.netns.is_some() || (owns && track.is_on(scene, node));
            let reported = !track.is_open;
            (track.stamp() == stamp && told)
                .then(|| (!owns, !last, reported, !track.is_there(part), *id))
        };
        let mut ranked: Vec<_> = candidates.iter().filter_map(rank).collect();
        ranked.sort_unstable();
        // These are identical packets on this node, none of which was in this sk_buff.
        let alike: Vec<Id> = ranked
            .iter()
            .filter(|(other, away, reported, gone, _)| *other && !away && !reported && !gone)
            .map(|(.., id)| *id)
            .collect();
        if packet.stream_data().is_none() && alike.len() > 1 && alike.len() == ranked.len() {
            self.mark_all_ambiguous(&alike);
        }
        ranked
            .into_iter()
            .map(|(other, .., id)| Owner {
                id,
                same_buffer: !other,
            })
            .collect()
    }
}

/// A journey that a freed packet may have been part of.
struct Owner {
    id: Id,
    /// Whether the freed packet was in the sk_buff that this journey was last seen in.
    same_buffer: bool,
}

/// Whether the freed packet may have been a copy, while others are still on their way. Bridges and
/// switches flood; mirrors copy. A copy is freed where neither end is: at another pod's interface,
/// in another pod's namespace, or on another node.
fn may_be_copy(scene: &Scene, (node, time): (usize, i64), freed: &Freed, packet: &Packet) -> bool {
    let ends = [packet.src, packet.dst];
    let netns = freed.netns.as_deref().unwrap_or(HOST);
    if netns != HOST {
        let is = |end: IpAddr| match scene.pod(end, time) {
            Some(pod) => pod == netns,
            None => end.to_string() == netns,
        };
        return !ends.into_iter().any(is);
    }
    let tunnel = freed.encap.map(|encap| encap.outer_dst);
    let mut concerned = ends.into_iter().chain(tunnel);
    if !concerned.any(|end| is_at_home(scene, node, end, time)) {
        return true;
    }
    let Some(device) = freed.device.as_deref() else {
        return false;
    };
    let mut known = scene.nodes.on_host(node, device);
    // An interface that is not observed may be another pod's bridge port.
    known.all(|point| {
        let leads_to = |end: &IpAddr| point.addresses.contains(end);
        point.role == Role::Veth && !ends.iter().any(leads_to)
    })
}

/// Whether a freed packet that no hop saw was on its way out, before the first observation point.
/// Then it was at a device, or still at its sender's socket. A packet that was freed at a receiving
/// socket was seen before. So was a packet that waited for its other fragments (30 s and more),
/// perhaps too long ago to be remembered.
fn begins(scene: &Scene, (node, time): (usize, i64), freed: &Freed, judgement: Judgement) -> bool {
    let way_out = match freed.scope {
        Some(Scope::Device) => true,
        Some(Scope::Socket) => freed
            .packet
            .as_ref()
            .is_some_and(|packet| is_at_home(scene, node, packet.src, time)),
        Some(Scope::Receiver) | None => false,
    };
    let owner = freed
        .packet
        .as_ref()
        .and_then(|packet| scene.owner(packet.dst, time));
    let at_its_end = owner.is_some_and(|owner| freed.netns.as_deref() == Some(&*owner.name));
    let waited = &*freed.reason == "FRAG_REASM_TIMEOUT";
    judgement.class == Class::Loss && way_out && !at_its_end && !waited
}
