//! The journal: what readers see of a follow. Its start, its journeys as they end, and their
//! sums.
//!
//! ```text
//! judged ──Entry──► Reader, behind a Query ──► View ──push──► Journal
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

/// The start of a follow, once every program is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// Time of the start, Unix time, ns.
    pub time: i64,
    /// What is followed, in one line: `default/web → shop/cart (any
    /// protocol)`.
    pub follow: String,
    /// What may hide packets, or was not found, one sentence each.
    pub warnings: Vec<String>,
}

/// A change on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Time when the agent noticed the change, Unix time, ns.
    pub time: i64,
    /// Index of the node's agent.
    pub node: usize,
    /// Indexes of the points that are observed from then on.
    pub points: Range<usize>,
    /// Indexes of the points that are gone.
    pub gone: Vec<usize>,
    /// Whether the agent leaves the node, because the follow has no end there any more.
    pub leaves: bool,
    /// What the agent did not find, or what is unusual, one sentence each.
    pub notes: Vec<String>,
}

impl Changed {
    /// Whether there is nothing to show.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.notes.is_empty() && self.points.start == self.points.end
    }
}

/// The state of a follow while it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Counters of all packets and events so far.
    pub accounting: Accounting,
    /// By agent: whether the agent is out of reach.
    pub away: Vec<bool>,
    /// Share of packets in the sample, chosen by their content: so many of [`u32::MAX`].
    pub sample: u32,
}

/// Shows a follow: its start, each journey, and the summary. A view without text for the start
/// or a change leaves these methods out. A view that passes calls on to another view must pass
/// on all methods.
pub trait View {
    /// Shows the start of the follow, with its observation points.
    ///
    /// # Errors
    /// Errors of the writer: a closed pipe, a full disk.
    fn started(&mut self, _: &Scene, _: &Started) -> io::Result<()> {
        Ok(())
    }

    /// Shows a change of observation points.
    ///
    /// # Errors
    /// See [`View::started`].
    fn changed(&mut self, _: &Scene, _: &Changed) -> io::Result<()> {
        Ok(())
    }

    /// Shows one journey with its verdict.
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

    /// Takes each journey, selected or not, for views that keep or count all journeys.
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

    /// Whether the view shows the state of the follow while it runs.
    fn shows_standing(&self) -> bool {
        false
    }

    /// Shows the state of the follow.
    ///
    /// # Errors
    /// See [`View::started`].
    fn standing(&mut self, _: &Scene, _: &Standing) -> io::Result<()> {
        Ok(())
    }

    /// Shows the summary of all journeys, as the last call. `selected` says how many matched a
    /// query; `None` without a query.
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
