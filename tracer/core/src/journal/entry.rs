//! A journey that has ended, with its verdict.

use crate::{
    journey::{CapturedFrame, Drop, Journey, Step},
    model::Fact,
    verdict::{Evidence, Parts, Verdict},
};

/// A judged journey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Number of the entry in the follow, from 0, in the order of verdicts.
    pub number: u64,
    /// The journey.
    pub journey: Box<Journey>,
    /// The journey's verdict.
    pub verdict: Verdict,
    /// How much of the journey arrived, and how much did not.
    pub parts: Parts,
}

impl Entry {
    /// Memory that the entry takes, approximate bytes, with its part of the index.
    ///
    /// Names that many journeys share are not counted.
    #[must_use]
    pub fn weight(&self) -> usize {
        /// Bytes in the index: a number in each list, a place in each map, and their free room.
        const INDEXED: usize = 256;
        /// Bytes of the entry's number in the list of a point.
        const AT_POINT: usize = 2 * size_of::<u64>();
        /// Bytes of the names in a fact.
        const WORDS: usize = 96;
        /// Bytes of the two reference counters.
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
            // The verdict's evidence may repeat the facts.
            + facts * (size_of::<Fact>() + 2 * WORDS)
            + evidence * size_of::<Evidence>()
    }
}
