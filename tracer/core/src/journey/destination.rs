//! Where a packet is to go.

use std::net::IpAddr;

use crate::model::{Packet, Transport};

/// The address whose owner is to get the packet. `None` for a multicast packet.
#[must_use]
pub fn destination(packet: &Packet) -> Option<IpAddr> {
    let address = match &packet.transport {
        Transport::Icmp(icmp) => match &icmp.neighbour {
            Some(neighbour) if !neighbour.advertisement => neighbour.target,
            _ => packet.dst,
        },
        _ => packet.dst,
    };
    (!address.is_multicast()).then_some(address)
}
