//! Streams that hold the others up.
//!
//! Hops of one stream wait until all others have reached their time. If an agent or its
//! connection is stuck, everything else would wait, in memory that grows. So the wait is
//! limited in time and in number of events. Afterwards the others continue, and what the stuck
//! stream saw in the meantime counts as lost.

use std::time::Duration;

use tokio::time::Instant;

/// How long to wait for a stream that does not answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Limit of waiting hops and drops, of about 300 bytes each.
const MOST_WAITING: usize = 1 << 20;
/// Size of a hop or drop without captured bytes, bytes.
const EVENT: usize = 300;

/// Longest pause between two questions to streams while something waits. After a longer pause,
/// nothing waited, or this process did not run.
const PAUSE: Duration = Duration::from_secs(1);

/// How many events one event with this many captured bytes counts as.
pub(super) const fn weight(snaplen: u32) -> usize {
    1 + snaplen as usize / EVENT
}

/// Since when streams have not reported anything new.
#[derive(Debug)]
pub(super) struct Stalls {
    streams: Vec<Told>,
    asked: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    watermark: i64,
    since: Instant,
}

impl Stalls {
    pub(super) fn new(streams: usize, now: Instant) -> Self {
        let told = Told {
            watermark: i64::MIN,
            since: now,
        };
        Self {
            streams: vec![told; streams],
            asked: None,
        }
    }

    /// Adds new streams.
    pub(super) fn grow(&mut self, streams: usize, now: Instant) {
        let told = Told {
            watermark: i64::MIN,
            since: now,
        };
        self.streams.resize(streams, told);
    }

    /// Takes the watermark of each stream that has not ended, and the number of waiting events.
    /// All streams have been asked. Returns the streams for which nothing waits any longer, and
    /// until when.
    pub(super) fn overdue(
        &mut self,
        watermarks: &[(usize, i64)],
        waiting: usize,
        now: Instant,
    ) -> Option<(Vec<usize>, i64)> {
        let asked = self.asked.replace(now);
        let went_on = asked.is_some_and(|asked| now.duration_since(asked) <= PAUSE);
        for (stream, watermark) in watermarks {
            let told = &mut self.streams[*stream];
            if *watermark > told.watermark || !went_on {
                *told = Told {
                    watermark: *watermark,
                    since: now,
                };
            }
        }
        let least = watermarks.iter().map(|(_, watermark)| *watermark).min()?;
        let is_late = |stream: usize, watermark: i64| {
            let silent = now.duration_since(self.streams[stream].since) >= PATIENCE;
            silent || (waiting > MOST_WAITING && watermark == least)
        };
        let (late, others): (Vec<_>, Vec<_>) = watermarks
            .iter()
            .partition(|(stream, watermark)| is_late(*stream, *watermark));
        let until = others.iter().map(|(_, watermark)| *watermark).min()?;
        let behind = late.iter().filter(|(_, watermark)| *watermark < until);
        let behind: Vec<usize> = behind.map(|(stream, _)| *stream).collect();
        (!behind.is_empty()).then_some((behind, until))
    }

    /// Notes that a stream counts as having reported everything until `until`, although it has
    /// not.
    pub(super) fn passed(&mut self, stream: usize, until: i64) {
        let told = &mut self.streams[stream];
        told.watermark = told.watermark.max(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks four times a second, from `from` to `to` seconds.
    fn asked(
        stalls: &mut Stalls,
        start: Instant,
        seconds: std::ops::Range<u32>,
        watermarks: impl Fn(i64) -> Vec<(usize, i64)>,
    ) -> Option<(Vec<usize>, i64)> {
        let mut last = None;
        for quarter in seconds.start * 4..seconds.end * 4 {
            let now = start + Duration::from_millis(250) * quarter;
            last = stalls.overdue(&watermarks(quarter.into()), 0, now);
        }
        last
    }

    #[test]
    fn who_does_not_tell_for_long_is_passed_by_who_does() {
        let start = Instant::now();
        let mut stalls = Stalls::new(2, start);
        let stuck = |now| vec![(0, now), (1, 7)];
        assert_eq!(asked(&mut stalls, start, 0..10, stuck), None);
        let overdue = asked(&mut stalls, start, 10..12, stuck);
        assert_eq!(overdue, Some((vec![1], 47)));
        // The stream has not reported that time, and the wait does not begin anew.
        stalls.passed(1, 47);
        let passed = |now| vec![(0, now), (1, 47)];
        let overdue = asked(&mut stalls, start, 12..13, passed);
        assert_eq!(overdue, Some((vec![1], 51)));
        // The stream answers again.
        let told = |now| vec![(0, now), (1, now - 1)];
        assert_eq!(asked(&mut stalls, start, 13..30, told), None);
    }

    #[test]
    fn a_stream_that_nothing_waits_for_is_never_overdue() {
        let start = Instant::now();
        let mut stalls = Stalls::new(2, start);
        let idle = |_| vec![(0, 8), (1, 7)];
        assert_eq!(asked(&mut stalls, start, 0..8, idle), None);
        // Nothing waited for a minute.
        assert_eq!(asked(&mut stalls, start, 60..69, idle), None);
    }

    #[test]
    fn so_many_events_wait_for_nobody() {
        let now = Instant::now();
        let mut stalls = Stalls::new(3, now);
        let watermarks = [(0, 9), (1, 3), (2, 5)];
        assert_eq!(stalls.overdue(&watermarks, MOST_WAITING, now), None);
        let overdue = stalls.overdue(&watermarks, MOST_WAITING + 1, now);
        assert_eq!(overdue, Some((vec![1], 5)));
    }
}
