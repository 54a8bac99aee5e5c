//! The layer between a replay that moves in time and its view.

use std::{io, mem, sync::Arc};

use tracer_core::{
    journal::{Changed, Entry, Selected, Selection, Standing, Started, View},
    journey::{Journey, Scene},
    verdict::{Parts, Summary, Verdict},
};

use crate::{
    expect::{Compared, Expectations},
    view::Travels,
};

/// Looks for problems on the way to a view. Makes sure that the expectations see each journey only
/// once, even if it is replayed again.
pub(super) struct Watch<'a, V> {
    compared: Compared<'a, V>,
    /// The number of the first entry that was not compared yet.
    furthest: u64,
    /// The number of problems so far.
    problems: u64,
    /// The present search, if there is one.
    wanted: Option<Wanted>,
    /// The time of the next entries, Unix time, ns.
    time: i64,
    /// The summary of the whole recording.
    whole: Option<(Scene, Summary, Option<Selected>)>,
}

/// A search for problems.
struct Wanted {
    selection: Option<Selection>,
    /// The search ends before this entry.
    until: u64,
    found: Found,
}

/// The latest problems that a search has found, all of the same time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The time of the problems, Unix time, ns.
    pub(super) time: i64,
    /// The numbers of the problems' entries.
    pub(super) numbers: Vec<u64>,
}

impl<'a, V> Watch<'a, V> {
    pub(super) const fn new(view: V, expectations: &'a mut Option<Expectations>) -> Self {
        Self {
            compared: Compared { view, expectations },
            furthest: 0,
            problems: 0,
            wanted: None,
            time: i64::MIN,
            whole: None,
        }
    }

    /// The view.
    pub(super) const fn view(&mut self) -> &mut V {
        &mut self.compared.view
    }

    /// The number of problems so far.
    pub(super) const fn problems(&self) -> u64 {
        self.problems
    }

    /// Sets the time of the next entries.
    pub(super) const fn at(&mut self, time: i64) {
        self.time = time;
    }

    /// Continues at a position with this number of problems before it.
    pub(super) const fn resume(&mut self, problems: u64) {
        self.problems = problems;
    }

    /// Begins a search for problems before an entry, until [`Watch::found`] ends it.
    pub(super) fn look_for(&mut self, selection: Option<Selection>, until: u64) {
        self.wanted = Some(Wanted {
            selection,
            until,
            found: Found::default(),
        });
    }

    /// Whether the search has found a problem.
    pub(super) fn has_found(&self) -> bool {
        let wanted = self.wanted.as_ref();
        wanted.is_some_and(|wanted| !wanted.found.numbers.is_empty())
    }

    /// Ends the search, and returns the latest problems that it has found.
    pub(super) fn found(&mut self) -> Found {
        let wanted = self.wanted.take();
        wanted.map(|wanted| wanted.found).unwrap_or_default()
    }

    /// Takes the latest problems that the search has found so far. The search begins anew.
    pub(super) fn found_so_far(&mut self) -> Found {
        let wanted = self.wanted.as_mut();
        wanted
            .map(|wanted| mem::take(&mut wanted.found))
            .unwrap_or_default()
    }

    /// Ends the search, and returns the selection that it had.
    pub(super) fn look_for_all(&mut self) -> Option<Selection> {
        self.wanted.take().and_then(|wanted| wanted.selection)
    }

    /// The summary of the whole recording, if it was read to its end.
    pub(super) fn whole(&mut self) -> Option<(Scene, Summary, Option<Selected>)> {
        self.whole.take()
    }
}

impl<V: Travels> View for Watch<'_, V> {
    fn started(&mut self, scene: &Scene, started: &Started) -> io::Result<()> {
        self.compared.started(scene, started)
    }

    fn changed(&mut self, scene: &Scene, changed: &Changed) -> io::Result<()> {
        self.compared.changed(scene, changed)
    }

    fn journey(
        &mut self,
        scene: &Scene,
        journey: &Journey,
        verdict: &Verdict,
        parts: &Parts,
    ) -> io::Result<()> {
        self.compared.journey(scene, journey, verdict, parts)
    }

    fn entry(&mut self, scene: &Scene, entry: &Arc<Entry>, selected: bool) -> io::Result<()> {
        if entry.verdict.is_problem() {
            self.problems += 1;
            if let Some(wanted) = &mut self.wanted
                && entry.number < wanted.until
                && wanted
                    .selection
                    .as_ref()
                    .is_none_or(|all| all.allows(scene, &entry.journey, &entry.verdict))
            {
                if wanted.found.time != self.time {
                    wanted.found.numbers.clear();
                }
                wanted.found.time = self.time;
                wanted.found.numbers.push(entry.number);
            }
        }
        if entry.number < self.furthest {
            return self.compared.view.entry(scene, entry, selected);
        }
        self.furthest = entry.number + 1;
        self.compared.entry(scene, entry, selected)
    }

    fn shows_standing(&self) -> bool {
        true
    }

    fn standing(&mut self, scene: &Scene, standing: &Standing) -> io::Result<()> {
        self.compared.standing(scene, standing)
    }

    /// The view goes on at the end of the recording, because the user may go back.
    fn summary(
        &mut self,
        scene: &Scene,
        summary: &Summary,
        selected: Option<&Selected>,
    ) -> io::Result<()> {
        if self.whole.is_none() {
            self.whole = Some((scene.clone(), summary.clone(), selected.cloned()));
        }
        self.compared.view.ended(scene, summary)
    }
}
