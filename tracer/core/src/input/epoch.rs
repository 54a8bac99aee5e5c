//! An agent that was cut off and began anew: its messages are made to continue those before.

use super::{Batch, Change};
use crate::model::{Hello, Point};

/// Translates the messages of an agent that began anew into those of the known agent. New
/// points and streams are numbered after the known ones, and the clock is that of another boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epoch {
    /// Number of points that were known before.
    pub points: usize,
    /// Number of streams that were known before.
    pub streams: usize,
    /// Nanoseconds that are added to the agent's monotonic times.
    pub clock: i64,
}

impl Epoch {
    /// Describes an agent that began anew at `time`, by the known clock, ns, as a change of the
    /// `known` agent.
    #[must_use]
    pub fn begin(known: &Hello, anew: Hello, time: u64) -> (Self, Batch) {
        let moved = anew.realtime_offset.saturating_sub(known.realtime_offset);
        // Within the error bounds of both estimates, the clock has not moved.
        let bounds = known.clock_bound.saturating_add(anew.clock_bound);
        let is_moved = anew.boot_id != known.boot_id || moved.saturating_abs() > bounds;
        let epoch = Self {
            points: known.points.len(),
            streams: known.streams,
            clock: if is_moved { moved } else { 0 },
        };
        let Hello {
            kernel,
            points,
            streams,
            next_hops,
            local,
            drops,
            network,
            mut notes,
            ..
        } = anew;
        if let (Some(before), Some(kernel)) = (&known.kernel, kernel)
            && *before != kernel
        {
            notes.push(format!("the node runs {kernel} since its agent began anew"));
        }
        let is_there = |index: &usize| known.points[*index].until.is_none();
        let point = |point| Point {
            since: time,
            ..point
        };
        let change = Change {
            time,
            points: points.into_iter().map(point).collect(),
            streams,
            gone: (0..known.points.len()).filter(is_there).collect(),
            local,
            next_hops,
            drops,
            network: Some(Box::new(network)),
            leaves: false,
            notes,
        };
        let batch = Batch {
            stream: epoch.streams,
            watermark: time,
            change: Some(change),
            ..Batch::default()
        };
        (epoch, batch)
    }

    /// Renumbers a batch into what the known agent would have sent.
    pub fn renumber(&self, batch: &mut Batch) {
        let Self {
            points,
            streams,
            clock,
        } = *self;
        let moved = |time: &mut u64| {
            // The watermarks 0 (no time yet) and `u64::MAX` (nothing more comes) hold for every
            // clock.
            if *time > 0 && *time < u64::MAX {
                *time = time.saturating_add_signed(clock);
            }
        };
        let Batch {
            stream,
            hops,
            freed,
            watermark,
            overdue: _,
            report,
            change,
        } = batch;
        *stream = stream.saturating_add(streams);
        moved(watermark);
        for hop in hops {
            hop.point = hop.point.saturating_add(points);
            moved(&mut hop.time);
        }
        for freed in freed {
            moved(&mut freed.time);
        }
        if let Some(report) = report {
            moved(&mut report.time);
            for (point, _) in &mut report.counters {
                *point = point.saturating_add(points);
            }
            for point in &mut report.gone {
                *point = point.saturating_add(points);
            }
            if let Some(health) = &mut report.health {
                moved(&mut health.time);
            }
        }
        if let Some(change) = change {
            moved(&mut change.time);
            for point in &mut change.points {
                moved(&mut point.since);
            }
            for point in &mut change.gone {
                *point = point.saturating_add(points);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{by_hand, input::Report, model::Kernel};

    fn hello(boot_id: &str, realtime_offset: i64) -> Hello {
        Hello {
            boot_id: boot_id.to_owned(),
            realtime_offset,
            ..by_hand::node("b", by_hand::B, by_hand::NODE_B)
        }
    }

    #[test]
    fn what_began_anew_goes_on_with_what_was_known() {
        let mut known = hello("one", 1_000);
        let (points, streams) = (known.points.len(), known.streams);
        known.points[0].until = Some(3);
        let (epoch, batch) = Epoch::begin(&known, hello("one", 1_000), 50);
        let change = batch.change.expect("it is one");
        assert_eq!((batch.stream, batch.watermark), (streams, 50));
        assert_eq!(change.gone, (1..points).collect::<Vec<_>>());
        known.change(&change);
        assert_eq!(
            (known.points.len(), known.streams),
            (2 * points, 2 * streams)
        );
        assert!(known.points[points..].iter().all(|point| point.since == 50));

        let mut sent = Batch {
            stream: 1,
            watermark: 60,
            report: Some(Report {
                time: 60,
                gone: vec![0],
                ..Report::default()
            }),
            ..Batch::default()
        };
        epoch.renumber(&mut sent);
        // One boot has one clock, whatever the two readings say.
        assert_eq!((sent.stream, sent.watermark), (streams + 1, 60));
        assert_eq!(sent.report.expect("it has one").gone, [points]);
    }

    /// What was known of the node stays, so that a change of its kernel must be told.
    #[test]
    fn another_kernel_is_told() {
        let on = |release: &str| Hello {
            kernel: Some(Kernel {
                release: release.to_owned(),
                architecture: "x86_64".to_owned(),
            }),
            ..hello("one", 1_000)
        };
        let notes = |later| {
            let (_, batch) = Epoch::begin(&on("6.1.0"), later, 50);
            batch.change.expect("it is one").notes
        };
        assert_eq!(notes(on("6.1.0")), Vec::<String>::new());
        assert_eq!(
            notes(on("6.12.0")),
            ["the node runs Linux 6.12.0 (x86_64) since its agent began anew"]
        );
    }

    #[test]
    fn another_boot_has_another_clock() {
        let (epoch, _) = Epoch::begin(&hello("one", 1_000), hello("another", 3_000), 50);
        let moved = |watermark| {
            let mut batch = Batch {
                watermark,
                ..Batch::default()
            };
            epoch.renumber(&mut batch);
            batch.watermark
        };
        assert_eq!(moved(60), 2_060);
        // A node that was suspended keeps its boot id, so its clock counts as the same.
        let bounded = |realtime_offset| Hello {
            clock_bound: 20,
            ..hello("one", realtime_offset)
        };
        let clock = |later| Epoch::begin(&bounded(1_000), bounded(later), 50).0.clock;
        assert_eq!((clock(1_040), clock(1_041)), (0, 41));
        // No time yet, and no time any more.
        assert_eq!((moved(0), moved(u64::MAX)), (0, u64::MAX));
    }
}
