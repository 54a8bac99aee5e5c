//! The two ends of a packet: what network address translation rewrites.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Packet, Proto, Quote, Transport};

/// Addresses and ports of a packet, in its own direction.
///
/// An ICMP echo has no ports. Translation rewrites its identifier as it rewrites a port, so
/// both ports are that identifier here (RFC 5508, 3.1). Where a packet has neither, both are
/// 0.
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
    /// Those of the packets that go the other way.
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

/// An entry of a node's table of connections (conntrack) that translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Translation {
    /// When it was read: the agent's monotonic clock, ns.
    pub time: u64,
    /// The protocol.
    pub proto: Proto,
    /// The ends of the connection's first packet, as it came.
    pub from: Ends,
    /// Those that the node gives it. Packets the other way have both reversed.
    pub to: Ends,
}

impl Packet {
    /// Its ends; `None` of ARP and neighbour discovery, which nothing translates.
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
    /// The ends of the packet that is quoted, in that packet's direction.
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
            // The checksum covers the ends: UDP's, and that of an echo's identifier.
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
