//! Reads a term: its key, and the values that the key takes.

mod spans;

use std::net::IpAddr;

use ipnet::IpNet;

use self::spans::{limit, number, period};
use super::{
    error::{QueryError, Wrong},
    model::{
        CONFIDENCES, COURSES, End, FLAGS, Glob, KEYS, Leg, Name, Named, Number, PROTOCOLS, Place,
        Protocol, Side, Term,
    },
    words::{Char, text},
};
use crate::{
    model::{Cause, Proto},
    verdict::Kind,
};

/// A word without a key.
pub(super) const RETRANSMISSION: &str = "retransmission";
pub(super) const PROBLEM: &str = "problem";

/// Verdicts by name.
pub(super) const VERDICTS: [(&str, Kind); 8] = {
    let mut verdicts = [("", Kind::Unknown); 8];
    let mut at = 0;
    while at < verdicts.len() {
        verdicts[at] = (Kind::ALL[at].name(), Kind::ALL[at]);
        at += 1;
    }
    verdicts
};

/// Reads a word; `at` is the position of its first character.
pub(super) fn term(word: &[Char], at: usize) -> Result<Term, QueryError> {
    if word.first().is_some_and(|c| c.is('>') || c.is('<')) {
        return limit(word).map(Term::Took);
    }
    let Some(colon) = word.iter().position(|c| c.is(':')) else {
        return bare(word, at);
    };
    let (key, values) = (text(&word[..colon]), &word[colon + 1..]);
    let name = key.to_ascii_lowercase();
    let term = Values {
        key: &name,
        at,
        values,
    };
    let one_of = |keys: &[&str]| keys.contains(&&*name);
    if let Some(named) = pick(&Named::ALL, &name) {
        Ok(Term::Named(named, term.each(example(named), self::name)?))
    } else if let Some(side) = pick(&Side::ENDS, &name) {
        let end = |value: &[Char]| end(value, side != Side::Either);
        Ok(Term::End(side, term.each("10.244.1.0/24", end)?))
    } else if let Some(side) = pick(&Side::PORTS, &name) {
        let port = |value: &[Char]| number(value, "a port", "80 or 8000..8999", u16::MAX.into());
        Ok(Term::Port(side, term.each("80", port)?))
    } else if let Some(of) = pick(&Number::ALL, &name) {
        let number = |value: &[Char]| number(value, "a number", "100, 100..200 or >100", u64::MAX);
        Ok(Term::Number(of, term.each("100", number)?))
    } else if one_of(&["verdict"]) {
        let kind = |value: &[Char]| choice(&VERDICTS, value, "a verdict");
        Ok(Term::Verdict(term.each("dropped", kind)?))
    } else if one_of(&["cause"]) {
        let causes = Cause::ALL.iter().map(|cause| (cause.name(), *cause));
        let causes: Vec<_> = causes.collect();
        let cause = |value: &[Char]| choice(&causes, value, "a cause");
        Ok(Term::Cause(term.each("netfilter", cause)?))
    } else if one_of(&["confidence"]) {
        let confidence = |value: &[Char]| choice(&CONFIDENCES, value, "a confidence");
        Ok(Term::Confidence(term.each("low", confidence)?))
    } else if one_of(&["direction"]) {
        let course = |value: &[Char]| choice(&COURSES, value, "a direction");
        Ok(Term::Direction(term.each("reply", course)?))
    } else if one_of(&["flags"]) {
        let flags = |value: &[Char]| choice(&FLAGS, value, "a TCP flag");
        Ok(Term::Flags(term.each("syn", flags)?))
    } else if one_of(&["proto"]) {
        Ok(Term::Proto(term.each("tcp", proto)?))
    } else if one_of(&["conversation"]) {
        let example = "5eed000000000007";
        Ok(Term::Conversation(term.each(example, conversation)?))
    } else if one_of(&["at"]) {
        Ok(Term::At(term.each("flannel.1", place)?))
    } else if one_of(&["leg"]) {
        Ok(Term::Leg(term.each("flannel.1>1ms", leg)?))
    } else if one_of(&["time"]) {
        Ok(Term::Time(term.each("12:34:00..12:35:00", period)?))
    } else {
        let (nearest, ()) = nearest(KEYS.map(|key| (key, ())).iter(), &name);
        Err(refuse_at(at, key, Wrong::Key(nearest)))
    }
}

/// The values of a term.
struct Values<'a> {
    key: &'a str,
    at: usize,
    values: &'a [Char],
}

impl Values<'_> {
    /// Reads all values, separated by commas.
    fn each<T>(
        &self,
        example: &'static str,
        read: impl Fn(&[Char]) -> Result<T, QueryError>,
    ) -> Result<Vec<T>, QueryError> {
        let values = self.values.split(|c| c.is(','));
        values
            .map(|value| match value {
                [] => {
                    let key = format!("{}:", self.key);
                    Err(refuse_at(self.at, key, Wrong::NoValue(example)))
                }
                value => read(value),
            })
            .collect()
    }
}

const fn example(named: Named) -> &'static str {
    match named {
        Named::Pod => "shop/cart",
        Named::Node | Named::Owner => "node-a",
        Named::Drop => "NETFILTER_DROP",
    }
}

/// Reads a word without a key.
fn bare(word: &[Char], at: usize) -> Result<Term, QueryError> {
    let said = text(word);
    let name = said.to_ascii_lowercase();
    if name == RETRANSMISSION {
        return Ok(Term::Retransmission);
    }
    if name == PROBLEM {
        return Ok(Term::Problem);
    }
    let with_key = |key: &str| Wrong::Term(format!("{key}:{name}"));
    Err(refuse_at(
        at,
        said,
        match &*name {
            "and" | "&&" | "&" => Wrong::And,
            "||" | "|" => Wrong::Or,
            // The most frequent conditions need no key.
            name if pick(&VERDICTS, name).is_some() => with_key("verdict"),
            name if pick(&FLAGS, name).is_some() => with_key("flags"),
            name if pick(&PROTOCOLS, name).is_some() => with_key("proto"),
            name if network(name).is_some() => with_key("ip"),
            name if name.parse::<u16>().is_ok() => with_key("port"),
            name => {
                let keys = KEYS.map(|key| (key, true));
                let all = keys
                    .iter()
                    .chain(&[(RETRANSMISSION, false), (PROBLEM, false)]);
                let (nearest, is_key) = nearest(all, name);
                let colon = if is_key { ":…" } else { "" };
                Wrong::Term(format!("{nearest}{colon}"))
            }
        },
    ))
}

/// The value with a name.
fn pick<T: Copy>(all: &[(&str, T)], name: &str) -> Option<T> {
    let mut all = all.iter();
    all.find(|(known, _)| *known == name).map(|(_, of)| *of)
}

/// The most similar name.
fn nearest<'a, T: Copy + 'a>(
    all: impl Iterator<Item = &'a (&'static str, T)>,
    name: &str,
) -> (&'static str, T) {
    let mut all = all.copied();
    let first = all.next().expect("there are some");
    let likeness = |known: &str| strsim::jaro_winkler(known, name);
    all.fold(first, |best, next| {
        if likeness(next.0) > likeness(best.0) {
            next
        } else {
            best
        }
    })
}

fn refuse_at(at: usize, word: String, wrong: Wrong) -> QueryError {
    QueryError { at, word, wrong }
}

/// Refuses a value, which has at least one character.
fn refuse(value: &[Char], wrong: Wrong) -> QueryError {
    refuse_at(value[0].at, text(value), wrong)
}

/// Reads one word of a list, in lower or upper case.
fn choice<T: Copy>(
    all: &[(&'static str, T)],
    value: &[Char],
    what: &'static str,
) -> Result<T, QueryError> {
    let name = text(value).to_ascii_lowercase();
    pick(all, &name).ok_or_else(|| {
        let (nearest, _) = nearest(all.iter(), &name);
        refuse(value, Wrong::Choice { what, nearest })
    })
}

/// Reads a part of a name, or after `=`, the whole name.
fn name(value: &[Char]) -> Result<Name, QueryError> {
    let (whole, named) = match value {
        [first, rest @ ..] if first.is('=') => (true, rest),
        all => (false, all),
    };
    if named.is_empty() {
        return Err(refuse(
            value,
            Wrong::Value {
                what: "a name",
                example: "shop/cart",
            },
        ));
    }
    Ok(Name {
        text: text(named),
        whole,
    })
}

/// Reads an address, a network, or if `named`, an owner's name.
fn end(value: &[Char], named: bool) -> Result<End, QueryError> {
    let said = text(value);
    let address = said.trim_start_matches('=');
    if let Some(network) = network(address) {
        return Ok(End::Network(network));
    }
    // No object has such a name, so this is a mistyped address.
    let is_meant =
        address.contains(':') || !address.contains(|c: char| !"0123456789./".contains(c));
    if named && !is_meant {
        return name(value).map(End::Owner);
    }
    Err(refuse(
        value,
        Wrong::Value {
            what: "an address or a network",
            example: "10.244.1.5 or 10.244.1.0/24",
        },
    ))
}

fn network(text: &str) -> Option<IpNet> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(address.into()),
        Err(_) => text.parse::<IpNet>().ok().map(|network| network.trunc()),
    }
}

/// Reads a protocol's name or number.
fn proto(value: &[Char]) -> Result<Protocol, QueryError> {
    let name = text(value).to_ascii_lowercase();
    // The text view writes protocols without a name in this form.
    let number = name.strip_prefix("proto-").unwrap_or(&name);
    match number.parse() {
        Ok(number) => Ok(Protocol::One(Proto::Ip(number))),
        Err(_) => choice(&PROTOCOLS, value, "a protocol"),
    }
}

/// Reads a conversation's number, as JSON has it.
fn conversation(value: &[Char]) -> Result<u64, QueryError> {
    let digits = text(value);
    let is_hex = digits.chars().all(|c| c.is_ascii_hexdigit());
    let number = u64::from_str_radix(&digits, 16);
    number.ok().filter(|_| is_hex).ok_or_else(|| {
        refuse(
            value,
            Wrong::Value {
                what: "a conversation",
                example: "5eed000000000007",
            },
        )
    })
}

/// Reads an interface, or an interface of a node or pod.
fn place(value: &[Char]) -> Result<Place, QueryError> {
    let (within, interface) = match value.iter().rposition(|char| char.c == '/') {
        Some(slash) => (Some(&value[..slash]), &value[slash + 1..]),
        None => (None, value),
    };
    if interface.is_empty() || within.is_some_and(<[_]>::is_empty) {
        return Err(refuse(
            value,
            Wrong::Value {
                what: "a place",
                example: "flannel.1, node-a/eth0 or node-a/*",
            },
        ));
    }
    Ok(Place {
        within: within.map(glob),
        interface: glob(interface),
    })
}

fn glob(value: &[Char]) -> Glob {
    Glob(value.split(|char| char.is('*')).map(text).collect())
}

/// Reads a place, and how long a leg at this place took.
fn leg(value: &[Char]) -> Result<Leg, QueryError> {
    let bound = value.iter().position(|char| char.is('>') || char.is('<'));
    let (at, took) = value.split_at(bound.unwrap_or(value.len()));
    if at.is_empty() {
        return Err(refuse(
            value,
            Wrong::Value {
                what: "a leg",
                example: "flannel.1>1ms",
            },
        ));
    }
    Ok(Leg {
        place: place(at)?,
        took: bound.map(|_| limit(took)).transpose()?,
    })
}
