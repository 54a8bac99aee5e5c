//! A packet as an agent saw it: the fields of its headers.

use std::{fmt, net::IpAddr, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A MAC address.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl TryFrom<String> for Mac {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
            .map_err(|()| format!("{text} is no MAC address"))
    }
}

impl FromStr for Mac {
    type Err = ();

    /// Reads six bytes, as in `02:00:00:00:00:01`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut bytes = text.split(':').map(|byte| match byte.len() {
            2 => u8::from_str_radix(byte, 16).map_err(drop),
            _ => Err(()),
        });
        let mut mac = [0; 6];
        for byte in &mut mac {
            *byte = bytes.next().ok_or(())??;
        }
        bytes.next().is_none().then_some(Self(mac)).ok_or(())
    }
}

/// How a tunnel carries packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EncapKind {
    /// VXLAN: frames in UDP (RFC 7348).
    Vxlan,
    /// IP packets in IP packets, in any combination of versions (RFC 2003, 2473, 4213).
    IpIp,
    /// Geneve: frames or IP packets in UDP (RFC 8926).
    Geneve,
    /// GRE: frames or IP packets in IP packets (RFC 2784, 2890).
    Gre,
}

impl fmt::Display for EncapKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Vxlan => "vxlan",
            Self::IpIp => "ipip",
            Self::Geneve => "geneve",
            Self::Gre => "gre",
        })
    }
}

impl FromStr for EncapKind {
    type Err = ();

    /// Reads a kind as `Display` writes it.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut all = [Self::Vxlan, Self::IpIp, Self::Geneve, Self::Gre].into_iter();
        all.find(|kind| kind.to_string() == text).ok_or(())
    }
}

/// The innermost tunnel around a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encap {
    /// Kind of the tunnel.
    pub kind: EncapKind,
    /// Network identifier (VNI) of VXLAN or Geneve, or GRE's key; `None` if the tunnel has
    /// none.
    pub vni: Option<u32>,
    /// Source address of the outer IP header.
    pub outer_src: IpAddr,
    /// Destination address of the outer IP header.
    pub outer_dst: IpAddr,
    /// Number of tunnels around the packet, this one included.
    pub levels: u8,
}

/// The innermost packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Packet {
    /// Source address; for ARP, the sender's protocol address.
    pub src: IpAddr,
    /// Destination address; for ARP, the target's protocol address.
    pub dst: IpAddr,
    /// TTL or hop limit; 0 for ARP.
    pub ttl: u8,
    /// IPv4 identification, or the identification in the fragment header of IPv6.
    pub ip_id: Option<u32>,
    /// Offset of a fragment in bytes, and whether more fragments follow; `None` for a whole
    /// packet.
    pub fragment: Option<(u16, bool)>,
    /// Length of the IP packet with its header, bytes; 28 for ARP.
    pub len: u32,
    /// What the packet carries.
    pub transport: Transport,
    /// Keyed hash of the payload's first 32 bytes ([`tracer_common::hash::payload_hash`]); 0
    /// for TCP, ARP and an empty payload. `None` for a freed packet whose payload could not be
    /// read.
    pub payload_hash: Option<u64>,
}

/// Fields of a DNS message's header (RFC 1035, 4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsHeader {
    /// Identifier, the same in a question and its answer.
    pub id: u16,
    /// Whether the message is an answer.
    pub is_answer: bool,
    /// Whether the message was truncated, because it is too long for a datagram.
    pub truncated: bool,
    /// Return code (RCODE); 0 for a question.
    pub code: u8,
}

/// What an IP packet carries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP (RFC 9293).
    Tcp(Tcp),
    /// UDP (RFC 768).
    Udp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
        /// Length field: header and payload, bytes.
        len: u16,
        /// The 12 bytes of a DNS header, network byte order, if a port is 53; `None` otherwise.
        dns: Option<[u8; 12]>,
    },
    /// SCTP (RFC 9260).
    Sctp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
        /// Verification tag.
        tag: u32,
    },
    /// ICMP or ICMPv6.
    Icmp(Icmp),
    /// ARP (RFC 826).
    Arp(Arp),
    /// A header of TCP, UDP or SCTP that ends after its ports, or states a length that no
    /// header can have.
    Cut {
        /// IANA protocol number.
        proto: u8,
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
    },
    /// A later fragment, a packet that ends before its ports, or a protocol that tracer does
    /// not decode: IANA protocol number.
    Other(u8),
}

/// A TCP header.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tcp {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number of the first byte, or of SYN.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Flags.
    pub flags: Flags,
    /// Window, unscaled.
    pub window: u16,
    /// Payload bytes, all segments together.
    pub payload_len: u32,
    /// Timestamp value and timestamp echo reply (RFC 7323); `None` without this option.
    pub timestamps: Option<(u32, u32)>,
    /// Hash of the bytes of all options, without a key.
    pub options_hash: u64,
}

/// TCP's flags, as in byte 13 of the header, counted from 0 (RFC 9293, 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u8);

impl Flags {
    /// FIN: no more data from the sender.
    pub const FIN: u8 = 0x01;
    /// SYN: synchronize sequence numbers.
    pub const SYN: u8 = 0x02;
    /// RST: reset the connection.
    pub const RST: u8 = 0x04;
    /// PSH: push the data to the application.
    pub const PSH: u8 = 0x08;
    /// ACK: the acknowledgement number is valid.
    pub const ACK: u8 = 0x10;

    /// Whether all flags of `bits` are set.
    #[must_use]
    pub const fn has(self, bits: u8) -> bool {
        self.0 & bits == bits
    }
}

impl fmt::Display for Flags {
    /// Writes names joined by a bar, as `SYN|ACK`, in the order in which people write them;
    /// `none` without flags.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(u8, &str); 8] = [
            (0x02, "SYN"),
            (0x01, "FIN"),
            (0x04, "RST"),
            (0x08, "PSH"),
            (0x10, "ACK"),
            (0x20, "URG"),
            (0x40, "ECE"),
            (0x80, "CWR"),
        ];
        let names: Vec<&str> = NAMES
            .iter()
            .filter(|(bit, _)| self.0 & bit != 0)
            .map(|(_, name)| *name)
            .collect();
        f.pad(&if names.is_empty() {
            "none".to_owned()
        } else {
            names.join("|")
        })
    }
}

/// An ICMP or ICMPv6 message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Icmp {
    /// Whether the message is ICMPv6.
    pub v6: bool,
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Identifier and sequence number of an echo request or reply.
    pub echo: Option<(u16, u16)>,
    /// Target of a neighbour solicitation or advertisement.
    pub neighbour: Option<Neighbour>,
    /// The packet that an ICMP error quotes. It is boxed because few packets have one.
    pub quote: Option<Box<Quote>>,
}

/// A neighbour solicitation or advertisement (RFC 4861).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Neighbour {
    /// The target address.
    pub target: IpAddr,
    /// Whether the message is an advertisement.
    pub advertisement: bool,
}

/// The packet that an ICMP error quotes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Quote {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// IANA protocol number of what follows the IP header and its extension headers.
    pub proto: u8,
    /// Source and destination port; `None` if the protocol has no ports.
    pub ports: Option<(u16, u16)>,
    /// IPv4 identification; `None` for IPv6.
    pub ip_id: Option<u16>,
    /// The first eight bytes after the IP header and its extension headers, network byte order.
    pub header: Option<[u8; 8]>,
}

/// An ARP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Arp {
    /// Operation: 1 request, 2 reply.
    pub operation: u16,
    /// The sender's hardware address.
    pub sender: Mac,
    /// The target's hardware address.
    pub target: Mac,
}

/// A protocol, as people name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Proto {
    /// ARP, which has no IP protocol number.
    Arp,
    /// An IANA protocol number.
    Ip(u8),
}

impl fmt::Display for Proto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arp => f.pad("arp"),
            Self::Ip(1) => f.pad("icmp"),
            Self::Ip(6) => f.pad("tcp"),
            Self::Ip(17) => f.pad("udp"),
            Self::Ip(58) => f.pad("icmpv6"),
            Self::Ip(132) => f.pad("sctp"),
            Self::Ip(number) => f.pad(&format!("proto-{number}")),
        }
    }
}

impl FromStr for Proto {
    type Err = ();

    /// Reads a protocol as `Display` writes it.
    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "arp" {
            return Ok(Self::Arp);
        }
        let number = match text.strip_prefix("proto-") {
            Some(number) => number.parse().map_err(drop)?,
            None => [1, 6, 17, 58, 132]
                .into_iter()
                .find(|number| Self::Ip(*number).to_string() == text)
                .ok_or(())?,
        };
        Ok(Self::Ip(number))
    }
}

impl Packet {
    /// The packet's protocol.
    #[must_use]
    pub fn proto(&self) -> Proto {
        match &self.transport {
            Transport::Tcp(_) => Proto::Ip(6),
            Transport::Udp { .. } => Proto::Ip(17),
            Transport::Sctp { .. } => Proto::Ip(132),
            Transport::Icmp(icmp) => Proto::Ip(if icmp.v6 { 58 } else { 1 }),
            Transport::Arp(_) => Proto::Arp,
            Transport::Cut { proto, .. } => Proto::Ip(*proto),
            Transport::Other(number) => Proto::Ip(*number),
        }
    }

    /// The packet's TCP header, if the packet carries TCP data and is no fragment. A fragment's
    /// header states more data than the fragment has.
    #[must_use]
    pub fn stream_data(&self) -> Option<&Tcp> {
        match &self.transport {
            Transport::Tcp(tcp) if tcp.payload_len > 0 && self.fragment.is_none() => Some(tcp),
            _ => None,
        }
    }

    /// Whether the packet is ARP or neighbour discovery.
    #[must_use]
    pub const fn is_neighbour(&self) -> bool {
        match &self.transport {
            Transport::Arp(_) => true,
            Transport::Icmp(icmp) => icmp.neighbour.is_some(),
            _ => false,
        }
    }

    /// The header of the DNS message over UDP in the packet; `None` for other packets.
    #[must_use]
    pub fn dns(&self) -> Option<DnsHeader> {
        let Transport::Udp {
            dns: Some([high, low, flags, more, ..]),
            ..
        } = self.transport
        else {
            return None;
        };
        Some(DnsHeader {
            id: u16::from_be_bytes([high, low]),
            is_answer: flags & 0x80 != 0,
            truncated: flags & 0x02 != 0,
            code: more & 0xf,
        })
    }

    /// Source and destination port; `None` without ports.
    #[must_use]
    pub fn ports(&self) -> Option<(u16, u16)> {
        match &self.transport {
            Transport::Tcp(tcp) => Some((tcp.src_port, tcp.dst_port)),
            Transport::Udp {
                src_port, dst_port, ..
            }
            | Transport::Sctp {
                src_port, dst_port, ..
            }
            | Transport::Cut {
                src_port, dst_port, ..
            } => Some((*src_port, *dst_port)),
            Transport::Icmp(_) | Transport::Arp(_) | Transport::Other(_) => None,
        }
    }
}
