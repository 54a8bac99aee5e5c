//! Matches a journey with a query.

use std::net::IpAddr;

use jiff::{Timestamp, tz::TimeZone};

use super::model::{
    End, Expr, FlagSet, Glob, Leg, Limit, Name, Named, Number, Period, Place, Protocol, Side, Span,
    Term,
};
use crate::{
    journey::{Journey, Scene, Step},
    model::{Owner, OwnerKind, Proto, Transport},
    verdict::{Verdict, latencies},
};

/// A journey with its verdict and its scene.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) scene: &'a Scene,
    pub(super) zone: &'a TimeZone,
    pub(super) journey: &'a Journey,
    pub(super) verdict: &'a Verdict,
}

impl Seen<'_> {
    pub(super) fn fits(self, expr: &Expr) -> bool {
        match expr {
            Expr::All(all) => all.iter().all(|expr| self.fits(expr)),
            Expr::Any(any) => any.iter().any(|expr| self.fits(expr)),
            Expr::Not(expr) => !self.fits(expr),
            Expr::Term(term) => self.is(term),
        }
    }

    fn is(self, term: &Term) -> bool {
        let Self {
            journey, verdict, ..
        } = self;
        match term {
            Term::Verdict(kinds) => kinds.contains(&verdict.kind),
            Term::Cause(causes) => verdict.cause.is_some_and(|cause| causes.contains(&cause)),
            Term::Confidence(confidences) => confidences.contains(&verdict.confidence),
            Term::Direction(courses) => courses.contains(&journey.direction),
            Term::Proto(protocols) => {
                let proto = journey.packet.proto();
                protocols.iter().any(|protocol| protocol.is(proto))
            }
            Term::Flags(sets) => match &journey.packet.transport {
                Transport::Tcp(tcp) => sets.iter().any(|set| set.is(tcp.flags.0)),
                _ => false,
            },
            Term::Named(named, names) => names.iter().any(|name| self.is_named(*named, name)),
            Term::End(side, ends) => {
                let mut addresses = self.addresses(*side);
                addresses.any(|address| ends.iter().any(|end| self.is_end(end, address)))
            }
            Term::Port(side, spans) => journey.packet.ports().is_some_and(|(from, to)| {
                let mut ports = of(*side, from, to);
                ports.any(|port| is_within(spans, port.into()))
            }),
            Term::Number(Number::Len, spans) => is_within(spans, journey.packet.len.into()),
            Term::Number(Number::Id, spans) => is_within(spans, journey.id),
            Term::Conversation(numbers) => numbers.contains(&journey.conversation),
            Term::At(places) => places.iter().any(|place| self.passed(place)),
            Term::Leg(legs) => legs.iter().any(|leg| self.has_leg(leg)),
            Term::Time(periods) => periods.iter().any(|period| self.is_then(*period)),
            Term::Took(limit) => self.took().is_some_and(|time| limit.allows(time)),
            Term::Retransmission => journey.retransmits.is_some(),
            Term::Problem => verdict.is_problem(),
        }
    }

    /// Addresses of the packet.
    fn addresses(self, side: Side) -> impl Iterator<Item = IpAddr> {
        let packet = &self.journey.packet;
        of(side, packet.src, packet.dst)
    }

    /// Owner of an address when the packet was first seen.
    fn owner(&self, address: IpAddr) -> Option<&Owner> {
        let Scene { owners, .. } = self.scene;
        owners.at(address, self.journey.start())
    }

    fn is_end(&self, end: &End, address: IpAddr) -> bool {
        match end {
            End::Network(network) => network.contains(&address),
            End::Owner(name) => {
                let owner = self.owner(address);
                owner.is_some_and(|owner| name.is(&owner.name))
            }
        }
    }

    fn is_named(self, named: Named, name: &Name) -> bool {
        let Self { scene, journey, .. } = self;
        match named {
            Named::Pod => {
                let mut pods = self.addresses(Side::Either);
                let is_pod = |owner: &Owner| owner.kind == OwnerKind::Pod && name.is(&owner.name);
                pods.any(|address| self.owner(address).is_some_and(is_pod))
            }
            Named::Owner => {
                let mut addresses = self.addresses(Side::Either);
                addresses.any(|address| self.owner(address).is_some_and(|of| name.is(&of.name)))
            }
            Named::Node => {
                let steps = journey.steps.iter().map(|step| step.node);
                let drops = journey.drops.iter().map(|drop| drop.node);
                let mut nodes = steps.chain(drops);
                nodes.any(|node| name.is(&scene.nodes[node].node))
            }
            Named::Drop => {
                let mut drops = journey.drops.iter();
                drops.any(|drop| name.is(&drop.reason) || name.is(&drop.function))
            }
        }
    }

    /// Whether the packet was seen or dropped at a place.
    fn passed(self, place: &Place) -> bool {
        let Self { scene, journey, .. } = self;
        let mut drops = journey.drops.iter();
        journey.steps.iter().any(|step| self.is_at(place, step))
            || drops.any(|drop| {
                let node = &scene.nodes[drop.node].node;
                let device = drop.device.as_ref();
                device.is_some_and(|device| place.is(node, &drop.netns, device))
            })
    }

    fn is_at(self, place: &Place, step: &Step) -> bool {
        let point = self.scene.point(step);
        let node = &self.scene.nodes[step.node].node;
        place.is(node, &point.netns, &point.interface)
    }

    fn has_leg(self, leg: &Leg) -> bool {
        let touches = |from, to| self.is_at(&leg.place, from) || self.is_at(&leg.place, to);
        match leg.took {
            None => {
                let mut legs = self.journey.steps.windows(2);
                legs.any(|leg| touches(&leg[0], &leg[1]))
            }
            Some(limit) => latencies(self.journey)
                .any(|(from, to, took)| limit.allows(took) && touches(from, to)),
        }
    }

    /// Time from the first hop to the last, ns; `None` if the hops may be another packet's.
    fn took(self) -> Option<u64> {
        let [first, .., last] = &*self.journey.steps else {
            return None;
        };
        let is_sure = !self.journey.ambiguous || first.node == last.node;
        u64::try_from(self.journey.way()).ok().filter(|_| is_sure)
    }

    fn is_then(self, period: Period) -> bool {
        let start = Timestamp::from_nanosecond(self.journey.start().into())
            .expect("64 bits of nanoseconds reach from 1677 to 2262");
        match period {
            Period::Once(from, to) => {
                from.is_none_or(|from| from <= start) && to.is_none_or(|to| start <= to)
            }
            Period::Daily(from, to) => {
                let time = self.zone.to_datetime(start).time();
                if from <= to {
                    (from..=to).contains(&time)
                } else {
                    from <= time || time <= to
                }
            }
        }
    }
}

/// Values of one end of a packet, or of both.
fn of<T>(side: Side, source: T, destination: T) -> impl Iterator<Item = T> {
    let source = (side != Side::Destination).then_some(source);
    let destination = (side != Side::Source).then_some(destination);
    source.into_iter().chain(destination)
}

fn is_within(spans: &[Span], number: u64) -> bool {
    let mut spans = spans.iter();
    spans.any(|span| (span.from..=span.to).contains(&number))
}

impl Protocol {
    fn is(self, proto: Proto) -> bool {
        match self {
            Self::AnyIcmp => matches!(proto, Proto::Ip(1 | 58)),
            Self::One(one) => one == proto,
        }
    }
}

impl FlagSet {
    const fn is(self, flags: u8) -> bool {
        flags & (self.set | self.unset) == self.set
    }
}

impl Limit {
    const fn allows(self, time: u64) -> bool {
        match self {
            Self::Over(least) => time > least,
            Self::Under(most) => time < most,
        }
    }
}

impl Name {
    fn is(&self, name: &str) -> bool {
        if self.whole {
            return self.text.eq_ignore_ascii_case(name);
        }
        let mut parts = name.as_bytes().windows(self.text.len());
        parts.any(|part| part.eq_ignore_ascii_case(self.text.as_bytes()))
    }
}

impl Place {
    pub(super) fn is(&self, node: &str, netns: &str, interface: &str) -> bool {
        let within = self.within.as_ref();
        self.interface.is(interface)
            && within.is_none_or(|within| within.is(node) || within.is(netns))
    }
}

impl Glob {
    fn is(&self, name: &str) -> bool {
        let Some((first, rest)) = self.0.split_first() else {
            return false;
        };
        let Some((last, between)) = rest.split_last() else {
            return name == first;
        };
        let Some(mut name) = name.strip_prefix(&**first) else {
            return false;
        };
        // The earliest match leaves the most text for the pieces after it.
        for piece in between {
            match name.find(&**piece) {
                Some(at) => name = &name[at + piece.len()..],
                None => return false,
            }
        }
        name.ends_with(&**last)
    }
}
