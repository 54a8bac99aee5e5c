//! Connections that a proxy answers in the place of a pod.

use super::Memory;
use crate::{
    journey::{StandIn, identity::StreamKey, track::Track},
    model::{Packet, Tcp, Transport},
};

impl Memory {
    /// Notes that a proxy, and not the packet's source, acknowledges the data of the other
    /// direction.
    pub(in crate::journey) fn stood_in(&mut self, packet: &Packet, tcp: &Tcp, stand_in: StandIn) {
        self.stand_ins = true;
        let other = StreamKey::of(packet, tcp).reverse();
        if let Some(stream) = self.stream_mut(&other) {
            stream.stand_in = Some(stand_in);
        }
    }

    /// The point where a proxy answers or acknowledges a track in the receiver's place.
    pub(super) fn stand_in(&self, track: &Track) -> Option<StandIn> {
        let own = track.rest().and_then(|rest| rest.stand_in);
        own.or_else(|| match &track.packet.transport {
            Transport::Tcp(tcp) if self.stand_ins => {
                self.stream(&StreamKey::of(&track.packet, tcp))?.stand_in
            }
            _ => None,
        })
    }
}
