//! The list of journeys: which match, which one is chosen, and which lines stay in place while new
//! journeys come.

use std::{collections::VecDeque, sync::Arc};

use hashbrown::HashMap;
use jiff::tz::TimeZone;
use tracer_core::{
    journal::{Entry, Journal, Query, Selection},
    journey::Scene,
    verdict::Kind,
};

use crate::view::path::{Spans, course};

/// Journeys that match a filter, in the order of their verdicts.
#[derive(Debug, Default)]
pub(super) struct List {
    /// The filter of the journeys.
    pub(super) query: Option<Query>,
    /// Whether the list has only problems.
    pub(super) problems: bool,
    /// Numbers of the matching entries.
    matching: VecDeque<u64>,
    /// Number of the next entry to look at.
    next: u64,
    /// Number of the chosen entry. `None`: the newest one, also when a newer one comes.
    pub(super) chosen: Option<u64>,
    /// Number of the entry in the first line, while an entry is chosen.
    pub(super) top: Option<u64>,
}

impl List {
    /// A list of all journeys that match.
    pub(super) fn of(query: Option<Query>) -> Self {
        Self {
            query,
            ..Self::default()
        }
    }

    /// Looks at new entries of a journal, up to `until`, exclusive. Removes entries that the
    /// journal no longer has.
    pub(super) fn update(&mut self, journal: &Journal, scene: &Scene, zone: &TimeZone, until: u64) {
        while self.matching.front() < Some(&journal.evicted()) && !self.matching.is_empty() {
            self.matching.pop_front();
        }
        self.next = self.next.max(journal.evicted());
        let selection = self.selection(zone);
        for entry in journal.since(self.next) {
            if entry.number >= until {
                break;
            }
            self.next = entry.number + 1;
            let selected = selection.as_ref();
            if selected.is_none_or(|all| all.allows(scene, &entry.journey, &entry.verdict))
                && (!self.problems || entry.verdict.is_problem())
            {
                self.matching.push_back(entry.number);
            }
        }
    }

    /// The filter in the language of `--where`. `None`: all journeys match.
    pub(super) fn wanted(&self) -> Option<String> {
        match (&self.query, self.problems) {
            (None, false) => None,
            (None, true) => Some("problem".to_owned()),
            (Some(query), false) => Some(query.to_string()),
            (Some(query), true) => {
                // The query may consist of alternatives, so it needs parentheses.
                let both: Result<Query, _> = format!("({query}) problem").parse();
                Some(both.map_or_else(|_| query.to_string(), |both| both.to_string()))
            }
        }
    }

    /// The matching entries that the journal still has, in the order of their verdicts.
    pub(super) fn entries(&self, journal: &Journal) -> Vec<Arc<Entry>> {
        let held = self.matching.iter();
        held.filter_map(|number| journal.get(*number).cloned())
            .collect()
    }

    fn selection(&self, zone: &TimeZone) -> Option<Selection> {
        self.query.clone().map(|query| Selection {
            query,
            zone: zone.clone(),
            most: None,
        })
    }

    /// Looks at all entries again, after the filter has changed.
    pub(super) fn begin_anew(&mut self) {
        self.matching.clear();
        self.next = 0;
        self.top = None;
    }

    /// Removes entries from a number on.
    pub(super) fn forget_from(&mut self, until: u64) {
        while self.matching.back().is_some_and(|last| *last >= until) {
            self.matching.pop_back();
        }
        self.next = self.next.min(until);
        self.chosen = self.chosen.filter(|chosen| *chosen < until);
        self.top = self.top.filter(|top| *top < until);
    }

    /// Number of matching entries that the journal still has.
    pub(super) fn len(&self) -> usize {
        self.matching.len()
    }

    /// The number of the entry in a row. Row 0 is the newest.
    pub(super) fn at(&self, row: usize) -> Option<u64> {
        let index = self.matching.len().checked_sub(row + 1)?;
        self.matching.get(index).copied()
    }

    /// The row of an entry, or of the nearest older one.
    pub(super) fn row_of(&self, number: u64) -> usize {
        let newer = self.matching.partition_point(|other| *other <= number);
        (self.matching.len() - newer).min(self.matching.len().saturating_sub(1))
    }

    /// The chosen row.
    pub(super) fn chosen_row(&self) -> usize {
        self.chosen.map_or(0, |number| self.row_of(number))
    }

    /// The number of the chosen entry.
    pub(super) fn chosen_number(&self) -> Option<u64> {
        self.at(self.chosen_row())
    }

    /// Chooses the entry `rows` rows further down.
    pub(super) fn step(&mut self, rows: isize) {
        let last = self.len().saturating_sub(1);
        let row = self.chosen_row().saturating_add_signed(rows).min(last);
        self.chosen = self.at(row);
    }

    /// The first row to draw on this number of lines, so that the chosen entry is among them. The
    /// lines stay in place while newer entries come.
    pub(super) fn first_row(&mut self, lines: usize) -> usize {
        let Some(chosen) = self.chosen else {
            self.top = None;
            return 0;
        };
        let row = self.row_of(chosen);
        let first = self.top.map_or(0, |top| self.row_of(top));
        let last_first = self.len().saturating_sub(lines.max(1));
        let first = first
            .clamp((row + 1).saturating_sub(lines.max(1)), row)
            .min(last_first);
        self.top = self.at(first);
        first
    }
}

/// Matching journeys of one conversation.
#[derive(Clone, Debug)]
pub(super) struct Conversation {
    pub(super) number: u64,
    /// The latest of these journeys.
    pub(super) latest: Arc<Entry>,
    pub(super) packets: [u64; 2],
    pub(super) bytes: u64,
    pub(super) problems: u64,
    pub(super) retransmissions: u64,
    /// Times from a question's first hop to its answer's last hop, ns. The handshake of a
    /// connection is one of them.
    pub(super) answers: Spans,
}

/// The conversations of the matching journeys, the latest first. Entries from `until` on do not
/// count.
pub(super) fn conversations(list: &List, journal: &Journal, until: u64) -> Vec<Conversation> {
    let mut all: Vec<Conversation> = Vec::new();
    let mut places: HashMap<u64, usize> = HashMap::new();
    for number in list.matching.iter().rev() {
        let Some(entry) = journal.get(*number) else {
            continue;
        };
        let journey = &entry.journey;
        let place = *places.entry(journey.conversation).or_insert_with(|| {
            all.push(Conversation {
                number: journey.conversation,
                latest: Arc::clone(entry),
                packets: [0; 2],
                bytes: 0,
                problems: 0,
                retransmissions: 0,
                answers: Spans::default(),
            });
            all.len() - 1
        });
        let conversation = &mut all[place];
        conversation.packets[course(journey)] += 1;
        conversation.bytes += u64::from(journey.packet.len);
        conversation.problems += u64::from(entry.verdict.is_problem());
        conversation.retransmissions += u64::from(journey.retransmits.is_some());
        let asked = journey.answers.and_then(|id| journal.with_id(id));
        if let Some(asked) = asked.filter(|asked| asked.number < until)
            && entry.verdict.kind == Kind::Delivered
            && let Ok(took) = u64::try_from(journey.last() - asked.journey.start())
        {
            conversation.answers.add(took);
        }
    }
    all
}
