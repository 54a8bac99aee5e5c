//! A frame at a hop: as it was captured, or rebuilt from the packet's known fields.
//!
//! Without `--snaplen`, no payload leaves a kernel. A rebuilt frame therefore ends after its headers,
//! and its original length tells how long it was. An event does not have every field. This module
//! fills in the others, so that other programs read the known fields as they were:
//!
//! - TCP's options except the timestamps, and options of IP: no-operations of the original length.
//! - Checksums are right if the frame has all bytes that they cover. Otherwise, the checksum of TCP
//!   and UDP is that of the pseudo-header, as in a kernel before the NIC completes it. That of ICMP
//!   is 0. A program that sees that the frame is cut off compares neither.
//! - DSCP, ECN, DF, the flow label, and a tunnel's UDP source port are 0. A tunnel's TTL is 64.
//! - MAC addresses inside a tunnel are those at the journey's nearest overlay device.

mod ip;
mod transport;
mod tunnel;

use std::net::IpAddr;

use tracer_core::{
    journey::{CapturedFrame, Journey, Scene, Step},
    model::{Mac, Packet, Transport},
};

/// The bytes that are known of a frame, and how many it had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// From the first header on.
    pub(super) bytes: Vec<u8>,
    /// The length on the wire.
    pub(super) length: u32,
    /// What the first header is.
    pub(super) link: Link,
    /// Whether these are the bytes that there were, and not rebuilt.
    pub(super) is_captured: bool,
}

/// What a frame begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Link {
    /// An Ethernet header.
    Ethernet,
    /// An IP header.
    Raw,
}

/// The bytes of a journey of TCP data: first offset, and the one behind the last.
pub(super) type Range = (u32, u32);

const ETHERNET: u32 = 14;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
const VLAN: u16 = 0x8100;

impl Frame {
    /// A journey's packet at one of its steps; of TCP data one range of it.
    pub(super) fn at(scene: &Scene, journey: &Journey, step: &Step, range: Range) -> Self {
        let packet = journey.packet_at(step);
        let mut frame = Self::of(&packet, step.ttl, range);
        // A netkit device without addresses has room for them all the same.
        let has_room = step.encap.is_none() && step.len == frame.length + ETHERNET;
        let link = match (step.src_mac, step.dst_mac) {
            (None, None) if !has_room => Link::Raw,
            _ => Link::Ethernet,
        };
        let mut kind = network(packet.src, &packet);
        if let Some(encap) = &step.encap {
            // What the headers around the packet take; of several pieces together it
            // is not known.
            let around = (step.segments == 1 || whole(journey, step)).then(|| {
                let link = if link == Link::Ethernet { ETHERNET } else { 0 };
                step.len.saturating_sub(link + frame.length)
            });
            let inside = tunnel::Inside {
                kind,
                macs: tunnel::inner_macs(scene, journey, step),
                port: tunnel::port(scene, step.node, encap),
            };
            frame = tunnel::around(frame, encap, &inside, around);
            kind = match encap.outer_src {
                IpAddr::V4(_) => IPV4,
                IpAddr::V6(_) => IPV6,
            };
        }
        if link == Link::Ethernet {
            frame.put_ethernet(step.dst_mac, step.src_mac, step.vlan, kind);
        }
        frame
    }

    /// A frame as it was captured.
    pub(super) fn captured(step: &Step, frame: &CapturedFrame) -> Self {
        // A header of IP begins with its version. Room for MAC addresses without any, which a
        // netkit device leaves, begins with zeros.
        let is_ip = frame
            .bytes
            .first()
            .is_some_and(|byte| matches!(byte >> 4, 4 | 6));
        Self {
            bytes: frame.bytes.to_vec(),
            length: frame.len,
            link: match (step.src_mac, step.dst_mac) {
                (None, None) if is_ip => Link::Raw,
                _ => Link::Ethernet,
            },
            is_captured: true,
        }
    }

    /// A packet without what is around it.
    pub(super) fn of(packet: &Packet, ttl: u8, range: Range) -> Self {
        let (bytes, length) = match &packet.transport {
            Transport::Arp(arp) => {
                let bytes = transport::arp(packet, arp);
                (bytes, packet.len)
            }
            _ => ip::packet(packet, ttl, range),
        };
        Self {
            bytes,
            length,
            link: Link::Raw,
            is_captured: false,
        }
    }

    /// Puts headers before it.
    fn put(&mut self, headers: &[u8]) {
        self.bytes.splice(0..0, headers.iter().copied());
        let added = u32::try_from(headers.len()).unwrap_or(u32::MAX);
        self.length = self.length.saturating_add(added);
    }

    fn put_ethernet(&mut self, to: Option<Mac>, from: Option<Mac>, vlan: Option<u16>, kind: u16) {
        let mut header = Vec::with_capacity(18);
        header.extend(to.unwrap_or_default().0);
        header.extend(from.unwrap_or_default().0);
        if let Some(tag) = vlan {
            header.extend(VLAN.to_be_bytes());
            header.extend(tag.to_be_bytes());
        }
        header.extend(kind.to_be_bytes());
        self.put(&header);
        self.link = Link::Ethernet;
    }
}

/// Whether a step has seen all of a journey in one piece, that will be cut later.
fn whole(journey: &Journey, step: &Step) -> bool {
    step.seen == journey.size() && step.len < 2 * journey.packet.len
}

/// The EtherType of a packet.
const fn network(source: IpAddr, packet: &Packet) -> u16 {
    match (&packet.transport, source) {
        (Transport::Arp(_), _) => ARP,
        (_, IpAddr::V4(_)) => IPV4,
        (_, IpAddr::V6(_)) => IPV6,
    }
}
