//! Reads judged journeys for a view, through a selection.

use std::{io, sync::Arc};

use jiff::tz::TimeZone;

use super::{Changed, Entry, Query, Standing, Started, View};
use crate::{
    journey::{Journey, Scene},
    verdict::{Summary, Verdict},
};

/// Selects the journeys to show.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Query that journeys have to match.
    pub query: Query,
    /// Time zone for times of day in the query.
    pub zone: TimeZone,
    /// Number of journeys to show at most; ARP and neighbour discovery do not count. `None`: no
    /// limit.
    pub most: Option<u64>,
}

/// Number of journeys that match a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// Text of the query.
    pub query: String,
    /// Number of journeys that match.
    pub matching: u64,
    /// Number of all journeys.
    pub of: u64,
}

/// Position of a reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Number of the next entry to read.
    pub read: u64,
    /// Number of entries that matched.
    matching: u64,
    /// Number of entries that matched, without ARP and neighbour discovery.
    counted: u64,
}

/// Hands a view the selected journeys, and the summary.
pub struct Reader<'a, V> {
    view: &'a mut V,
    selection: Option<Selection>,
    progress: Progress,
}

impl Selection {
    /// Whether a journey matches the query.
    #[must_use]
    pub fn allows(&self, scene: &Scene, journey: &Journey, verdict: &Verdict) -> bool {
        self.query.matches(scene, &self.zone, journey, verdict)
    }
}

impl<'a, V: View> Reader<'a, V> {
    /// Creates a reader that shows the selected journeys; `None`: all journeys.
    pub const fn new(view: &'a mut V, selection: Option<Selection>) -> Self {
        Self {
            view,
            selection,
            progress: Progress {
                read: 0,
                matching: 0,
                counted: 0,
            },
        }
    }

    /// The view.
    pub const fn view(&mut self) -> &mut V {
        self.view
    }

    /// The reader's position.
    #[must_use]
    pub const fn progress(&self) -> Progress {
        self.progress
    }

    /// Continues from a position, with a core that continues from the same position.
    pub const fn resume(&mut self, progress: Progress) {
        self.progress = progress;
    }

    /// Whether the limit of journeys to show is reached.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let most = self.selection.as_ref().and_then(|selection| selection.most);
        most.is_some_and(|most| self.progress.counted >= most)
    }

    pub(crate) fn started(&mut self, scene: &Scene, started: &Started) -> io::Result<()> {
        self.view.started(scene, started)
    }

    pub(crate) fn changed(&mut self, scene: &Scene, changed: &Changed) -> io::Result<()> {
        self.view.changed(scene, changed)
    }

    /// Shows a journey. A view that shows it again later keeps the entry.
    pub(crate) fn read(&mut self, scene: &Scene, entry: &Arc<Entry>) -> io::Result<()> {
        self.progress.read = entry.number + 1;
        let Entry {
            journey, verdict, ..
        } = &**entry;
        let selection = self.selection.as_ref();
        let selected = selection.is_none_or(|selection| selection.allows(scene, journey, verdict));
        if selected {
            self.progress.matching += 1;
            self.progress.counted += u64::from(!journey.packet.is_neighbour());
        }
        self.view.entry(scene, entry, selected)
    }

    /// Whether the view shows the state of the follow.
    #[must_use]
    pub fn shows_standing(&self) -> bool {
        self.view.shows_standing()
    }

    /// Shows the state of the follow.
    ///
    /// # Errors
    /// Errors of the view.
    pub fn standing(&mut self, scene: &Scene, standing: &Standing) -> io::Result<()> {
        self.view.standing(scene, standing)
    }

    pub(crate) fn summary(&mut self, scene: &Scene, summary: &Summary) -> io::Result<()> {
        let selected = self.selection.as_ref().map(|selection| Selected {
            query: selection.query.to_string(),
            matching: self.progress.matching,
            of: self.progress.read,
        });
        self.view.summary(scene, summary, selected.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use jiff::tz::TimeZone;

    use super::{Entry, Reader, Selected, Selection};
    use crate::{
        by_hand::{self, FROM_POD, INTO_POD},
        journal::View,
        journey::{Closed, Journey, Scene},
        model::{Arp, Mac, Transport},
        verdict::{Kind, Parts, Summary, Verdict},
    };

    /// A view that remembers what it shows.
    #[derive(Default)]
    struct Shown {
        journeys: Vec<u64>,
        selected: Option<Selected>,
    }

    impl View for Shown {
        fn journey(
            &mut self,
            _: &Scene,
            journey: &Journey,
            _: &Verdict,
            _: &Parts,
        ) -> io::Result<()> {
            self.journeys.push(journey.id);
            Ok(())
        }

        fn summary(
            &mut self,
            _: &Scene,
            _: &Summary,
            selected: Option<&Selected>,
        ) -> io::Result<()> {
            self.selected = selected.cloned();
            Ok(())
        }
    }
    /// Journeys with odd numbers are ARP. The selection is for a length of 84.
    fn read(reader: &mut Reader<'_, Shown>, ids: impl Iterator<Item = u64>) {
        let scene = by_hand::scene();
        let mut journey = by_hand::journey(&[(0, FROM_POD), (1, INTO_POD)], Closed::Known);
        let verdict = by_hand::verdict(Kind::Delivered);
        let datagram = journey.packet.transport.clone();
        for id in ids {
            journey.id = id;
            journey.packet.transport = if id % 2 == 1 {
                Transport::Arp(Arp {
                    operation: 1,
                    sender: Mac::default(),
                    target: Mac::default(),
                })
            } else {
                datagram.clone()
            };
            let entry = Arc::new(Entry {
                number: id - 1,
                journey: Box::new(journey.clone()),
                verdict: verdict.clone(),
                parts: Parts::default(),
            });
            reader.read(&scene, &entry).expect("memory");
        }
        let summed = reader.summary(&scene, &Summary::default());
        summed.expect("memory");
    }

    fn selecting(query: &str, most: Option<u64>) -> Option<Selection> {
        Some(Selection {
            query: query.parse().expect(query),
            zone: TimeZone::UTC,
            most,
        })
    }

    #[test]
    fn without_a_selection_all_is_shown_and_nothing_said() {
        let mut shown = Shown::default();
        let mut reader = Reader::new(&mut shown, None);
        read(&mut reader, 1..=3);
        assert!(!reader.is_full());
        assert_eq!((shown.journeys, shown.selected), (vec![1, 2, 3], None));
    }

    #[test]
    fn what_does_not_match_is_left_out_and_counted() {
        let mut shown = Shown::default();
        let mut reader = Reader::new(&mut shown, selecting("id:2..3 or id:9", None));
        read(&mut reader, 1..=10);
        assert!(!reader.is_full());
        assert_eq!(shown.journeys, [2, 3, 9]);
        let selected = shown.selected.expect("something was selected");
        assert_eq!((selected.matching, selected.of), (3, 10));
        assert_eq!(selected.query, "id:2..3 or id:9");
    }

    #[test]
    fn a_count_is_of_what_is_shown_without_neighbours() {
        let mut shown = Shown::default();
        let mut reader = Reader::new(&mut shown, selecting("id:5..", Some(2)));
        read(&mut reader, 1..=7);
        assert!(!reader.is_full(), "5 and 7 are ARP, and 4 was not shown");
        read(&mut reader, 8..=8);
        assert!(reader.is_full());
        assert_eq!(shown.journeys, [5, 6, 7, 8]);
    }
}
