//! A replay for a viewer: its position, its speed, and the viewer's wishes.

use std::{io, sync::mpsc::Sender};

use tracer_core::{
    journal::{Query, Selection, View},
    journey::Scene,
    verdict::Summary,
};

/// The position of a replay in its recording. Times are Unix time, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    /// Everything up to this time is shown, and nothing after it.
    pub position: i64,
    /// Start of the recording.
    pub from: i64,
    /// End of the recording. `None` before it was read once to its end.
    pub to: Option<i64>,
    /// The speed of the replay.
    pub speed: Speed,
    /// Whether the replay is playing.
    pub course: Course,
}

/// The states of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// The replay is paused.
    Paused,
    /// The replay is playing.
    Playing,
    /// The replay is on its way to the time that a viewer wants.
    Seeking,
    /// The replay is at its end, and nothing more comes.
    Ended,
}

/// The speed of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Speed(usize);

impl Speed {
    /// The speed of the recording itself.
    pub(crate) const NORMAL: Self = Self(3);
    /// Factors of the recording's own speed, and their names.
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

    /// Nanoseconds of the recording per nanosecond. `None`: as many as can be read.
    #[must_use]
    pub(crate) const fn rate(self) -> Option<f64> {
        Self::ALL[self.0].0
    }

    /// The name of the speed.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        Self::ALL[self.0].1
    }

    /// The next faster speed, if there is one.
    #[must_use]
    pub(crate) const fn faster(self) -> Self {
        if self.0 + 1 < Self::ALL.len() {
            Self(self.0 + 1)
        } else {
            self
        }
    }

    /// The next slower speed, if there is one.
    #[must_use]
    pub(crate) const fn slower(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

/// What a viewer wants of a replay.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    /// Pause or continue.
    Pause,
    /// Play faster.
    Faster,
    /// Play slower.
    Slower,
    /// Move by this time, ns. Negative: move back.
    By(i64),
    /// Move to a time: Unix time, ns.
    To(i64),
    /// Move to this share between start and end: 0 to 1.
    Part(f64),
    /// Move to the end.
    End,
    /// Move to the next problem, or to the one before.
    Problem {
        /// Whether to move to the next one.
        forward: bool,
        /// The filter that the problem has to match.
        selection: Option<Selection>,
    },
}

/// A view that can return to an earlier state.
pub(crate) trait Travels: View {
    /// An earlier state.
    type Mark: Clone;

    /// The current state, to return to it later.
    fn mark(&mut self) -> Self::Mark;

    /// Approximate memory of a state, in bytes.
    fn weight(mark: &Self::Mark) -> usize;

    /// Returns to an earlier state.
    fn go_back(&mut self, mark: &Self::Mark);

    /// Shows the position of the replay.
    fn clock(&mut self, clock: Clock);

    /// Shows that the replay is at its end. The viewer may still move back.
    ///
    /// # Errors
    /// The errors of the view.
    fn ended(&mut self, scene: &Scene, summary: &Summary) -> io::Result<()>;

    /// Shows a notice.
    fn say(&mut self, line: &str);

    /// Shows why a wish had no effect. The next wish replaces the message.
    fn answer(&mut self, line: &str);

    /// Chooses the journey that a search found, by the number of its entry.
    fn choose(&mut self, number: u64);
}

/// Sends wishes to the replay.
pub(super) type Wishes = Sender<Wish>;

impl Wish {
    /// Moves to the next matching problem, or to the one before.
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
