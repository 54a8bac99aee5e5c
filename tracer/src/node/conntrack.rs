//! Reads from a node's conntrack table how followed packets are translated.
//!
//! Only entries of seen packets are requested, one by one, over ctnetlink. A request would load
//! the kernel module if it is missing, so nothing is requested before the module is loaded.
//! Tables with zones are not searched, because a packet does not tell its zone.

use std::{
    collections::VecDeque,
    net::IpAddr,
    path::Path,
    time::{Duration, Instant},
};

use hashbrown::HashMap;
use netlink_packet_core::{DefaultNla, NetlinkSerializable as _};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterProtoFamily,
    conntrack::{ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Protocol, Tuple},
};
use tracer_core::model::{Ends, Packet, Proto, Translation, Transport};

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

/// Limit of requests per report, so that a flood of connections does not keep an agent from its
/// other work. Each request takes some 10 µs.
const MOST: usize = 64;

/// Limit of remembered connections.
const REMEMBERED: usize = 4096;

/// Time after which an entry is requested again: soon, if it was missing, because it may not
/// have been confirmed yet; later, if it was there.
const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(30);

/// Time after a connection's first packet until its entry is requested. By then, the packet has
/// left its node or reached a socket, which confirms the entry. The engine takes a hop only
/// `GRACE` (`worker`) after it was seen, so an entry that comes before joins the
/// connection's first packet as well.
const CONFIRMED: Duration = Duration::from_millis(5);

/// The conntrack table of the thread's network namespace.
#[derive(Default)]
pub(super) struct Connections {
    socket: Option<Netlink>,
    /// Seen connections, and the time of each one's next request.
    known: HashMap<(Proto, Ends), Instant>,
    wanted: VecDeque<(Proto, Ends)>,
    /// The last seen connection since the last request.
    last: Option<(Proto, Ends)>,
    due: Option<Due>,
}

/// A request of entries that is due later.
#[derive(Clone, Copy)]
pub(super) struct Due {
    pub(super) at: Instant,
    /// Time of the oldest hop that waits for it, the agent's monotonic clock, ns.
    pub(super) since: u64,
}

impl Connections {
    /// Notes a packet that was seen at `time`, the agent's monotonic clock, ns; `now` is the
    /// approximate time.
    pub(super) fn saw(&mut self, packet: &Packet, time: u64, now: Instant) {
        if self.wanted.len() >= MOST {
            return;
        }
        let Some(ends) = packet.ends().filter(|_| is_tracked(packet)) else {
            return;
        };
        let key = (packet.proto(), ends);
        // Packets of a connection come in sequence, and each passes several points.
        if self.last.replace(key) == Some(key) {
            return;
        }
        if let Some(again) = self.known.get(&key)
            && *again > now
        {
            return;
        }
        if self.known.len() >= REMEMBERED {
            self.known.retain(|_, again| *again > now);
        }
        if self.known.len() < REMEMBERED {
            self.known.insert(key, now + SOON);
            self.wanted.push_back(key);
            self.due.get_or_insert(Due {
                at: now + CONFIRMED,
                since: time,
            });
        }
    }

    /// When the entries of seen packets are due; `None` if no connection waits.
    pub(super) const fn due(&self) -> Option<Due> {
        self.due
    }

    /// Requests the entries of seen packets, if these are due, and returns those that translate.
    pub(super) fn translations(&mut self) -> Vec<Translation> {
        if self.due.is_some_and(|due| due.at > Instant::now()) {
            return Vec::new();
        }
        self.due = None;
        if self.wanted.is_empty() || !is_loaded() {
            self.wanted.clear();
            self.last = None;
            return Vec::new();
        }
        if self.socket.is_none() {
            self.socket = Netlink::open(PROTOCOL).ok();
        }
        let wanted = std::mem::take(&mut self.wanted);
        self.last = None;
        let mut found: Vec<Translation> = Vec::new();
        for (proto, ends) in wanted {
            // After its translation, a packet matches the reversed reply tuple of its entry.
            let entry = self
                .ask(proto, &ends)
                .or_else(|| self.ask(proto, &ends.reversed()));
            let Some((from, to)) = entry else {
                continue;
            };
            self.known.insert((proto, ends), Instant::now() + LATER);
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

    #[test]
    fn a_connection_is_asked_for_once_and_not_too_many_at_a_time() {
        let now = Instant::now();
        let mut connections = Connections::default();
        let one = packet(&ends([10, 244, 1, 5], [10, 96, 0, 10], 80));
        connections.saw(&one, 1, now);
        connections.saw(&one, 1, now);
        assert_eq!(connections.wanted.len(), 1);
        for port in 1..1000 {
            connections.saw(
                &packet(&ends([10, 244, 1, 5], [10, 96, 0, 11], port)),
                2,
                now,
            );
        }
        assert_eq!(connections.wanted.len(), MOST);
        assert_eq!(connections.known.len(), MOST);
        let due = connections.due().expect("it waits");
        assert_eq!((due.at, due.since), (now + CONFIRMED, 1));
        for (fragment, asked) in [((0, true), 1), ((1480, true), 0)] {
            let fragment = Packet {
                fragment: Some(fragment),
                ..one.clone()
            };
            let mut connections = Connections::default();
            connections.saw(&fragment, 1, now);
            assert_eq!(connections.wanted.len(), asked);
        }
    }
}
