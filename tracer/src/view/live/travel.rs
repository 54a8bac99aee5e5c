//! A replay as it is watched: at a time, at a speed, and what somebody wants of it.

use std::{
    io,
    sync::{Arc, mpsc::Sender},
};

use tracer_core::{
    journal::{Query, Selection, View},
    journey::Scene,
    verdict::Summary,
};

use super::{inbox::Told, tally::Tally};

/// Where a replay stands in its recording. Times are Unix time, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    /// All that came until then is shown, and nothing that came later.
    pub position: i64,
    /// When the recording begins.
    pub from: i64,
    /// When it ends; `None` before all of it was read once.
    pub to: Option<i64>,
    /// How fast it plays.
    pub speed: Speed,
    /// Whether it does.
    pub course: Course,
}

/// What a replay does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// It stands still.
    Paused,
    /// It plays.
    Playing,
    /// It is on its way to where somebody wants to be.
    Seeking,
    /// It stands at the end: nothing more comes.
    Ended,
}

/// How fast a replay plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Speed(usize);

impl Speed {
    /// As it was recorded.
    pub(crate) const NORMAL: Self = Self(3);
    /// Times the recording's own speed, and the names.
    const ALL: [(Option<f64>, &'static str); 8] = [
        (Some(0.1), "×0.1"),
        (Some(0.25), "×0.25"),
        (Some(0.5), "×0.5"),
        (Some(1.0), "×1"),
        (Some(2.0), "×2"),
        (Some(5.0), "×5"),
        (Some(10.0), "×10"),
        (None, "as fast as possible"),
    ];

    /// How many ns of the recording pass in one; `None`: as many as can be read.
    #[must_use]
    pub(crate) const fn rate(self) -> Option<f64> {
        Self::ALL[self.0].0
    }

    /// What it is called.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        Self::ALL[self.0].1
    }

    /// The next that is faster, if there is one.
    #[must_use]
    pub(crate) const fn faster(self) -> Self {
        if self.0 + 1 < Self::ALL.len() {
            Self(self.0 + 1)
        } else {
            self
        }
    }

    /// The next that is slower, if there is one.
    #[must_use]
    pub(crate) const fn slower(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

/// What somebody wants of a replay.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    /// To stand still, or to go on.
    Pause,
    /// To play faster.
    Faster,
    /// To play slower.
    Slower,
    /// To be so much later, ns; earlier if it is negative.
    By(i64),
    /// To be at a time, Unix time, ns.
    To(i64),
    /// To be so far between begin and end: 0 to 1.
    Part(f64),
    /// To be at the end.
    End,
    /// To be at the next problem, or at the one before.
    Problem {
        /// Whether it is the next.
        forward: bool,
        /// What it has to be like besides.
        selection: Option<Selection>,
    },
}

/// A view that can go back to what it was.
pub(crate) trait Travels: View {
    /// What it was.
    type Mark: Clone;

    /// What it is now, to come back to that.
    fn mark(&mut self) -> Self::Mark;

    /// About how many bytes that takes.
    fn weight(mark: &Self::Mark) -> usize;

    /// Is what it was again.
    fn go_back(&mut self, mark: &Self::Mark);

    /// Shows where the replay stands.
    fn clock(&mut self, clock: Clock);

    /// Shows that it is at the end, from which one may go back.
    ///
    /// # Errors
    /// Those of the view.
    fn ended(&mut self, scene: &Scene, summary: &Summary) -> io::Result<()>;

    /// Says what is no data.
    fn say(&mut self, line: &str);

    /// Says why a wish has led nowhere. Nobody needs that after the next one.
    fn answer(&mut self, line: &str);

    /// Shows a journey that was looked for, by its number.
    fn choose(&mut self, number: u64);
}

/// What the view was told up to a time.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(super) told: Told,
    pub(super) tally: Arc<Tally>,
}

/// Who takes wishes.
pub(super) type Wishes = Sender<Wish>;

impl Wish {
    /// The next problem, or the one before, of those that are as somebody wants them.
    pub(super) fn problem(forward: bool, query: Option<&Query>, zone: &jiff::tz::TimeZone) -> Self {
        let selection = query.map(|query| Selection {
            query: query.clone(),
            zone: zone.clone(),
            most: None,
        });
        Self::Problem { forward, selection }
    }
}

#[cfg(test)]
mod tests {
    use super::Speed;

    #[test]
    fn speeds_end_at_both_ends() {
        let mut speed = Speed::NORMAL;
        assert_eq!(speed.rate(), Some(1.0));
        (0..20).for_each(|_| speed = speed.slower());
        assert_eq!(speed.name(), "×0.1");
        (0..20).for_each(|_| speed = speed.faster());
        assert_eq!(speed.rate(), None);
        assert_eq!(speed.slower().name(), "×10");
    }
}
