//! Datagrams that a node puts together from fragments: for conntrack, which reads ports, or for
//! a rule. Hops of the whole datagram belong to its fragments, which go on from there if the
//! node cuts it into the same ones again.

use super::Engine;
use crate::{
    journey::{Scene, content::Content, index::Candidates},
    model::{Hop, Packet},
};

impl Engine {
    /// The tracks of the fragments that a hop's datagram was put together from; none if it is
    /// not known to be. `packet`: the hop's, as it is looked for.
    pub(super) fn reassembled(&self, node: usize, hop: &Hop, packet: &Packet) -> Candidates {
        if packet.fragment.is_some() || packet.stream_data().is_some() {
            return Candidates::new();
        }
        // IPv6 has an identification in fragments only. The datagram is in the sk_buff of the
        // fragment that came last (inet_frag_reasm_prepare in net/ipv4/inet_fragment.c).
        let mut fragments = match packet.ip_id {
            Some(_) => self.memory.fragments(packet),
            None => self.fragments_in((node, hop.skb), packet),
        };
        fragments.retain(|id| {
            let track = self.memory.get(*id).filter(|track| track.is_open);
            track.is_some_and(|track| track.open_at(node, hop, track.range).is_some())
        });
        // Later datagrams have the identification as well. The first fragment has the ports, and
        // the length of all.
        let is_first = |track: &Packet| Content(track).is_first_fragment(&Content(packet));
        let mut tracks = fragments.iter().filter_map(|id| self.memory.get(*id));
        if !tracks.any(|track| is_first(&track.packet)) {
            return Candidates::new();
        }
        fragments
    }

    /// The tracks of the datagram of whose fragments one was in an sk_buff, if that is between
    /// the ends of `packet`.
    fn fragments_in(&self, (node, skb): (usize, u64), packet: &Packet) -> Candidates {
        let owner = self.memory.owner(node, skb);
        let owner = owner.and_then(|id| self.memory.get(id));
        let ends = |packet: &Packet| (packet.src, packet.dst, packet.proto());
        match owner.filter(|track| ends(&track.packet) == ends(packet)) {
            Some(track) if track.packet.fragment.is_some() => self.memory.fragments(&track.packet),
            _ => Candidates::new(),
        }
    }

    /// Gives the hop of a datagram to its fragments.
    pub(super) fn push_whole(
        &mut self,
        scene: &Scene,
        (node, time): (usize, i64),
        hop: &Hop,
        fragments: &Candidates,
    ) {
        for id in fragments {
            let track = self.memory.get_mut(*id).expect("an indexed track exists");
            track.reassembled = true;
            let range = track.range;
            self.add(scene, (node, time), hop, *id, range);
        }
    }
}
