//! Writes a query as text with the same meaning.

use std::fmt::{self, Display, Formatter};

use jiff::Timestamp;

use super::{
    Query,
    model::{
        CONFIDENCES, COURSES, End, Expr, FLAGS, Glob, Leg, Limit, Name, Named, Number, PROTOCOLS,
        Period, Place, Protocol, Side, Span, Term, UNITS,
    },
    values::{PROBLEM, RETRANSMISSION, VERDICTS},
};
use crate::model::Proto;

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(all) => joined(f, " ", all, |f, expr| match expr {
                Self::All(_) | Self::Any(_) => write!(f, "({expr})"),
                Self::Not(_) | Self::Term(_) => write!(f, "{expr}"),
            }),
            Self::Any(any) => joined(f, " or ", any, |f, expr| match expr {
                Self::Any(_) => write!(f, "({expr})"),
                Self::All(_) | Self::Not(_) | Self::Term(_) => write!(f, "{expr}"),
            }),
            Self::Not(expr) => match &**expr {
                Self::All(_) | Self::Any(_) => write!(f, "-({expr})"),
                Self::Not(_) | Self::Term(_) => write!(f, "-{expr}"),
            },
            Self::Term(term) => term.fmt(f),
        }
    }
}

impl Display for Term {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verdict(kinds) => list(f, "verdict", kinds, |kind| called(&VERDICTS, kind)),
            Self::Cause(causes) => list(f, "cause", causes, |cause| cause.name().to_owned()),
            Self::Confidence(all) => list(f, "confidence", all, |one| called(&CONFIDENCES, one)),
            Self::Direction(all) => list(f, "direction", all, |one| called(&COURSES, one)),
            Self::Proto(all) => list(f, "proto", all, shown),
            Self::Flags(all) => list(f, "flags", all, |one| called(&FLAGS, one)),
            Self::Named(named, names) => list(f, key(&Named::ALL, named), names, shown),
            Self::End(side, ends) => list(f, key(&Side::ENDS, side), ends, shown),
            Self::Port(side, ports) => list(f, key(&Side::PORTS, side), ports, shown),
            Self::Number(of, spans) => list(f, key(&Number::ALL, of), spans, shown),
            Self::Conversation(numbers) => list(f, "conversation", numbers, |number| {
                format!("{number:016x}")
            }),
            Self::At(places) => list(f, "at", places, shown),
            Self::Leg(legs) => list(f, "leg", legs, shown),
            Self::Time(periods) => list(f, "time", periods, shown),
            Self::Took(limit) => limit.fmt(f),
            Self::Retransmission => f.write_str(RETRANSMISSION),
            Self::Problem => f.write_str(PROBLEM),
        }
    }
}

fn joined<T>(
    f: &mut Formatter<'_>,
    between: &str,
    all: &[T],
    show: impl Fn(&mut Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (index, one) in all.iter().enumerate() {
        if index > 0 {
            f.write_str(between)?;
        }
        show(f, one)?;
    }
    Ok(())
}

fn list<T>(
    f: &mut Formatter<'_>,
    key: &str,
    values: &[T],
    show: impl Fn(&T) -> String,
) -> fmt::Result {
    write!(f, "{key}:")?;
    joined(f, ",", values, |f, value| f.write_str(&show(value)))
}

fn shown(value: &impl Display) -> String {
    value.to_string()
}

/// The key of a value.
fn key<T: PartialEq>(all: &[(&'static str, T)], of: &T) -> &'static str {
    let mut all = all.iter();
    let key = all.find(|(_, known)| known == of);
    key.expect("each has a key").0
}

/// The name of a value.
fn called<T: PartialEq>(all: &[(&'static str, T)], value: &T) -> String {
    key(all, value).to_owned()
}

impl Display for Protocol {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut known = PROTOCOLS.iter();
        match (known.find(|(_, known)| known == self), self) {
            (Some((name, _)), _) => f.write_str(name),
            (None, Self::One(Proto::Ip(number))) => write!(f, "{number}"),
            (None, Self::One(Proto::Arp) | Self::AnyIcmp) => unreachable!("they have names"),
        }
    }
}

/// A text, in quotes if a character in it has a special meaning.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./@%+:".contains(c);
        if self.0.chars().all(is_plain) && !self.0.contains("..") {
            return f.write_str(self.0);
        }
        f.write_str("\"")?;
        for c in self.0.chars() {
            if matches!(c, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        f.write_str("\"")
    }
}

impl Display for Name {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let whole = if self.whole { "=" } else { "" };
        write!(f, "{whole}{}", Quoted(&self.text))
    }
}

impl Display for End {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) if network.prefix_len() == network.max_prefix_len() => {
                network.addr().fmt(f)
            }
            Self::Network(network) => network.fmt(f),
            Self::Owner(name) => name.fmt(f),
        }
    }
}

impl Display for Span {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Self { from, to } if from == to => write!(f, "{from}"),
            Self { from, to: u64::MAX } => write!(f, "{from}.."),
            Self { from, to } => write!(f, "{from}..{to}"),
        }
    }
}

impl Display for Glob {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        joined(f, "*", &self.0, |f, piece| Quoted(piece).fmt(f))
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(within) = &self.within {
            write!(f, "{within}/")?;
        }
        self.interface.fmt(f)
    }
}

impl Display for Leg {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)?;
        self.took.map_or(Ok(()), |took| took.fmt(f))
    }
}

impl Display for Limit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (sign, span) = match *self {
            Self::Over(span) => ('>', span),
            Self::Under(span) => ('<', span),
        };
        let mut units = UNITS.iter().rev();
        let unit = units.find(|(_, unit)| span.is_multiple_of(*unit));
        let (unit, size) = unit.expect("a nanosecond divides all");
        write!(f, "{sign}{}{unit}", span / size)
    }
}

impl Display for Period {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Daily(from, to) => write!(f, "{from}..{to}"),
            Self::Once(from, to) => {
                let end = |time: &Option<Timestamp>| time.as_ref().map_or_else(String::new, shown);
                write!(f, "{}..{}", end(from), end(to))
            }
        }
    }
}
