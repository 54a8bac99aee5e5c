//! What readers are told of a follow: its beginning, its journeys as they end,
//! and their sums.
//!
//! ```text
//! judged ──push──► Journal ──read, behind a Query──► View
//! ```

mod entry;
mod index;
mod query;
mod reader;
mod store;
#[cfg(test)]
mod tests;

use std::{io, ops::Range, sync::Arc};

pub use entry::Entry;
pub use query::{Query, QueryError, Wrong};
pub use reader::{Progress, Reader, Selected, Selection};
pub use store::{Bound, Journal};

use crate::{
    journey::{Journey, Scene},
    verdict::{Accounting, Parts, Summary, Verdict},
};

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

/// How a follow stands while it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Where every packet and event went so far.
    pub accounting: Accounting,
    /// By agent: whether it is out of reach.
    pub away: Vec<bool>,
    /// What part of the packets is followed, by their content: so many of [`u32::MAX`].
    pub sample: u32,
}

/// Shows a follow: its start, each journey, and what they add up to. A view that has nothing to
/// say about the start or a change leaves these methods out; one that passes calls on to
/// another view has to pass on all of them.
pub trait View {
    /// Shows that from now on packets are seen, and where.
    ///
    /// # Errors
    /// Those of the writer, here and below: a closed pipe, a full disk.
    fn started(&mut self, _: &Scene, _: &Started) -> io::Result<()> {
        Ok(())
    }

    /// Shows that packets are seen at other points from now on.
    ///
    /// # Errors
    /// See [`View::started`].
    fn changed(&mut self, _: &Scene, _: &Changed) -> io::Result<()> {
        Ok(())
    }

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

    /// Takes a journey, whether it is to be shown or not: somebody may keep or count all.
    ///
    /// # Errors
    /// See [`View::started`].
    fn entry(&mut self, scene: &Scene, entry: &Arc<Entry>, selected: bool) -> io::Result<()> {
        if selected {
            self.journey(scene, &entry.journey, &entry.verdict, &entry.parts)
        } else {
            Ok(())
        }
    }

    /// Whether it shows how the follow stands while it runs.
    fn shows_standing(&self) -> bool {
        false
    }

    /// Shows how the follow stands.
    ///
    /// # Errors
    /// See [`View::started`].
    fn standing(&mut self, _: &Scene, _: &Standing) -> io::Result<()> {
        Ok(())
    }

    /// Shows the sums of all journeys, last; and how many of them were shown, unless
    /// all were.
    ///
    /// # Errors
    /// See [`View::started`].
    fn summary(
        &mut self,
        scene: &Scene,
        summary: &Summary,
        selected: Option<&Selected>,
    ) -> io::Result<()>;
}
