//! Latencies, and histograms of them.

use hdrhistogram::Histogram;

use crate::journey::{Journey, Step};

/// A journey's latencies from step to step, ns.
pub fn latencies(journey: &Journey) -> impl Iterator<Item = (&Step, &Step, u64)> {
    journey.steps.windows(2).filter_map(|pair| {
        let [from, to] = pair else {
            return None;
        };
        // If identical packets were on their way, the two hops may belong to different packets.
        if journey.ambiguous && from.node != to.node {
            return None;
        }
        // Clocks of two nodes may disagree. A negative latency is left out.
        let latency = u64::try_from(to.time.saturating_sub(from.time)).ok()?;
        Some((from, to, latency))
    })
}

/// A histogram of latencies, ns.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three significant figures are allowed")
}

/// Message for a value that does not fit, which an auto-resizing histogram never has.
pub(super) const GROWS: &str = "the histogram grows as it must";
