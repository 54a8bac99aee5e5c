//! Which journeys the list has: the filter, and the pause.

use tui_input::Input;

use super::{Paused, Screen, State, Typing, What};
use crate::view::live::travel::Wish;

impl State {
    pub(in crate::view::live) fn select_anew(&mut self) {
        self.list.begin_anew();
        self.list.chosen = None;
        self.conversations.1 = None;
        self.refresh();
    }

    pub(super) fn filter(&mut self) {
        let before = self.list.query.clone();
        let text = before
            .as_ref()
            .map_or_else(String::new, ToString::to_string);
        self.typing = Some(Typing {
            input: Input::new(text),
            wrong: None,
            what: What::Filter(before),
        });
        self.show(Screen::Journeys);
        self.grouped = false;
    }

    /// Pauses or continues: the replay, or, without a replay, the display of new data.
    pub(super) fn pause(&mut self) {
        if self.is_movable() {
            self.wish(Wish::Pause);
            return;
        }
        if self.paused.take().is_none() {
            self.paused = Some(Paused {
                known: self.known.clone(),
                until: self.journal.next(),
            });
        }
        self.refresh();
    }
}
