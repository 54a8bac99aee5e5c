//! A packet's fields by their names in JSON.

use std::{borrow::Cow, fmt::Display, net::IpAddr};

use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use tracer_core::model::{self, Mac, Proto, Transport};

use crate::view::words::rcode;

/// Serializes a value as its displayed text.
pub(super) fn shown<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

pub(super) fn shown_or_null<T: Display, S: Serializer>(
    value: &Option<T>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => shown(value, to),
        None => to.serialize_none(),
    }
}

/// The innermost packet, as its headers describe it.
#[derive(JsonSchema, Serialize)]
pub(super) struct Packet {
    /// Source address of the IP packet; for ARP, the sender's protocol address.
    src: IpAddr,
    /// Destination address of the IP packet; for ARP, the target's protocol address.
    dst: IpAddr,
    /// `tcp`, `udp`, `sctp`, `icmp`, `icmpv6`, `arp`, or else `proto-` and the IANA number.
    #[serde(serialize_with = "shown")]
    #[schemars(with = "String")]
    proto: Proto,
    /// Source port of TCP, UDP or SCTP; null for other protocols, for a later fragment, and if the
    /// packet ends before its ports.
    src_port: Option<u16>,
    /// Destination port of TCP, UDP or SCTP; null for other protocols, for a later fragment, and if
    /// the packet ends before its ports.
    dst_port: Option<u16>,
    /// Identification of IPv4, or of an IPv6 fragment header; null without either.
    ip_id: Option<u32>,
    /// Bytes of the IP packet, as its header states, before segmentation; 28 for ARP.
    len: u32,
    /// Position of a fragment; null for a whole packet.
    fragment: Option<Fragment>,
    /// TCP header; null for other protocols, and if the header is truncated or has a data offset
    /// below 5.
    tcp: Option<Tcp>,
    /// ICMP or ICMPv6 message; null for other protocols.
    icmp: Option<Icmp>,
    /// ARP message; null for other protocols.
    arp: Option<Arp>,
    /// Header of a DNS message over UDP port 53; null without one.
    dns: Option<Dns>,
}

/// Position of a fragment: its offset in bytes, and whether more fragments follow.
#[derive(JsonSchema, Serialize)]
struct Fragment {
    /// Offset of the fragment, in bytes.
    offset: u16,
    /// Whether more fragments follow.
    more: bool,
}

/// Fields of a TCP header. `payload_len` counts bytes of all segments together.
#[derive(JsonSchema, Serialize)]
struct Tcp {
    /// Sequence number of the first payload byte, or of SYN.
    seq: u32,
    /// Acknowledgement number.
    ack: u32,
    /// Names joined by a vertical bar, such as `SYN|ACK`, or `none`.
    #[serde(serialize_with = "shown")]
    #[schemars(with = "String")]
    flags: model::Flags,
    /// Payload of all segments together, in bytes.
    payload_len: u32,
}

/// An ICMP or ICMPv6 message.
#[derive(JsonSchema, Serialize)]
struct Icmp {
    /// Type, as on the wire.
    #[serde(rename = "type")]
    kind: u8,
    /// Code, as on the wire.
    code: u8,
    /// Identifier of an echo request or reply; null without one.
    id: Option<u16>,
    /// Sequence number of an echo request or reply; null without one.
    seq: Option<u16>,
    /// What neighbour discovery is about; null for other messages.
    neighbour: Option<Neighbour>,
    /// The packet that an ICMP error quotes; null without one.
    quote: Option<Quote>,
}

/// A neighbour solicitation or advertisement.
#[derive(JsonSchema, Serialize)]
struct Neighbour {
    /// Target address.
    target: IpAddr,
    /// True for an advertisement, false for a solicitation.
    advertisement: bool,
}

/// The packet that an ICMP error quotes.
#[derive(JsonSchema, Serialize)]
struct Quote {
    /// Source address.
    src: IpAddr,
    /// Destination address.
    dst: IpAddr,
    /// Protocol after the extension headers, by the names of the packet's own `proto`.
    #[serde(serialize_with = "shown")]
    #[schemars(with = "String")]
    proto: Proto,
    /// Source port; null if the protocol has no ports, or the error does not quote the port.
    src_port: Option<u16>,
    /// Destination port; null if the protocol has no ports, or the error does not quote the port.
    dst_port: Option<u16>,
}

/// An ARP message; operation 1 is a request, 2 a reply.
#[derive(JsonSchema, Serialize)]
struct Arp {
    /// 1 for a request, 2 for a reply.
    operation: u16,
    /// The sender's hardware address in the message.
    #[serde(serialize_with = "shown")]
    #[schemars(with = "String")]
    sender_mac: Mac,
    /// The target's hardware address in the message.
    #[serde(serialize_with = "shown")]
    #[schemars(with = "String")]
    target_mac: Mac,
}

/// The header of a DNS message; a question has no return code.
#[derive(JsonSchema, Serialize)]
struct Dns {
    /// Identifier that a question and its answer share.
    id: u16,
    /// Return code of an answer, such as `NXDOMAIN`, or `rcode` and a number; null for a question.
    rcode: Option<Cow<'static, str>>,
    /// Whether the message was truncated, because it is too long for a datagram.
    truncated: bool,
}

impl Packet {
    pub(super) fn new(packet: &model::Packet) -> Self {
        let (src_port, dst_port) = packet.ports().unzip();
        let (mut tcp, mut icmp, mut arp) = (None, None, None);
        match &packet.transport {
            Transport::Tcp(header) => tcp = Some(Tcp::new(header)),
            Transport::Icmp(message) => icmp = Some(Icmp::new(message)),
            Transport::Arp(message) => arp = Some(Arp::new(message)),
            Transport::Udp { .. }
            | Transport::Sctp { .. }
            | Transport::Cut { .. }
            | Transport::Other(_) => {}
        }
        Self {
            src: packet.src,
            dst: packet.dst,
            proto: packet.proto(),
            src_port,
            dst_port,
            ip_id: packet.ip_id,
            len: packet.len,
            fragment: packet
                .fragment
                .map(|(offset, more)| Fragment { offset, more }),
            tcp,
            icmp,
            arp,
            dns: packet.dns().map(|header| Dns {
                id: header.id,
                rcode: header.is_answer.then(|| rcode(header.code)),
                truncated: header.truncated,
            }),
        }
    }
}

impl Tcp {
    fn new(header: &model::Tcp) -> Self {
        Self {
            seq: header.seq,
            ack: header.ack,
            flags: header.flags,
            payload_len: header.payload_len,
        }
    }
}

impl Icmp {
    fn new(message: &model::Icmp) -> Self {
        let (id, seq) = message.echo.unzip();
        Self {
            kind: message.kind,
            code: message.code,
            id,
            seq,
            neighbour: message.neighbour.as_ref().map(|neighbour| Neighbour {
                target: neighbour.target,
                advertisement: neighbour.advertisement,
            }),
            quote: message.quote.as_ref().map(|quote| {
                let (src_port, dst_port) = quote.ports.unzip();
                Quote {
                    src: quote.src,
                    dst: quote.dst,
                    proto: Proto::Ip(quote.proto),
                    src_port,
                    dst_port,
                }
            }),
        }
    }
}

impl Arp {
    fn new(message: &model::Arp) -> Self {
        Self {
            operation: message.operation,
            sender_mac: message.sender,
            target_mac: message.target,
        }
    }
}
