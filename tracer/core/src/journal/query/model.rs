//! What a query consists of.

use ipnet::IpNet;
use jiff::{Timestamp, civil::Time};

use crate::{
    journey::Course,
    model::{Cause, Proto},
    verdict::{Confidence, Kind},
};

/// Terms, and how they are joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expr {
    /// All of them, at least two.
    All(Vec<Self>),
    /// Any of them, at least two.
    Any(Vec<Self>),
    Not(Box<Self>),
    Term(Term),
}

/// What is asked of a journey. Of several values, one has to be right.
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
    /// From the first hop to the last.
    Took(Limit),
    Retransmission,
    /// What somebody who looks for what is wrong wants to see.
    Problem,
}

/// What has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// A pod that owns an address of the packet.
    Pod,
    /// A node that a hop or drop was on.
    Node,
    /// Who owns an address of the packet.
    Owner,
    /// Reason or function of a drop.
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

/// Which end of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Either,
    Source,
    Destination,
}

impl Side {
    /// As keys of addresses.
    pub(super) const ENDS: [(&'static str, Self); 3] = [
        ("ip", Self::Either),
        ("src", Self::Source),
        ("dst", Self::Destination),
    ];

    /// As keys of ports.
    pub(super) const PORTS: [(&'static str, Self); 3] = [
        ("port", Self::Either),
        ("sport", Self::Source),
        ("dport", Self::Destination),
    ];
}

/// What is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// Bytes of the IP packet.
    Len,
    /// The journey's own.
    Id,
}

impl Number {
    pub(super) const ALL: [(&'static str, Self); 2] = [("len", Self::Len), ("id", Self::Id)];
}

/// A name, or a part of it; letters of ASCII are the same in both cases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// Never empty.
    pub(super) text: String,
    /// Whether it is the whole name.
    pub(super) whole: bool,
}

/// One end of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Network(IpNet),
    /// That of the address's owner.
    Owner(Name),
}

/// Numbers, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: u64,
    pub(super) to: u64,
}

/// A protocol, or both ICMPs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    AnyIcmp,
    One(Proto),
}

/// Protocols that have a name here.
pub(super) const PROTOCOLS: [(&str, Protocol); 6] = [
    ("tcp", Protocol::One(Proto::Ip(6))),
    ("udp", Protocol::One(Proto::Ip(17))),
    ("icmp", Protocol::AnyIcmp),
    ("icmpv6", Protocol::One(Proto::Ip(58))),
    ("sctp", Protocol::One(Proto::Ip(132))),
    ("arp", Protocol::One(Proto::Arp)),
];

/// TCP flags that are set, and that are not: bits as in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FlagSet {
    pub(super) set: u8,
    pub(super) unset: u8,
}

/// Flags by name. A SYN opens a connection; what answers it is a SYN|ACK.
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

/// A name with gaps that anything fits into: what is before, between and behind them.
/// Never empty; one piece is the whole name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob(pub(super) Vec<String>);

/// Interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Their node, or the pod whose namespace they are in.
    pub(super) within: Option<Glob>,
    pub(super) interface: Glob,
}

/// Ways from a hop to the next that begin or end at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leg {
    pub(super) place: Place,
    pub(super) took: Option<Limit>,
}

/// A bound of a time span, ns.
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

/// When a journey begins, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Period {
    /// Times of day; over midnight if the first is later.
    Daily(Time, Time),
    Once(Option<Timestamp>, Option<Timestamp>),
}

/// Keys that take values; a test holds that each is one.
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
