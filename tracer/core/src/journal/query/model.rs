//! The parts of a query.

use ipnet::IpNet;
use jiff::{Timestamp, civil::Time};

use crate::{
    journey::Course,
    model::{Cause, Proto},
    verdict::{Confidence, Kind},
};

/// A term, or an expression of terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expr {
    /// All must match; at least two.
    All(Vec<Self>),
    /// At least one must match; at least two.
    Any(Vec<Self>),
    Not(Box<Self>),
    Term(Term),
}

/// A condition on a journey. If it has several values, one of them has to match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Term {
    Verdict(Vec<Kind>),
    Cause(Vec<Cause>),
    Confidence(Vec<Confidence>),
    Direction(Vec<Course>),
    Proto(Vec<Protocol>),
    Flags(Vec<FlagSet>),
    Named(Named, Vec<Name>),
    End(Side, Vec<End>),
    Port(Side, Vec<Span>),
    Number(Number, Vec<Span>),
    Conversation(Vec<u64>),
    At(Vec<Place>),
    Leg(Vec<Leg>),
    Time(Vec<Period>),
    /// Time from the first hop to the last.
    Took(Limit),
    Retransmission,
    /// Journeys with a problem.
    Problem,
}

/// Things that have names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// A pod that owns an address of the packet.
    Pod,
    /// A node that a hop or drop was on.
    Node,
    /// The owner of an address of the packet.
    Owner,
    /// The reason or function of a drop.
    Drop,
}

impl Named {
    pub(super) const ALL: [(&'static str, Self); 4] = [
        ("pod", Self::Pod),
        ("node", Self::Node),
        ("owner", Self::Owner),
        ("drop", Self::Drop),
    ];
}

/// An end of the packet, or either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Either,
    Source,
    Destination,
}

impl Side {
    /// Keys for addresses.
    pub(super) const ENDS: [(&'static str, Self); 3] = [
        ("ip", Self::Either),
        ("src", Self::Source),
        ("dst", Self::Destination),
    ];

    /// Keys for ports.
    pub(super) const PORTS: [(&'static str, Self); 3] = [
        ("port", Self::Either),
        ("sport", Self::Source),
        ("dport", Self::Destination),
    ];
}

/// Things that are numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// Length of the IP packet, bytes.
    Len,
    /// The journey's own number.
    Id,
}

impl Number {
    pub(super) const ALL: [(&'static str, Self); 2] = [("len", Self::Len), ("id", Self::Id)];
}

/// A name or a part of it; ASCII letters match in both cases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// The text; never empty.
    pub(super) text: String,
    /// Whether the text is the whole name.
    pub(super) whole: bool,
}

/// One end of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Network(IpNet),
    /// An end whose address has an owner of this name.
    Owner(Name),
}

/// A range of numbers, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: u64,
    pub(super) to: u64,
}

/// A protocol, or ICMP and ICMPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    AnyIcmp,
    One(Proto),
}

/// Protocols with a name.
pub(super) const PROTOCOLS: [(&str, Protocol); 6] = [
    ("tcp", Protocol::One(Proto::Ip(6))),
    ("udp", Protocol::One(Proto::Ip(17))),
    ("icmp", Protocol::AnyIcmp),
    ("icmpv6", Protocol::One(Proto::Ip(58))),
    ("sctp", Protocol::One(Proto::Ip(132))),
    ("arp", Protocol::One(Proto::Arp)),
];

/// TCP flags that must be set, and flags that must not be set: bits as in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FlagSet {
    pub(super) set: u8,
    pub(super) unset: u8,
}

/// Flags by name. `SYN` means a packet that opens a connection, so the answer to it, a SYN|ACK,
/// does not match.
pub(super) const FLAGS: [(&str, FlagSet); 9] = {
    const fn set(set: u8) -> FlagSet {
        FlagSet { set, unset: 0 }
    }
    [
        (
            "syn",
            FlagSet {
                set: 0x02,
                unset: 0x10,
            },
        ),
        ("synack", set(0x12)),
        ("ack", set(0x10)),
        ("fin", set(0x01)),
        ("rst", set(0x04)),
        ("psh", set(0x08)),
        ("urg", set(0x20)),
        ("ece", set(0x40)),
        ("cwr", set(0x80)),
    ]
};

pub(super) const CONFIDENCES: [(&str, Confidence); 3] = [
    ("confirmed", Confidence::Confirmed),
    ("high", Confidence::High),
    ("low", Confidence::Low),
];

pub(super) const COURSES: [(&str, Course); 2] =
    [("request", Course::Request), ("reply", Course::Reply)];

/// A name with gaps for any text: the pieces before, between and after the gaps. Never empty; a
/// single piece is the whole name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob(pub(super) Vec<String>);

/// Interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Their node, or the pod that has their network namespace.
    pub(super) within: Option<Glob>,
    pub(super) interface: Glob,
}

/// Legs, from a hop to the next one, that begin or end at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leg {
    pub(super) place: Place,
    pub(super) took: Option<Limit>,
}

/// A limit of a time span, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Over(u64),
    Under(u64),
}

/// Units of time spans, ns.
pub(super) const UNITS: [(&str, u64); 6] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Period in which a journey begins, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Period {
    /// Times of day; past midnight if the first is later.
    Daily(Time, Time),
    Once(Option<Timestamp>, Option<Timestamp>),
}

/// Keys that take values; a test checks each of them.
pub(super) const KEYS: [&str; 22] = [
    "verdict",
    "cause",
    "confidence",
    "direction",
    "pod",
    "node",
    "owner",
    "ip",
    "src",
    "dst",
    "port",
    "sport",
    "dport",
    "proto",
    "flags",
    "len",
    "at",
    "leg",
    "drop",
    "time",
    "id",
    "conversation",
];
