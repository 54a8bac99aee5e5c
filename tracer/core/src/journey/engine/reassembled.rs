//! Datagrams that a node reassembles from fragments. Conntrack reassembles them to read their
//! ports, also on a bridge. Hops of the whole datagram belong to its fragments. The fragments go on
//! from there if the node makes the same fragments again.

use super::Engine;
use crate::{
    journey::{Scene, content::Content, index::Candidates, memory::Memory, track::Track},
    model::{Hop, Packet},
};

impl Engine {
    /// The tracks of the fragments that a node reassembled into the datagram in an sk_buff. Empty
    /// if they are not known. `packet`: the datagram, under the ends that its tracks are found by.
    pub(super) fn reassembled(
        &self,
        scene: &Scene,
        (node, skb): (usize, u64),
        packet: &Packet,
    ) -> Candidates {
        if packet.fragment.is_some() {
            return Candidates::new();
        }
        // In IPv6, only fragments have an identification. The datagram is in the sk_buff of the
        // fragment that came last (inet_frag_reasm_prepare in net/ipv4/inet_fragment.c).
        let mut fragments = match packet.ip_id {
            Some(_) => self.memory.fragments(packet),
            None => fragments_in(&self.memory, (node, skb), packet),
        };
        // A later datagram may have the same identification. The first fragment tells them apart:
        // it has the ports, and the length of the whole datagram.
        let is_its = |first: &Packet| Content(first).is_first_fragment(&Content(packet));
        let is_of_another = {
            let mut firsts = self.firsts(&fragments).peekable();
            firsts.peek().is_some() && !firsts.any(is_its)
        };
        if is_of_another {
            return Candidates::new();
        }
        // A node reassembles only fragments that came to it.
        let came = |track: &Track| track.in_whole || track.is_on(scene, node);
        fragments.retain(|id| self.memory.get(*id).is_some_and(came));
        fragments
    }

    /// The first fragments among these.
    fn firsts(&self, fragments: &Candidates) -> impl Iterator<Item = &Packet> {
        let tracks = fragments.iter().filter_map(|id| self.memory.get(*id));
        let packets = tracks.map(|track| &track.packet);
        packets.filter(|packet| matches!(packet.fragment, Some((0, _))))
    }

    /// Adds the hop of a datagram to its fragments that were not reported yet. Returns whether
    /// there are any. `packet`: the hop's packet, under the ends that its tracks are found by.
    pub(super) fn push_whole(
        &mut self,
        scene: &Scene,
        (node, time): (usize, i64),
        (hop, packet): (&Hop, &Packet),
    ) -> bool {
        if packet.stream_data().is_some() {
            return false;
        }
        let mut fragments = self.reassembled(scene, (node, hop.skb), packet);
        // Without a first fragment, this may be a small datagram that was never in fragments.
        if self.firsts(&fragments).next().is_none() {
            return false;
        }
        fragments.retain(|id| {
            let track = self.memory.get(*id).filter(|track| track.is_open);
            track.is_some_and(|track| {
                track
                    .open_at(&scene.nodes, node, hop, track.range)
                    .is_some()
            })
        });
        let is_theirs = !fragments.is_empty();
        let mut hop = hop.clone();
        for id in fragments {
            let range = self.memory.get(id).expect("an indexed track exists").range;
            self.add(scene, (node, time), &hop, id, range);
            let track = self.memory.get_mut(id).expect("an indexed track exists");
            track.in_whole = true;
            // Only one fragment keeps the captured frame.
            hop.frame = None;
        }
        is_theirs
    }
}

/// The tracks of all fragments of a datagram, if an sk_buff has one of them and the ends are those
/// of `packet`.
fn fragments_in(memory: &Memory, (node, skb): (usize, u64), packet: &Packet) -> Candidates {
    let owner = memory.owner(node, skb).and_then(|id| memory.get(id));
    let ends = |packet: &Packet| (packet.src, packet.dst, packet.proto());
    match owner.filter(|track| ends(&track.packet) == ends(packet)) {
        Some(track) if track.packet.fragment.is_some() => memory.fragments(&track.packet),
        _ => Candidates::new(),
    }
}
