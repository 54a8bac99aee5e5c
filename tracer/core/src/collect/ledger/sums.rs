//! The sums of all streams' reports.

use super::Ledger;
use crate::{
    input::Report,
    verdict::{Accounting, DropAccounting},
};

impl Ledger {
    /// The sums of all reports. The caller adds what the engine counts.
    pub(in crate::collect) fn accounting(&self) -> Accounting {
        let mut sums = Accounting::default();
        for entry in &self.streams {
            count(&mut sums, &entry.report);
        }
        let (drops, begun) = (sums.drops, &self.begun);
        Accounting {
            packets: sums.packets.since(&begun.packets),
            malformed: sums.malformed.saturating_sub(begun.malformed),
            hops: self.hops,
            drops: DropAccounting {
                counters: drops.counters.since(&begun.drops.counters),
                malformed: drops.malformed.saturating_sub(begun.drops.malformed),
                missed: drops.missed.saturating_sub(begun.drops.missed),
                freed: self.freed,
                ..drops
            },
            ..sums
        }
    }
}

/// Adds a stream's report to the sums.
pub(super) fn count(sums: &mut Accounting, report: &Report) {
    for (_, counters) in &report.counters {
        sums.packets.add(counters);
    }
    sums.malformed = sums.malformed.saturating_add(report.malformed);
    if let Some(drops) = &report.drops {
        sums.drops.counters.add(&drops.counters);
        sums.drops.malformed = sums.drops.malformed.saturating_add(drops.malformed);
        sums.drops.missed = sums.drops.missed.saturating_add(drops.missed);
    }
}
