//! The two ends of a packet: what network address translation rewrites.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Packet, Proto, Quote, Transport};

/// Addresses and ports of a packet, in its own direction.
///
/// An ICMP echo has no ports. Translation rewrites its identifier as it rewrites a port, so
/// here both ports are that identifier (RFC 5508, 3.1). Without ports and identifier, both
/// ports are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ends {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
}

impl Ends {
    /// The ends of packets in the opposite direction.
    #[must_use]
    pub const fn reversed(&self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
        }
    }
}

/// A conntrack entry of a node that translates addresses or ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Translation {
    /// Time when the agent read the entry, its monotonic clock, ns.
    pub time: u64,
    /// Protocol of the connection.
    pub proto: Proto,
    /// Ends of the connection's first packet as it came to the node.
    pub from: Ends,
    /// Ends of this packet as the node sends it on. Packets in the opposite direction have both
    /// pairs reversed.
    pub to: Ends,
}

impl Packet {
    /// The packet's ends; `None` for ARP and neighbour discovery, which nothing translates.
    #[must_use]
    pub fn ends(&self) -> Option<Ends> {
        if self.is_neighbour() {
            return None;
        }
        let (src_port, dst_port) = match &self.transport {
            Transport::Icmp(icmp) => {
                let id = icmp.echo.map_or(0, |(id, _)| id);
                (id, id)
            }
            _ => self.ports().unwrap_or_default(),
        };
        Some(Ends {
            src: self.src,
            dst: self.dst,
            src_port,
            dst_port,
        })
    }

    /// The same packet with other ends.
    #[must_use]
    pub fn with_ends(&self, ends: &Ends) -> Self {
        let mut packet = self.clone();
        (packet.src, packet.dst) = (ends.src, ends.dst);
        match &mut packet.transport {
            Transport::Tcp(tcp) => {
                (tcp.src_port, tcp.dst_port) = (ends.src_port, ends.dst_port);
            }
            Transport::Udp {
                src_port, dst_port, ..
            }
            | Transport::Sctp {
                src_port, dst_port, ..
            }
            | Transport::Cut {
                src_port, dst_port, ..
            } => (*src_port, *dst_port) = (ends.src_port, ends.dst_port),
            Transport::Icmp(icmp) => {
                icmp.echo = icmp.echo.map(|(_, seq)| (ends.src_port, seq));
            }
            Transport::Arp(_) | Transport::Other(_) => {}
        }
        packet
    }
}

impl Quote {
    /// The quoted packet's ends, in that packet's direction.
    #[must_use]
    pub fn ends(&self) -> Ends {
        let id = || {
            let [kind, _, _, _, high, low, ..] = self.header?;
            is_echo(self.proto, kind).then(|| u16::from_be_bytes([high, low]))
        };
        let (src_port, dst_port) = match (self.ports, id()) {
            (Some(ports), _) => ports,
            (None, Some(id)) => (id, id),
            (None, None) => (0, 0),
        };
        Ends {
            src: self.src,
            dst: self.dst,
            src_port,
            dst_port,
        }
    }

    /// Whether `other` may quote the same packet behind a translation.
    #[must_use]
    pub fn is_translated(&self, other: &Self) -> bool {
        let mut quote = self.with_ends(&other.ends());
        if let (Some(header), Some(there)) = (&mut quote.header, &other.header) {
            // UDP's checksum covers the ends, and an echo's checksum covers the identifier.
            let checksum = match quote.proto {
                17 => 6..8,
                1 | 58 => 2..4,
                _ => 0..0,
            };
            header[checksum.clone()].copy_from_slice(&there[checksum]);
        }
        quote == *other
    }

    /// The same quote with other ends, in its copy of the transport header, too.
    #[must_use]
    pub fn with_ends(&self, ends: &Ends) -> Self {
        let mut quote = self.clone();
        (quote.src, quote.dst) = (ends.src, ends.dst);
        let [src_high, src_low] = ends.src_port.to_be_bytes();
        let [dst_high, dst_low] = ends.dst_port.to_be_bytes();
        if quote.ports.is_some() {
            quote.ports = Some((ends.src_port, ends.dst_port));
            if let Some(header) = &mut quote.header {
                header[..4].copy_from_slice(&[src_high, src_low, dst_high, dst_low]);
            }
        } else if let Some(header) = &mut quote.header
            && is_echo(quote.proto, header[0])
        {
            header[4..6].copy_from_slice(&[src_high, src_low]);
        }
        quote
    }
}

/// Whether a message has an identifier: echo request or reply of ICMP (RFC 792) or ICMPv6
/// (RFC 4443).
const fn is_echo(proto: u8, kind: u8) -> bool {
    matches!((proto, kind), (1, 0 | 8) | (58, 128 | 129))
}
