//! Problems: journeys with the same verdict, cause and place.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use serde::Serialize;
use tracer_core::{
    journey::{Journey, Scene},
    model::Cause,
    verdict::{Kind, Verdict},
};

use super::number_of;

/// Place of a problem: a node, and the interface if it is known.
type Place = (usize, Option<Arc<str>>);

/// Journeys by kind of problem. Causes and places limit the number of kinds.
#[derive(Default)]
pub(super) struct Problems {
    groups: BTreeMap<(usize, &'static str, Place), Group>,
    /// Number of journeys that the recording's begin or end cut off.
    cut_off: u64,
    /// Number of journeys that went where nobody watches, without evidence of a problem.
    left: u64,
}

struct Group {
    count: u64,
    first: u64,
    text: String,
}

/// A group of journeys, for the page's script.
#[derive(Serialize)]
pub(super) struct Problem<'a> {
    kind: usize,
    count: u64,
    first: u64,
    text: &'a str,
    cause: Option<&'static str>,
}

impl Problems {
    /// Adds a journey, and returns whether it has a problem.
    pub(super) fn take(
        &mut self,
        scene: &Scene,
        journey: &Journey,
        verdict: &Verdict,
        text: &str,
    ) -> bool {
        if verdict.is_cut_off() {
            self.cut_off += 1;
            return false;
        }
        match (verdict.kind, verdict.cause) {
            (Kind::Delivered, _) => return false,
            (Kind::Left, None) => {
                self.left += 1;
                return false;
            }
            _ => {}
        }
        let place = match verdict.drop.map(|index| &journey.drops[index]) {
            Some(drop) => (drop.node, drop.device.clone()),
            None => journey.steps.last().map_or((usize::MAX, None), |step| {
                (step.node, Some(scene.point(step).interface.as_str().into()))
            }),
        };
        let cause = verdict.cause.map_or("", Cause::name);
        let group = self
            .groups
            .entry((number_of(verdict.kind), cause, place))
            .or_insert_with(|| Group {
                count: 0,
                first: journey.id,
                text: text.to_owned(),
            });
        group.count += 1;
        true
    }

    /// All problems, the most certain first. Verdicts have that order, except those of parts.
    pub(super) fn all(&self) -> Vec<Problem<'_>> {
        let groups = self.groups.iter();
        let mut problems: Vec<Problem<'_>> = groups
            .map(|((kind, cause, _), group)| Problem {
                kind: *kind,
                count: group.count,
                first: group.first,
                text: &group.text,
                cause: Some(*cause).filter(|cause| !cause.is_empty()),
            })
            .collect();
        problems.sort_by_key(|problem| (problem.kind, Reverse(problem.count)));
        problems
    }

    /// Sentences on journeys that are no problem, but are not known to have arrived either.
    pub(super) fn besides(&self) -> Vec<String> {
        let sentence = |count: u64, what: &str| {
            let journeys = if count == 1 { "journey" } else { "journeys" };
            (count > 0).then(|| format!("{count} {journeys} {what}."))
        };
        let cut_off = "began before all points were observed or had not ended at the end: \
                       nothing is known of them";
        let left = "left for places that are not watched";
        [sentence(self.cut_off, cut_off), sentence(self.left, left)]
            .into_iter()
            .flatten()
            .collect()
    }
}
