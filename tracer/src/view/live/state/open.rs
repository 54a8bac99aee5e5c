//! The open journey, and how to get from it to others.

use std::sync::Arc;

use tracer_core::journal::Entry;

use super::{Screen, State};

impl State {
    pub(super) fn chosen(&self) -> Option<Arc<Entry>> {
        let number = self.list.chosen_number()?;
        self.journal.get(number).cloned()
    }

    pub(super) fn open_chosen(&mut self) {
        if self.screen == Screen::Journeys && self.grouped {
            let row = self.conversation_row();
            let Some(conversation) = self.conversations.0.get(row) else {
                return;
            };
            let query = format!("conversation:{:016x}", conversation.number);
            self.list.query = query.parse().ok();
            self.grouped = false;
            self.select_anew();
            return;
        }
        if let Some(entry) = self.chosen() {
            self.open(entry);
        }
    }

    fn open(&mut self, entry: Arc<Entry>) {
        // The list does not move under the open journey.
        self.list.chosen = Some(entry.number);
        self.open = Some(entry);
        self.screen = Screen::Journey;
        self.fields = false;
        *self.scrolled() = 0;
    }

    /// Chooses the next problem among the matching journeys.
    pub(super) fn problem(&mut self, older: bool) {
        let from = self.list.chosen_row();
        let is_problem = |row: &usize| {
            let number = self.list.at(*row);
            let entry = number.and_then(|number| self.journal.get(number));
            entry.is_some_and(|entry| entry.verdict.is_problem())
        };
        let first = from + usize::from(self.list.chosen.is_some());
        let found = if older {
            (first..self.list.len()).find(is_problem)
        } else {
            (0..from).rev().find(is_problem)
        };
        if let Some(number) = found.and_then(|row| self.list.at(row)) {
            self.choose(number);
        }
    }

    /// Chooses a journey by the number of its entry.
    pub(super) fn choose(&mut self, number: u64) {
        self.list.chosen = Some(number);
        self.grouped = false;
        if self.screen == Screen::Journey {
            self.open = self.chosen();
            *self.scrolled() = 0;
        } else {
            self.screen = Screen::Journeys;
        }
    }

    /// Opens the journey `rows` rows further down.
    pub(super) fn beside(&mut self, rows: isize) {
        self.list.step(rows);
        if let Some(entry) = self.chosen() {
            let fields = self.fields;
            self.open(entry);
            self.fields = fields;
        }
    }

    fn open_id(&mut self, id: Option<u64>) {
        if let Some(entry) = id.and_then(|id| self.with_id(id)).cloned() {
            self.open(entry);
        }
    }

    pub(super) fn answer(&mut self) {
        let Some(entry) = &self.open else { return };
        let id = entry.journey.id;
        // A question that is answered late has its verdict before the answer comes.
        let later = || self.later(entry.number, |other| other.journey.answers == Some(id));
        let found = entry
            .journey
            .answered_by
            .or(entry.journey.answers)
            .or_else(later);
        self.open_id(found);
    }

    pub(super) fn retransmission(&mut self) {
        let Some(entry) = &self.open else { return };
        let id = entry.journey.id;
        let later = || self.later(entry.number, |other| other.journey.retransmits == Some(id));
        let found = entry.journey.retransmits.or_else(later);
        self.open_id(found);
    }

    /// The number of the first matching journey after an entry.
    fn later(&self, number: u64, wanted: impl Fn(&Entry) -> bool) -> Option<u64> {
        let until = self.until();
        let after = self.journal.since(number + 1);
        let mut after = after.take_while(|other| other.number < until);
        let found = after.find(|other| wanted(other))?;
        Some(found.journey.id)
    }
}
