//! Time spans in which events were lost.

/// A span of time, Unix time, ns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from: i64,
    pub(super) to: i64,
}

/// Time spans in which events were lost, in order, without overlap.
#[derive(Clone, Debug, Default)]
pub(super) struct Losses(pub(super) Vec<Span>);

/// Limit of separate time spans; more are merged.
pub(super) const MAX_SPANS: usize = 1024;

impl Losses {
    pub(super) fn add(&mut self, from: i64, to: i64) {
        // The report is from before its stream began, or from a clock that went back.
        let (from, to) = (from.min(to), from.max(to));
        let first = self.0.partition_point(|span| span.to < from);
        let end = self.0.partition_point(|span| span.from <= to);
        let mut span = Span { from, to };
        for known in &self.0[first..end] {
            span.from = span.from.min(known.from);
            span.to = span.to.max(known.to);
        }
        self.0.splice(first..end, [span]);
        if self.0.len() > MAX_SPANS {
            // A forgotten time span would say that nothing was lost then.
            let oldest = self.0.remove(0);
            self.0[0].from = oldest.from;
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn between(&self, from: i64, to: i64) -> bool {
        let first = self.0.partition_point(|span| span.to < from);
        self.0.get(first).is_some_and(|span| span.from <= to)
    }
}
