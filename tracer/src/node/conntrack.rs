//! Reads from a node's conntrack table how followed packets are translated.
//!
//! Only entries of seen packets are requested, one by one, over ctnetlink. A request would load
//! the kernel module if it is missing, so nothing is requested before the module is loaded.
//! Tables with zones are not searched, because a packet does not tell its zone.

mod seen;

use std::{net::IpAddr, path::Path, time::Instant};

use netlink_packet_core::{DefaultNla, NetlinkSerializable as _};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterProtoFamily,
    conntrack::{ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Protocol, Tuple},
};
use tracer_core::model::{Ends, Packet, Proto, Translation, Transport};

pub(super) use self::seen::Due;
use self::seen::Seen;
use super::{
    clock,
    netlink::{Netlink, Question, attribute, attributes},
};

/// `NETLINK_NETFILTER` (include/uapi/linux/netlink.h).
const PROTOCOL: isize = 12;

/// Bytes of `struct nfgenmsg`, before the attributes (nfnetlink.h).
const HEADER: usize = 4;

/// Attributes of an entry, of one of its tuples, and of parts of that
/// (include/uapi/linux/netfilter/nfnetlink_conntrack.h).
const TUPLE_ORIG: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
const SOURCES: [u16; 2] = [1, 3];
const DESTINATIONS: [u16; 2] = [2, 4];
const SRC_PORT: u16 = 2;
const DST_PORT: u16 = 3;
const ICMP_ID: [u16; 2] = [4, 7];

/// The conntrack table of the thread's network namespace.
#[derive(Default)]
pub(super) struct Connections {
    socket: Option<Netlink>,
    seen: Seen,
}

impl Connections {
    /// Notes a packet that was seen at `time`, the agent's monotonic clock, ns; `now` is the
    /// approximate time.
    pub(super) fn saw(&mut self, packet: &Packet, time: u64, now: Instant) {
        if let Some(ends) = packet.ends().filter(|_| is_tracked(packet)) {
            self.seen.saw((packet.proto(), ends), time, now);
        }
    }

    /// When the entries of seen packets are due; `None` if no connection waits.
    pub(super) fn due(&self) -> Option<Due> {
        self.seen.due()
    }

    /// Requests the entries of seen packets that are due, up to a limit, and returns those that
    /// translate.
    pub(super) fn translations(&mut self) -> Vec<Translation> {
        let due = self.seen.take(Instant::now());
        if due.is_empty() || !is_loaded() {
            return Vec::new();
        }
        if self.socket.is_none() {
            self.socket = Netlink::open(PROTOCOL).ok();
        }
        let mut found: Vec<Translation> = Vec::new();
        for (proto, ends) in due {
            // After its translation, a packet matches the reversed reply tuple of its entry.
            let entry = self
                .ask(proto, &ends)
                .or_else(|| self.ask(proto, &ends.reversed()));
            let Some((from, to)) = entry else {
                continue;
            };
            self.seen.found((proto, ends), Instant::now());
            let is_new = |other: &Translation| (other.proto, other.from) != (proto, from);
            if from != to && found.iter().all(is_new) {
                found.push(Translation {
                    time: clock::now(),
                    proto,
                    from,
                    to,
                });
            }
        }
        found
    }

    fn ask(&mut self, proto: Proto, ends: &Ends) -> Option<(Ends, Ends)> {
        let question = question(proto, ends)?;
        let answer = self.socket.as_mut()?.get(&question).ok()?;
        entry(&answer)
    }
}

/// Whether a request loads no module.
fn is_loaded() -> bool {
    !Path::new("/proc/modules").exists() || Path::new("/sys/module/nf_conntrack_netlink").exists()
}

/// Whether a packet has a connection of its own. An ICMP error belongs to the connection of the
/// quoted packet. Conntrack reassembles fragments, and only the first one has ports.
fn is_tracked(packet: &Packet) -> bool {
    packet.fragment.is_none_or(|(offset, _)| offset == 0)
        && match &packet.transport {
            Transport::Tcp(_) | Transport::Udp { .. } | Transport::Sctp { .. } => true,
            Transport::Icmp(icmp) => icmp.echo.is_some(),
            Transport::Cut { .. } | Transport::Arp(_) | Transport::Other(_) => false,
        }
}

fn question(proto: Proto, ends: &Ends) -> Option<Question> {
    let Proto::Ip(number) = proto else {
        return None;
    };
    let addresses = vec![
        IPTuple::SourceAddress(ends.src),
        IPTuple::DestinationAddress(ends.dst),
    ];
    let mut header = vec![ProtoTuple::Protocol(protocol(number)?)];
    header.extend(match number {
        1 | 58 => echo(number, ends.src_port),
        _ => vec![
            ProtoTuple::SourcePort(ends.src_port),
            ProtoTuple::DestinationPort(ends.dst_port),
        ],
    });
    let family = match ends.src {
        IpAddr::V4(_) => NetfilterProtoFamily::IPv4,
        IpAddr::V6(_) => NetfilterProtoFamily::IPv6,
    };
    let tuple = vec![Tuple::Ip(addresses), Tuple::Proto(header)];
    let message = NetfilterMessage::new(
        NetfilterHeader::new(family, 0, 0),
        ConntrackMessage::Get(vec![ConntrackAttribute::CtaTupleOrig(tuple)]),
    );
    let mut payload = vec![0; message.buffer_len()];
    message.serialize(&mut payload);
    Some(Question::new(message.message_type(), &payload))
}

/// Identifier, type and code of an echo request, also for a reply.
fn echo(number: u8, id: u16) -> Vec<ProtoTuple> {
    let ([id_kind, type_kind, code_kind], request) = match number {
        1 => ([4, 5, 6], 8),
        _ => ([7, 8, 9], 128),
    };
    [
        (id_kind, id.to_be_bytes().to_vec()),
        (type_kind, vec![request]),
        (code_kind, vec![0]),
    ]
    .map(|(kind, value)| ProtoTuple::Other(DefaultNla::new(kind, value)))
    .into()
}

const fn protocol(number: u8) -> Option<Protocol> {
    match number {
        1 => Some(Protocol::Icmp),
        6 => Some(Protocol::Tcp),
        17 => Some(Protocol::Udp),
        58 => Some(Protocol::Ipv6Icmp),
        132 => Some(Protocol::Sctp),
        _ => None,
    }
}

/// Ends of a connection's packets as they come, and as the node sends them on; `None` if the
/// answer has neither.
fn entry(answer: &[u8]) -> Option<(Ends, Ends)> {
    let attributes = answer.get(HEADER..)?;
    let from = tuple(attribute(attributes, TUPLE_ORIG)?)?;
    let reply = tuple(attribute(attributes, TUPLE_REPLY)?)?;
    Some((from, reply.reversed()))
}

/// Kinds are compared without their flags, of which `NLA_F_NESTED` is one.
fn tuple(bytes: &[u8]) -> Option<Ends> {
    let addresses = attribute(bytes, TUPLE_IP)?;
    let header = attribute(bytes, TUPLE_PROTO)?;
    let address = |kinds: [u16; 2]| {
        let mut all = attributes(addresses);
        let (_, value) = all.find(|(kind, _)| kinds.contains(kind))?;
        match value.len() {
            4 => <[u8; 4]>::try_from(value).ok().map(IpAddr::from),
            16 => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
            _ => None,
        }
    };
    let port = |kinds: [u16; 2]| {
        let mut all = attributes(header);
        let (_, value) = all.find(|(kind, _)| kinds.contains(kind))?;
        Some(u16::from_be_bytes(value.try_into().ok()?))
    };
    let id = port(ICMP_ID);
    Some(Ends {
        src: address(SOURCES)?,
        dst: address(DESTINATIONS)?,
        src_port: id.or_else(|| port([SRC_PORT; 2]))?,
        dst_port: id.or_else(|| port([DST_PORT; 2]))?,
    })
}

#[cfg(test)]
mod tests {
    use tracer_core::model::{Flags, Tcp};

    use super::*;

    fn ends(src: [u8; 4], dst: [u8; 4], dst_port: u16) -> Ends {
        Ends {
            src: src.into(),
            dst: dst.into(),
            src_port: 40_000,
            dst_port,
        }
    }

    fn packet(ends: &Ends) -> Packet {
        let tcp = Tcp {
            src_port: 0,
            dst_port: 0,
            seq: 1,
            ack: 0,
            flags: Flags(Flags::SYN),
            window: 1,
            payload_len: 0,
            timestamps: None,
            options_hash: 0,
        };
        let packet = Packet {
            src: ends.src,
            dst: ends.dst,
            ttl: 64,
            ip_id: None,
            fragment: None,
            len: 40,
            transport: Transport::Tcp(tcp),
            payload_hash: None,
        };
        packet.with_ends(ends)
    }

    /// A request has the layout of an answer without the reply's tuple, so the parser of
    /// answers reads it.
    #[test]
    fn a_question_names_the_connection() {
        let asked = ends([10, 244, 1, 5], [10, 96, 0, 10], 80);
        for proto in [1, 6, 17] {
            let question = question(Proto::Ip(proto), &asked).expect("it can be asked for");
            let payload = question.payload();
            assert_eq!(payload[..HEADER], [2, 0, 0, 0]);
            let found = tuple(attribute(&payload[HEADER..], TUPLE_ORIG).expect("a tuple"));
            let id = Ends {
                dst_port: asked.src_port,
                ..asked
            };
            assert_eq!(found, Some(if proto == 1 { id } else { asked }));
        }
        assert!(question(Proto::Ip(4), &asked).is_none());
        assert!(question(Proto::Arp, &asked).is_none());
    }

    /// Only a connection's first fragment has ports.
    #[test]
    fn what_tells_no_connection_is_not_asked_for() {
        let one = packet(&ends([10, 244, 1, 5], [10, 96, 0, 10], 80));
        for (fragment, is_asked) in [
            (None, true),
            (Some((0, true)), true),
            (Some((1480, true)), false),
        ] {
            let packet = Packet {
                fragment,
                ..one.clone()
            };
            let mut connections = Connections::default();
            connections.saw(&packet, 1, Instant::now());
            assert_eq!(connections.due().is_some(), is_asked);
        }
    }
}
