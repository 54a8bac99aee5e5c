//! Keys: which packets are one TCP stream or one conversation, and which packet answers or
//! refuses another.

use std::{
    hash::{Hash, Hasher as _},
    net::IpAddr,
};

use super::content::write_ends;
use crate::model::{DnsHeader, Flags, Icmp, Packet, Proto, Quote, Tcp, Transport};

/// One direction of a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StreamKey {
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) src_port: u16,
    pub(super) dst_port: u16,
}

impl Hash for StreamKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        write_ends(self.src, self.dst, state);
        state.write_u32(u32::from(self.src_port) << 16 | u32::from(self.dst_port));
    }
}

impl StreamKey {
    pub(super) const fn of(packet: &Packet, tcp: &Tcp) -> Self {
        Self {
            src: packet.src,
            dst: packet.dst,
            src_port: tcp.src_port,
            dst_port: tcp.dst_port,
        }
    }

    /// The other direction.
    pub(super) const fn reverse(&self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
        }
    }
}

/// The TCP timestamp value. It tells a retransmission of stream data from the first
/// transmission.
pub(super) fn stamp(packet: &Packet) -> Option<u32> {
    packet.stream_data()?.timestamps.map(|(value, _)| value)
}

/// The number of the conversation that a packet belongs to. Both directions have the same number,
/// in every recording.
pub(super) fn conversation(packet: &Packet) -> u64 {
    let (src_port, dst_port) = match &packet.transport {
        Transport::Icmp(icmp) => {
            let id = icmp.echo.map_or(0, |(id, _)| id);
            (id, id)
        }
        _ => packet.ports().unwrap_or((0, 0)),
    };
    let one = (packet.src, src_port);
    let other = (packet.dst, dst_port);
    let mut hasher = Fnv::default();
    (one.min(other), one.max(other)).hash(&mut hasher);
    packet.proto().hash(&mut hasher);
    hasher.finish()
}

/// FNV-1a. The standard library's hasher may change between releases, but files hold this
/// number.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl std::hash::Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What a question and its answer have in common, from the asker's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Question {
    /// Echo request and reply.
    Echo {
        asker: IpAddr,
        asked: IpAddr,
        id: u16,
        seq: u16,
    },
    /// SYN and SYN-ACK; `seq` is that of the SYN.
    Handshake {
        asker: (IpAddr, u16),
        asked: (IpAddr, u16),
        seq: u32,
    },
    /// DNS query and response.
    Dns {
        asker: (IpAddr, u16),
        asked: (IpAddr, u16),
        id: u16,
    },
    /// ARP request and reply.
    Arp { asker: IpAddr, asked: IpAddr },
    /// Neighbour solicitation and advertisement.
    Neighbour { asker: IpAddr, target: IpAddr },
}

impl Question {
    /// Whether packets with this question within a short time are retransmissions, so one
    /// answer answers all of them. Each echo request has an answer of its own.
    pub(super) const fn is_asked_once(&self) -> bool {
        matches!(self, Self::Handshake { .. } | Self::Dns { .. })
    }

    /// Whether every receiver must answer. Only the owner of the address answers ARP and
    /// neighbour discovery.
    pub(super) const fn is_due_an_answer(&self) -> bool {
        matches!(
            self,
            Self::Echo { .. } | Self::Handshake { .. } | Self::Dns { .. }
        )
    }
}

/// A packet's part in a question and its answer.
pub(super) enum Part {
    Asks(Question),
    Answers(Question),
    /// Refuses with a reset (RFC 9293, 3.10.7.1).
    Refuses(Question),
}

/// What the fragments of a packet have in common (RFC 791, 3.2; RFC 8200, 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Datagram {
    src: IpAddr,
    dst: IpAddr,
    proto: Proto,
    id: u32,
}

impl Datagram {
    pub(super) fn of(packet: &Packet) -> Option<Self> {
        Some(Self {
            src: packet.src,
            dst: packet.dst,
            proto: packet.proto(),
            id: packet.ip_id?,
        })
    }
}

/// The fields of a quoted packet that tell packets of one flow apart. These are addresses,
/// protocol, IPv4's identification, and the transport header's first eight bytes without checksums.
/// A quote of TCP data is found by its sequence numbers instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QuoteKey {
    src: IpAddr,
    dst: IpAddr,
    proto: u8,
    ip_id: Option<u16>,
    header: (u16, u16, u32),
}

impl Hash for QuoteKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        let (one, two, three) = self.header;
        write_ends(self.src, self.dst, state);
        let id = u64::from(self.ip_id.unwrap_or(0));
        state.write_u64(id << 8 | u64::from(self.proto));
        state.write_u64(u64::from(one) << 48 | u64::from(two) << 32 | u64::from(three));
    }
}

impl QuoteKey {
    /// How an error would quote `packet`; `None` for TCP data, and for packets that no error
    /// quotes.
    pub(super) fn of(packet: &Packet) -> Option<Self> {
        let (proto, header) = match &packet.transport {
            Transport::Tcp(tcp) => (6, (tcp.src_port, tcp.dst_port, tcp.seq)),
            Transport::Udp {
                src_port,
                dst_port,
                len,
                ..
            } => (17, (*src_port, *dst_port, u32::from(*len))),
            Transport::Sctp {
                src_port,
                dst_port,
                tag,
            } => (132, (*src_port, *dst_port, *tag)),
            Transport::Icmp(icmp) => {
                let (id, seq) = icmp.echo?;
                let proto = if icmp.v6 { 58 } else { 1 };
                (proto, (id, seq, u32::from(icmp.kind)))
            }
            Transport::Cut { .. } | Transport::Arp(_) | Transport::Other(_) => return None,
        };
        if packet.stream_data().is_some() {
            return None;
        }
        Some(Self {
            src: packet.src,
            dst: packet.dst,
            proto,
            ip_id: packet
                .ip_id
                .filter(|_| packet.src.is_ipv4())
                .and_then(|id| u16::try_from(id).ok()),
            header,
        })
    }

    /// The key of the packet that an error quotes. `None` if the quote has no transport header.
    pub(super) fn quoted(quote: &Quote) -> Option<Self> {
        let [a, b, c, d, e, f, g, h] = quote.header?;
        let first = u16::from_be_bytes([a, b]);
        let second = u16::from_be_bytes([c, d]);
        let third = u16::from_be_bytes([e, f]);
        let fourth = u16::from_be_bytes([g, h]);
        let header = match quote.proto {
            17 => (first, second, u32::from(third)),
            1 | 58 => (third, fourth, u32::from(a)),
            _ => (first, second, u32::from(third) << 16 | u32::from(fourth)),
        };
        Some(Self {
            src: quote.src,
            dst: quote.dst,
            proto: quote.proto,
            ip_id: quote.ip_id,
            header,
        })
    }
}

/// Whether an ICMP message says that the quoted packet was discarded. Such messages are destination
/// unreachable, time exceeded and parameter problem (RFC 792), and ICMPv6's four errors (RFC 4443,
/// 2.1). After a redirect, the packet was forwarded, and after a source quench it may have been
/// (RFC 792, RFC 6633). The meaning of other types is unknown.
pub(super) const fn says_no(icmp: &Icmp) -> bool {
    if icmp.v6 {
        matches!(icmp.kind, 1..=4)
    } else {
        matches!(icmp.kind, 3 | 11 | 12)
    }
}

/// Whether an answer is to exactly this question, and not to another transmission of it. A
/// SYN-ACK shows this: it echoes the timestamp of the SYN that it answers (RFC 7323, 3.2).
/// `None` if the answer does not show it.
pub(super) fn answers_this(answer: &Packet, question: &Packet) -> Option<bool> {
    let (Transport::Tcp(answer), Transport::Tcp(question)) =
        (&answer.transport, &question.transport)
    else {
        return None;
    };
    let ((_, echoed), (stamp, _)) = (answer.timestamps?, question.timestamps?);
    Some(echoed == stamp)
}

/// A packet's part in an exchange of one question and one answer, if the packet is in such
/// an exchange.
pub(super) fn part(packet: &Packet) -> Option<Part> {
    match &packet.transport {
        Transport::Icmp(icmp) => {
            if let Some(neighbour) = &icmp.neighbour {
                let target = neighbour.target;
                let question = |asker| Question::Neighbour { asker, target };
                return Some(if neighbour.advertisement {
                    Part::Answers(question(packet.dst))
                } else {
                    Part::Asks(question(packet.src))
                });
            }
            let (id, seq) = icmp.echo?;
            // Echo request: RFC 792 type 8, RFC 4443 type 128.
            if matches!((icmp.v6, icmp.kind), (false, 8) | (true, 128)) {
                Some(Part::Asks(Question::Echo {
                    asker: packet.src,
                    asked: packet.dst,
                    id,
                    seq,
                }))
            } else {
                Some(Part::Answers(Question::Echo {
                    asker: packet.dst,
                    asked: packet.src,
                    id,
                    seq,
                }))
            }
        }
        Transport::Tcp(tcp) if tcp.flags.has(Flags::SYN) => {
            let src = (packet.src, tcp.src_port);
            let dst = (packet.dst, tcp.dst_port);
            Some(if tcp.flags.has(Flags::ACK) {
                Part::Answers(Question::Handshake {
                    asker: dst,
                    asked: src,
                    seq: tcp.ack.wrapping_sub(1),
                })
            } else {
                Part::Asks(Question::Handshake {
                    asker: src,
                    asked: dst,
                    seq: tcp.seq,
                })
            })
        }
        Transport::Tcp(tcp) if tcp.flags.has(Flags::RST | Flags::ACK) => {
            Some(Part::Refuses(Question::Handshake {
                asker: (packet.dst, tcp.dst_port),
                asked: (packet.src, tcp.src_port),
                seq: tcp.ack.wrapping_sub(1),
            }))
        }
        Transport::Udp {
            src_port, dst_port, ..
        } => {
            let DnsHeader { id, is_answer, .. } = packet.dns()?;
            let src = (packet.src, *src_port);
            let dst = (packet.dst, *dst_port);
            Some(if is_answer {
                Part::Answers(Question::Dns {
                    asker: dst,
                    asked: src,
                    id,
                })
            } else {
                Part::Asks(Question::Dns {
                    asker: src,
                    asked: dst,
                    id,
                })
            })
        }
        Transport::Arp(arp) => Some(if arp.operation == 1 {
            Part::Asks(Question::Arp {
                asker: packet.src,
                asked: packet.dst,
            })
        } else {
            Part::Answers(Question::Arp {
                asker: packet.dst,
                asked: packet.src,
            })
        }),
        Transport::Tcp(_)
        | Transport::Sctp { .. }
        | Transport::Cut { .. }
        | Transport::Other(_) => None,
    }
}
