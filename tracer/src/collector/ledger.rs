//! Where every event went, and when some were lost.

use tracer_common::counters::{Counter, Counters};

use crate::{link::Report, verdict::Accounting};

/// A span of time, Unix time, ns.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: i64,
    to: i64,
}

/// The last report of every stream, and the losses between reports.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    streams: Vec<Entry>,
    losses: Vec<Span>,
    /// Hops that came.
    pub(super) hops: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    report: Report,
    time: i64,
}

/// How many spans of loss are kept: with a report every 100 ms, those of the
/// last minute or more.
const MAX_SPANS: usize = 1024;

impl Ledger {
    /// For so many streams, from `now` on.
    pub(super) fn new(streams: usize, now: i64) -> Self {
        let entry = Entry {
            report: Report::default(),
            time: now,
        };
        Self {
            streams: vec![entry; streams],
            ..Self::default()
        }
    }

    /// Takes a stream's report, made at `now`, Unix time.
    pub(super) fn report(&mut self, stream: usize, report: Report, now: i64) {
        let entry = &mut self.streams[stream];
        let before = lost(&entry.report);
        let span = Span {
            from: entry.time,
            to: now,
        };
        if lost(&report) > before {
            if self.losses.len() == MAX_SPANS {
                self.losses.remove(0);
            }
            self.losses.push(span);
        }
        *entry = Entry { report, time: now };
    }

    /// Whether events were lost between `from` and `to`.
    pub(super) fn lossy(&self, from: i64, to: i64) -> bool {
        self.losses
            .iter()
            .any(|span| span.from <= to && span.to >= from)
    }

    /// Packets at all points, by what became of them.
    pub(super) fn packets(&self) -> Counters {
        let mut sum = Counters::default();
        for entry in &self.streams {
            for (_, counters) in &entry.report.counters {
                sum.add(counters);
            }
        }
        sum
    }

    /// Packets cut off by the budget.
    pub(super) fn limited(&self) -> u64 {
        self.packets().get(Counter::RateLimited)
    }

    /// The last report of each stream.
    pub(super) fn reports(&self) -> impl Iterator<Item = &Report> {
        self.streams.iter().map(|entry| &entry.report)
    }

    /// The sums; what the engine knows is for the caller to fill in.
    pub(super) fn accounting(&self) -> Accounting {
        Accounting {
            packets: self.packets(),
            malformed: self.reports().map(|report| report.malformed).sum(),
            hops: self.hops,
            ..Accounting::default()
        }
    }
}

fn lost(report: &Report) -> u64 {
    let counted =
        |counters: &Counters| counters.get(Counter::RingFull) + counters.get(Counter::RateLimited);
    let points: u64 = report
        .counters
        .iter()
        .map(|(_, counters)| counted(counters))
        .sum();
    points + report.malformed
}
