//! Link types of captures, and the events that programs would have made of their packets.

use std::borrow::Cow;

use network_types::eth::{EthHdr, EtherType};
use tracer_common::{
    config::Load,
    event::{ETHERNET, HopEvent, VLAN},
    layers::Unparsed,
    packet::Packet as _,
};
use tracer_core::model::{Direction, Mac};

use super::capture::Captured;
use crate::decode::event;

/// A kind of link (<https://www.tcpdump.org/linktypes.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// An Ethernet header.
    Ethernet,
    /// An IP header.
    Raw,
    /// Linux's cooked header (SLL), which has the packet's direction.
    Cooked,
    /// Linux's cooked header, version 2 (SLL2), which also has the index of the interface.
    Cooked2,
}

/// The cooked header's kind of device that has Ethernet frames (`ARPHRD_ETHER`), and the
/// loopback device, whose frames have such a header, too.
const WITH_ETHERNET: [u16; 2] = [1, 772];
/// The cooked header's type of a packet that goes out (`PACKET_OUTGOING`).
const OUTGOING: u8 = 4;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// Bytes of a VLAN tag in a frame.
const TAG: usize = 4;

impl Link {
    /// The link type for a LINKTYPE number; `None` if it is not supported.
    pub(super) const fn of(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Ethernet),
            12 | 14 | 101 | 228 | 229 => Some(Self::Raw),
            113 => Some(Self::Cooked),
            276 => Some(Self::Cooked2),
            _ => None,
        }
    }

    /// Whether packets have their direction.
    pub(super) const fn tells_direction(self) -> bool {
        matches!(self, Self::Cooked | Self::Cooked2)
    }

    /// Index of the interface, if packets of several are in one capture.
    pub(super) fn index(self, data: &[u8]) -> Option<u32> {
        match self {
            Self::Cooked2 => data.be32(4),
            Self::Ethernet | Self::Raw | Self::Cooked => None,
        }
    }
}

/// A packet's event, and what is known besides its headers.
pub(super) struct Seen {
    pub(super) event: Option<HopEvent>,
    /// MAC address of the sender, if the frame's own header is missing.
    pub(super) sender: Option<Mac>,
    /// Direction, if the capture has it.
    pub(super) direction: Option<Direction>,
}

/// Parses a packet as a program would. There is no event for packets that are neither IP nor
/// ARP.
///
/// # Errors
/// [`Unparsed`], if a program would count the packet as unparsed.
pub(super) fn read(link: Link, packet: &Captured, load: &Load) -> Result<Seen, Unparsed> {
    let Captured {
        len,
        data,
        direction,
        ..
    } = packet;
    let cooked = |header: usize, kind: usize, address: usize| -> Result<Seen, Unparsed> {
        let (device, went, proto) = match header {
            16 => (
                data.be16(2),
                data.be16(0).map(|went| went as u8),
                data.be16(14),
            ),
            _ => (data.be16(8), data.u8(10), data.be16(0)),
        };
        let (device, went) = device.zip(went).ok_or(Unparsed::Short)?;
        let proto = proto.ok_or(Unparsed::Short)?;
        let payload = data.get(header..).ok_or(Unparsed::Short)?;
        let is_ethernet = WITH_ETHERNET.contains(&device);
        let has_address = match header {
            16 => data.be16(kind) == Some(6),
            _ => data.u8(kind) == Some(6),
        };
        let sender = data
            .read::<6>(address)
            .filter(|_| is_ethernet && has_address);
        let len = len.saturating_sub(header as u32);
        let event = if is_ethernet {
            // The walk needs an Ethernet header, so one is made from the cooked header.
            let mut frame = vec![0; EthHdr::LEN - 2];
            frame.extend(proto.to_be_bytes());
            frame.extend(payload);
            framed(&frame, len.saturating_add(EthHdr::LEN as u32), load)?.map(|event| HopEvent {
                flags: event.flags & !ETHERNET,
                ..event
            })
        } else if [IPV4, IPV6].contains(&proto) {
            event(payload, len, false, load)?
        } else {
            None
        };
        Ok(Seen {
            event,
            sender: sender.map(Mac),
            direction: Some(if went == OUTGOING {
                Direction::Egress
            } else {
                Direction::Ingress
            }),
        })
    };
    match link {
        Link::Ethernet => Ok(Seen {
            event: framed(data, *len, load)?,
            sender: None,
            direction: *direction,
        }),
        Link::Raw => Ok(Seen {
            event: event(data, *len, false, load)?,
            sender: None,
            direction: *direction,
        }),
        Link::Cooked => cooked(16, 4, 6),
        Link::Cooked2 => cooked(20, 11, 12),
    }
}

/// The event of an Ethernet frame. The kernel keeps the outermost VLAN tag beside a frame, but
/// captures have it in the frame.
fn framed(frame: &[u8], len: u32, load: &Load) -> Result<Option<HopEvent>, Unparsed> {
    const AT: usize = EthHdr::LEN - 2;
    let kind = frame.read::<2>(AT).map(u16::from_ne_bytes);
    let is_tagged = kind == Some(EtherType::Ieee8021q as u16);
    let tag = frame.be16(AT + 2).filter(|_| is_tagged);
    let untagged: Cow<'_, [u8]> = match tag {
        Some(_) => [&frame[..AT], &frame[AT + TAG..]].concat().into(),
        None => frame.into(),
    };
    let len = len.saturating_sub(if tag.is_some() { TAG as u32 } else { 0 });
    let mut event = event(&untagged, len, true, load)?;
    if let (Some(event), Some(tag)) = (&mut event, tag) {
        event.flags |= VLAN;
        event.vlan_tci = tag;
    }
    Ok(event)
}
