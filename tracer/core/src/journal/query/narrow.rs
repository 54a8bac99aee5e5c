//! Finds the entries of a journal that can match, by its index.

use std::collections::BTreeSet;

use super::{
    Query,
    model::{Expr, Number, Period, Place, Term},
};
use crate::{
    journal::index::{Index, Numbers},
    journey::Scene,
};

impl Query {
    /// Numbers of all entries that can match, in rising order, and possibly of others; `None`:
    /// any entry can match.
    ///
    /// Among the terms that have to match, the one with the fewest entries decides. A journey
    /// in several lists is returned once.
    pub(in crate::journal) fn narrow(&self, index: &Index, scene: &Scene) -> Option<BTreeSet<u64>> {
        let terms = match &self.0 {
            Expr::All(all) => &**all,
            one => std::slice::from_ref(one),
        };
        let terms = terms.iter().filter_map(|expr| match expr {
            Expr::Term(term) => Some(term),
            Expr::All(_) | Expr::Any(_) | Expr::Not(_) => None,
        });
        let lists = terms.clone().filter_map(|term| lists(term, index, scene));
        let shortest = lists.min_by_key(|lists| lists.iter().map(|list| list.len()).sum::<usize>());
        match shortest {
            Some(lists) => Some(lists.into_iter().flatten().copied().collect()),
            None => terms.into_iter().find_map(|term| found(term, index)),
        }
    }
}

/// Lists of the index that together have all entries which a term can match.
fn lists<'a>(term: &Term, index: &'a Index, scene: &Scene) -> Option<Vec<&'a Numbers>> {
    match term {
        Term::Verdict(kinds) => Some(kinds.iter().map(|kind| index.of_verdict(*kind)).collect()),
        Term::Conversation(all) => {
            let lists = all
                .iter()
                .filter_map(|number| index.of_conversation(*number));
            Some(lists.collect())
        }
        Term::At(places) => {
            let at = |place: &Place| points(place, scene);
            let points = places.iter().flat_map(at);
            let lists = points.filter_map(|(node, point)| index.at(node, point));
            Some(lists.chain([index.dropped()]).collect())
        }
        Term::Leg(legs) => {
            let points = legs.iter().flat_map(|leg| points(&leg.place, scene));
            let lists = points.filter_map(|(node, point)| index.at(node, point));
            Some(lists.collect())
        }
        _ => None,
    }
}

/// Points of a scene at a place: agent, and index of the agent's point.
fn points(place: &Place, scene: &Scene) -> Vec<(usize, usize)> {
    let nodes = scene.nodes.iter().enumerate();
    let points = nodes.flat_map(|(node, hello)| {
        let points = hello.points.iter().enumerate();
        points.map(move |(at, point)| (node, at, &*hello.node, point))
    });
    points
        .filter(|(.., node, point)| place.is(node, &point.netns, &point.interface))
        .map(|(node, at, ..)| (node, at))
        .collect()
}

/// Entries that a term can match, for terms without a list.
fn found(term: &Term, index: &Index) -> Option<BTreeSet<u64>> {
    match term {
        Term::Number(Number::Id, spans) if spans.iter().all(|span| span.from == span.to) => {
            let found = spans.iter().filter_map(|span| index.with_id(span.from));
            Some(found.collect())
        }
        Term::Time(periods) => {
            let mut found = BTreeSet::new();
            for period in periods {
                let Period::Once(from, to) = period else {
                    return None;
                };
                let nanosecond = |time: &jiff::Timestamp| time.as_nanosecond();
                let from = from.as_ref().map_or(i64::MIN.into(), nanosecond);
                let to = to.as_ref().map_or(i64::MAX.into(), nanosecond);
                // No journey is beyond a limit that needs more than 64 bits.
                let [from, to] = [from, to].map(|time| {
                    let within = time.clamp(i64::MIN.into(), i64::MAX.into());
                    i64::try_from(within).expect("it was brought within")
                });
                found.extend(index.between(from, to));
            }
            Some(found)
        }
        _ => None,
    }
}
