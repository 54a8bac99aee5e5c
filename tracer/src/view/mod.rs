//! Showing what happened: text for people, JSON for programs.
//!
//! A verdict is of use once somebody has read it, at night, on a terminal of
//! 80 columns, or in a script that knows each field's name. What is shown was
//! decided before it came here: a view compares, aligns and words; it infers
//! nothing. It writes to any [`io::Write`], one write and one flush per call,
//! so that a journey is out as soon as it is known, and whole.

mod contents;
mod drops;
mod json;
mod legs;
mod look;
mod moment;
mod plan;
mod progress;
mod stats;
mod text;

#[cfg(test)]
mod drops_tests;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod recordings_tests;
#[cfg(test)]
mod tests;

use std::{io, ops::Range};

pub use contents::{contents_json, contents_text};
pub use drops::{DropScene, DropView};
pub use json::Json;
pub use look::Look;
pub use plan::{plan_json, plan_text};
pub use progress::Progress;
pub use stats::{stats_json, stats_text};
pub use text::Text;

use crate::{
    journey::{Journey, Scene},
    verdict::{Parts, Summary, Verdict},
};

/// What [`Point::netns`](crate::link::Point::netns) says of a node's own
/// namespace; anything else there is a pod's name.
const HOST: &str = "host";

/// What there is to say once every program is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// When that was, Unix time, ns.
    pub time: i64,
    /// What is followed, in one line: `default/web → shop/cart (any
    /// protocol)`.
    pub follow: String,
    /// What may hide packets or was not found, one sentence each.
    pub warnings: Vec<String>,
}

/// What there is to say when a node is not any more what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// When it was noticed, Unix time, ns.
    pub time: i64,
    /// Index of the node's agent.
    pub node: usize,
    /// The points that are observed from then on, by index.
    pub points: Range<usize>,
    /// Those that are not any more, by index.
    pub gone: Vec<usize>,
    /// What was not found or is odd, one sentence each.
    pub notes: Vec<String>,
}

impl Changed {
    /// Whether there is nothing to show.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.notes.is_empty() && self.points.start == self.points.end
    }
}

/// Shows a follow: its start, each journey, and what they add up to.
pub trait View {
    /// Shows that from now on packets are seen, and where.
    ///
    /// # Errors
    /// Those of the writer, here and below: a closed pipe, a full disk.
    fn started(&mut self, scene: &Scene, started: &Started) -> io::Result<()>;

    /// Shows that packets are seen at other points from now on.
    ///
    /// # Errors
    /// See [`View::started`].
    fn changed(&mut self, scene: &Scene, changed: &Changed) -> io::Result<()>;

    /// Shows one journey and what became of it.
    ///
    /// # Errors
    /// See [`View::started`].
    fn journey(
        &mut self,
        scene: &Scene,
        journey: &Journey,
        verdict: &Verdict,
        parts: &Parts,
    ) -> io::Result<()>;

    /// Shows the sums, last.
    ///
    /// # Errors
    /// See [`View::started`].
    fn summary(&mut self, scene: &Scene, summary: &Summary) -> io::Result<()>;
}
