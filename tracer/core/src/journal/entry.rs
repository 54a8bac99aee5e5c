//! A journey that has ended, and what became of it.

use crate::{
    journey::{CapturedFrame, Drop, Journey, Step},
    model::Fact,
    verdict::{Evidence, Parts, Verdict},
};

/// A journey, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which one of the follow's this is, from 0, in the order of verdicts.
    pub number: u64,
    /// The journey.
    pub journey: Box<Journey>,
    /// What happened to it.
    pub verdict: Verdict,
    /// How much of it fared how.
    pub parts: Parts,
}

impl Entry {
    /// About how many bytes it takes, what the index holds of it included.
    ///
    /// Names that many journeys share are not counted.
    #[must_use]
    pub fn weight(&self) -> usize {
        /// A number in each list, a place in each map, and what these keep free.
        const INDEXED: usize = 256;
        /// Its number in the list of a point.
        const AT_POINT: usize = 2 * size_of::<u64>();
        /// The letters of the names in a fact.
        const WORDS: usize = 96;
        /// Two counters of references.
        const SHARED: usize = 2 * size_of::<usize>();

        let Self {
            journey, verdict, ..
        } = self;
        let spilled: usize = journey
            .steps
            .iter()
            .map(|step| &step.parts)
            .chain([&journey.acked])
            .filter(|parts| parts.spilled())
            .map(|parts| parts.capacity() * size_of::<(u32, u32)>())
            .sum();
        let captured = journey.steps.iter().flat_map(Step::frames);
        let captured: usize = captured
            .map(|frame| size_of::<CapturedFrame>() + frame.bytes.len())
            .sum();
        let facts: usize = journey.drops.iter().map(|drop| drop.facts.len()).sum();
        let evidence = verdict.evidence.len();
        INDEXED
            + SHARED
            + size_of::<Self>()
            + size_of::<Journey>()
            + journey.steps.capacity() * (size_of::<Step>() + AT_POINT)
            + journey.drops.capacity() * size_of::<Drop>()
            + spilled
            + captured
            // The verdict's evidence may repeat them.
            + facts * (size_of::<Fact>() + 2 * WORDS)
            + evidence * size_of::<Evidence>()
    }
}
