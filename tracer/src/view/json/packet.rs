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
    src: IpAddr,
    dst: IpAddr,
    #[serde(serialize_with = "shown")]
    #[schemars(with = "String")]
    proto: Proto,
    src_port: Option<u16>,
    dst_port: Option<u16>,
    ip_id: Option<u32>,
    len: u32,
    fragment: Option<Fragment>,
    tcp: Option<Tcp>,
    icmp: Option<Icmp>,
    arp: Option<Arp>,
    dns: Option<Dns>,
}

/// Position of a fragment: its offset in bytes, and whether more fragments follow.
#[derive(JsonSchema, Serialize)]
struct Fragment {
    offset: u16,
    more: bool,
}

/// Fields of a TCP header. `payload_len` counts bytes of all segments together.
#[derive(JsonSchema, Serialize)]
struct Tcp {
    seq: u32,
    ack: u32,
    #[serde(serialize_with = "shown")]
    #[schemars(with = "String")]
    flags: model::Flags,
    payload_len: u32,
}

/// An ICMP or ICMPv6 message.
#[derive(JsonSchema, Serialize)]
struct Icmp {
    #[serde(rename = "type")]
    kind: u8,
    code: u8,
    id: Option<u16>,
    seq: Option<u16>,
    neighbour: Option<Neighbour>,
    quote: Option<Quote>,
}

/// A neighbour solicitation or advertisement.
#[derive(JsonSchema, Serialize)]
struct Neighbour {
    target: IpAddr,
    advertisement: bool,
}

/// The packet that an ICMP error quotes.
#[derive(JsonSchema, Serialize)]
struct Quote {
    src: IpAddr,
    dst: IpAddr,
    #[serde(serialize_with = "shown")]
    #[schemars(with = "String")]
    proto: Proto,
    src_port: Option<u16>,
    dst_port: Option<u16>,
}

/// An ARP message; operation 1 is a request, 2 a reply.
#[derive(JsonSchema, Serialize)]
struct Arp {
    operation: u16,
    #[serde(serialize_with = "shown")]
    #[schemars(with = "String")]
    sender_mac: Mac,
    #[serde(serialize_with = "shown")]
    #[schemars(with = "String")]
    target_mac: Mac,
}

/// The header of a DNS message; a question has no return code.
#[derive(JsonSchema, Serialize)]
struct Dns {
    id: u16,
    rcode: Option<Cow<'static, str>>,
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
