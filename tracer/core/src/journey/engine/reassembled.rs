//! Datagrams that a node reassembles from fragments: for conntrack, which reads ports, or on a
//! bridge. Hops of the whole datagram belong to its fragments, which go on from there if the
//! node makes the same fragments again.

use super::Engine;
use crate::{
    journey::{Scene, content::Content, index::Candidates, memory::Memory, track::Track},
    model::{Hop, Packet},
};

impl Engine {
    /// The tracks of the fragments that a node reassembled to the datagram in an sk_buff; none if
    /// that is not known. `packet`: the datagram, as it is looked for.
    pub(super) fn reassembled(
        &self,
        scene: &Scene,
        (node, skb): (usize, u64),
        packet: &Packet,
    ) -> Candidates {
        if packet.fragment.is_some() {
            return Candidates::new();
        }
        // IPv6 has an identification in fragments only. The datagram is in the sk_buff of the
        // fragment that came last (inet_frag_reasm_prepare in net/ipv4/inet_fragment.c).
        let mut fragments = match packet.ip_id {
            Some(_) => self.memory.fragments(packet),
            None => fragments_in(&self.memory, (node, skb), packet),
        };
        // The first fragment has the ports, and the length of all: later datagrams have the
        // identification as well.
        let is_its = |first: &Packet| Content(first).is_first_fragment(&Content(packet));
        let is_of_another = {
            let mut firsts = self.firsts(&fragments).peekable();
            firsts.peek().is_some() && !firsts.any(is_its)
        };
        if is_of_another {
            return Candidates::new();
        }
        // A node reassembles what came to it.
        let came = |track: &Track| track.in_whole || track.is_on(scene, node);
        fragments.retain(|id| self.memory.get(*id).is_some_and(came));
        fragments
    }

    /// Those of the fragments that are the first of a datagram.
    fn firsts(&self, fragments: &Candidates) -> impl Iterator<Item = &Packet> {
        let tracks = fragments.iter().filter_map(|id| self.memory.get(*id));
        let packets = tracks.map(|track| &track.packet);
        packets.filter(|packet| matches!(packet.fragment, Some((0, _))))
    }

    /// Gives the hop of a datagram to its fragments, as far as they were not reported yet.
    /// Returns whether there are any. `packet`: the hop's, as it is looked for.
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
        // Without the first one, it may be a small datagram that was never in fragments.
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
            // One of them keeps what was captured.
            hop.frame = None;
        }
        is_theirs
    }
}

/// The tracks of the datagram of whose fragments one was in an sk_buff, if that is between the
/// ends of `packet`.
fn fragments_in(memory: &Memory, (node, skb): (usize, u64), packet: &Packet) -> Candidates {
    let owner = memory.owner(node, skb).and_then(|id| memory.get(id));
    let ends = |packet: &Packet| (packet.src, packet.dst, packet.proto());
    match owner.filter(|track| ends(&track.packet) == ends(packet)) {
        Some(track) if track.packet.fragment.is_some() => memory.fragments(&track.packet),
        _ => Candidates::new(),
    }
}
