//! Any query, and any text that is nearly one.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::{Timestamp, civil::Time};
use proptest::{collection::vec, prelude::*, sample::select};

use super::super::{
    model::{
        CONFIDENCES, COURSES, End, Expr, FLAGS, Glob, KEYS, Leg, Limit, Name, Named, Number,
        PROTOCOLS, Period, Place, Protocol, Side, Span, Term,
    },
    values::VERDICTS,
};
use crate::model::{Cause, Proto};

/// Any expression that a text can stand for.
pub(super) fn expr() -> impl Strategy<Value = Expr> {
    term()
        .prop_map(Expr::Term)
        .prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 2..4).prop_map(Expr::All),
                vec(inner.clone(), 2..4).prop_map(Expr::Any),
                inner.prop_map(|expr| Expr::Not(Box::new(expr))),
            ]
        })
}

const PIECES: [&str; 32] = [
    " ",
    "(",
    ")",
    "-",
    "!",
    ",",
    "\"",
    "\\",
    "*",
    "=",
    "/",
    ":",
    "..",
    ">",
    "<",
    "or",
    "and",
    "1",
    "80",
    "1ms",
    ".5s",
    "tcp",
    "dropped",
    "10.0.0.0/8",
    "fd00::1",
    "12:34",
    "é",
    "syn",
    "2026-03-01T12:34:56Z",
    "retransmission",
    "problem",
    "18446744073709551615",
];

/// Pieces of queries in any order, and any characters.
pub(super) fn text() -> impl Strategy<Value = String> {
    let key = select(&KEYS[..]).prop_map(|key| format!("{key}:"));
    let piece = prop_oneof![
        4 => select(&PIECES[..]).prop_map(str::to_owned),
        2 => key,
        1 => any::<String>(),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn named<T: Copy + std::fmt::Debug>(all: &'static [(&str, T)]) -> impl Strategy<Value = T> {
    select(all).prop_map(|(_, of)| of)
}

fn several<T: std::fmt::Debug>(one: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    vec(one, 1..4)
}

fn name() -> impl Strategy<Value = Name> {
    ("\\PC{1,8}|[a-z=*,\" .]{1,8}", any::<bool>()).prop_map(|(text, whole)| Name { text, whole })
}

fn network() -> impl Strategy<Value = IpNet> {
    (any::<IpAddr>(), 0..=32_u8).prop_map(|(address, prefix)| {
        let network = IpNet::new(address, prefix).expect("both families have as much");
        network.trunc()
    })
}

fn end() -> impl Strategy<Value = End> {
    let like_an_address = |name: &Name| {
        let text = name.text.trim_start_matches('=');
        text.contains(':') || text.chars().all(|c| "0123456789./".contains(c))
    };
    let owner = name().prop_filter("an address", move |name| !like_an_address(name));
    prop_oneof![network().prop_map(End::Network), owner.prop_map(End::Owner)]
}

fn span(most: u64) -> impl Strategy<Value = Span> {
    let number = || prop_oneof![0..=most, Just(0)];
    prop_oneof![
        (number(), number()).prop_map(|(a, b)| Span {
            from: a.min(b),
            to: a.max(b)
        }),
        number().prop_map(|from| Span { from, to: u64::MAX }),
    ]
}

fn protocol() -> impl Strategy<Value = Protocol> {
    let number = any::<u8>().prop_map(|number| Protocol::One(Proto::Ip(number)));
    prop_oneof![named(&PROTOCOLS), number]
}

fn glob() -> impl Strategy<Value = Glob> {
    let pieces = vec("[^/\\PC]{0,4}|[a-z0-9.\"*>< -]{0,4}", 1..4);
    let pieces = pieces.prop_filter("nothing", |pieces| {
        pieces.len() > 1 || !pieces[0].is_empty()
    });
    pieces.prop_map(Glob)
}

fn place() -> impl Strategy<Value = Place> {
    let within = proptest::option::of(glob());
    (within, glob()).prop_map(|(within, interface)| Place { within, interface })
}

fn limit() -> impl Strategy<Value = Limit> {
    let span = || prop_oneof![any::<u64>(), (0..9_000_u64).prop_map(|ms| ms * 1_000_000)];
    prop_oneof![span().prop_map(Limit::Over), span().prop_map(Limit::Under)]
}

fn leg() -> impl Strategy<Value = Leg> {
    let took = proptest::option::of(limit());
    (place(), took).prop_map(|(place, took)| Leg { place, took })
}

fn period() -> impl Strategy<Value = Period> {
    let clock = || {
        (0..24_i8, 0..60_i8, 0..60_i8, 0..1_000_000_000_i32)
            .prop_map(|(h, m, s, ns)| Time::new(h, m, s, ns).expect("a time of day"))
    };
    let moment =
        || any::<i64>().prop_map(|time| Timestamp::from_nanosecond(time.into()).expect("in range"));
    prop_oneof![
        (clock(), clock()).prop_map(|(from, to)| Period::Daily(from, to)),
        (moment(), moment()).prop_map(|(a, b)| Period::Once(Some(a.min(b)), Some(a.max(b)))),
        moment().prop_map(|from| Period::Once(Some(from), None)),
        moment().prop_map(|to| Period::Once(None, Some(to))),
    ]
}

fn term() -> impl Strategy<Value = Term> {
    let side = || select(&[Side::Source, Side::Destination][..]);
    let networks = several(network().prop_map(End::Network));
    prop_oneof![
        several(named(&VERDICTS)).prop_map(Term::Verdict),
        several(select(Cause::ALL)).prop_map(Term::Cause),
        several(named(&CONFIDENCES)).prop_map(Term::Confidence),
        several(named(&COURSES)).prop_map(Term::Direction),
        several(protocol()).prop_map(Term::Proto),
        several(named(&FLAGS)).prop_map(Term::Flags),
        (named(&Named::ALL), several(name())).prop_map(|(of, names)| Term::Named(of, names)),
        networks.prop_map(|ends| Term::End(Side::Either, ends)),
        (side(), several(end())).prop_map(|(side, ends)| Term::End(side, ends)),
        (named(&Side::PORTS), several(span(u16::MAX.into())))
            .prop_map(|(side, ports)| Term::Port(side, ports)),
        (named(&Number::ALL), several(span(u64::MAX))).prop_map(|(of, all)| Term::Number(of, all)),
        several(any::<u64>()).prop_map(Term::Conversation),
        several(place()).prop_map(Term::At),
        several(leg()).prop_map(Term::Leg),
        several(period()).prop_map(Term::Time),
        limit().prop_map(Term::Took),
        Just(Term::Retransmission),
        Just(Term::Problem),
    ]
}
